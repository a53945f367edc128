//! How other threads talk to the store thread.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::caller::CallerStore;
use super::change::{Batch, Receipt};
use super::deferred::Pushed;
use super::engine::Store;
use super::error::StoreError;
use super::health::{StoreHealth, StoreStatus};
use crate::model::oneshot::once;

/// Counts how often the store was opened: 1 at the start, one more after each recovery.
///
/// A batch belongs to the generation of the state that it was computed from. When the store fails, what was in memory
/// ahead of it is void, and so is every batch that builds on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub(super) u64);

/// Why a batch was not kept, or a question not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The store cannot be used at present, or was opened anew since the batch was computed. The same request may be
    /// kept later.
    #[error("nothing can be stored at present: {reason}")]
    Unavailable {
        /// What is the matter, and what an operator can do.
        reason: Arc<str>,
        /// When to try again; whole seconds, at least one.
        retry_after: Duration,
    },
    /// This batch cannot be kept, now or later; the store is well.
    #[error("not stored: {reason}")]
    Rejected {
        /// What is wrong with it.
        reason: String,
    },
    /// The host is stopping.
    #[error("the store has been stopped")]
    Stopped,
}

/// A way to the store thread; cheap to clone.
#[derive(Clone)]
pub struct StoreHandle {
    pub(super) way: Way,
    pub(super) shared: Arc<StoreStatus>,
}

/// Who commits.
#[derive(Clone)]
pub(super) enum Way {
    /// The store thread.
    Thread(Sender<Request>),
    /// Whoever has something to commit.
    Caller(Arc<CallerStore>),
}

impl StoreHandle {
    /// The present generation. To be read before the state is read that a batch is computed from.
    pub fn generation(&self) -> Generation {
        self.shared.generation()
    }

    /// Sends a batch to be kept. `done` runs once on the store thread, or on this one when the store is in memory, after the commit or its failure, in the order in
    /// which batches were sent; when the store has been stopped it runs here. It must be short and must never wait: above
    /// all not for a thread that may be waiting in `commit`.
    ///
    /// Waits while the queue is full.
    pub fn commit(
        &self,
        generation: Generation,
        batch: Batch,
        done: impl FnOnce(Result<Receipt, CommitError>) + Send + 'static,
    ) {
        self.send(Commit { generation, batch, done: Done::new(done) });
    }

    /// Like [`StoreHandle::commit`], for a batch that nobody waits for: it is kept together with the next one that is sent,
    /// or within 300 ms.
    pub fn commit_soon(
        &self,
        generation: Generation,
        batch: Batch,
        done: impl FnOnce(Result<Receipt, CommitError>) + Send + 'static,
    ) {
        let commit = Commit { generation, batch, done: Done::new(done) };
        let Way::Thread(requests) = &self.way else { return self.send(commit) };
        match self.shared.deferred.push(commit) {
            Pushed::Waits => {}
            // When it cannot be sent, the thread has ended and closes, or has closed, what waits.
            Pushed::Announce => drop(requests.send(Request::Deferred)),
            Pushed::Refused(commit) => self.send(commit),
        }
    }

    fn send(&self, commit: Commit) {
        match &self.way {
            // A request that cannot be sent is dropped, and tells its owner so by itself.
            Way::Thread(requests) => drop(requests.send(Request::Commit(commit))),
            Way::Caller(store) => store.commit(&self.shared, commit),
        }
    }

    /// Sends a batch and waits until it is kept. Not to be used on the store thread (in a `done`).
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn commit_and_wait(&self, generation: Generation, batch: Batch) -> Result<Receipt, CommitError> {
        let (teller, waiter) = once();
        self.commit(generation, batch, move |result| teller.tell(result));
        waiter.wait().unwrap_or(Err(CommitError::Stopped))
    }

    /// Asks the engine something, after everything that this thread has sent before, and waits for the answer. Meanwhile
    /// nothing is committed, so the question should be quick. Not to be used on the store thread.
    ///
    /// # Errors
    /// [`CommitError::Unavailable`], also when the question itself met a failure; [`CommitError::Stopped`].
    pub fn query<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, CommitError> {
        let (teller, waiter) = once();
        self.ask(question, move |answer| teller.tell(answer));
        waiter.wait().unwrap_or(Err(CommitError::Stopped))
    }

    /// Asks the engine something, like [`StoreHandle::query`], without waiting for the answer. `done` runs on the store
    /// thread under the rules of [`StoreHandle::commit`]; when the store has been stopped it is dropped.
    pub fn ask<T: 'static>(
        &self,
        question: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
        done: impl FnOnce(Result<T, CommitError>) + Send + 'static,
    ) {
        let query: Query = Box::new(move |engine| match engine.map(question) {
            Err(unavailable) => {
                done(Err(unavailable));
                None
            }
            Ok(Ok(answer)) => {
                done(Ok(answer));
                None
            }
            Ok(Err(error)) => {
                done(Err(CommitError::from_engine(&error)));
                Some(error)
            }
        });
        match &self.way {
            Way::Thread(requests) => drop(requests.send(Request::Query(query))),
            Way::Caller(store) => store.ask(query),
        }
    }

    /// How the store is.
    pub fn health(&self) -> StoreHealth {
        self.shared.health()
    }
}

impl CommitError {
    pub(super) fn from_engine(error: &StoreError) -> Self {
        match error {
            StoreError::Rejected { reason, .. } => Self::Rejected { reason: reason.clone() },
            other => {
                Self::Unavailable { reason: other.to_string().into(), retry_after: Duration::from_secs(1) }
            }
        }
    }
}

/// What the store thread is asked to do.
pub(super) enum Request {
    Commit(Commit),
    Query(Query),
    /// Something waits that is to be kept soon.
    Deferred,
    Stop,
}

pub(super) struct Commit {
    pub(super) generation: Generation,
    pub(super) batch: Batch,
    pub(super) done: Done,
}

/// A question; returns what makes the engine unusable.
pub(super) type Query = Box<dyn FnOnce(Result<&mut dyn Store, CommitError>) -> Option<StoreError> + Send>;

type Callback = Box<dyn FnOnce(Result<Receipt, CommitError>) + Send>;

/// Tells the sender of a batch how it went, exactly once: one that is dropped says that the store has stopped.
pub(super) struct Done(Option<Callback>);

impl Done {
    fn new(callback: impl FnOnce(Result<Receipt, CommitError>) + Send + 'static) -> Self {
        Self(Some(Box::new(callback)))
    }

    pub(super) fn tell(mut self, result: Result<Receipt, CommitError>) {
        if let Some(callback) = self.0.take() {
            callback(result);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            callback(Err(CommitError::Stopped));
        }
    }
}
