//! The limits of outbound HTTP: one row a limit. Their defaults stand beside the fields, in
//! [`capabilities::http`](crate::capability::http).

use super::MIB;
use crate::capability::HttpCapability;

/// One row of [`HTTP_LIMITS`]. Numbers are counted in `unit`, as the capability file counts them.
pub struct HttpLimit {
    /// The field, below `capabilities`.
    pub field: &'static str,
    /// What the number counts.
    pub unit: &'static str,
    /// The host's ceiling, when its configuration does not set another.
    pub ceiling: u64,
    /// The highest ceiling that the host's configuration may set.
    pub most: u64,
    /// Whether a ceiling that the host's configuration sets is also the value for files that do not name another than the
    /// default, so that an operator can raise it for a published channel.
    pub raises_default: bool,
    pub(super) get: fn(&HttpCapability) -> u64,
    pub(super) set: fn(&mut HttpCapability, u64),
}

/// The limits of outbound HTTP, but for the number of requests per callback, which is one of
/// [`LIMITS`](super::LIMITS).
pub const HTTP_LIMITS: &[HttpLimit] = &[
    HttpLimit {
        field: "http.max_request_bytes",
        unit: "bytes",
        ceiling: 50 * MIB,
        most: 1024 * MIB,
        raises_default: true,
        get: |http| http.max_request_bytes,
        set: |http, value| http.max_request_bytes = value,
    },
    HttpLimit {
        field: "http.max_response_bytes",
        unit: "bytes",
        ceiling: 50 * MIB,
        most: 1024 * MIB,
        raises_default: true,
        get: |http| http.max_response_bytes,
        set: |http, value| http.max_response_bytes = value,
    },
    HttpLimit {
        field: "http.timeout_secs",
        unit: "seconds",
        ceiling: super::MAX_CALLBACK_TIMEOUT_SECS,
        most: super::MAX_CALLBACK_TIMEOUT_SECS,
        raises_default: false,
        get: |http| http.timeout_secs,
        set: |http, value| http.timeout_secs = value,
    },
    HttpLimit {
        field: "http.max_concurrent_requests",
        unit: "requests",
        ceiling: 32,
        most: 1_024,
        raises_default: false,
        get: |http| http.max_concurrent_requests.into(),
        set: |http, value| http.max_concurrent_requests = count(value),
    },
    HttpLimit {
        field: "http.rate_limit.requests_per_minute",
        unit: "requests",
        ceiling: 1_000_000,
        most: 1_000_000,
        raises_default: false,
        get: |http| http.rate_limit.requests_per_minute.into(),
        set: |http, value| http.rate_limit.requests_per_minute = count(value),
    },
    HttpLimit {
        field: "http.rate_limit.requests_per_hour",
        unit: "requests",
        ceiling: 10_000_000,
        most: 10_000_000,
        raises_default: false,
        get: |http| http.rate_limit.requests_per_hour.into(),
        set: |http, value| http.rate_limit.requests_per_hour = count(value),
    },
];

fn count(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
