//! Where secrets come from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::file::SecretsTable;
use crate::cli::output::Failure;
use crate::model::private_directory;
use crate::secrets::{
    ChainSecrets, DirectorySecrets, EncryptedFile, EnvSecrets, KeySource, Secret, SecretEditor, SecretError,
    SecretStore,
};

/// The variable with the passphrase of the encrypted file.
const PASSPHRASE_VARIABLE: &str = "TINCLAW_SECRETS_PASSPHRASE";
/// Random bytes of a key file that is made here.
const KEY_BYTES: usize = 32;

/// Where secrets come from.
#[derive(Clone, Debug)]
pub struct SecretSources {
    env_prefixed_only: bool,
    directory: Option<PathBuf>,
    systemd: bool,
    /// The encrypted file, which need not exist.
    pub file: PathBuf,
    key: KeyLocation,
    /// Whether secrets that channels let the host choose are made at start.
    pub generates: bool,
}

#[derive(Clone, Debug)]
enum KeyLocation {
    /// This one, which must be there.
    Given(KeySource),
    /// The key file in the state directory, which is made when it is needed.
    Own(PathBuf),
}

impl SecretSources {
    /// Takes what the configuration says; paths in it are already resolved.
    pub fn new(table: SecretsTable, state_dir: &Path) -> Result<Self, Failure> {
        let passphrase = std::env::var(PASSPHRASE_VARIABLE).ok().filter(|text| !text.is_empty());
        let key = match (table.key_file, table.key_credential, passphrase) {
            (Some(_), Some(_), _) => {
                return Err(Failure::usage(
                    "[secrets] has both key_file and key_credential; one of them is the key",
                ));
            }
            (Some(file), None, _) => KeyLocation::Given(KeySource::File(file)),
            (None, Some(name), _) => KeyLocation::Given(KeySource::SystemdCredential(name)),
            (None, None, Some(passphrase)) => {
                KeyLocation::Given(KeySource::Passphrase(Secret::new(passphrase)))
            }
            (None, None, None) => KeyLocation::Own(state_dir.join("secrets.key")),
        };
        Ok(Self {
            env_prefixed_only: table.env_prefixed_only.unwrap_or(true),
            directory: table.directory,
            systemd: table.systemd,
            file: table.file.unwrap_or_else(|| state_dir.join("secrets.enc")),
            key,
            generates: table.generate.unwrap_or(true),
        })
    }

    /// Whether a capability file may name variables of the environment as its secrets.
    pub fn takes_any_variable(&self) -> bool {
        !self.env_prefixed_only
    }

    /// All of them as one. Variables that are secrets by their name go first, those that could be there by accident
    /// last.
    pub fn store(&self) -> Result<Arc<dyn SecretStore>, Failure> {
        let setting =
            |name| move |error: SecretError| Failure::problem(format!("{name} under [secrets]: {error}"));
        let mut stores: Vec<Arc<dyn SecretStore>> = vec![Arc::new(EnvSecrets::new())];
        if let Some(directory) = &self.directory {
            stores.push(Arc::new(DirectorySecrets::open(directory).map_err(setting("directory"))?));
        }
        if self.systemd {
            stores.push(Arc::new(DirectorySecrets::from_systemd().map_err(setting("systemd"))?));
        }
        let file = LateFile::new(self.file.clone(), self.key_source());
        // A wrong key shows at start and not at the first request.
        file.names().map_err(Failure::problem)?;
        stores.push(Arc::new(file));
        if !self.env_prefixed_only {
            stores.push(Arc::new(EnvSecrets::new().with_unprefixed()));
        }
        Ok(Arc::new(ChainSecrets::new(stores)))
    }

    /// The encrypted file to be changed. Makes the key when it is this host's own and not there yet, and then says where.
    pub fn editor(&self) -> Result<(SecretEditor, Option<PathBuf>), Failure> {
        let made = match &self.key {
            KeyLocation::Own(path) if !path.exists() => {
                if self.file.exists() {
                    let (file, key) = (self.file.display(), path.display());
                    return Err(Failure::problem(format!(
                        "{file} is there, but its key {key} is not: restore the key, or remove the file to begin again"
                    )));
                }
                make_key(path).map_err(|error| {
                    Failure::problem(format!("cannot make the key file {}: {error}", path.display()))
                })?;
                Some(path.clone())
            }
            _ => None,
        };
        let editor = SecretEditor::open(&self.file, &self.key_source()).map_err(Failure::problem)?;
        Ok((editor, made))
    }

    fn key_source(&self) -> KeySource {
        match &self.key {
            KeyLocation::Given(source) => source.clone(),
            KeyLocation::Own(path) => KeySource::File(path.clone()),
        }
    }
}

fn make_key(path: &Path) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        private_directory::create(parent)?;
    }
    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    SystemRandom::new()
        .fill(&mut *key)
        .map_err(|_| std::io::Error::other("the system gives no randomness"))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&*key)?;
    file.sync_all()
}

/// The encrypted file, which may come to be while the host runs.
struct LateFile {
    path: PathBuf,
    key: KeySource,
    /// Set by whoever first finds the file. Two threads may both open it; the second's is dropped.
    opened: OnceLock<EncryptedFile>,
}

impl LateFile {
    fn new(path: PathBuf, key: KeySource) -> Self {
        Self { path, key, opened: OnceLock::new() }
    }

    fn file(&self) -> Result<Option<&EncryptedFile>, SecretError> {
        if let Some(file) = self.opened.get() {
            return Ok(Some(file));
        }
        // A file that nobody may look at is not one that does not exist.
        if self.path.try_exists().is_ok_and(|exists| !exists) {
            return Ok(None);
        }
        let file = EncryptedFile::open(&self.path, &self.key)?;
        Ok(Some(self.opened.get_or_init(|| file)))
    }
}

impl SecretStore for LateFile {
    fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        self.file()?.map_or(Ok(None), |file| file.get(name))
    }

    fn names(&self) -> Result<Vec<String>, SecretError> {
        self.file()?.map_or(Ok(Vec::new()), SecretStore::names)
    }

    fn revision(&self) -> Option<u64> {
        self.file().ok()?.map_or(Some(0), SecretStore::revision)
    }
}
