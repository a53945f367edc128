//! The end of the host, as an agent that waits notices it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Set once.
#[derive(Debug, Default)]
pub(super) struct Stop {
    /// Set once, by whoever stops the host; threads that wait for `changed` read it. Held for that only.
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
