//! Secrets in memory, for tests and for library users who bring their own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::trim::Trimmer;
use super::{Secret, SecretError, SecretStore, normalise_name};

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

#[cfg(test)]
mod tests {
    use super::*;

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
