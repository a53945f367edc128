//! Secrets from a directory that holds one file per secret.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::secret::Trimmer;
use super::store::{FileStamp, revision_of};
use super::{Secret, SecretError, SecretStore, normalise_name};

/// The environment variable in which systemd names the directory of a unit's credentials (`systemd.exec(5)`).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Reads secrets from the files of a directory: systemd's credentials, Docker's `/run/secrets`, a Kubernetes volume.
///
/// The file's name is the secret's name, in any case (of two that differ only in case, the one in lower case wins). A
/// byte order mark, white space and one pair of quotes around the value are not part of it. A file may be a symbolic link
/// as long as it stays inside of the directory: Kubernetes links each file to `..data/NAME`, and `..data` to a directory
/// that it exchanges as a whole. Links that lead out, sockets, pipes and directories are refused. Files are read at each
/// use, so that an exchanged secret is used at once; at most [`Secret::MAX_BYTES`] of each.
#[derive(Clone, Debug)]
pub struct DirectorySecrets {
    root: PathBuf,
    trimmer: Trimmer,
}

impl DirectorySecrets {
    /// Secrets in this directory, which must exist.
    ///
    /// # Errors
    /// When it is not a directory or cannot be read.
    pub fn open(directory: &Path) -> Result<Self, SecretError> {
        let root = fs::canonicalize(directory).map_err(|source| io_error("open", directory, source))?;
        if !root.is_dir() {
            return Err(SecretError::Refused { path: root, reason: "it is not a directory" });
        }
        Ok(Self { root, trimmer: Trimmer::default() })
    }

    /// The credentials that systemd gave to this unit (`LoadCredential=`, `LoadCredentialEncrypted=`).
    ///
    /// # Errors
    /// [`SecretError::NoVariable`] when `$CREDENTIALS_DIRECTORY` is not set; else as [`DirectorySecrets::open`].
    pub fn from_systemd() -> Result<Self, SecretError> {
        Self::open(&systemd_directory()?)
    }

    /// The file of a credential that systemd gave to this unit.
    pub(super) fn systemd_path(name: &str) -> Result<PathBuf, SecretError> {
        Ok(systemd_directory()?.join(name))
    }

    fn entries(&self) -> Result<Vec<(String, PathBuf)>, SecretError> {
        let failed = |source| io_error("list", &self.root, source);
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // What is not a name for a secret (`..data`, backups of editors, non-UTF-8) is not one.
            if let Some(name) = entry.file_name().to_str().and_then(|name| normalise_name(name).ok()) {
                entries.push((name, entry.path()));
            }
        }
        Ok(entries)
    }

    fn find(&self, name: &str) -> Result<Option<PathBuf>, SecretError> {
        let exact = self.root.join(name);
        if exact.symlink_metadata().is_ok() {
            return Ok(Some(exact));
        }
        let others = self.entries()?.into_iter().filter(|(entry, _)| entry == name);
        // The first by name, so that it never depends on the order of the directory.
        Ok(others.map(|(_, path)| path).min())
    }

    fn read(&self, name: &str, path: &Path) -> Result<Option<Secret>, SecretError> {
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", path, error)),
        };
        let refused = |reason| SecretError::Refused { path: path.to_owned(), reason };
        if !real.starts_with(&self.root) {
            return Err(refused("it is a link that leads out of the directory"));
        }
        let value = read_bounded(&real, Secret::MAX_BYTES + 2, refused)?;
        let too_large = || SecretError::TooLarge { name: name.to_owned(), limit: Secret::MAX_BYTES };
        if value.len() as u64 > Secret::MAX_BYTES + 2 {
            return Err(too_large());
        }
        let secret =
            Secret::from_utf8(value).ok_or_else(|| SecretError::NotText { name: name.to_owned() })?;
        let secret = self.trimmer.apply(name, secret);
        match secret {
            Some(secret) if secret.len() as u64 > Secret::MAX_BYTES => Err(too_large()),
            secret => Ok(secret),
        }
    }
}

fn systemd_directory() -> Result<PathBuf, SecretError> {
    let directory = std::env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from);
    directory.ok_or(SecretError::NoVariable { variable: CREDENTIALS_DIRECTORY })
}

/// Reads a regular file, up to one byte more than the limit.
fn read_bounded(
    path: &Path,
    limit: u64,
    refused: impl Fn(&'static str) -> SecretError,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let failed = |source| io_error("read", path, source);
    // NONBLOCK, so that a pipe cannot hold the host up before it is seen to be one.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).expect("flags of open(2) are an int");
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(refused("it is not a regular file"));
    }
    // Room for all of it, so that growing leaves no copies behind.
    let room = usize::try_from(metadata.len().min(limit + 1)).unwrap_or(0) + 1;
    let mut value = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit + 1).read_to_end(&mut value).map_err(failed)?;
    Ok(value)
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> SecretError {
    SecretError::Io { action, path: path.to_owned(), source }
}

impl SecretStore for DirectorySecrets {
    fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        let name = normalise_name(name)?;
        match self.find(&name)? {
            Some(path) => self.read(&name, &path),
            None => Ok(None),
        }
    }

    fn names(&self) -> Result<Vec<String>, SecretError> {
        let mut names = BTreeSet::new();
        names.extend(self.entries()?.into_iter().map(|(name, _)| name));
        Ok(names.into_iter().collect())
    }

    /// Stamps of the files, links followed: Kubernetes exchanges what its links lead to.
    fn revision(&self) -> Option<u64> {
        let mut stamps = Vec::new();
        for (name, path) in self.entries().ok()? {
            let stamp = match fs::metadata(&path) {
                Ok(metadata) => Some(FileStamp::of(&metadata)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(_) => return None,
            };
            stamps.push((name, path, stamp));
        }
        stamps.sort_by(|one, other| one.1.cmp(&other.1));
        Some(revision_of(&stamps))
    }
}
