//! A store in memory: it commits on the caller's thread.
//!
//! Nothing has to be waited for, so a thread that gathers groups would only cost two hand-overs for each batch.

use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::change::Entry;
use super::engine::Store;
use super::handle::{Commit, CommitError, Query, RetriedQuery};
use super::health::StoreStatus;
use super::memory::MemoryStore;
use super::retention::Retention;
use crate::model::clock::steady_ms;

/// So many batches lie between two rounds of pruning.
const PRUNE_EVERY: usize = 256;

/// The store, and what its thread would know.
pub(super) struct CallerStore {
    store: MemoryStore,
    retention: Retention,
    /// The number of the last batch. Each caller takes the next one, so no two batches share one.
    number: AtomicU64,
    /// Batches since the last round of pruning. Whoever makes it full prunes.
    batches: AtomicUsize,
    /// Set once, by [`CallerStore::stop`]; nothing is stored afterwards.
    is_stopped: AtomicBool,
}

impl CallerStore {
    pub(super) fn new(store: MemoryStore, retention: &Retention) -> Self {
        let retention = retention.in_memory();
        Self {
            store,
            retention,
            number: AtomicU64::new(0),
            batches: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// Commits a batch, and tells its owner when no lock is held any more.
    pub(super) fn commit(&self, shared: &StoreStatus, Commit { batch, owner }: Commit) {
        if self.is_stopped.load(Ordering::SeqCst) {
            return owner.done.end(Err(CommitError::Stopped));
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        // A clone is the same store.
        let outcome = self.store.clone().commit(slice::from_ref(&Entry { number, batch }));
        if outcome.is_ok() {
            shared.committed(1);
        }
        owner.done.end(outcome.map_err(|error| CommitError::from_engine(&error)));
        if self.batches.fetch_add(1, Ordering::Relaxed) + 1 == PRUNE_EVERY {
            self.prune(shared);
        }
    }

    pub(super) fn ask(&self, query: Query) {
        if self.is_stopped.load(Ordering::SeqCst) {
            return drop(query(Err(CommitError::Stopped)));
        }
        // What makes a store on a disk unusable does not happen to this one.
        drop(query(Ok(&mut self.store.clone())));
    }

    pub(super) fn run_until_done(&self, mut query: RetriedQuery) {
        if !self.is_stopped.load(Ordering::SeqCst) {
            // Reading from memory does not fail.
            drop(query(&mut self.store.clone()));
        }
    }

    pub(super) fn stop(&self, shared: &StoreStatus) {
        self.is_stopped.store(true, Ordering::SeqCst);
        shared.stopped();
    }

    fn prune(&self, shared: &StoreStatus) {
        self.batches.store(0, Ordering::Relaxed);
        let mut store = self.store.clone();
        // Neither of them fails in memory.
        while store.prune(&self.retention, steady_ms()).is_ok_and(|done| done.more) {}
        if let Ok(usage) = store.usage() {
            shared.measured(usage);
        }
    }
}
