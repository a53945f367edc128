//! Every bound of the server in one place, and the memory that follows from them.

use std::time::Duration;

use serde::Deserialize;

use super::front::MAX_LINGERING;
use super::{ServerError, reply};
use crate::model::bounded;
use crate::net::address_range::AddressRange;

/// What a client may take from the server. Every field has a default that suits a small machine.
/// Deserialises from the fields of `[server]` in `tinclaw.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerLimits {
    /// Connections from clients that are open at a time. When all are taken, the oldest one without a complete request
    /// goes; when every one waits for its response, the new connection gets 503. Default 256, at least 1.
    ///
    /// Each takes one file descriptor, and three more while its request is being handled.
    #[serde(rename = "max_connections", deserialize_with = "bounded::count::<_, _, 1, 65536>")]
    pub connections: usize,
    /// Connections from one IPv4 address or one IPv6 /64 network. When they are taken, the oldest one of that sender
    /// without a complete request goes; when there is none, the new connection gets 503. Default 16.
    #[serde(rename = "max_connections_per_address", deserialize_with = "bounded::count::<_, _, 1, 65536>")]
    pub connections_per_address: usize,
    /// Senders for which `connections_per_address` does not hold: reverse proxies and tunnels speak for many others.
    /// Default 127.0.0.0/8 and ::1, because a tunnel on the same machine connects from there.
    #[serde(skip)]
    pub trusted_proxies: Vec<AddressRange>,
    /// Time from accepting a connection to the end of the request's head; then 408. Default 10 s.
    #[serde(rename = "header_timeout_secs", deserialize_with = "bounded::secs::<_, 1, 300>")]
    pub header_timeout: Duration,
    /// Bytes of a request's head, from the first byte to the empty line with its line end; more is 431. Default 16 KiB.
    #[serde(deserialize_with = "bounded::count::<_, _, 256, 1048576>")]
    pub max_header_bytes: usize,
    /// Header fields of a request; more is 431. Default 64, at most [`ServerLimits::MAX_HEADERS`].
    #[serde(deserialize_with = "bounded::count::<_, _, 1, 256>")]
    pub max_headers: usize,
    /// Time from the end of the head to the end of the body; then 408. Default 30 s.
    #[serde(rename = "body_timeout_secs", deserialize_with = "bounded::secs::<_, 1, 3600>")]
    pub body_timeout: Duration,
    /// Memory for all request bodies together, from their first byte to the response, counting what is beyond the
    /// 16 KiB that every connection has for itself. While it is used up, bodies are not read on; when that lasts for
    /// [`ServerLimits::BODY_MEMORY_PATIENCE`], the oldest unfinished body is given up with 503. Default 64 MiB.
    #[serde(rename = "body_memory_mb", deserialize_with = "bounded::megabytes::<_, 1, 65536>")]
    pub body_memory: u64,
    /// Time that a complete request may wait for a private connection, and again for the handler to take it; then it is
    /// given up with 503 and the handler does not get it. Default 5 s.
    #[serde(rename = "dispatch_timeout_secs", deserialize_with = "bounded::secs::<_, 1, 300>")]
    pub dispatch_timeout: Duration,
    /// Time from handing over a request to its response; then the client gets 504. Default 120 s.
    #[serde(rename = "response_timeout_secs", deserialize_with = "bounded::secs::<_, 1, 3600>")]
    pub response_timeout: Duration,
    /// Bytes of a response's body; a response with more is replaced by a 500. Default 4 MiB.
    pub max_response_bytes: u64,
    /// Memory for all responses together that are on their way to their clients, counting bodies of more than 16 KiB.
    /// What does not fit is replaced by a 503. Default 32 MiB.
    #[serde(rename = "response_memory_mb", deserialize_with = "bounded::megabytes::<_, 1, 65536>")]
    pub response_memory: u64,
    /// Time to send a response to its client; slower readers are dropped. Default 30 s.
    #[serde(rename = "write_timeout_secs", deserialize_with = "bounded::secs::<_, 1, 3600>")]
    pub write_timeout: Duration,
    /// How long a connection without a request is kept after a response. Zero, the default, closes it with the response.
    /// A kept connection is the first to go when room is needed.
    #[serde(rename = "keep_alive_secs", deserialize_with = "bounded::secs::<_, 0, 3600>")]
    pub keep_alive: Duration,
    /// How long the server waits at shutdown for responses that are still due.
    /// Default 10 s.
    #[serde(skip)]
    pub shutdown_timeout: Duration,
}

/// The limit for a request body that suits most webhooks, in bytes: 1 MiB.
#[cfg(test)]
pub const DEFAULT_BODY_BYTES: u64 = 1 << 20;

