//! A request as the handler gets it, the answer it gives, and the way from one to the other.

use std::fmt;
use std::net::IpAddr;

use crossbeam_channel::{Receiver, Sender, bounded};

/// A complete request. Bounds on its size and time have been kept, and its head is free of ambiguities.
#[derive(Debug)]
pub struct IncomingRequest {
    /// Counts requests in the order in which they were complete at the socket; the handler sees them in this order.
    pub arrival: u64,
    /// Who connected: the client, or a proxy that speaks for it.
    pub peer: IpAddr,
    /// The method as it was sent, `GET` for instance. Case counts.
    pub method: String,
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
    /// Takes the answer.
    pub responder: Responder,
}

/// An answer.
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
    /// An answer with a JSON body.
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

/// Takes the answer to one request, from any thread. Dropped without an answer, it answers 500.
pub struct Responder {
    route: Option<Route>,
}

/// Where an answer goes.
enum Route {
    Channel(Sender<Response>),
}

impl Responder {
    /// A responder whose answer is received from a channel, for requests that did not come over the network.
    pub fn to_channel() -> (Responder, Receiver<Response>) {
        let (sender, receiver) = bounded(1);
        (Responder { route: Some(Route::Channel(sender)) }, receiver)
    }

    /// Answers. Never waits for the client: the answer is handed over, and the client's pace is the server's concern.
    pub fn respond(mut self, response: Response) {
        self.answer(response);
    }

    fn answer(&mut self, response: Response) {
        match self.route.take() {
            // The receiver may have gone; then nobody wants the answer.
            Some(Route::Channel(sender)) => drop(sender.try_send(response)),
            None => {}
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.route.is_some() {
            self.answer(Response::error(500, "no_answer"));
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Responder").finish_non_exhaustive()
    }
}
