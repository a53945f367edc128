//! The server as its users see it: starting, stopping, what it counts, and why it could not be started.

use std::fmt::Display;
use std::io;
#[cfg(test)]
use std::net::TcpListener;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::backend::Backend;
use super::front::{Front, ListenSocket, Listener};
use super::server_state::ServerState;
use super::wire::Token;
use super::{AccessSink, IncomingRequest, Response, ServerLimits, http_thread};
use crate::model::deadline::deadline_after;
use crate::net::waker::Waker;
use crate::webhook::TrustedProxies;

/// Decides about a request by its method and its path (without the query, not decoded), before a byte of its body is read.
/// Asked once a request, on the front's thread, so it has to be quick and must not panic.
pub type HeadCheck = Arc<dyn Fn(&str, &str) -> HeadDecision + Send + Sync>;

/// What becomes of a request whose head is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadDecision {
    /// Its body is read, up to this many bytes ([`DEFAULT_BODY_BYTES`](super::DEFAULT_BODY_BYTES) suits most); then the
    /// handler gets it.
    Read {
        /// The largest body; a larger one is 413.
        max_body_bytes: u64,
    },
    /// Its response is sent at once, and its body is not read.
    Respond(Response),
}

/// A running HTTP server. Dropped, it ends at once; [`shutdown`](HttpServer::shutdown) lets it finish its work.
pub struct HttpServer {
    shared: Arc<ServerState>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl HttpServer {
    /// Listens on an address (port 0 takes any that is free) and starts to serve.
    ///
    /// The handler is called with one request after the other, in the order in which they were complete. It must return
    /// at once, and leave the response to whoever gets the request's [`Responder`](super::Responder): while it runs, no
    /// other request is taken, and what waits for longer than [`ServerLimits::dispatch_timeout`] is refused with 503. When it panics, that request is
    /// gets 500.
    ///
    /// # Errors
    /// The address cannot be bound, a limit makes no sense, or the system gives no private socket or thread.
    #[cfg(test)]
    pub fn start(
        listen: SocketAddr,
        limits: ServerLimits,
        head_check: HeadCheck,
        handler: Box<dyn FnMut(IncomingRequest) + Send>,
    ) -> Result<Self, ServerError> {
        let listener =
            TcpListener::bind(listen).map_err(|source| ServerError::Listen { address: listen, source })?;
        Self::start_on(listener, limits, head_check, handler)
    }

    /// Like [`start`](Self::start), on a listener that exists already: one that a supervisor passed on, or a Unix socket, whose
    /// clients count as clients of this machine.
    ///
    /// # Errors
    /// As for [`start`](Self::start), or the listener cannot be used.
    #[cfg(any(feature = "cli", test))]
    pub fn start_on(
        listener: impl Into<ListenSocket>,
        limits: ServerLimits,
        head_check: HeadCheck,
        handler: Box<dyn FnMut(IncomingRequest) + Send>,
    ) -> Result<Self, ServerError> {
        Self::start_with_log(listener.into(), limits, head_check, handler, None)
    }

    /// Like [`start`](Self::start), on a listener that exists already, with a note of each request, and with those whose word
    /// about the client is believed.
    ///
    /// # Errors
    /// As for [`start`](Self::start), or the listener cannot be used.
    pub fn start_with_log(
        listener: ListenSocket,
        limits: ServerLimits,
        head_check: HeadCheck,
        handler: Box<dyn FnMut(IncomingRequest) + Send>,
        access_log: Option<(AccessSink, TrustedProxies)>,
    ) -> Result<Self, ServerError> {
        limits.check()?;
        let address = listener.local_addr().map_err(ServerError::Listener)?;
        if let Some(address) = &address {
            announce(address, &limits);
        }
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let address = address.unwrap_or(nowhere);
        let listener = Listener::new(listener).map_err(ServerError::Listener)?;
        let token =
            Token::random().map_err(|_| ServerError::Backend("the system gives no random numbers".into()))?;
        let waker = Waker::new().map_err(|error| ServerError::Backend(error.to_string()))?;
        let shared = Arc::new(ServerState::new(limits, token, waker, Backend::start()?));
        if let Some(log) = access_log {
            // It is empty: the state is new.
            let _ = shared.access_log.set(log);
        }
        let mut server = HttpServer { shared: shared.clone(), address, threads: Vec::new() };
        let front = Front::new(shared.clone(), head_check, listener);
        server.threads.push(spawn("tinclaw-front", move || front.run())?);
        server.threads.push(spawn("tinclaw-http", move || http_thread::run(&shared, handler))?);
        Ok(server)
    }

    /// Where it listens; `0.0.0.0:0` when it is a Unix socket.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What it has counted.
    pub fn stats(&self) -> ServerStats {
        self.shared
            .counters
            .response_memory_used
            .store(self.shared.response_memory.used(), std::sync::atomic::Ordering::Relaxed);
        self.shared.counters.snapshot()
    }

    /// Closes the listener. What has connected already is served to its end.
    pub fn stop_accepting(&self) {
        self.shared.close();
    }

    /// Whether it accepts no connection any more and none is open.
    pub fn is_drained(&self) -> bool {
        self.shared.drained.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Ends the server: closes the listener, refuses requests that are not complete, waits for the responses that are due
    /// for at most [`ServerLimits::shutdown_timeout`], responds to the rest with 503, and joins the server's threads.
    ///
    /// tiny_http's own threads cannot be joined; they end by themselves within about 5 s.
    pub fn shutdown(mut self) {
        self.end(self.shared.limits.shutdown_timeout);
    }

    fn end(&mut self, time: Duration) {
        self.shared.end_at(deadline_after(Instant::now(), time));
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of the HTTP server had panicked");
            }
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.end(Duration::ZERO);
        }
    }
}

