//! What a guest may ask for: outbound HTTP, credentials, leak scan, workspace, pairing, rate limits.

pub(crate) mod access;
pub mod pairing;
pub mod workspace;

pub mod http;
pub mod rate_limit;
pub mod secrets;
