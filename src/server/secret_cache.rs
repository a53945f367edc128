//! The secrets that a channel's requests are verified with, as they were last read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::secrets::SecretStore;
use crate::webhook::SecretProblem;

type Value = Option<Zeroizing<Vec<u8>>>;

/// A store may take long to read a secret, and may be asked by others at the same time: while its revision stays the same, it
/// is not asked again. A cache belongs to one channel and goes with it.
#[derive(Default)]
pub(crate) struct SecretCache(
    // Held while a request is verified, which one thread does.
    Mutex<Cached>,
);

#[derive(Default)]
struct Cached {
    revision: Option<u64>,
    values: HashMap<String, Value>,
}

/// The secrets of a channel as they are now.
pub struct CurrentSecrets<'a> {
    store: &'a dyn SecretStore,
    /// Behind a cell, because a look-up fills it while a request is verified.
    cached: RefCell<MutexGuard<'a, Cached>>,
}

impl SecretCache {
    /// Forgets what was read when the store has changed, or cannot say whether it has.
    pub fn current<'a>(&'a self, store: &'a dyn SecretStore) -> CurrentSecrets<'a> {
        // Asked before any value is read: a value that is newer than its revision is read again, never the other way round.
        let revision = store.revision();
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if revision.is_none() || cached.revision != revision {
            *cached = Cached { revision, values: HashMap::new() };
        }
        CurrentSecrets { store, cached: RefCell::new(cached) }
    }
}

impl CurrentSecrets<'_> {
    /// The value of this secret, none when it is not stored.
    pub fn get(&self, name: &str) -> Result<Value, SecretProblem> {
        if let Some(value) = self.cached.borrow().values.get(name) {
            return Ok(value.clone());
        }
        let secret = self.store.get(name).map_err(|_| SecretProblem::Unreadable)?;
        let value = secret.map(|secret| Zeroizing::new(secret.expose().as_bytes().to_vec()));
        self.cached.borrow_mut().values.insert(name.to_owned(), value.clone());
        Ok(value)
    }
}

impl fmt::Debug for SecretCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretCache(…)")
    }
}
