//! How an operator sees the host and changes it: an HTTP API, which the command line uses too.
//!
//! ```text
//!  command line ══ socket in the state directory ══╗
//!  browser, Prometheus ══ address of `admin` ══════╬══► access ──► a thread ──► resource ──► manager, store
//! ```
//!
//! | file | job |
//! |---|---|
//! | `listener` | addresses and sockets |
//! | `access` | who may ask: permissions, `Host`, `Origin`, token |
//! | `server`, `workers` | an HTTP server for each listener, threads for what takes time |
//! | `api/` | the resources |
//! | `state` | what they work on |
//! | `records`, `story` | what is stored, as JSON |
//! | `metrics`, `process` | `/metrics`, and what the process takes of the system |
//! | `page`, `page.html` | the page |
//! | `history`, `log_tail`, `watch` | the last hour, the last lines of the log, and requests that wait for a change |
//! | `front_page` | the pages at the public address, which anybody may see |

#[cfg(feature = "cli")]
mod access;
#[cfg(feature = "cli")]
mod api;
mod front_page;
#[cfg(feature = "cli")]
mod history;
#[cfg(feature = "cli")]
mod listener;
#[cfg(feature = "cli")]
mod log_tail;
#[cfg(feature = "cli")]
mod metrics;
#[cfg(feature = "cli")]
mod page;
#[cfg(feature = "cli")]
mod process;
#[cfg(feature = "cli")]
mod records;
#[cfg(feature = "cli")]
mod server;
#[cfg(feature = "cli")]
mod state;
#[cfg(feature = "cli")]
mod story;
#[cfg(feature = "cli")]
mod watch;
#[cfg(feature = "cli")]
mod workers;

pub(crate) use front_page::page;
#[cfg(feature = "cli")]
pub(crate) use records::{explained, rfc3339};
#[cfg(feature = "cli")]
pub(crate) use {
    access::{Access, MIN_TOKEN_BYTES, TokenSource},
    api::{ApiCall, execute_on_store},
    listener::{AdminAddress, AdminListener, SocketFile, check_replaceable},
    log_tail::keep_log_line,
    server::{AdminServer, VERSION_HEADER},
    state::{AdminState, ChangeError, HostChange, HostChanges},
};
