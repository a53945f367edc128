//! How other threads talk to the store: to its thread, or, when the state is in memory, by committing themselves.
//!
//! In memory nothing has to be waited for, so a thread that gathers groups would only cost two hand-overs for each batch.

use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::backlog::Pushed;
use super::change::{Batch, NumberedBatch};
use super::engine::{Ids, Store};
use super::error::{StateError, StoreError};
use super::health::{StoreHealth, StoreStatus};
use super::memory::MemoryStore;
use super::retention::Retention;
use crate::model::clock::steady_ms;
use crate::model::closing_queue::ClosingSender;
use crate::model::oneshot;

/// A way to the store thread; cheap to clone.
#[derive(Clone)]
pub struct StoreHandle {
    pub(super) executor: Executor,
    pub(super) shared: Arc<StoreStatus>,
    pub(super) ids: Ids,
}

/// Who commits.
#[derive(Clone)]
pub(super) enum Executor {
    /// The store thread.
    Thread(ClosingSender<StoreRequest>),
    /// Whoever has something to commit.
    Caller(Arc<CallerStore>),
}

impl StoreHandle {
    /// Ids for what is to be stored.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Sends a batch of what has happened: memory has it already, or somebody outside. It is kept in any case, and in the
    /// order in which batches were sent: after a failure it is sent to the store again when that works.
    ///
    /// `done` is told on the store thread, or on this one when the store is in memory or has been stopped:
    /// [`StateError::Unavailable`] at most once, as soon as the batch has to wait for a store that has failed, and then the
    /// end: `Ok` when it is durable, [`StateError::Rejected`], or [`StateError::Stopped`]. It must be short and must never
    /// wait: above all not for a thread that may be waiting in `commit`.
    ///
    /// Waits while the queue is full.
    pub fn commit(&self, batch: Batch, done: impl FnMut(Result<(), StateError>) + Send + 'static) {
        self.send(Commit::new(batch, false, self.done(done)));
    }

    /// Sends a batch on which nothing depends yet, like [`StoreHandle::commit`]. It is refused while the store is
    /// unavailable, and not sent again after a failure: `Unavailable` says that it will not be kept. Rarely it was kept
    /// all the same, by the transaction that failed; then `done` is told `Ok` later.
    pub fn try_commit(&self, batch: Batch, done: impl FnMut(Result<(), StateError>) + Send + 'static) {
        self.send(Commit::new(batch, true, self.done(done)));
    }

    /// Like [`StoreHandle::commit`], for a batch that nobody waits for: it is kept together with the next one that is sent,
    /// or within two seconds.
    pub fn commit_soon(&self, batch: Batch) {
        let commit = Commit::new(batch, false, self.done(|_| {}));
        let Executor::Thread(requests) = &self.executor else { return self.send(commit) };
        match self.shared.deferred.push(commit) {
            Pushed::Waits => {}
            // When it cannot be sent, the thread has ended and closes, or has closed, what waits.
            Pushed::Announce => requests.send(StoreRequest::Deferred),
            Pushed::Refused(commit) => self.send(commit),
        }
    }

    /// For the end of the host: what waits for another batch is kept now, and what comes from now on does not wait for one.
    pub fn stop_deferring(&self) {
        self.shared.deferred.refuse_more();
        // What waits is kept before anything is asked.
        self.ask(|_| Ok(()), |_: Result<(), StateError>| {});
    }

    fn done(&self, callback: impl FnMut(Result<(), StateError>) + Send + 'static) -> Done {
        Done { callback: Some(Box::new(callback)), is_delayed: false, under_way: self.under_way() }
    }

    fn under_way(&self) -> PendingCommit {
        PendingCommit::begin(self.shared.clone())
    }

    fn send(&self, commit: Commit) {
        match &self.executor {
            // A request that cannot be sent is dropped, and tells its owner so by itself.
            Executor::Thread(requests) => requests.send(StoreRequest::Commit(commit)),
            Executor::Caller(store) => store.commit(&self.shared, commit),
        }
    }

