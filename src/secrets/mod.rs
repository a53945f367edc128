//! Where secrets come from, and the one type that carries them.
//!
//! A guest never sees a [`Secret`]: the host reads it from a [`SecretStore`] at the moment of use; only the
//! patterns that requests are searched for are kept, until a [`SecretStore::revision`] changes, and are erased then.
//! Names are compared in lower case everywhere; `normalise_name` is the one place that says what a name may be.
//!
//! Every source leaves out what stands around a value: a byte order mark, white space, one pair of quotes.
//!
//! | backend | what for |
//! |---|---|
//! | [`EnvSecrets`] | environment variables, for containers and first steps |
//! | [`DirectorySecrets`] | one file per secret: systemd's `$CREDENTIALS_DIRECTORY`, Kubernetes and Docker secrets |
//! | [`EncryptedFile`] | one encrypted file that [`SecretEditor`] (and so `tinclaw secrets`) can write |
//! | [`MemorySecrets`] | tests, and library users who have their own source |
//! | [`ChainSecrets`] | several of them, asked in order |

mod allowed_names;
mod chain;
mod directory;
mod editor;
mod env;
mod error;
mod file;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod memory;
mod name;
mod rotation;
mod sealed;
mod secret;
mod stamp;
mod store;
mod trim;

pub(crate) use allowed_names::AllowedNames;
pub use chain::ChainSecrets;
pub use directory::DirectorySecrets;
pub use editor::SecretEditor;
pub use env::EnvSecrets;
pub use error::SecretError;
pub use file::EncryptedFile;
pub use memory::MemorySecrets;
pub(crate) use name::normalise_name;
pub(crate) use rotation::accepted_values;
pub(crate) use rotation::current_name;
pub use sealed::{KdfCost, KeySource};
pub use secret::{MAX_SECRET_BYTES, Secret};
pub use store::SecretStore;
