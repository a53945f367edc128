//! What the front and the thread behind tiny_http share.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::ServerLimits;
use super::access_log::{AccessEntry, AccessSink, LoggedRequest, Sent};
use super::backend::Backend;
use super::exchange::{ParkedResponses, ResponseThread};
use super::http_server::ServerCounters;
use super::http_thread::Sequence;
use super::memory::ResponseMemory;
use super::wire::Token;
use crate::net::waker::Waker;
use crate::webhook::TrustedProxies;

/// A request that tiny_http has yielded and whose turn may not have come.
pub(crate) struct Yielded {
    pub(crate) request: tiny_http::Request,
    pub(crate) peer: IpAddr,
}

/// One per server.
pub(crate) struct ServerState {
    pub(crate) limits: ServerLimits,
    pub(crate) token: Token,
    pub(crate) waker: Arc<Waker>,
    pub(crate) counters: ServerCounters,
    pub(crate) response_memory: Arc<ResponseMemory>,
    pub(crate) response_thread: Arc<ResponseThread>,
    pub(crate) parked: Arc<ParkedResponses>,
    /// Behind a lock because the front gives up numbers that the other thread waits for; held for a look into a map.
    pub(crate) sequence: Mutex<Sequence<Yielded>>,
    /// Behind a lock because the front replaces it when it has died; the other thread looks only when it was woken.
    backend: Mutex<Arc<Backend>>,
    /// The accept loop of the present backend has ended: set by the handler's thread, cleared by the front with a new backend.
    pub(crate) backend_failed: AtomicBool,
    /// The handler runs at present, so nothing that tiny_http yields is taken. Set and cleared by the handler's thread.
    pub(crate) in_handler: AtomicBool,
    /// No further connection is accepted. Set once, by whoever ends the server.
    pub(crate) closed: AtomicBool,
    /// No connection is accepted any more, and none is open. Set once, by the front.
    pub(crate) drained: AtomicBool,
    /// When the front ends at the latest. Behind a lock because it is no atomic type; set once.
    ends_at: Mutex<Option<Instant>>,
    /// The front has ended, so nothing more will come. Set once, by the front.
    pub(crate) front_ended: AtomicBool,
    /// Where each request is noted, if it is, and whose word about the client is believed. Set before anything is served.
    pub(crate) access_log: OnceLock<(AccessSink, TrustedProxies)>,
}

impl ServerState {
    pub(crate) fn new(limits: ServerLimits, token: Token, waker: Waker, backend: Backend) -> Self {
        let waker = Arc::new(waker);
        ServerState {
            parked: Arc::new(ParkedResponses::new(waker.clone())),
            response_memory: Arc::new(ResponseMemory::new(limits.response_memory)),
            response_thread: Arc::default(),
            limits,
            token,
            waker,
            counters: ServerCounters::default(),
            sequence: Mutex::new(Sequence::new()),
            backend: Mutex::new(Arc::new(backend)),
            backend_failed: AtomicBool::new(false),
            in_handler: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            ends_at: Mutex::new(None),
            front_ended: AtomicBool::new(false),
            access_log: OnceLock::new(),
        }
    }

    pub(crate) fn backend(&self) -> Arc<Backend> {
        lock(&self.backend).clone()
    }

    /// Puts another backend in the place of one that has died.
    pub(crate) fn replace_backend(&self, backend: Backend) {
        let old = std::mem::replace(&mut *lock(&self.backend), Arc::new(backend));
        self.backend_failed.store(false, Ordering::Release);
        old.unblock();
    }

    /// Gives up a request; false when the handler has it, or will have it.
    pub(crate) fn give_up(&self, arrival: u64) -> bool {
        let given_up = lock(&self.sequence).give_up(arrival);
        if given_up {
            // Its successors may be held back, and nothing else may come to wake the thread that holds them.
            self.backend().unblock();
        }
        given_up
    }

    /// Notes a response that goes out, where that is wanted.
    pub(crate) fn note_access(&self, peer: IpAddr, asked: Option<LoggedRequest>, response: &[u8]) {
        if let Some((sink, proxies)) = self.access_log.get() {
            sink(AccessEntry::new(peer, proxies, asked, Sent::of(response)));
        }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn end_at(&self, latest: Instant) {
        *lock(&self.ends_at) = Some(latest);
        self.close();
    }

    pub(crate) fn ends_at(&self) -> Option<Instant> {
        *lock(&self.ends_at)
    }
}

/// Locks. What the locks here protect is never left half-way, so a poisoned one is as good as any.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
