//! What the operator decided about each channel, kept over restarts: whether it is disabled, and what it was approved for.
//!
//! One file for each channel, `channels/NAME.json` in the state directory, written whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::manifest::{capabilities_of, sha256};
use crate::channel::{ChannelCapabilitiesFile, ChannelFiles, ChannelName, replace_file_as};
use crate::model::{private_directory, regular_file};

/// The folder in the state directory.
const FOLDER: &str = "channels";
/// Says that what lay in the directories of channels before approvals existed has been approved.
const ADOPTED: &str = ".adopted";
/// Only the host's user may say what is approved.
const MODE: u32 = 0o600;

/// Accounts of one guest have its record in common, and are loaded beside each other: one reads, changes and writes at a time.
static CHANGES: Mutex<()> = Mutex::new(());

/// What was decided about one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ChannelRecord {
    /// It does not run.
    pub disabled: bool,
    /// What it may do, and which files it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approved>,
}

/// What an operator has approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approved {
    /// The SHA-256 of the guest.
    pub guest: String,
    /// The SHA-256 of the capability file.
    pub capabilities: String,
    /// That file, for the comparison with the next one.
    pub rights: String,
    /// Where the package came from, for `tinclaw upgrade`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// It came with the program, which needs no signature.
    #[serde(default)]
    pub bundled: bool,
}

impl Approved {
    /// The approval of these files.
    pub fn of(files: &ChannelFiles, source: Vec<String>, bundled: bool) -> Self {
        let capabilities = capabilities_of(files);
        Self {
            guest: sha256(&files.wasm),
            capabilities: sha256(capabilities),
            rights: String::from_utf8_lossy(capabilities).into_owned(),
            source,
            bundled,
        }
    }

    /// The SHA-256 of a guest and of its capability file.
    pub fn digests_of(files: &ChannelFiles) -> (String, String) {
        (sha256(&files.wasm), sha256(capabilities_of(files)))
    }

    /// Whether these are the files.
    pub fn is_of(&self, files: &ChannelFiles) -> bool {
        let (guest, capabilities) = Self::digests_of(files);
        self.has_digests(&guest, &capabilities)
    }

    /// Whether these digests are those of the files.
    pub fn has_digests(&self, guest: &str, capabilities: &str) -> bool {
        self.guest == guest && self.capabilities == capabilities
    }

    /// The approved capability file. None when this version does not accept it any more.
    pub fn file(&self, channel: &ChannelName) -> Option<ChannelCapabilitiesFile> {
        ChannelCapabilitiesFile::parse("approved rights", channel, self.rights.as_bytes()).ok()
    }
}

/// The records of a state directory.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    folder: PathBuf,
}