/// The part of a request's or a response's body, in bytes, that every connection has for itself.
pub(crate) const OWN_BODY_BYTES: usize = 16 << 10;

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits {
            connections: 256,
            connections_per_address: 16,
            trusted_proxies: vec![AddressRange::LOOPBACK_V4, AddressRange::LOOPBACK_V6],
            header_timeout: Duration::from_secs(10),
            max_header_bytes: 16 << 10,
            max_headers: 64,
            body_timeout: Duration::from_secs(30),
            body_memory: 64 << 20,
            dispatch_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(120),
            max_response_bytes: 4 << 20,
            response_memory: 32 << 20,
            write_timeout: Duration::from_secs(30),
            keep_alive: Duration::ZERO,
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

impl ServerLimits {
    /// The highest value of `max_headers`.
    pub const MAX_HEADERS: usize = 256;

    /// How long bodies may stand still for lack of memory before the oldest is given up.
    pub const BODY_MEMORY_PATIENCE: Duration = Duration::from_secs(1);

    /// The most memory, in bytes, that clients can make the server use at one time, whatever they send: for every
    /// connection its head (as it came, as it is handed over, and as the handler gets it), its own part of a body and of
    /// a response, and the stack and buffers of its thread; and the memory that bodies and responses share. A response is in
    /// memory twice while it is handed over. What the handler keeps is not included.
    pub fn worst_case_memory(&self) -> u64 {
        let head = 5 * self.max_header_bytes as u64 + reply::MAX_REPLY_HEAD_BYTES as u64;
        let bodies = 3 * OWN_BODY_BYTES as u64;
        let connections = self.connections as u64 * (head + bodies + THREAD_BYTES);
        let lingering = MAX_LINGERING as u64 * LINGERING_BYTES;
        connections + lingering + self.body_memory + 2 * self.response_memory + FIXED_BYTES
    }

    /// The most file descriptors that the server uses at one time.
    pub fn file_descriptors(&self) -> u64 {
        // A connection, and one private connection with three ends; the rest is the listeners, the waker and the spare.
        4 * self.connections as u64 + MAX_LINGERING as u64 + 8
    }

    /// Refuses values that cannot work.
    pub(crate) fn check(&self) -> Result<(), ServerError> {
        let needed = [
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("dispatch_timeout", self.dispatch_timeout),
            ("response_timeout", self.response_timeout),
            ("write_timeout", self.write_timeout),
        ];
        let optional = [("keep_alive", self.keep_alive), ("shutdown_timeout", self.shutdown_timeout)];
        let none =
            needed.iter().find(|(_, time)| time.is_zero()).map(|(field, _)| (*field, "must not be zero"));
        let endless = needed.iter().chain(&optional).find(|(_, time)| *time > MAX_TIMEOUT);
        let wrong_time = none.or(endless.map(|(field, _)| (*field, "must be at most a day")));
        let invalid = if self.connections == 0 {
            Some(("connections", "must be at least 1"))
        } else if self.connections_per_address == 0 {
            Some(("connections_per_address", "must be at least 1"))
        } else if self.max_header_bytes < SMALLEST_HEAD {
            Some(("max_header_bytes", "must be at least 256"))
        } else if self.max_headers == 0 || self.max_headers > Self::MAX_HEADERS {
            Some(("max_headers", "must be 1 to 256"))
        } else {
            wrong_time
        };
        invalid.map_or(Ok(()), |(field, reason)| Err(ServerError::Limit { field, reason }))
    }
}

/// What a thread of tiny_http touches of its stack, and its two buffers.
const THREAD_BYTES: u64 = 32 << 10;

/// What a refused connection still has: its response.
const LINGERING_BYTES: u64 = 1 << 10;

/// The front's buffer, and what is there without any connection.
const FIXED_BYTES: u64 = 256 << 10;

/// A time that is longer means no limit at all.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Below this not even a modest request fits.
const SMALLEST_HEAD: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_accepted_and_nonsense_is_not() {
        assert!(ServerLimits::default().check().is_ok());
        type Change = fn(&mut ServerLimits);
        let invalid: [(&str, Change); 9] = [
            ("connections", |limits| limits.connections = 0),
            ("connections_per_address", |limits| limits.connections_per_address = 0),
            ("max_header_bytes", |limits| limits.max_header_bytes = 255),
            ("max_headers", |limits| limits.max_headers = 0),
            ("max_headers", |limits| limits.max_headers = 257),
            ("body_timeout", |limits| limits.body_timeout = Duration::ZERO),
            ("response_timeout", |limits| limits.response_timeout = Duration::ZERO),
            ("response_timeout", |limits| limits.response_timeout = Duration::MAX),
            ("keep_alive", |limits| limits.keep_alive = Duration::from_secs(24 * 60 * 60 + 1)),
        ];
        for (name, change) in invalid {
            let mut limits = ServerLimits::default();
            change(&mut limits);
            assert!(
                matches!(limits.check(), Err(ServerError::Limit { field, .. }) if field == name),
                "{name}"
            );
        }
    }

    #[test]
    fn memory_follows_from_the_limits() {
        let limits = ServerLimits::default();
        assert!(
            (128 << 20..256 << 20).contains(&limits.worst_case_memory()),
            "{}",
            limits.worst_case_memory()
        );
        let fewer =
            ServerLimits { connections: 16, body_memory: 4 << 20, response_memory: 4 << 20, ..limits };
        assert!(fewer.worst_case_memory() < 20 << 20, "{}", fewer.worst_case_memory());
    }
}
