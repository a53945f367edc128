//! A request as the handler gets it, the response it gives, and the ways from one to the other: at once, later for a request
//! that is parked, or by a thread of its own for a large response.
//!
//! Whoever has a request parks it by responding over the private connection with a status that no response has. The front
//! then frees the connection and keeps the client under the request's number, without a thread of tiny_http; the response comes
//! later, around tiny_http.
//!
//! A response that does not fit into a socket's buffer is written as fast as the front reads it. Whoever has the response must
//! not wait for that: it may be the thread of the store, and all commits would wait with it.

use std::collections::HashSet;
use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crossbeam_channel::{Sender, unbounded};

use super::limits::OWN_BODY_BYTES;
use super::memory::ResponseMemory;
use super::reply;
use crate::model::clock::http_now;
use crate::model::wait::receive;
use crate::net::waker::Waker;

/// A complete request. Bounds on its size and time have been kept, and its head is free of ambiguities.
#[derive(Debug)]
pub struct IncomingRequest {
    /// Counts requests in the order in which they were complete at the socket; the handler sees them in this order.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests look at the order"))]
    pub arrival: u64,
    /// Who connected: the client, or a proxy that speaks for it.
    pub peer: IpAddr,
    /// The method as it was sent, `GET` for instance. Case counts.
    pub method: String,
    /// Path and query as they were sent, not decoded. A provider may sign a `?` that no query follows.
    pub target: String,
    /// The path as it was sent, not decoded, without the query. It starts with `/`.
    pub path: String,
    /// What followed the first `?`, not decoded; empty when there was none.
    pub query: String,
    /// The header fields in their order. Names are in lower case. Bytes of a value that are not UTF-8 are replaced by
    /// U+FFFD. `connection`, `keep-alive`, `proxy-connection`, `te`, `trailer`, `transfer-encoding`, `upgrade`, `expect`
    /// and `content-length` have done their work and are not among them.
    pub headers: Vec<(String, String)>,
    /// The body, free of any transfer encoding.
    pub body: Vec<u8>,
    /// Takes the response.
    pub responder: Responder,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599. Anything else is sent as 502, because a client could not make sense of it.
    pub status: u16,
    /// Header fields. `content-length` and hop-by-hop fields are the server's: they are dropped, and so is any field
    /// whose name or value is not valid in HTTP.
    pub headers: Vec<(String, String)>,
    /// The body. Not sent with 204 and 304, nor for `HEAD`.
    pub body: Vec<u8>,
}

impl Response {
    /// A response with a JSON body.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Response {
            status,
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: body.into(),
        }
    }

    /// The small JSON body that every refusal of the server has: `{"error":"code"}`. The code must need no escaping.
    pub fn error(status: u16, code: &str) -> Self {
        Response::json(status, format!("{{\"error\":\"{code}\"}}"))
    }
}

/// Takes the response to one request, from any thread. Dropped without a response, it responds with 500.
pub struct Responder {
    /// Gone once it has responded.
    client: Option<ClientResponse>,
}

/// The way back to a client, through tiny_http's writer and the front.
pub(crate) struct ClientResponse {
    pub(crate) path: ResponsePath,
    pub(crate) is_head_request: bool,
    pub(crate) arrival: u64,
    pub(crate) max_response_bytes: u64,
    pub(crate) memory: Arc<ResponseMemory>,
    pub(crate) thread: Arc<ResponseThread>,
    pub(crate) parked: Arc<ParkedResponses>,
}

/// How a response reaches the front.
pub(crate) enum ResponsePath {
    /// Through tiny_http's writer.
    Backend(tiny_http::Request),
    /// Around tiny_http, because the request is parked.
    Parked,
}

impl Responder {
    pub(crate) fn to_client(client: ClientResponse) -> Responder {
        Responder { client: Some(client) }
    }

    /// Responds. Never waits for the client: the response is handed over, and the client's pace is the server's concern.
    pub fn respond(mut self, response: Response) {
        self.send(response);
    }

    /// Lets the request wait for its response without a thread and without a private connection.
    #[must_use]
    pub fn park(mut self) -> Responder {
        Responder { client: self.client.take().map(ClientResponse::park) }
    }

    /// Whether the request is parked and its client has left meanwhile.
    pub fn is_abandoned(&self) -> bool {
        self.client.as_ref().is_some_and(|client| {
            matches!(client.path, ResponsePath::Parked) && client.parked.is_abandoned(client.arrival)
        })
    }