/// Why a record is not read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// The file.
    #[error("{}: {source}; check the owner and mode of the state directory", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is in it.
    #[error("{} is damaged: {reason}; remove it and approve the channel again with `tinclaw approve`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Records {
    /// Those in this state directory. Nothing is read yet.
    pub fn in_state_dir(state_dir: &Path) -> Self {
        Self { folder: state_dir.join(FOLDER) }
    }

    /// What was decided about a channel; nothing for one that is not known.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn get(&self, channel: &ChannelName) -> Result<ChannelRecord, RecordError> {
        let path = self.path_of(channel);
        let text = match regular_file::contents(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ChannelRecord::default()),
            Err(source) => return Err(RecordError::File { path, source }),
        };
        serde_json::from_slice(&text)
            .map_err(|error| RecordError::Damaged { path, reason: error.to_string() })
    }

    /// Keeps what was decided about a channel.
    fn put(&self, channel: &ChannelName, record: &ChannelRecord) -> Result<(), RecordError> {
        let path = self.path_of(channel);
        // A struct of texts is always JSON.
        let text = serde_json::to_vec_pretty(record).unwrap_or_default();
        let written =
            private_directory::create(&self.folder).and_then(|()| replace_file_as(&path, &text, MODE));
        written.map_err(|source| RecordError::File { path, source })
    }

    /// Changes what was decided about a channel.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn change(
        &self,
        channel: &ChannelName,
        change: impl FnOnce(&mut ChannelRecord),
    ) -> Result<(), RecordError> {
        let _one_at_a_time = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        let mut record = self.get(channel)?;
        change(&mut record);
        self.put(channel, &record)
    }

    /// Forgets a channel.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget(&self, channel: &ChannelName) -> Result<(), RecordError> {
        let path = self.path_of(channel);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(RecordError::File { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Whether channels that are not known were there before approvals existed.
    pub fn adopts(&self) -> bool {
        !self.folder.join(ADOPTED).exists()
    }

    /// From now on a channel that is not known has to be approved.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn adopted(&self) -> Result<(), RecordError> {
        let path = self.folder.join(ADOPTED);
        let written =
            private_directory::create(&self.folder).and_then(|()| replace_file_as(&path, b"", MODE));
        written.map_err(|source| RecordError::File { path, source })
    }

    fn path_of(&self, channel: &ChannelName) -> PathBuf {
        self.folder.join(format!("{channel}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::temp_dir::TempDir;

    #[test]
    fn approvals_are_read_as_they_were_stored() {
        let state = TempDir::new();
        let records = Records::in_state_dir(state.path());
        let name: ChannelName = "a".parse().expect("a name");
        assert_eq!(records.get(&name).expect("nothing"), ChannelRecord::default());
        let files = ChannelFiles { wasm: b"guest".to_vec(), capabilities: None };
        let approved = Some(Approved::of(&files, vec!["a.wasm".to_owned()], false));
        let record = ChannelRecord { disabled: true, approved };
        records.put(&name, &record).expect("it is kept");
        let read = records.get(&name).expect("it is read");
        assert_eq!(read, record);
        let approved = read.approved.expect("it is approved");
        assert!(approved.is_of(&files) && approved.file(&name).is_some());
        assert!(!approved.is_of(&ChannelFiles { wasm: b"other".to_vec(), ..files }));
        records.change(&name, |record| record.disabled = false).expect("it is changed");
        assert!(!records.get(&name).expect("it is read").disabled);
        records.forget(&name).expect("it is forgotten");
        records.forget(&name).expect("twice");
        assert_eq!(records.get(&name).expect("nothing"), ChannelRecord::default());
    }

    /// A record that nobody can read must not count as one that approves, nor as none.
    #[test]
    fn a_damaged_record_is_an_error() {
        let state = TempDir::new();
        let records = Records::in_state_dir(state.path());
        state.write("channels/a.json", "{\"disabled\": tru");
        let error = records.get(&"a".parse().expect("a name")).unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("tinclaw approve"), "{error}");
    }

    /// Six accounts of one guest were loaded beside each other, and those that came second found the file gone that they had
    /// written. They did not run.
    #[test]
    fn a_record_is_changed_by_many_at_a_time() {
        let state = TempDir::new();
        let records = Records::in_state_dir(state.path());
        let name: ChannelName = "a".parse().expect("a name");
        let add = |record: &mut ChannelRecord| {
            let approved = record.approved.get_or_insert_with(|| {
                Approved::of(&ChannelFiles { wasm: b"guest".to_vec(), capabilities: None }, Vec::new(), false)
            });
            approved.source.push("one more".to_owned());
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..25).for_each(|_| records.change(&name, add).expect("it is kept")));
            }
        });
        let record = records.get(&name).expect("it is read");
        assert_eq!(record.approved.expect("it is approved").source.len(), 200);
    }

    #[test]
    fn channels_from_before_are_adopted_once() {
        let state = TempDir::new();
        let records = Records::in_state_dir(state.path());
        assert!(records.adopts());
        records.put(&"a".parse().expect("a name"), &ChannelRecord::default()).expect("it is kept");
        assert!(records.adopts(), "an installation before the first start adopts nothing");
        records.adopted().expect("it is kept");
        assert!(!records.adopts());
    }
}
