//! How much is on its way to the store: one counter of batches, queries and bytes, for all that have to hold back.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Batches and queries under way at which nothing more should be begun.
const MAX_BATCHES: usize = 512;

/// Bytes of batches under way at which nothing more should be begun.
const MAX_BYTES: u64 = 64 << 20;

/// What was sent to the store and has no outcome yet.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Batches and queries: [`Backlog::begin`] adds one before it is sent, [`Backlog::end`] takes it away when it has its
    /// outcome, whatever that is.
    count: AtomicUsize,
    /// Bytes of these batches: added once they are known, taken away with the batch. Never less than 0, because a batch's
    /// bytes are added before it is sent.
    bytes: AtomicU64,
    /// Somebody waits for there to be less. Set by whoever found no room and looks again; cleared by the one that wakes them.
    is_awaited: AtomicBool,
}

impl Backlog {
    /// One more is under way.
    pub fn begin(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// One of them has so many bytes.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    /// One with so many bytes has its outcome.
    pub fn end(&self, bytes: u64) {
        self.count.fetch_sub(1, Ordering::SeqCst);
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// Whether more may be begun. When not, [`Backlog::take_awaited`] says so once there may be room.
    pub fn has_room(&self) -> bool {
        self.check(|count, bytes| count < MAX_BATCHES && bytes < MAX_BYTES)
    }

    /// Whether nothing is under way, for those who do not wait for it.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Whether nothing is under way. When something is, [`Backlog::take_awaited`] says so once that may have changed.
    pub fn is_empty_or_awaited(&self) -> bool {
        self.check(|count, _| count == 0)
    }

    /// Whether somebody waits to be told that less is under way.
    pub fn take_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::SeqCst) && self.is_awaited.swap(false, Ordering::SeqCst)
    }

    fn check(&self, low: impl Fn(usize, u64) -> bool) -> bool {
        let look = || low(self.count.load(Ordering::SeqCst), self.bytes.load(Ordering::SeqCst));
        if look() {
            return true;
        }
        // Looked at again, because the last one may have ended before anybody could know who waits.
        self.is_awaited.store(true, Ordering::SeqCst);
        look()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_below_each_limit_and_none_at_it() {
        for (case, others, bytes, has_room) in [
            ("below both", MAX_BATCHES - 2, MAX_BYTES - 1, true),
            ("as many as may be", MAX_BATCHES - 1, 0, false),
            ("as many bytes as may be", 0, MAX_BYTES, false),
        ] {
            let backlog = Backlog::default();
            (0..=others).for_each(|_| backlog.begin());
            backlog.add_bytes(bytes);
            assert_eq!(backlog.has_room(), has_room, "{case}");
            assert_eq!(backlog.take_awaited(), !has_room, "{case}: only one who found no room is told");
            backlog.end(bytes);
            assert!(backlog.has_room() && !backlog.take_awaited(), "{case}");
        }
    }

    #[test]
    fn it_is_empty_when_everything_has_its_outcome() {
        let backlog = Backlog::default();
        backlog.begin();
        assert!(!backlog.is_empty() && !backlog.is_empty_or_awaited() && backlog.take_awaited());
        backlog.end(0);
        assert!(backlog.is_empty() && backlog.is_empty_or_awaited() && !backlog.take_awaited());
    }
}
