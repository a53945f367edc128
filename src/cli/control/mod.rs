//! The socket through which other commands reach the running host.
//!
//! `control.sock` in the state directory, mode 0600: whoever may open it may do everything. A client writes one line of
//! JSON and gets one back: `{"ok": …}` or `{"error": "…"}`.
//!
//! | file | job |
//! |---|---|
//! | `request` | what can be asked |
//! | `execute` | what a manager does for a request, running or not |
//! | `records` | records as JSON |
//! | `server`, `connection` | the socket of a running host, and one client of it |
//! | `client` | asks the running host, or opens its store when none runs |
//! | `wire` | lines over a socket, within time and size |

mod client;
mod connection;
mod execute;
mod records;
mod request;
mod server;
mod wire;

pub use client::{HostResponse, ask, ask_running};
pub use request::{ControlRequest, Rows};
pub use server::ControlServer;