impl std::fmt::Debug for HttpServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("HttpServer").field("address", &self.address).finish_non_exhaustive()
    }
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ServerError> {
    let spawned: io::Result<_> = thread::Builder::new().name(name.into()).spawn(run);
    spawned.map_err(|source| ServerError::Thread { name, source })
}

/// Tells the operator what the limits amount to.
fn announce(address: &dyn Display, limits: &ServerLimits) {
    let mebibytes = limits.worst_case_memory().div_ceil(1 << 20);
    log::info!(
        "listening on {address}: at most {} connections, {mebibytes} MiB of memory and {} file descriptors",
        limits.connections,
        limits.file_descriptors(),
    );
    let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if allowed.is_some_and(|allowed| allowed < limits.file_descriptors()) {
        log::warn!(
            "the limit on open files is {}, less than {} connections may need; fewer requests are handled at a time",
            allowed.unwrap_or(u64::MAX),
            limits.connections,
        );
    }
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ServerError {
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

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Numbers since the start of the server, and how things stand now.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct ServerStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The live numbers. Most count up only, on the thread to which it happens; those that end in "now" are the front's: it
        /// stores them, so nobody counts them down. Read by anybody; each stands for itself, so no order between them is
        /// promised.
        #[derive(Debug, Default)]
        pub(crate) struct ServerCounters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl ServerCounters {
            pub(crate) fn snapshot(&self) -> ServerStats {
                ServerStats { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Connections closed to make room for newer ones.
    evicted,
    /// Connections or requests that the server refused by itself, with a 4xx or 5xx status.
    refused,
    /// Responses to the head of a request alone, without the handler.
    responses_at_head,
    /// Requests that did not come in time (408), counted in `refused` too.
    timed_out,
    /// Requests handed over to tiny_http.
    requests,
    /// Responses sent to their clients in full.
    responses_sent,
    /// Clients that were dropped because they took their response too slowly.
    slow_readers,
    /// Clients that got 504 because no response came in time.
    response_timeouts,
    /// Failed attempts to accept a connection.
    accept_errors,
    /// Times that tiny_http was restarted because its accept loop or its connections had died.
    backend_restarts,
    /// Requests that were lost between the front and the handler and refused with 503.
    dispatch_failures,
    /// Connections from clients that are open now.
    connections,
    /// Complete requests that wait for their response now.
    in_flight,
    /// Private connections to tiny_http that are open now.
    private_connections,
    /// Bytes of the memory for request bodies that are taken now.
    body_memory_used,
    /// Bytes of the memory for responses that are taken now.
    response_memory_used,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
