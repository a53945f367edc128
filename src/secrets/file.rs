//! Secrets from one encrypted file.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::sealed::{self, Derivation, KeyMaterial, KeySource, SealingKey, Secrets};
use super::secret::{Trimmer, trim_text};
use super::store::{FileStamp, revision_of};
use super::{DirectorySecrets, Secret, SecretError, SecretStore, normalise_name};
use crate::model::regular_file;

/// The largest encrypted file that is read, in bytes: 4 MiB.
pub const MAX_ENCRYPTED_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// The largest key file that is read, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// Reads secrets from a file that [`SecretEditor`](super::SecretEditor) wrote.
///
/// The file is decrypted once and again when it was replaced, so a secret that was set while the host runs is used at the
/// next request. The derived key is kept (and erased at the end), so that a passphrase costs its second only once.
pub struct EncryptedFile {
    path: PathBuf,
    material: KeyMaterial,
    trimmer: Trimmer,
    // A lock, because workers ask at the same time, and only one of them should decrypt a replaced file.
    loaded: Mutex<Option<OpenedSecrets>>,
}

/// What is in memory of a file.
pub(super) struct OpenedSecrets {
    stamp: FileStamp,
    pub(super) derivation: Derivation,
    pub(super) key: SealingKey,
    pub(super) secrets: Secrets,
}

impl EncryptedFile {
    /// Opens the file and decrypts it, so that a wrong key shows at start and not at the first request.
    ///
    /// # Errors
    /// [`SecretError::Missing`], [`SecretError::WrongKey`] and [`SecretError::Damaged`] are told apart;
    /// [`SecretError::BadKey`] when the key is unusable or of the other kind.
    pub fn open(path: &Path, key: &KeySource) -> Result<Self, SecretError> {
        let material = load_key(key)?;
        let loaded = load(path, &material, None)?;
        Ok(Self {
            path: path.to_owned(),
            material,
            trimmer: Trimmer::default(),
            loaded: Mutex::new(Some(loaded)),
        })
    }

    fn with_secrets<T>(&self, use_them: impl FnOnce(&Secrets) -> T) -> Result<T, SecretError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let current = stamp(&self.path)?;
        match &*loaded {
            Some(known) if known.stamp == current => Ok(use_them(&known.secrets)),
            _ => {
                let fresh = load(&self.path, &self.material, loaded.take())?;
                let result = use_them(&fresh.secrets);
                *loaded = Some(fresh);
                Ok(result)
            }
        }
    }
}

impl SecretStore for EncryptedFile {
    fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        let name = normalise_name(name)?;
        let value = self.with_secrets(|secrets| secrets.get(&name).cloned())?;
        Ok(value.and_then(|value| self.trimmer.apply(&name, value)))
    }

    fn names(&self) -> Result<Vec<String>, SecretError> {
        self.with_secrets(|secrets| secrets.keys().cloned().collect())
    }

    fn revision(&self) -> Option<u64> {
        stamp(&self.path).ok().map(|stamp| revision_of(&stamp))
    }
}

/// Reads the key from where it is kept.
pub(super) fn load_key(source: &KeySource) -> Result<KeyMaterial, SecretError> {
    match source {
        KeySource::Passphrase(passphrase) => KeyMaterial::from_passphrase(passphrase),
        KeySource::File(path) => {
            let (_, mut bytes) = read(path, MAX_KEY_FILE_BYTES).map_err(|error| match error {
                SecretError::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
                    SecretError::MissingKey { path }
                }
                other => other,
            })?;
            trim_text(&mut bytes);
            KeyMaterial::from_file_content(bytes)
        }
        KeySource::SystemdCredential(name) => {
            let path = DirectorySecrets::systemd_path(&normalise_name(name)?)?;
            load_key(&KeySource::File(path))
        }
    }
}

/// Reads and decrypts a file, with the key of an earlier reading when it is still derived in the same way.
pub(super) fn load(
    path: &Path,
    material: &KeyMaterial,
    earlier: Option<OpenedSecrets>,
) -> Result<OpenedSecrets, SecretError> {
    let (stamp, bytes) = read(path, MAX_ENCRYPTED_FILE_BYTES).map_err(|error| match error {
        SecretError::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
            SecretError::Missing { path }
        }
        other => other,
    })?;
    let sealed = sealed::parse(&bytes, path)?;
    let derivation = sealed.derivation().clone();
    let key = match earlier.filter(|earlier| earlier.derivation == derivation) {
        Some(earlier) => earlier.key,
        None => derivation.derive(material, path)?,
    };
    let secrets = sealed.open(&key, path)?;
    Ok(OpenedSecrets { stamp, derivation, key, secrets })
}

fn stamp(path: &Path) -> Result<FileStamp, SecretError> {
    fs::metadata(path).map(|metadata| FileStamp::of(&metadata)).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => SecretError::Missing { path: path.to_owned() },
        _ => SecretError::Io { action: "look at", path: path.to_owned(), source },
    })
}

fn read(path: &Path, limit: u64) -> Result<(FileStamp, Zeroizing<Vec<u8>>), SecretError> {
    let failed = |source| SecretError::Io { action: "read", path: path.to_owned(), source };
    let file = regular_file::read(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let refused = |reason| SecretError::Refused { path: path.to_owned(), reason };
    if metadata.len() > limit {
        return Err(refused("it is too large"));
    }
    let room = usize::try_from(metadata.len()).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(refused("it is too large"));
    }
    Ok((FileStamp::of(&metadata), bytes))
}