    /// Sends a batch like [`StoreHandle::commit`] and waits until it is kept, or has to wait for a store that has failed.
    /// Not to be used on the store thread (in a `done`).
    ///
    /// # Errors
    /// See [`StateError`]. `Unavailable`: it is kept when the store works again.
    pub fn commit_and_wait(&self, batch: Batch) -> Result<(), StateError> {
        let (news, receiver) = first_news();
        self.commit(batch, news);
        receiver.wait().unwrap_or(Err(StateError::Stopped))
    }

    /// Sends a batch like [`StoreHandle::try_commit`] and waits until it is kept. Not to be used on the store thread.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn try_commit_and_wait(&self, batch: Batch) -> Result<(), StateError> {
        let (news, receiver) = first_news();
        self.try_commit(batch, news);
        receiver.wait().unwrap_or(Err(StateError::Stopped))
    }

    /// Whether more may be begun that has to be stored. When not, [`StoreEvent::Room`](super::StoreEvent::Room) comes once there
    /// may be room.
    pub fn has_room(&self) -> bool {
        self.shared.backlog.has_room()
    }

    /// Whether everything that was sent or asked has its outcome.
    pub fn is_idle(&self) -> bool {
        self.shared.backlog.is_empty()
    }

    /// The same; when not, [`StoreEvent::Room`](super::StoreEvent::Room) comes once that may have changed.
    pub fn is_idle_or_wakes(&self) -> bool {
        self.shared.backlog.is_empty_or_awaited()
    }

    /// Asks the engine something, after everything that this thread has sent before, and waits for the response. Meanwhile
    /// nothing is committed, so the query should be quick. Not to be used on the store thread.
    ///
    /// # Errors
    /// [`StateError::Unavailable`], also when the query itself met a failure; [`StateError::Stopped`].
    pub fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StateError> {
        let (sender, receiver) = oneshot::channel();
        self.ask(query, move |result| sender.send(result));
        receiver.wait().unwrap_or(Err(StateError::Stopped))
    }

    /// Asks the engine something, like [`StoreHandle::query`], without waiting for the response. `done` runs on the store
    /// thread under the rules of [`StoreHandle::commit`]; when the store has been stopped it is dropped.
    pub fn ask<T: 'static>(
        &self,
        query: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
        done: impl FnOnce(Result<T, StateError>) + Send + 'static,
    ) {
        let under_way = self.under_way();
        let query: Query = Box::new(move |engine| {
            let _until_told = under_way;
            match engine.map(query) {
                Err(unavailable) => {
                    done(Err(unavailable));
                    None
                }
                Ok(Ok(result)) => {
                    done(Ok(result));
                    None
                }
                Ok(Err(error)) => {
                    done(Err(StateError::of_query(&error)));
                    Some(error)
                }
            }
        });
        match &self.executor {
            Executor::Thread(requests) => requests.send(StoreRequest::Query(query)),
            Executor::Caller(store) => store.ask(query),
        }
    }

    /// Asks the engine something like [`StoreHandle::ask`], and waits for a store that is unavailable, as the batches do that
    /// were sent before.
    pub fn ask_when_available<T: 'static>(
        &self,
        mut query: impl FnMut(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
        done: impl FnOnce(T) + Send + 'static,
    ) {
        let mut done = Some((done, self.under_way()));
        let query: RetriedQuery = Box::new(move |engine| {
            let result = query(engine)?;
            if let Some((done, _until_told)) = done.take() {
                done(result);
            }
            Ok(())
        });
        match &self.executor {
            Executor::Thread(requests) => requests.send(StoreRequest::RetriedQuery(query)),
            Executor::Caller(store) => store.run_until_done(query),
        }
    }

    /// How the store is.
    pub fn health(&self) -> StoreHealth {
        self.shared.health()
    }
}

/// What the store thread is asked to do.
pub(super) enum StoreRequest {
    Commit(Commit),
    Query(Query),
    RetriedQuery(RetriedQuery),
    /// Something waits that is to be kept soon.
    Deferred,
    Stop,
}

pub(super) struct Commit {
    pub(super) batch: Batch,
    pub(super) owner: Owner,
}

/// The sender of a batch.
pub(super) struct Owner {
    /// Nothing depends on the batch: it is given up when the store fails.
    pub(super) is_optional: bool,
    pub(super) done: Done,
}

