//! What the server counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Numbers since the start of the server, and how things stand now.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct ServerStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The live numbers. Written by the server's threads, read by anybody; each stands for itself, so no order
        /// between them is promised.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
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
    /// Times that tiny_http was started anew because its accept loop or its connections had died.
    backend_restarts,
    /// Requests that were lost between the front and the handler and refused with 503.
    handover_failures,
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
