//! Several sources, asked in order.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::stamp::revision_of;
use super::{Secret, SecretError, SecretStore};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MemorySecrets;

    struct Broken;

    impl SecretStore for Broken {
        fn get(&self, _: &str) -> Result<Option<Secret>, SecretError> {
            Err(SecretError::NoRandomness)
        }

        fn names(&self) -> Result<Vec<String>, SecretError> {
            Err(SecretError::NoRandomness)
        }
    }

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
        let chain = ChainSecrets::new(vec![Arc::new(Broken), Arc::new(MemorySecrets::from([("a", "old")]))]);
        assert!(chain.get("a").is_err());
        assert!(chain.names().is_err());
    }
}
