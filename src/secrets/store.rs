//! The trait behind which secrets are stored; the secrets in memory, and several sources asked in order; and how a source
//! tells a file that was changed from the one that was read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::secret::Trimmer;
use super::{Secret, SecretError, normalise_name};

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

    /// The name under which the operator stores what is asked for as `name`. Default the same.
    fn stored_name(&self, name: &str) -> String {
        name.to_owned()
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

    fn stored_name(&self, name: &str) -> String {
        (**self).stored_name(name)
    }
}

/// Asks one source after the other; the first that has the secret wins.
///
/// A source that cannot be read stops the search with its error: going on would quietly use an older value of the same
/// name from a later source.
#[derive(Clone, Default)]
pub struct ChainSecrets {
    stores: Vec<Arc<dyn SecretStore>>,
}

impl ChainSecrets {
    /// A chain of these sources, the first one first.
    pub fn new(stores: Vec<Arc<dyn SecretStore>>) -> Self {
        Self { stores }
    }
}

impl SecretStore for ChainSecrets {
    fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        for store in &self.stores {
            if let Some(secret) = store.get(name)? {
                return Ok(Some(secret));
            }
        }
        Ok(None)
    }

    fn names(&self) -> Result<Vec<String>, SecretError> {
        let mut names = BTreeSet::new();
        for store in &self.stores {
            names.extend(store.names()?);
        }
        Ok(names.into_iter().collect())
    }

    fn revision(&self) -> Option<u64> {
        let revisions: Option<Vec<u64>> = self.stores.iter().map(|store| store.revision()).collect();
        revisions.map(|revisions| revision_of(&revisions))
    }
}

/// Secrets held in memory.
///
/// ```
/// use tinclaw::secrets::{MemorySecrets, SecretStore};
///
/// let secrets = MemorySecrets::from([("telegram_bot_token", "123:ABC")]);
/// assert_eq!(secrets.get("TELEGRAM_BOT_TOKEN").unwrap().unwrap().expose(), "123:ABC");
/// ```
#[derive(Default)]
pub struct MemorySecrets {
    // A lock, because a test or an operator's command changes secrets while workers read them.
    values: RwLock<BTreeMap<String, Secret>>,
    /// Raised by every change, after it and before its lock is let go.
    revision: AtomicU64,
    trimmer: Trimmer,
}

impl MemorySecrets {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a value under a name, replacing what was there.
    ///
    /// # Errors
    /// [`SecretError::BadName`].
    pub fn set(&self, name: &str, value: Secret) -> Result<(), SecretError> {
        let name = normalise_name(name)?;
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        values.insert(name, value);
        self.revision.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Removes a secret; says whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        let removed = values.remove(&name).is_some();
        self.revision.fetch_add(1, Ordering::Release);
        removed
    }
}

impl<const N: usize> From<[(&str, &str); N]> for MemorySecrets {
    /// For tests: names that are not valid are kept as they are and simply never found.
    fn from(values: [(&str, &str); N]) -> Self {
        let values = values
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), Secret::from(value)))
            .collect();
        Self { values: RwLock::new(values), ..Self::default() }
    }
}

impl SecretStore for MemorySecrets {
    fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        let name = normalise_name(name)?;
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        Ok(values.get(&name).cloned().and_then(|value| self.trimmer.apply(&name, value)))
    }

    fn names(&self) -> Result<Vec<String>, SecretError> {
        Ok(self.values.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect())
    }

    fn revision(&self) -> Option<u64> {
        Some(self.revision.load(Ordering::Acquire))
    }
}

/// What changes with every replacement of a file, and with a change in place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileStamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A number for a state, equal for equal states within this process.
pub(super) fn revision_of(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Secrets that cannot be read.
#[cfg(test)]
pub struct UnreadableSecrets;

#[cfg(test)]
impl SecretStore for UnreadableSecrets {
    fn get(&self, _: &str) -> Result<Option<Secret>, SecretError> {
        Err(SecretError::NoRandomness)
    }

    fn names(&self) -> Result<Vec<String>, SecretError> {
        Err(SecretError::NoRandomness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MemorySecrets;

    #[test]
    fn the_first_source_that_has_it_wins() {
        let chain = ChainSecrets::new(vec![
            Arc::new(MemorySecrets::from([("a", "first"), ("empty", "")])),
            Arc::new(MemorySecrets::from([("a", "second"), ("b", "second"), ("empty", "later")])),
        ]);
        assert_eq!(chain.get("a").unwrap(), Some(Secret::from("first")));
        assert_eq!(chain.get("b").unwrap(), Some(Secret::from("second")));
        assert_eq!(chain.get("empty").unwrap(), Some(Secret::from("later")));
        assert_eq!(chain.get("c").unwrap(), None);
        assert_eq!(chain.names().unwrap(), ["a", "b", "empty"]);
    }

    #[test]
    fn a_source_that_cannot_be_read_is_not_skipped() {
        let chain = ChainSecrets::new(vec![
            Arc::new(UnreadableSecrets),
            Arc::new(MemorySecrets::from([("a", "old")])),
        ]);
        assert!(chain.get("a").is_err());
        assert!(chain.names().is_err());
    }

    #[test]
    fn names_are_compared_in_lower_case_and_empty_is_missing() {
        let store = MemorySecrets::from([("Token", "v"), ("empty", "")]);
        assert_eq!(store.get("tOKEN").unwrap(), Some(Secret::from("v")));
        assert_eq!(store.get("empty").unwrap(), None);
        assert_eq!(store.names().unwrap(), ["empty", "token"]);
        store.set("new", Secret::from("x")).unwrap();
        assert!(store.remove("NEW"));
        assert!(!store.remove("new"));
        assert!(store.set("a/b", Secret::from("x")).is_err());
    }

    // What a library's user read from a file was sent with its line break.
    #[test]
    fn values_are_trimmed_as_those_of_every_source() {
        let store = MemorySecrets::from([("token", "\u{feff}\"value\"\n"), ("nothing", " \n")]);
        assert_eq!(store.get("token").unwrap(), Some(Secret::from("value")));
        assert_eq!(store.get("nothing").unwrap(), None);
    }
}
