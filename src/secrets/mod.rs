//! Where secrets come from, and the one type that carries them.
//!
//! A guest never sees a [`Secret`]: the host reads it from a [`SecretStore`] at the moment of use; only the
//! patterns that requests are searched for are kept, until a [`SecretStore::revision`] changes, and are erased then.
//! Names are compared in lower case everywhere; `normalise_name` is the one place that says what a name may be.
//!
//! Every source leaves out what stands around a value: a byte order mark, white space, one pair of quotes.
// | backend | what for |
// |---|---|
// | [`EnvSecrets`] | environment variables, for containers and first steps |
// | [`DirectorySecrets`] | one file per secret: systemd's `$CREDENTIALS_DIRECTORY`, Kubernetes and Docker secrets |
// | [`EncryptedFile`] | one encrypted file that [`SecretEditor`] (and so `tinclaw secrets`) can write |
// | [`MemorySecrets`] | tests, and library users who have their own source |
// | [`ChainSecrets`] | several of them, asked in order |

mod account;
mod directory;
mod editor;
mod env;
mod error;
mod file;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod name;
mod sealed;
mod secret;
mod store;

pub(crate) use account::AccountSecrets;
#[cfg(feature = "cli")]
pub(crate) use account::account_secret_name;
pub use directory::DirectorySecrets;
pub use editor::SecretEditor;
pub use env::EnvSecrets;
pub use error::SecretError;
pub use file::EncryptedFile;
pub(crate) use name::{AllowedNames, accepted_values, current_name, normalise_name};
pub use sealed::KeySource;
pub use secret::Secret;
#[cfg(test)]
pub(crate) use store::UnreadableSecrets;
pub use store::{ChainSecrets, MemorySecrets, SecretStore};
