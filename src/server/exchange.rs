//! A request as the handler gets it, the response it gives, and the way from one to the other.

use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::clock::http_now;

use super::limits::OWN_BODY_BYTES;
use super::parked::{PARKED, ParkedResponses};
use super::reply;
use super::response_memory::ResponseMemory;
use super::response_thread::{FITS_BYTES, ResponseThread};

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
    pub(crate) way: Way,
    pub(crate) is_head_request: bool,
    pub(crate) arrival: u64,
    pub(crate) max_response_bytes: u64,
    pub(crate) memory: Arc<ResponseMemory>,
    pub(crate) thread: Arc<ResponseThread>,
    pub(crate) parked: Arc<ParkedResponses>,
}

/// How a response reaches the front.
pub(crate) enum Way {
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
            matches!(client.way, Way::Parked) && client.parked.is_abandoned(client.arrival)
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
        let request = match self.way {
            Way::Backend(request) => request,
            Way::Parked => return self.parked.send(self.arrival, bytes),
        };
        let (arrival, memory) = (self.arrival, self.memory);
        if bytes.len() <= FITS_BYTES {
            return write(request, &bytes, arrival, &memory);
        }
        self.thread.run(move || write(request, &bytes, arrival, &memory));
    }

    fn park(mut self) -> Self {
        if let Way::Backend(request) = std::mem::replace(&mut self.way, Way::Parked) {
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
