//! The trait behind which secrets are stored.

use super::{Secret, SecretError};

/// A source of secrets.
///
/// Implementations are asked from several threads at once and for every use, so that a secret that an operator has
/// just changed is used at the next call; they cache what is slow to read.
pub trait SecretStore: Send + Sync {
    /// The secret of that name, or `None` when there is none.
    ///
    /// Names are compared in lower case. An empty value counts as missing: an empty environment variable or file is
    /// how a secret is left out, and no provider takes an empty credential.
    ///
    /// # Errors
    /// When the source is there but cannot be read. That is never reported as "missing".
    fn get(&self, name: &str) -> Result<Option<Secret>, SecretError>;

    /// The names of all secrets that this source can list, in lower case and sorted.
    ///
    /// The leak scan guards every listed secret. A source that cannot list (plain environment variables) leaves out
    /// what it does not know of; such secrets are guarded through the capability files that name them.
    ///
    /// # Errors
    /// When the source is there but cannot be read.
    fn names(&self) -> Result<Vec<String>, SecretError>;

    /// A number that is another one after every change of a name or a value, for callers that keep what they made of the
    /// secrets. `None`: nothing can be said, so nothing is kept. It is asked for every outbound request and should cost less
    /// than reading the values.
    fn revision(&self) -> Option<u64> {
        None
    }
}

impl<S: SecretStore + ?Sized> SecretStore for std::sync::Arc<S> {
    fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        (**self).get(name)
    }

    fn names(&self) -> Result<Vec<String>, SecretError> {
        (**self).names()
    }

    fn revision(&self) -> Option<u64> {
        (**self).revision()
    }
}
