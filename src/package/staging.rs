//! Packages on their way into a directory of channels, so that it has the old files or the new ones and never some of each.
//!
//! A package is written into a folder of its own beside the channels (`.packages/NAME.new`), synced, and made visible by one
//! rename: as `NAME.pending` it waits to be approved or tried, and as `NAME.commit` it counts. From then on its files are moved to
//! their places, the approval is recorded, and the folder is removed; whoever is killed meanwhile is finished by the next command or
//! the next start ([`Staging::recover`]), because each of these steps may be done twice.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::lock::{LOCK_TIME, LOCK_TIME_AT_START, take_lock};
use super::record::{Approved, Records};
use super::staging_error::StagingError;
use crate::channel::{ChannelFiles, ChannelName, discover_channels};
use crate::model::regular_file;

/// The folder beside the channels.
pub(super) const FOLDER: &str = ".packages";
/// What a package is written as, waits as, counts as, and is replaced as.
const STATES: [&str; 4] = ["new", "pending", "commit", "old"];
/// What is to be done with a package, in its folder.
pub(super) const PLAN: &str = "plan.json";
/// The endings of a channel's files. The guest is last: it is never seen without its capability file.
const ENDINGS: [&str; 4] = ["capabilities.json", "manifest.json", "manifest.json.minisig", "wasm"];

/// All files of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackageFiles {
    /// Guest and capability file.
    pub channel: ChannelFiles,
    /// What both are, in one file.
    pub manifest: Option<Vec<u8>>,
    /// Who says so.
    pub signature: Option<Vec<u8>>,
}

/// What is to be done with a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// How the channel's files are called, without their endings.
    stem: String,
    /// The files that it has; others of the channel are removed. None: the channel is removed.
    files: Vec<String>,
    /// The operator has approved it.
    pub approved: bool,
    /// What is recorded when it counts.
    pub record: Option<Approved>,
}

/// A package that waits.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// The channel.
    pub name: ChannelName,
    /// What is to be done.
    pub plan: Plan,
    /// Its files.
    pub files: PackageFiles,
}

/// What is called at each named point, so that a test can end there.
pub(crate) type AtPoint<'a> = &'a dyn Fn(&'static str) -> io::Result<()>;

/// The packages of one directory of channels. Only one program works on them at a time.
pub(crate) struct Staging<'a> {
    directory: PathBuf,
    records: &'a Records,
    at_point: AtPoint<'a>,
    /// Held until this is dropped.
    _lock: File,
}

