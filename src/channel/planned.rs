//! A channel that is to be loaded: where its guest is, and the name under which it runs.

use super::bundled::bundled_channel_files;
use super::discover::{ChannelFiles, DiscoveredChannel};
use super::load_error::LoadError;
use crate::model::name::ChannelName;
#[cfg(feature = "cli")]
use crate::secrets::account_secret_name;

/// A channel that is to be loaded.
#[derive(Clone, Debug)]
pub(crate) struct PlannedChannel {
    /// The name under which it runs: that of its guest, or of an account.
    pub name: ChannelName,
    /// The name that its files have.
    pub guest: ChannelName,
    /// Its files; none for the guest that comes with the program.
    files: Option<DiscoveredChannel>,
}

impl PlannedChannel {
    /// A channel that was found, under its own name.
    pub fn found(files: DiscoveredChannel) -> Self {
        Self { name: files.name.clone(), guest: files.name.clone(), files: Some(files) }
    }

    /// Another account of a guest: one of those that were found, else the one that comes with the program. None when there is
    /// no such guest.
    pub fn account(name: &ChannelName, guest: &ChannelName, found: &[DiscoveredChannel]) -> Option<Self> {
        let files = found.iter().find(|files| files.name == *guest).cloned();
        if files.is_none() && bundled_channel_files(guest.as_str()).is_none() {
            return None;
        }
        Some(Self { name: name.clone(), guest: guest.clone(), files })
    }

    /// Reads its two files.
    pub fn read(&self) -> Result<ChannelFiles, LoadError> {
        match &self.files {
            Some(files) => files.read(),
            None => Ok(bundled_channel_files(self.guest.as_str()).unwrap_or_default()),
        }
    }

    /// Reads its capability file alone, when there is one.
    pub fn read_capabilities(&self) -> Result<Option<Vec<u8>>, LoadError> {
        match &self.files {
            Some(files) => files.read_capabilities(),
            None => Ok(bundled_channel_files(self.guest.as_str()).and_then(|files| files.capabilities)),
        }
    }

    /// Where its guest is, for errors.
    pub fn place(&self) -> String {
        match &self.files {
            Some(files) => files.wasm.display().to_string(),
            None => format!("the channel {} of the program", self.guest),
        }
    }
}

/// What the daemon asks of it.
#[cfg(feature = "cli")]
impl PlannedChannel {
    /// The name under which the operator stores what its files call `secret`.
    pub fn stored_secret_name(&self, secret: &str) -> String {
        stored_secret_name(&self.name, &self.guest, secret)
    }

    /// Its files, when they are in a directory of channels.
    pub fn found_files(&self) -> Option<&DiscoveredChannel> {
        self.files.as_ref()
    }

    /// Whether its files are in a directory of channels.
    pub fn is_installed(&self) -> bool {
        self.files.is_some()
    }
}

/// What is put before every path of a channel. An account has its guest's paths below its own name, so that several can be
/// served beside each other.
pub(crate) fn mount_of(name: &ChannelName, guest: &ChannelName) -> String {
    if name == guest { String::new() } else { format!("/{name}") }
}

/// The name under which the operator stores what the files of a guest call `secret`.
#[cfg(feature = "cli")]
pub(crate) fn stored_secret_name(name: &ChannelName, guest: &ChannelName, secret: &str) -> String {
    if name == guest { secret.to_ascii_lowercase() } else { account_secret_name(name.as_str(), secret) }
}
