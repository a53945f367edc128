//! Why a request was refused or failed. The guest gets the text, so no variant carries a secret's value; the channel's name is
//! put before it where it is logged or shown.

use std::net::IpAddr;
use std::time::Duration;

use super::addresses::AddressKind;
use crate::model::human_duration::HumanDuration;
use crate::model::rate_limit::RateLimited;
use crate::secrets::SecretError;

/// Why `http-request` returned an error.
///
/// Its text goes to the guest and into logs. It names hosts, limits and names of secrets; never a value, never a whole
/// URL (whose path or query may hold what the guest should not have had).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundError {
    /// The URL is not one that the host would request.
    #[error("URL refused: {0}; correct it where it was written: in what was asked for, or in the guest")]
    Url(&'static str),
    /// The method is not one that the host speaks.
    #[error("method refused: use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")]
    Method,
    /// No entry of the allow-list names this place.
    #[error("not on the allow-list: {0}; see http.allowlist in its capability file")]
    NotAllowed(String),
    /// The headers are not acceptable.
    #[error("headers refused: {0}; report it to its author")]
    Headers(String),
    /// The guest wrote the value of a secret.
    #[error(
        "the {place} contains the value of the secret '{secret}'; use a credential or a placeholder instead"
    )]
    Leak {
        /// The secret's name.
        secret: String,
        /// Where it was found.
        place: &'static str,
    },
    /// One callback made too many requests.
    #[error("more than {limit} requests in one callback; raise http.max_requests_per_callback")]
    TooManyInCallback {
        /// The limit.
        limit: u32,
    },
    /// The request body is too long.
    #[error("the request body has {size} bytes, the limit is {limit}; raise http.max_request_bytes")]
    RequestTooLarge {
        /// The body's length, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The channel made too many requests in the last minute or hour.
    #[error("over http.rate_limit, {}; raise http.rate_limit if this happens often", RateLimited::advice(*retry_after))]
    RateLimited {
        /// When the next request will be within the limit.
        retry_after: Duration,
    },
    /// Too many requests of the channel are in flight.
    #[error("{limit} of its requests are in flight already; raise http.max_concurrent_requests")]
    TooManyAtOnce {
        /// The limit.
        limit: u32,
    },
    /// The host's name could not be resolved.
    #[error("cannot resolve {host}: {reason}; check the name, and the DNS of this machine")]
    Resolve {
        /// The host's name.
        host: String,
        /// Why.
        reason: String,
    },
    /// Every address of the host is one that guests must not reach.
    #[error("{host} resolves to {address}, which is {kind}; an operator may name it in allow_private_hosts")]
    Address {
        /// The host's name.
        host: String,
        /// The first of its addresses.
        address: IpAddr,
        /// What kind of address that is.
        kind: AddressKind,
    },
    /// A secret that the request needs is not stored.
    #[error(
        "the secret '{secret}' is not set; store it where the host takes secrets from (the daemon: `tinclaw secrets set {secret}`)"
    )]
    MissingSecret {
        /// The secret's name.
        secret: String,
    },
    /// A placeholder names a credential that is not for this host and path.
    #[error(
        "the secret '{secret}' is not declared for {host} and this path; see http.credentials in its capability file"
    )]
    CredentialNotForHost {
        /// The secret's name.
        secret: String,
        /// The request's host.
        host: String,
    },
    /// The secret's value cannot stand where it would be put.
    #[error(
        "the secret '{secret}' cannot be put into the {place}: its value would change the request's structure; \
         store the value that the provider shows, without anything around it"
    )]
    CredentialUnfit {
        /// The secret's name.
        secret: String,
        /// Where it would have gone.
        place: &'static str,
    },
    /// The secrets could not be read.
    #[error("secrets cannot be read: {0}")]
    Secrets(#[from] SecretError),
    /// The time for the request is over.
    #[error("the request to {host} timed out after {}; see whether the service is up", HumanDuration(*after))]
    Timeout {
        /// The request's host.
        host: String,
        /// The time that it had.
        after: Duration,
        /// Whether any of it may have reached the server.
        #[cfg_attr(
            not(any(feature = "agent-http", feature = "agent-openai")),
            allow(dead_code, reason = "an agent's message is only charged with what was sent")
        )]
        is_sent: bool,
    },
    /// A server responded to the handshake of a websocket with another status than 101.
    #[error(
        "{host} responded to the websocket's handshake with status {status}; check its credentials and address"
    )]
    Handshake {
        /// The server's host.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The connection could not be made or broke.
    #[error(
        "the request to {host} failed: {reason}; see whether the service is up and this machine reaches it"
    )]
    Connection {
        /// The request's host.
        host: String,
        /// What went wrong, in the host's words.
        reason: &'static str,
        /// Whether any of it may have reached the server.
        #[cfg_attr(
            not(any(feature = "agent-http", feature = "agent-openai")),
            allow(dead_code, reason = "an agent's message is only charged with what was sent")
        )]
        is_sent: bool,
    },
    /// The head of the response is too large.
    #[error(
        "the response head of {host} is larger than the {limit} bytes that are read; report it to the service"
    )]
    ResponseHeadTooLarge {
        /// The request's host.
        host: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Other callbacks have the memory that the response would take.
    #[error(
        "there is no room for the response of {host}: callbacks that run have the memory (memory_budget_mb)"
    )]
    NoRoomForResponse {
        /// The request's host.
        host: String,
    },
    /// The response body is too large.
    #[error("the response body of {host} is larger than {limit} bytes; raise http.max_response_bytes")]
    ResponseTooLarge {
        /// The request's host.
        host: String,
        /// The limit, in bytes.
        limit: u64,
    },
}

impl OutboundError {
    /// Whether the same request would be refused again: what the host refuses because of what the request is, not because
    /// of the moment.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Url(_)
            | Self::Method
            | Self::NotAllowed(_)
            | Self::Headers(_)
            | Self::Leak { .. }
            | Self::TooManyInCallback { .. }
            | Self::RequestTooLarge { .. }
            | Self::MissingSecret { .. }
            | Self::CredentialNotForHost { .. }
            | Self::CredentialUnfit { .. } => true,
            // A limit of zero never has room.
            Self::RateLimited { retry_after } => *retry_after == Duration::MAX,
            Self::TooManyAtOnce { limit } => *limit == 0,
            Self::Resolve { .. }
            | Self::Address { .. }
            | Self::Secrets(_)
            | Self::Timeout { .. }
            | Self::Handshake { .. }
            | Self::Connection { .. }
            | Self::ResponseHeadTooLarge { .. }
            | Self::NoRoomForResponse { .. }
            | Self::ResponseTooLarge { .. } => false,
        }
    }
}