impl<'a> Staging<'a> {
    /// Opens the packages of a directory, which is made when it is missing, and finishes what a program that was killed has begun.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn open(directory: &Path, records: &'a Records) -> Result<Self, StagingError> {
        Self::open_with(directory, records, &|_| Ok(()))
    }

    /// The same, for a program that cannot wait as long for another one that works on them.
    ///
    /// # Errors
    /// See [`Staging::open`].
    pub fn open_within(
        directory: &Path,
        records: &'a Records,
        lock_time: Duration,
    ) -> Result<Self, StagingError> {
        Self::open_locked(directory, records, &|_| Ok(()), lock_time)
    }

    /// The same with a function that is called at each named point.
    pub fn open_with(
        directory: &Path,
        records: &'a Records,
        at_point: AtPoint<'a>,
    ) -> Result<Self, StagingError> {
        Self::open_locked(directory, records, at_point, LOCK_TIME)
    }

    fn open_locked(
        directory: &Path,
        records: &'a Records,
        at_point: AtPoint<'a>,
        lock_time: Duration,
    ) -> Result<Self, StagingError> {
        let folder = directory.join(FOLDER);
        let path = folder.join("lock");
        let lock = fs::create_dir_all(&folder).and_then(|()| {
            regular_file::open(OpenOptions::new().write(true).create(true), OFlags::empty(), &path)
        });
        let lock = lock.map_err(|source| StagingError::File { path: path.clone(), source })?;
        take_lock(&lock, path, lock_time)?;
        let staging = Self { directory: directory.to_owned(), records, at_point, _lock: lock };
        staging.recover()?;
        Ok(staging)
    }

    /// Finishes what was begun in a directory, when anything was. A directory that cannot be written is left as it is.
    pub fn recover_directory(directory: &Path, records: &Records) -> Result<(), StagingError> {
        if directory.join(FOLDER).is_dir() {
            Staging::open_within(directory, records, LOCK_TIME_AT_START)?;
        }
        Ok(())
    }

    /// Lets a package wait, in place of another one that waits.
    ///
    /// # Errors
    /// It cannot be written. What waited before still waits, or nothing does.
    pub fn stage(
        &self,
        name: &ChannelName,
        files: &PackageFiles,
        record: Approved,
        approved: bool,
    ) -> Result<(), StagingError> {
        let contents = [
            Some(super::manifest::capabilities_of(&files.channel)),
            files.manifest.as_deref(),
            files.signature.as_deref(),
            Some(&*files.channel.wasm),
        ];
        let contents: Vec<(&str, &[u8])> =
            ENDINGS.into_iter().zip(contents).filter_map(|(ending, bytes)| Some((ending, bytes?))).collect();
        let plan = Plan {
            stem: self.stem_of(name),
            files: contents.iter().map(|(ending, _)| (*ending).to_owned()).collect(),
            approved,
            record: Some(record),
        };
        self.write_new(name, &contents, &plan)?;
        self.make_pending(name)
    }

    /// A package that waits.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn pending(&self, name: &ChannelName) -> Result<Option<Pending>, StagingError> {
        let folder = self.folder_of(name, "pending");
        if !folder.is_dir() {
            return Ok(None);
        }
        let plan = self.read_plan(&folder)?;
        let read = |ending: &str| {
            let path = folder.join(ending);
            plan.files
                .iter()
                .any(|file| file == ending)
                .then(|| self.at(&path, regular_file::contents(&path)))
                .transpose()
        };
        let channel = ChannelFiles {
            wasm: read("wasm")?.unwrap_or_default(),
            capabilities: read("capabilities.json")?,
        };
        let (manifest, signature) = (read("manifest.json")?, read("manifest.json.minisig")?);
        let files = PackageFiles { channel, manifest, signature };
        Ok(Some(Pending { name: name.clone(), plan, files }))
    }

    /// The channels of which a package waits.
    pub fn waiting(&self) -> Vec<ChannelName> {
        let entries = fs::read_dir(self.directory.join(FOLDER)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| {
            entry.file_name().to_str()?.strip_suffix(".pending").and_then(|name| ChannelName::new(name).ok())
        });
        let mut names: Vec<ChannelName> = names.collect();
        names.sort();
        names
    }

    /// Notes that the operator has approved a package that waits.
    ///
    /// # Errors
    /// There is none, or it cannot be written.
    pub fn approve(&self, name: &ChannelName) -> Result<(), StagingError> {
        let folder = self.folder_of(name, "pending");
        if !folder.is_dir() {
            return Err(StagingError::NothingWaits(name.clone()));
        }
        let plan = Plan { approved: true, ..self.read_plan(&folder)? };
        let path = folder.join(PLAN);
        self.at(&path, crate::channel::replace_file(&path, &plan.to_bytes()))?;
        self.point("approved")
    }

    /// Whether the package with these digests counts already: another program took it, and nothing waits since.
    ///
    /// # Errors
    /// What was approved cannot be read.
    pub fn counts(&self, name: &ChannelName, guest: &str, capabilities: &str) -> Result<bool, StagingError> {
        let approved = self.records.get(name)?.approved;
        let is_waiting = self.folder_of(name, "pending").is_dir();
        Ok(!is_waiting && approved.is_some_and(|approved| approved.has_digests(guest, capabilities)))
    }

    /// Drops a package that waits.
    ///
    /// # Errors
    /// Its folder cannot be removed.
    pub fn drop_pending(&self, name: &ChannelName) -> Result<(), StagingError> {
        self.remove_folder(&self.folder_of(name, "pending"))
    }

    /// A package that waits counts from now on.
    ///
    /// # Errors
    /// There is none; or its approval cannot be recorded, and it waits as before; or a file cannot be moved, and the next
    /// command completes it.
    pub fn commit(&self, name: &ChannelName) -> Result<(), StagingError> {
        let (pending, commit) = (self.folder_of(name, "pending"), self.folder_of(name, "commit"));
        if !pending.is_dir() {
            return Err(StagingError::NothingWaits(name.clone()));
        }
        self.rename(&pending, &commit)?;
        self.point("committed")?;
        // What needs room comes before what changes anything: on a full disk everything stays as it was.
        if let Err(error) = self.record_approval(name, &commit) {
            self.rename(&commit, &pending)?;
            return Err(error);
        }
        self.complete(name)
    }

    /// Writes down that a channel is to be removed; nothing counts before [`Staging::remove_prepared`].
    ///
    /// # Errors
    /// It cannot be written: the channel stays.
    pub fn prepare_removal(&self, name: &ChannelName) -> Result<(), StagingError> {
        let plan = Plan { stem: self.stem_of(name), files: Vec::new(), approved: true, record: None };
        self.write_new(name, &[], &plan)
    }

    /// Removes what [`Staging::prepare_removal`] was called for: a channel's files, what waits of it, and what was approved.
    ///
    /// # Errors
    /// They cannot be removed; when it has begun, the next command completes it.
    pub fn remove_prepared(&self, name: &ChannelName) -> Result<(), StagingError> {
        self.drop_pending(name)?;
        self.rename(&self.folder_of(name, "new"), &self.folder_of(name, "commit"))?;
        self.point("committed")?;
        self.complete(name)
    }

    /// Both steps of a removal.
    ///
    /// # Errors
    /// See them.
    pub fn remove(&self, name: &ChannelName) -> Result<(), StagingError> {
        self.prepare_removal(name)?;
        self.remove_prepared(name)
    }

    fn complete(&self, name: &ChannelName) -> Result<(), StagingError> {
        self.move_files(name)
            .map_err(|error| StagingError::Incomplete { channel: name.clone(), source: Box::new(error) })
    }

    /// Records what is approved of a package that counts: before its files are in their places, so that a host never finds files
    /// there that nobody has approved.
    fn record_approval(&self, name: &ChannelName, folder: &Path) -> Result<(), StagingError> {
        self.point("before it is recorded")?;
        if let Some(approved) = self.read_plan(folder)?.record {
            self.records.change(name, |record| record.approved = Some(approved))?;
        }
        Ok(())
    }

    /// Moves the files of a package that counts to their places. Every step may have been done before.
    fn move_files(&self, name: &ChannelName) -> Result<(), StagingError> {
        self.point("recorded")?;
        let folder = self.folder_of(name, "commit");
        let plan = self.read_plan(&folder)?;
        for ending in ENDINGS {
            let place = self.directory.join(format!("{}.{ending}", plan.stem));
            let file = folder.join(ending);
            if !plan.files.iter().any(|file| file == ending) {
                self.at(&place, gone(fs::remove_file(&place)))?;
            } else if file.exists() {
                self.at(&place, fs::rename(&file, &place))?;
            }
            self.point("file in place")?;
        }
        self.sync(&self.directory)?;
        self.point("files synced")?;
        if plan.record.is_none() {
            self.records.forget(name)?;
            self.point("forgotten")?;
        }
        self.remove_folder(&folder)
    }

    /// Finishes what counts, and clears away what was never complete.
    fn recover(&self) -> Result<(), StagingError> {
        let folder = self.directory.join(FOLDER);
        let mut found = Vec::new();
        for entry in self.at(&folder, fs::read_dir(&folder))?.flatten() {
            let file = entry.file_name();
            let parts = file.to_str().and_then(|text| text.rsplit_once('.'));
            let Some((name, state)) = parts.filter(|(_, state)| STATES.contains(state)) else { continue };
            let Ok(name) = ChannelName::new(name) else { continue };
            found.push((name, state.to_owned()));
        }
        for (name, state) in found {
            let (this, pending) = (self.folder_of(&name, &state), self.folder_of(&name, "pending"));
            match state.as_str() {
                "commit" if this.join(PLAN).exists() => {
                    self.record_approval(&name, &this)?;
                    self.complete(&name)?;
                }
                "old" if !pending.exists() => self.rename(&this, &pending)?,
                "pending" => {}
                _ => self.remove_folder(&this)?,
            }
        }
        Ok(())
    }

    fn write_new(
        &self,
        name: &ChannelName,
        contents: &[(&str, &[u8])],
        plan: &Plan,
    ) -> Result<(), StagingError> {
        let new = self.folder_of(name, "new");
        self.remove_folder(&new)?;
        self.at(&new, fs::create_dir(&new))?;
        let plan = plan.to_bytes();
        for (file, bytes) in contents.iter().copied().chain([(PLAN, &*plan)]) {
            let path = new.join(file);
            let written = File::create_new(&path).and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            });
            self.at(&path, written)?;
            self.point("file written")?;
        }
        self.sync(&new)
    }

    fn make_pending(&self, name: &ChannelName) -> Result<(), StagingError> {
        let (new, pending, old) =
            (self.folder_of(name, "new"), self.folder_of(name, "pending"), self.folder_of(name, "old"));
        self.remove_folder(&old)?;
        if pending.exists() {
            self.rename(&pending, &old)?;
            self.point("older one aside")?;
        }
        self.rename(&new, &pending)?;
        self.point("waiting")?;
        self.remove_folder(&old)
    }

    /// How the files of a channel are called that are there already: `a-b` is the channel `a_b` too.
    fn stem_of(&self, name: &ChannelName) -> String {
        let found = discover_channels(&self.directory).ok();
        let channel = found.and_then(|found| found.channels.into_iter().find(|each| each.name == *name));
        let stem = channel.and_then(|channel| Some(channel.wasm.file_stem()?.to_str()?.to_owned()));
        stem.unwrap_or_else(|| name.to_string())
    }

    fn folder_of(&self, name: &ChannelName, state: &str) -> PathBuf {
        self.directory.join(FOLDER).join(format!("{name}.{state}"))
    }

    fn read_plan(&self, folder: &Path) -> Result<Plan, StagingError> {
        let path = folder.join(PLAN);
        let text = self.at(&path, regular_file::contents(&path))?;
        let plan: Plan = serde_json::from_slice(&text)
            .map_err(|error| StagingError::Plan { path: path.clone(), reason: error.to_string() })?;
        // It becomes part of a path.
        match ChannelName::new(&plan.stem) {
            Ok(_) => Ok(plan),
            Err(error) => Err(StagingError::Plan { path, reason: error.to_string() }),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), StagingError> {
        self.at(to, fs::rename(from, to))?;
        self.sync(&self.directory.join(FOLDER))
    }

    /// The plan goes last: a folder without one counts for nothing.
    fn remove_folder(&self, folder: &Path) -> Result<(), StagingError> {
        let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
        for entry in entries.flatten().filter(|entry| entry.file_name() != PLAN) {
            self.at(&entry.path(), gone(fs::remove_file(entry.path())))?;
        }
        self.point("folder emptied")?;
        self.at(folder, gone(fs::remove_file(folder.join(PLAN))))?;
        self.point("plan removed")?;
        self.at(folder, gone(fs::remove_dir(folder)))?;
        self.sync(&self.directory.join(FOLDER))
    }

    fn sync(&self, folder: &Path) -> Result<(), StagingError> {
        self.at(folder, File::open(folder).and_then(|folder| folder.sync_all()))
    }

    fn point(&self, point: &'static str) -> Result<(), StagingError> {
        self.at(&self.directory, (self.at_point)(point))
    }

    fn at<T>(&self, path: &Path, result: io::Result<T>) -> Result<T, StagingError> {
        result.map_err(|source| StagingError::File { path: path.to_owned(), source })
    }
}

impl Plan {
    fn to_bytes(&self) -> Vec<u8> {
        // A struct of texts is always JSON.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

/// What is not there need not be removed.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
#[path = "staging_tests.rs"]
mod tests;
