//! What can go wrong with secrets. No variant ever holds a value.

use std::path::PathBuf;

use crate::model::io_advice::advice;

/// Why a secret could not be read or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// A name that no secret can have.
    #[error(
        "'{name}' is not a name for a secret: use 1 to 128 characters out of letters, digits, '_', '-' and '.', \
         not beginning with a dot"
    )]
    BadName {
        /// The name, escaped and cut.
        name: String,
    },
    /// The value is not UTF-8 text.
    #[error("the secret '{name}' is not UTF-8 text; store binary keys as base64 or hex")]
    NotText {
        /// The secret's name.
        name: String,
    },
    /// A secret without content, which would count as missing.
    #[error("the value of '{name}' is empty; to take a secret away, remove it")]
    Empty {
        /// The secret's name.
        name: String,
    },
    /// The value is longer than this host takes.
    #[error("the secret '{name}' is larger than {limit} bytes: store a shorter one")]
    TooLarge {
        /// The secret's name.
        name: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A path that is not a regular file, or a link that leads out of the directory.
    #[error("{path}: {reason}", path = path.display())]
    Refused {
        /// The path that was looked at.
        path: PathBuf,
        /// Why it is not taken.
        reason: &'static str,
    },
    /// A source of secrets of one's own ([`SecretStore`](super::SecretStore)) cannot be asked at present: it is asked again.
    #[error("the secrets cannot be read: {source}")]
    Unavailable {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file system said no.
    #[error("cannot {action} {path}: {source}; {advice}", path = path.display(), advice = advice(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The encrypted file does not exist yet.
    #[error(
        "there is no secrets file at {path}; it is made when the first secret is stored (the daemon: `tinclaw secrets set NAME`)",
        path = path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file with the key of the encrypted file is gone.
    #[error(
        "the key file {path} is missing: restore it from a copy; without it the stored secrets cannot be read",
        path = path.display()
    )]
    MissingKey {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The key or passphrase is not the one that the file was written with.
    #[error(
        "the key does not fit {path}: check the key file or the passphrase (the file itself is not damaged as far \
         as can be seen)",
        path = path.display()
    )]
    WrongKey {
        /// The encrypted file.
        path: PathBuf,
    },
    /// The file is not what was written: cut, changed, or no secrets file at all.
    #[error("{path} is damaged or is no secrets file ({reason}); restore it from a backup", path = path.display())]
    Damaged {
        /// The encrypted file.
        path: PathBuf,
        /// What did not fit.
        reason: &'static str,
    },
    /// The file was written by a newer version.
    #[error("{path} has format version {version}, this program knows up to {known}: run the newer release", path = path.display())]
    UnknownVersion {
        /// The encrypted file.
        path: PathBuf,
        /// The version that it says.
        version: u64,
        /// The newest version known here.
        known: u64,
    },
    /// The key material cannot be used.
    #[error("the key of the secrets file cannot be used: {reason}")]
    BadKey {
        /// Why.
        reason: &'static str,
    },
    /// An environment variable that a backend needs is not set.
    #[error(
        "the environment variable {variable} is not set: systemd sets it for a service with LoadCredential=; elsewhere name \
         another source of secrets or of the key"
    )]
    NoVariable {
        /// The variable's name.
        variable: &'static str,
    },
    /// The operating system gave no random bytes.
    #[error(
        "the system gave no random bytes: see that the program may read /dev/urandom or call getrandom(2)"
    )]
    NoRandomness,
}
