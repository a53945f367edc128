//! Outbound HTTP: what a guest may ask for through `http-request`, and how the host does it. Agents that are servers are asked in the
//! same way: the operator's setting is then the allow-list.
//!
//! Every request passes the same steps in the same order:
//!
//! 1. the URL is parsed, and matched with the allow-list as the guest wrote it;
//! 2. the headers are checked, and those that are the host's to say are dropped;
//! 3. everything that the guest wrote is searched for the values of secrets: in the URL and the headers they are refused,
//!    in the body they are replaced;
//! 4. limits: requests per callback, size, requests at once, requests per minute and hour;
//! 5. the name is resolved once, and each address checked; only those are connected to;
//! 6. credentials and placeholders are put in;
//! 7. the request is made without following redirects, the response read up to its limits and in time, and secrets are
//!    taken out of it.
//!
//! No error says a secret's value. Sockets are opened in `client.rs` and `websocket.rs`, and names resolved in `resolver.rs`; everything else
//! is a decision without I/O.
//!
//! `ureq` writes requests with their secrets to the log at level `trace`, and only there: a program that lets its
//! operator choose levels caps [`OutboundHttpSettings::LOG_CAPS`].

mod addresses;
mod allowlist;
mod channel;
mod client;
mod credentials;
mod error;
#[cfg(feature = "cli")]
mod explain;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod glob;
mod headers;
mod host_pattern;
mod leak;
mod method;
mod opened;
mod operator_host;
mod outbound;
mod placeholders;
mod private_hosts;
#[cfg(feature = "cli")]
mod reach;
mod request;
mod resolver;
mod retry_after;
pub(crate) mod setting_hosts;
mod settings;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod websocket;

#[cfg(feature = "cli")]
pub(crate) use allowlist::is_unbounded_prefix;
pub(crate) use channel::ChannelHttp;
#[cfg(test)]
pub(crate) use client::MAX_RESPONSE_HEAD_BYTES;
pub(crate) use error::OutboundError;
#[cfg(feature = "cli")]
pub(crate) use explain::ExplainedStep;
#[cfg(feature = "agent-http")]
pub(crate) use headers::is_host_owned;
#[cfg(any(feature = "agent-http", feature = "agent-openai"))]
pub(crate) use opened::OpenResponse;
#[cfg(feature = "agent-openai")]
pub(crate) use opened::Redaction;
#[cfg(any(feature = "agent-http", feature = "agent-openai"))]
pub(crate) use operator_host::OperatorHost;
pub(crate) use outbound::OutboundHttp;
#[cfg(feature = "cli")]
pub(crate) use reach::Reached;
#[cfg(any(feature = "agent-http", feature = "agent-openai"))]
pub(crate) use request::OpenLimits;
pub(crate) use request::{OutboundCall, OutboundRequest, OutboundResponse, RequestPurpose, ResponseRoom};
pub use resolver::NameResolver;
pub(crate) use settings::ChannelHttpSettings;
pub use settings::OutboundHttpSettings;
pub(crate) use settings::OutboundSettingsError;
#[cfg(test)]
pub(crate) use websocket::websocket_on;
pub(crate) use websocket::{LinkSocket, MAX_FRAME_BYTES};
