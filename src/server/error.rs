//! Why a server could not be started.

use std::io;
use std::net::SocketAddr;

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address could not be bound. Another process may listen there, or the port needs a right that this one lacks.
    #[error("cannot listen on {address}: {source}; choose another address or stop what listens there")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The listener that was handed over cannot be used.
    #[error("cannot use the listener that was given: {0}; give a TCP socket that is bound and listens")]
    Listener(#[source] io::Error),
    /// The private socket between the front and the HTTP server could not be made in any of the directories tried.
    #[error(
        "cannot make a private socket in any of {tried}: {source}; make one of them writable or set TMPDIR"
    )]
    PrivateSocket {
        /// The directories, separated by commas.
        tried: String,
        /// What the system said about the last one.
        source: io::Error,
    },
    /// The HTTP server behind the front did not start.
    #[error(
        "the HTTP server did not start: {0}; raise the limits on open files and processes of this user or service"
    )]
    Backend(String),
    /// A thread could not be started.
    #[error("cannot start the thread `{name}`: {source}; look at the limits on processes and memory")]
    Thread {
        /// The thread's name.
        name: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A limit has a value that cannot work.
    #[error("server limit `{field}`: {reason}")]
    Limit {
        /// The field of [`ServerLimits`](super::ServerLimits).
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}
