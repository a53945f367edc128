//! How much is on its way to the store: one counter of batches, questions and bytes, for all that have to hold back; and
//! deferred batches, which nobody waits for: they go with the next group, or are a group of their own after a while.
//!
//! Sending each of them as a request would wake the store thread for each, and on a disk cost a sync for each.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::handle::Commit;

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

/// How long such a batch waits for a group that it can go with.
///
/// What is deferred is an acknowledgement: one that a crash loses makes a message be delivered once more. A group of its own
/// costs a write to flash memory, which is half of what a message costs when one comes every second.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// How many may wait. Whoever has more sends an ordinary request, and waits when the queue is full.
const MAX_WAITING: usize = 1024;

/// What waits for the store thread.
pub(super) struct Deferred {
    /// Senders add to it and the store thread empties it; held for that only, never while a batch is committed or its
    /// owner is told.
    waiting: Mutex<BacklogWaiting>,
}

#[derive(Default)]
struct BacklogWaiting {
    commits: Vec<Commit>,
    /// The store thread will look by itself.
    is_announced: bool,
    is_closed: bool,
}

/// What became of a batch.
pub(super) enum Pushed {
    /// The store thread will find it.
    Waits,
    /// The store thread must be told that something is here.
    Announce,
    /// It cannot wait here.
    Refused(Commit),
}

impl Deferred {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default() }
    }

    pub(super) fn push(&self, commit: Commit) -> Pushed {
        let mut waiting = self.lock();
        if waiting.is_closed || waiting.commits.len() >= MAX_WAITING {
            return Pushed::Refused(commit);
        }
        waiting.commits.push(commit);
        if std::mem::replace(&mut waiting.is_announced, true) { Pushed::Waits } else { Pushed::Announce }
    }

    /// Takes everything. The store thread looks again by itself.
    pub(super) fn take(&self) -> Vec<Commit> {
        std::mem::take(&mut self.lock().commits)
    }

    /// Takes everything. When nothing is here, or when `for_good`, the store thread wants to be told of the next one.
    pub(super) fn take_or_rest(&self, for_good: bool) -> Vec<Commit> {
        let mut waiting = self.lock();
        let commits = std::mem::take(&mut waiting.commits);
        waiting.is_announced = !for_good && !commits.is_empty();
        commits
    }

    /// What comes from now on is refused; what is here stays for the store thread.
    pub(super) fn refuse_more(&self) {
        self.lock().is_closed = true;
    }

    /// Nothing is kept any more: what is here, and what would still come, is dropped.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        let dropped = std::mem::take(&mut waiting.commits);
        drop(waiting);
        // Owners are told now that the lock is free: they may send something again.
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, BacklogWaiting> {
        // Nothing here panics half-way, so a poisoned lock is as good as another.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
