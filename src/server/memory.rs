//! Memory that several connections share, counted in bytes.

/// A fixed amount of memory. Owned by one thread.
#[derive(Debug)]
pub(crate) struct Memory {
    size: u64,
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
}
