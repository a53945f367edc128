//! Deferred batches, which nobody waits for: they go with the next group, or are a group of their own after a while.
//!
//! Sending each of them as a request would wake the store thread for each, and on a disk cost a sync for each.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::handle::Commit;

/// How long such a batch waits for a group that it can go with.
///
/// What is deferred is an acknowledgement: one that a crash loses makes a message be delivered once more. A group of its own
/// costs a write to flash memory.
pub(super) const LINGER: Duration = Duration::from_millis(300);

/// How many may wait. Whoever has more sends an ordinary request, and waits when the queue is full.
const MAX_WAITING: usize = 1024;

/// What waits for the store thread.
pub(super) struct Deferred {
    /// Senders add to it and the store thread empties it; held for that only, never while a batch is committed or its
    /// owner is told.
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
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

    /// Nothing is kept any more: what is here, and what would still come, is dropped.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        let dropped = std::mem::take(&mut waiting.commits);
        drop(waiting);
        // Owners are told now that the lock is free: they may send something again.
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing here panics half-way, so a poisoned lock is as good as another.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
