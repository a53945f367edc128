//! Requests that wait without a private connection, and so without a thread of tiny_http.
//!
//! Whoever has a request parks it by responding over the private connection with a status that no response has. The front
//! then frees the connection and keeps the client under the request's number; the response comes later, around tiny_http.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::net::waker::Waker;

/// What is sent over the private connection in place of a response. Responses have a status from 200 on.
pub(crate) const PARKED: &[u8] = b"HTTP/1.1 199 Parked\r\n\r\n";

/// Responses to parked requests, on their way to the front.
pub(crate) struct ParkedResponses {
    // Behind a lock because responses come from any thread; it is held for a push or a swap.
    arrived: Mutex<Vec<(u64, Vec<u8>)>>,
    /// Parked requests whose clients no longer wait for a response, until it comes. Each has its responder, so they are as many
    /// as these at most.
    abandoned: Mutex<HashSet<u64>>,
    waker: Arc<Waker>,
}

impl ParkedResponses {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self { arrived: Mutex::default(), abandoned: Mutex::default(), waker }
    }

    /// Hands the printed response to the parked request with this number to the front.
    pub(crate) fn send(&self, arrival: u64, response: Vec<u8>) {
        self.lock().push((arrival, response));
        self.waker.wake();
    }

    /// What has arrived since the last call.
    pub(crate) fn take(&self) -> Vec<(u64, Vec<u8>)> {
        std::mem::take(&mut self.lock())
    }

    /// Keeps for the next call what came before its request was known to be parked.
    pub(crate) fn put_back(&self, early: Vec<(u64, Vec<u8>)>) {
        self.lock().splice(0..0, early);
    }

    /// The client of a parked request has left, or was told that there is no response.
    pub(crate) fn abandon(&self, arrival: u64) {
        self.abandoned().insert(arrival);
    }

    /// Whether nobody waits for the response to this parked request.
    pub(crate) fn is_abandoned(&self, arrival: u64) -> bool {
        self.abandoned().contains(&arrival)
    }

    /// The response to an abandoned request has come.
    pub(crate) fn forget(&self, arrival: u64) {
        self.abandoned().remove(&arrival);
    }

    fn abandoned(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Vec<u8>)>> {
        // Nothing in here panics half-way.
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
