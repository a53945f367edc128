//! Where a channel's files are.

use std::path::{Path, PathBuf};

use crate::channel::{ChannelName, DiscoveredChannel};
use crate::cli::config::Settings;

/// The files of a channel that is installed.
pub fn installed(settings: &Settings, channel: &ChannelName) -> Option<DiscoveredChannel> {
    settings.installed().into_iter().find(|found| found.name == *channel)
}

/// The directory that a channel's packages go to: where its files are, else where channels are installed.
pub fn directory_of(settings: &Settings, channel: &ChannelName) -> PathBuf {
    let found = installed(settings, channel);
    let directory = found.and_then(|found| found.wasm.parent().map(Path::to_owned));
    directory.unwrap_or_else(|| settings.install_dir())
}

/// The other accounts of a guest.
pub fn accounts_of(settings: &Settings, guest: &ChannelName) -> Vec<ChannelName> {
    let accounts = settings.accounts();
    accounts.into_iter().filter(|(_, of)| of == guest).map(|(name, _)| name).collect()
}