impl Commit {
    fn new(batch: Batch, is_optional: bool, mut done: Done) -> Self {
        done.under_way.add(batch.bytes());
        Self { batch, owner: Owner { is_optional, done } }
    }
}

/// A query that is refused while the store is unavailable; returns what makes the engine unusable.
pub(super) type Query = Box<dyn FnOnce(Result<&mut dyn Store, StateError>) -> Option<StoreError> + Send>;

/// A query that is run again until the engine succeeds.
pub(super) type RetriedQuery = Box<dyn FnMut(&mut dyn Store) -> Result<(), StoreError> + Send>;

/// Counts in the backlog until it is dropped.
struct PendingCommit {
    shared: Arc<StoreStatus>,
    bytes: u64,
}

impl PendingCommit {
    fn begin(shared: Arc<StoreStatus>) -> Self {
        shared.backlog.begin();
        Self { shared, bytes: 0 }
    }

    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.shared.backlog.add_bytes(bytes);
    }
}

impl Drop for PendingCommit {
    fn drop(&mut self) {
        self.shared.backlog.end(self.bytes);
    }
}

type CommitResult = Result<(), StateError>;

type CommitCallback = Box<dyn FnMut(CommitResult) + Send>;

/// Tells the sender of a batch its status: perhaps that it has to wait, and its outcome, exactly once. One that is dropped
/// says that the store has stopped.
pub(super) struct Done {
    callback: Option<CommitCallback>,
    is_delayed: bool,
    /// Last, so that whoever sees the backlog shrink finds the sender told.
    under_way: PendingCommit,
}

impl Done {
    /// The batch has to wait for a store that has failed.
    pub(super) fn delay(&mut self, unavailable: StateError) {
        if std::mem::replace(&mut self.is_delayed, true) {
            return;
        }
        if let Some(callback) = &mut self.callback {
            callback(Err(unavailable));
        }
    }

    /// This is how it ended.
    pub(super) fn end(mut self, outcome: Result<(), StateError>) {
        if let Some(mut callback) = self.callback.take() {
            callback(outcome);
        }
    }

    /// The batch is not kept, which its sender knows.
    pub(super) fn give_up(mut self) {
        self.callback = None;
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(mut callback) = self.callback.take() {
            callback(Err(StateError::Stopped));
        }
    }
}

/// Both ends of a wait for the first news of a batch.
fn first_news() -> (impl FnMut(CommitResult) + Send + 'static, oneshot::Receiver<CommitResult>) {
    let (sender, receiver) = oneshot::channel();
    let mut sender = Some(sender);
    let tell = move |outcome| {
        if let Some(sender) = sender.take() {
            sender.send(outcome);
        }
    };
    (tell, receiver)
}

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
            return owner.done.end(Err(StateError::Stopped));
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        // A clone is the same store.
        let outcome = self.store.clone().commit(slice::from_ref(&NumberedBatch { number, batch }));
        if outcome.is_ok() {
            shared.committed(1);
        }
        owner.done.end(outcome.map_err(|error| StateError::of_commit(&error)));
        if self.batches.fetch_add(1, Ordering::Relaxed) + 1 == PRUNE_EVERY {
            self.prune(shared);
        }
    }

    pub(super) fn ask(&self, query: Query) {
        if self.is_stopped.load(Ordering::SeqCst) {
            return drop(query(Err(StateError::Stopped)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{StoreThread, StoreThreadConfig};

    /// Acknowledgements that waited for another batch kept a host that stopped for two seconds.
    #[test]
    fn at_the_end_nothing_waits_for_another_batch() {
        let opener = MemoryStore::new().opener();
        let (thread, _) = StoreThread::start(opener, StoreThreadConfig::default(), |_| {}).unwrap();
        let handle = thread.handle();
        handle.commit_soon(Batch::default());
        handle.stop_deferring();
        let commit = Commit::new(Batch::default(), false, handle.done(|_| {}));
        assert!(matches!(handle.shared.deferred.push(commit), Pushed::Refused(_)));
        thread.stop();
        assert!(handle.is_idle());
    }
}
