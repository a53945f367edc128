//! Changing the encrypted file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::file::{self, MAX_ENCRYPTED_FILE_BYTES};
use super::sealed::{self, Derivation, KdfCost, KeyMaterial, KeySource, SealingKey, Secrets};
use super::{Secret, SecretError, normalise_name};
use crate::model::{private_directory, regular_file};

/// Sets, lists and removes the secrets of an encrypted file; what `tinclaw secrets` does.
///
/// A change replaces the file as a whole: a new one is written beside it with mode 0600, synced, and renamed over it, so
/// that a power failure leaves the old file or the new one. Editors of one file wait for each other (`flock` on
/// `FILE.lock`); a host that reads it needs no lock.
pub struct SecretEditor {
    path: PathBuf,
    material: KeyMaterial,
    cost: KdfCost,
}

impl SecretEditor {
    /// An editor of the file at this path, which need not exist yet: the first [`SecretEditor::set`] creates it.
    ///
    /// # Errors
    /// When the key cannot be read or is too weak.
    pub fn open(path: &Path, key: &KeySource) -> Result<Self, SecretError> {
        Ok(Self { path: path.to_owned(), material: file::load_key(key)?, cost: KdfCost::default() })
    }

    /// The cost of deriving the key from a passphrase with Argon2id, for a file that is created: memory in KiB (default
    /// 32,768, at most 262,144) and how often all of it is gone through (default 3, at most 16). A file that exists keeps
    /// its own.
    pub fn with_cost(mut self, memory_kib: u32, passes: u32) -> Self {
        self.cost = KdfCost { memory_kib, passes, lanes: 1 };
        self
    }

    /// Stores a value, replacing what was there.
    ///
    /// # Errors
    /// A bad name, an empty value or one of more than 64 KiB, a file that cannot be opened with this key or written.
    pub fn set(&self, name: &str, value: Secret) -> Result<(), SecretError> {
        self.store(name, value, false).map(|_| ())
    }

    /// Stores a value unless there is one already; says whether it did. Of two programs that do so at the same time, one
    /// does.
    ///
    /// # Errors
    /// As [`SecretEditor::set`].
    pub fn set_missing(&self, name: &str, value: Secret) -> Result<bool, SecretError> {
        self.store(name, value, true)
    }

    /// Removes a secret; says whether there was one.
    ///
    /// # Errors
    /// As [`SecretEditor::set`]; a file that does not exist is no error, there is nothing to remove then.
    pub fn remove(&self, name: &str) -> Result<bool, SecretError> {
        let name = normalise_name(name)?;
        let _lock = self.lock()?;
        let (mut secrets, derivation, key) = self.load_or_begin()?;
        let removed = secrets.remove(&name).is_some();
        if removed {
            self.write(&secrets, &derivation, &key)?;
        }
        Ok(removed)
    }

    /// The names of all secrets, sorted. None when the file does not exist.
    ///
    /// # Errors
    /// A file that cannot be opened with this key.
    pub fn list(&self) -> Result<Vec<String>, SecretError> {
        match file::load(&self.path, &self.material, None) {
            Ok(loaded) => Ok(loaded.secrets.into_keys().collect()),
            Err(SecretError::Missing { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn store(&self, name: &str, value: Secret, only_missing: bool) -> Result<bool, SecretError> {
        let name = normalise_name(name)?;
        if value.is_empty() {
            return Err(SecretError::Empty { name });
        }
        if value.len() as u64 > Secret::MAX_BYTES {
            return Err(SecretError::TooLarge { name, limit: Secret::MAX_BYTES });
        }
        let _lock = self.lock()?;
        let (mut secrets, derivation, key) = self.load_or_begin()?;
        if only_missing && secrets.contains_key(&name) {
            return Ok(false);
        }
        secrets.insert(name, value);
        self.write(&secrets, &derivation, &key)?;
        Ok(true)
    }

    fn load_or_begin(&self) -> Result<(Secrets, Derivation, SealingKey), SecretError> {
        match file::load(&self.path, &self.material, None) {
            Ok(loaded) => Ok((loaded.secrets, loaded.derivation, loaded.key)),
            Err(SecretError::Missing { .. }) => {
                let derivation = self.material.new_derivation(self.cost)?;
                let key = derivation.derive(&self.material, &self.path)?;
                Ok((Secrets::new(), derivation, key))
            }
            Err(error) => Err(error),
        }
    }

    fn write(&self, secrets: &Secrets, derivation: &Derivation, key: &SealingKey) -> Result<(), SecretError> {
        let bytes = sealed::seal(secrets, derivation, key)?;
        if bytes.len() as u64 > MAX_ENCRYPTED_FILE_BYTES {
            return Err(SecretError::Refused {
                path: self.path.clone(),
                reason: "it would be larger than 4 MiB",
            });
        }
        // The lock is held, so nobody else writes a file of this name; what a crash left of it is overwritten.
        let new = beside(&self.path, ".new");
        let written = write_synced(&new, &bytes).and_then(|()| fs::rename(&new, &self.path));
        written.and_then(|()| sync_directory(&self.path)).map_err(|source| self.failed("write", source))
    }

    fn lock(&self) -> Result<File, SecretError> {
        let failed = |source| self.failed("lock", source);
        if let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            private_directory::create(parent).map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = regular_file::open(&mut options, OFlags::empty(), &beside(&self.path, ".lock"))
            .map_err(failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        Ok(lock)
    }

    fn failed(&self, action: &'static str, source: io::Error) -> SecretError {
        SecretError::Io { action, path: self.path.clone(), source }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A left-over file could have another mode, so it is not reused.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the renaming durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
