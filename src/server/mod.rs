//! The HTTP server: tiny_http behind a front of our own.
//!
//! tiny_http parses requests and yields them, but it must not meet the network: it has no time-outs and no bounds, idle
//! connections starve it, and one failed `accept` ends it for ever. So the front accepts connections, reads one complete
//! request within the bounds of [`ServerLimits`], refuses what two readers could understand differently, and only then
//! hands it on, rewritten, over a private socket.
//!
//! ```text
//!  clients ══► front (1 thread, poll) ══► private connections ══► tiny_http's threads ──► tinclaw-http ──► handler
//!          ◄══                        ◄══                       ◄───────────── Responder, from any thread ◄───┘
//! ```
//!
//! The front numbers requests in the order in which they were complete, and the thread behind tiny_http restores that
//! order. Each request waits in a private connection of its own, so a slow response holds up nobody else.
// | file | job |
// |---|---|
// | `limits` | every bound, and the memory that follows |
// | `head`, `chunked`, `intake` | bytes of a client → a complete request or a refusal, without I/O |
// | `wire`, `reply` | requests and responses on the private socket |
// | `front/` | sockets: accepting, reading, handing over, responding |
// | `backend`, `http_thread` | tiny_http, and the thread that empties it in the order of arrival |
// | `spare_threads` | whether tiny_http will find the threads that it starts |
// | `server_state`, `memory` | what both sides share, and the memory that connections and responses may take |
// | `exchange`, `http_server` | what users of the server see |
// | `requests` | from a request to an event: routed, authenticated, deduplicated |
// | `authentication` | who may pass, and what those who may not cost |
// | `secret_cache` | the secrets of a channel's requests, as they were last read |
// | `routes` | which channel owns which path |
// | `unrouted` | requests that no channel takes, and what their senders may have meant |
// | `response_counts` | how many responses each channel's requests got |
// | `responses` | from a channel's response to bytes |
// | `request_forwarder` | requests for channels that another host has |
// | `access_log` | one entry for each request |

mod access_log;
mod authentication;
mod backend;
mod chunked;
mod exchange;
mod front;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod head;
mod http_server;
mod http_thread;
mod intake;
mod limits;
mod memory;
mod reply;
#[cfg(feature = "cluster")]
mod request_forwarder;
pub(crate) mod requests;
mod response_counts;
pub(crate) mod responses;
mod routes;
mod secret_cache;
mod server_state;
mod spare_threads;
#[cfg(test)]
mod tests;
mod unrouted;
mod wire;

pub(crate) use access_log::AccessSink;
#[cfg(feature = "cli")]
pub(crate) use access_log::{AccessEntry, LoggedRequest};
pub(crate) use exchange::{IncomingRequest, Responder, Response};
pub(crate) use http_server::ServerError;
pub use http_server::ServerStats;
pub(crate) use http_server::{HeadCheck, HeadDecision, HttpServer};
#[cfg(test)]
pub(crate) use limits::DEFAULT_BODY_BYTES;
pub use limits::ServerLimits;
#[cfg(feature = "cluster")]
pub(crate) use request_forwarder::{Origin, RequestForwarder};
pub(crate) use requests::DEFAULT_MAX_BODY_BYTES;
pub(crate) use routes::ChannelAccess;
pub use routes::WasmChannelRouter;
