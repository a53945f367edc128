//! The end of the host, as an agent that waits notices it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Set once.
#[derive(Debug, Default)]
pub(super) struct Stop {
    /// False until `set` is called, then true for ever: whoever has seen true need not look again. The lock is held to read or set it and
    /// to wait for `changed`, which is notified after every change.
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub fn set(&self) {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    pub fn is_set(&self) -> bool {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; false when the host stops meanwhile.
    pub fn sleep(&self, time: Duration) -> bool {
        let is_set = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.changed.wait_timeout_while(is_set, time, |is_set| !*is_set);
        !*wait.unwrap_or_else(PoisonError::into_inner).0
    }
}
