//! The memory for answers that are on their way to their clients.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::memory::Memory;
use crate::model::log_throttle::{LogThrottle, Suppressed};

/// Bounds the sum of all large answers. Whoever answers takes the memory before the answer is written, and the front
/// releases it when the client has it, or when the private connection is lost.
///
/// Behind a lock because answers come from any thread; it is held for a look into a map, and small answers skip it.
#[derive(Debug)]
pub(crate) struct AnswerMemory {
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    memory: Memory,
    by_arrival: HashMap<u64, u64>,
    /// For answers that are replaced by one with this status.
    replaced_log: LogThrottle<u16>,
}

impl AnswerMemory {
    pub(crate) fn new(size: u64) -> Self {
        let taken = Taken {
            memory: Memory::new(size),
            by_arrival: HashMap::new(),
            replaced_log: LogThrottle::default(),
        };
        AnswerMemory { taken: Mutex::new(taken) }
    }

    /// Takes memory for the answer to the request with this number; false when it is not left.
    pub(crate) fn take(&self, arrival: u64, bytes: u64) -> bool {
        let mut taken = self.lock();
        let fits = taken.memory.take(bytes);
        if fits {
            taken.by_arrival.insert(arrival, bytes);
        }
        fits
    }

    /// Releases what the answer to this request has taken, if anything.
    pub(crate) fn release(&self, arrival: u64) {
        let mut taken = self.lock();
        if let Some(bytes) = taken.by_arrival.remove(&arrival) {
            taken.memory.release(bytes);
        }
    }

    /// Whether it may be logged now that an answer is replaced by one with this status.
    pub(crate) fn may_log_replaced(&self, status: u16) -> Option<Suppressed> {
        self.lock().replaced_log.check(&status, Instant::now())
    }

    pub(crate) fn used(&self) -> u64 {
        self.lock().memory.used()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing in here panics half-way.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_given_back_once() {
        let memory = AnswerMemory::new(10);
        assert!(memory.take(1, 6));
        assert!(!memory.take(2, 5));
        memory.release(2);
        assert_eq!(memory.used(), 6);
        memory.release(1);
        memory.release(1);
        assert_eq!(memory.used(), 0);
        assert!(memory.take(2, 10));
    }
}
