//! Where secrets come from, and the one type that carries them.
//!
//! A guest never sees a [`Secret`]: the host reads it from a [`SecretStore`] at the moment of use and forgets it again.
//! Names are compared in lower case everywhere; [`normalise_name`] is the one place that says what a name may be.
//!
//! | backend | what for |
//! |---|---|
//! | [`EnvSecrets`] | environment variables, for containers and first steps |
//! | [`MemorySecrets`] | tests, and library users who have their own source |
//! | [`ChainSecrets`] | several of them, asked in order |

mod allowed_names;
mod chain;
mod env;
mod error;
mod memory;
mod name;
mod secret;
mod store;

pub use allowed_names::AllowedNames;
pub use chain::ChainSecrets;
pub use env::{EnvSecrets, SECRET_ENV_PREFIX};
pub use error::SecretError;
pub use memory::MemorySecrets;
pub use name::{MAX_NAME_BYTES, normalise_name};
pub use secret::{MAX_SECRET_BYTES, Secret};
pub use store::SecretStore;
