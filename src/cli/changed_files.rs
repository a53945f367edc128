//! Channels that run and whose files on the disk are others than those that were loaded.
//!
//! The host asks this for each look at its health, so files are read again only when the file system says that they have changed.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::config::Settings;
use super::held_channels::{HeldChannel, HeldState};
use crate::channel::{ChannelName, DiscoveredChannel, PlannedChannel};
use crate::package::{Approved, PackagePolicy};

/// What the file system says of a file: device, inode, size, and its times in seconds and nanoseconds.
type FileStamp = [i128; 5];

/// The digests of files that were read already.
#[derive(Default)]
pub struct FileDigests(
    /// By the path of the guest. Behind a lock, because any request may look; held for a look-up.
    Mutex<HashMap<PathBuf, KnownFiles>>,
);

#[derive(Clone)]
struct KnownFiles {
    stamps: [Option<FileStamp>; 2],
    digests: (String, String),
}

impl FileDigests {
    /// The SHA-256 of the guest and of the capability file. None when they cannot be read.
    fn of(&self, found: &DiscoveredChannel) -> Option<(String, String)> {
        let stamps = [stamp(&found.wasm), found.capabilities.as_deref().and_then(stamp)];
        if let Some(known) = self.known().get(&found.wasm).filter(|known| known.stamps == stamps) {
            return Some(known.digests.clone());
        }
        let digests = Approved::digests_of(&found.read().ok()?);
        // Files that were changed while they were read have other stamps at the next look.
        self.known().insert(found.wasm.clone(), KnownFiles { stamps, digests: digests.clone() });
        Some(digests)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, KnownFiles>> {
        // Nothing that holds it panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(path: &Path) -> Option<FileStamp> {
    const NANOSECONDS: i128 = 1_000_000_000;
    let found = fs::symlink_metadata(path).ok()?;
    let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * NANOSECONDS + i128::from(nanoseconds);
    Some([
        found.dev().into(),
        found.ino().into(),
        found.len().into(),
        time(found.mtime(), found.mtime_nsec()),
        time(found.ctime(), found.ctime_nsec()),
    ])
}

/// The channels that run and whose files are not those that were loaded last. What was loaded is what the record of the channel has.
pub fn changed_files(
    settings: &Settings,
    runs: &dyn Fn(&ChannelName) -> bool,
    digests: &FileDigests,
) -> Vec<HeldChannel> {
    let records = settings.records();
    let policy = PackagePolicy::new(records.clone(), settings.trust.clone());
    let installed = settings.installed().into_iter().map(PlannedChannel::found);
    let accounts = settings.accounts().into_keys().filter_map(|name| settings.planned(&name));
    let changed = installed.chain(accounts).filter(|planned| runs(&planned.name)).filter_map(|planned| {
        let loaded = records.get(&planned.guest).ok()?.approved?;
        let (guest, capabilities) = digests.of(planned.found_files()?)?;
        (!loaded.has_digests(&guest, &capabilities)).then(|| held(&policy, &planned))
    });
    changed.collect()
}

fn held(policy: &PackagePolicy, planned: &PlannedChannel) -> HeldChannel {
    let name = &planned.name;
    let text = "its files on the disk are not those that run";
    match super::held_channels::refused(policy, planned) {
        Some(refused) => HeldChannel {
            name: name.clone(),
            state: HeldState::FilesChanged,
            text: format!("{text}, and a restart would leave it out: {}", refused.text),
            help: refused.help,
        },
        None => HeldChannel {
            name: name.clone(),
            state: HeldState::FilesChanged,
            text: text.to_owned(),
            help: format!("`tinclaw reload {name}` loads them"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::temp_dir::TempDir;

    /// A digest takes milliseconds for each file, and a page that is open asks with every message.
    #[test]
    fn a_file_is_read_again_only_when_it_has_changed() {
        let place = TempDir::new();
        let wasm = place.write("a.wasm", "one");
        let found = DiscoveredChannel { name: "a".parse().unwrap(), wasm: wasm.clone(), capabilities: None };
        let digests = FileDigests::default();
        let first = digests.of(&found).unwrap();
        // As if the file had been read with another outcome: only a look at the cache gives that.
        let marked = ("marked".to_owned(), String::new());
        digests.known().get_mut(&wasm).unwrap().digests = marked.clone();
        assert_eq!(digests.of(&found), Some(marked));
        fs::write(&wasm, "two two").unwrap();
        let second = digests.of(&found).unwrap();
        assert!(second.0.len() == first.0.len() && second.0 != first.0);
    }
}
