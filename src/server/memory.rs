//! Memory that several connections share, counted in bytes; and that of responses on their way to their clients.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::model::log_throttle::{LogThrottle, Suppressed};

/// A fixed amount of memory. Owned by one thread.
#[derive(Debug)]
pub(crate) struct Memory {
    size: u64,
    /// What was taken and not released: [`Memory::take`] adds, [`Memory::release`] subtracts. Never more than `size`.
    used: u64,
}

impl Memory {
    pub(crate) fn new(size: u64) -> Self {
        Memory { size, used: 0 }
    }

    /// Takes this many bytes, or nothing when they are not left.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let fits = bytes <= self.size - self.used;
        if fits {
            self.used += bytes;
        }
        fits
    }

    /// Releases what was taken.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }
}

/// Bounds the sum of all large responses. Whoever responds takes the memory before the response is written, and the front
/// releases it when the client has it, or when the private connection is lost.
///
/// Behind a lock because responses come from any thread; it is held for a look into a map, and small responses skip it.
#[derive(Debug)]
pub(crate) struct ResponseMemory {
    taken: Mutex<Reserved>,
}

#[derive(Debug)]
struct Reserved {
    memory: Memory,
    /// What each response has taken; together they are what is used of `memory`.
    by_arrival: HashMap<u64, u64>,
    /// For responses that are replaced by one with this status.
    replaced_log: LogThrottle<u16>,
}

impl ResponseMemory {
    pub(crate) fn new(size: u64) -> Self {
        let taken = Reserved {
            memory: Memory::new(size),
            by_arrival: HashMap::new(),
            replaced_log: LogThrottle::default(),
        };
        ResponseMemory { taken: Mutex::new(taken) }
    }

    /// Takes memory for the response to the request with this number; false when it is not left.
    pub(crate) fn take(&self, arrival: u64, bytes: u64) -> bool {
        let mut taken = self.lock();
        let fits = taken.memory.take(bytes);
        if fits {
            taken.by_arrival.insert(arrival, bytes);
        }
        fits
    }

    /// Releases what the response to this request has taken, if anything.
    pub(crate) fn release(&self, arrival: u64) {
        let mut taken = self.lock();
        if let Some(bytes) = taken.by_arrival.remove(&arrival) {
            taken.memory.release(bytes);
        }
    }

    /// Whether it may be logged now that a response is replaced by one with this status.
    pub(crate) fn may_log_replaced(&self, status: u16) -> Option<Suppressed> {
        self.lock().replaced_log.check(&status, Instant::now())
    }

    pub(crate) fn used(&self) -> u64 {
        self.lock().memory.used()
    }

    fn lock(&self) -> MutexGuard<'_, Reserved> {
        // Nothing in here panics half-way.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let mut memory = Memory::new(10);
        assert!(memory.take(4) && memory.take(6));
        assert!(!memory.take(1));
        memory.release(3);
        assert!(!memory.take(4));
        assert!(memory.take(3));
        assert_eq!(memory.used(), 10);
    }

    #[test]
    fn memory_is_released_once() {
        let memory = ResponseMemory::new(10);
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