    fn send(&mut self, response: Response) {
        if let Some(client) = self.client.take() {
            client.respond(response);
        }
    }
}

impl ClientResponse {
    fn respond(self, response: Response) {
        let response = self.within_bounds(response, self.is_head_request);
        let bytes = reply::print(&response, self.is_head_request, http_now());
        drop(response);
        let request = match self.path {
            ResponsePath::Backend(request) => request,
            ResponsePath::Parked => return self.parked.send(self.arrival, bytes),
        };
        let (arrival, memory) = (self.arrival, self.memory);
        if bytes.len() <= FITS_BYTES {
            return write(request, &bytes, arrival, &memory);
        }
        self.thread.run(move || write(request, &bytes, arrival, &memory));
    }

    fn park(mut self) -> Self {
        if let ResponsePath::Backend(request) = std::mem::replace(&mut self.path, ResponsePath::Parked) {
            write(request, PARKED, self.arrival, &self.memory);
        }
        self
    }

    /// The response, or what is sent in its place when it is none or too much.
    fn within_bounds(&self, response: Response, is_head_request: bool) -> Response {
        let length = reply::sent_body(&response, is_head_request).len() as u64;
        let replaced = |status: u16, problem: &dyn fmt::Display| {
            if let Some(suppressed) = self.memory.may_log_replaced(status) {
                log::warn!("a response {problem} was replaced by {status}{suppressed}");
            }
        };
        if !(200..=599).contains(&response.status) {
            replaced(502, &format_args!("with status {}", response.status));
            Response::error(502, "bad_response")
        } else if length > self.max_response_bytes {
            let most = self.max_response_bytes;
            replaced(500, &format_args!("of {length} bytes, where at most {most} are sent,"));
            Response::error(500, "response_too_large")
        } else if length > OWN_BODY_BYTES as u64 && !self.memory.take(self.arrival, length) {
            replaced(503, &format_args!("of {length} bytes, for which no memory is left,"));
            let mut response = Response::error(503, "out_of_memory");
            response.headers.push(("Retry-After".into(), "1".into()));
            response
        } else {
            response
        }
    }
}

fn write(request: tiny_http::Request, bytes: &[u8], arrival: u64, memory: &ResponseMemory) {
    let mut writer = request.into_writer();
    if let Err(error) = writer.write_all(bytes).and_then(|()| writer.flush()) {
        // The front has closed the private connection, so it will not read this response nor release its memory.
        log::debug!("the response to request {arrival} has nowhere to go: {error}");
        memory.release(arrival);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.client.is_some() {
            self.send(Response::error(500, "no_response"));
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Responder").finish_non_exhaustive()
    }
}

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

/// What fits into the buffer of a socket on every system.
pub(crate) const FITS_BYTES: usize = 16 << 10;

type WriteTask = Box<dyn FnOnce() + Send>;

/// Starts its thread with the first job. The thread ends when this is dropped and all is written. What waits is bounded by
/// the memory for responses.
#[derive(Default)]
pub(crate) struct ResponseThread(OnceLock<Option<Sender<WriteTask>>>);

impl ResponseThread {
    /// Runs a job on the thread, or here when the system gives no thread.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        match self.0.get_or_init(start) {
            // The thread ends after all senders.
            Some(jobs) => drop(jobs.send(Box::new(job))),
            None => job(),
        }
    }
}

fn start() -> Option<Sender<WriteTask>> {
    let (jobs, queue) = unbounded::<WriteTask>();
    let work = move || {
        while let Ok(job) = receive(&queue) {
            job();
        }
    };
    let started = std::thread::Builder::new().name("tinclaw-responses".to_owned()).spawn(work);
    started
        .map(|_| jobs)
        .map_err(|error| log::warn!("large responses are written without a thread: {error}"))
        .ok()
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    // The store's thread wrote a response of 4 MiB into a socket, and every commit waited for its reader.
    #[test]
    fn a_waiting_write_does_not_block_its_caller() {
        let thread = ResponseThread::default();
        let (go, wait) = bounded::<()>(0);
        let (done, ended) = bounded(2);
        let first = done.clone();
        thread.run(move || {
            let _ = wait.recv();
            let _ = first.send(1);
        });
        // This is reached although the first job waits.
        thread.run(move || {
            let _ = done.send(2);
        });
        go.send(()).unwrap();
        drop(thread);
        assert_eq!(ended.iter().collect::<Vec<_>>(), [1, 2]);
    }
}
