//! Outside world to [`Event`](crate::event::Event): HTTP server, webhook authentication, scheduler.
//!
//! | file | job |
//! |---|---|
//! | `server` | a bounded front before tiny_http |
//! | `requests` | from a request to an event: routed, authenticated, recognised |
//! | `routes` | which channel owns which path |
//! | `webhook` | who may send a request: decisions without I/O |
//! | `answers` | from an answer to a response |
//! | `told` | keeps the log from repeating itself |
//! | `scheduler`, `deadlines` | the thread that sleeps until the next deadline, and its heap |

pub(crate) mod answers;
pub(crate) mod deadlines;
pub(crate) mod requests;
mod routes;
pub(crate) mod scheduler;
pub mod server;
mod told;
pub mod webhook;

pub use requests::DEFAULT_MAX_BODY_BYTES;
pub use routes::{ChannelAccess, PathTaken, Route, WasmChannelRouter};
