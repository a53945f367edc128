//! What goes in and what comes out.

use std::fmt;
use std::time::{Duration, Instant};

use wit_abi::types::HttpResponse;

/// A request as a guest wrote it: nothing in it has been checked.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OutboundRequest {
    /// The method, in any case.
    pub method: String,
    /// The URL, with placeholders such as `{TELEGRAM_BOT_TOKEN}`.
    pub url: String,
    /// A JSON object of strings.
    pub headers_json: String,
    /// The body; absent and empty are the same for methods that need none.
    pub body: Option<Vec<u8>>,
    /// The time for the whole request that the guest asks for. Absent: the capability's `timeout_secs`.
    pub timeout: Option<Duration>,
}

/// Shows sizes only: a guest may have written a secret.
impl fmt::Debug for OutboundRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundRequest")
            .field("method", &self.method)
            .field("url_bytes", &self.url.len())
            .field("headers_bytes", &self.headers_json.len())
            .field("body_bytes", &self.body.as_ref().map(Vec::len))
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// The response of the upstream server, with secrets taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboundResponse {
    /// What the guest gets. Any status is a response, also 3xx (redirects are not followed), 4xx and 5xx.
    pub response: HttpResponse,
    /// How long the server asks to wait before the next try: the header `Retry-After` (RFC 9110, section 10.2.3), or
    /// `parameters.retry_after` in the body of a 429 (Telegram Bot API, `ResponseParameters`). At most a day.
    pub retry_after: Option<Duration>,
}

/// The callback that makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundCall {
    /// When the callback must have ended.
    pub deadline: Instant,
    /// How many requests the same callback made before this one.
    pub calls_before: u32,
    /// What the callback is for.
    pub purpose: RequestPurpose,
}

/// Limits of one request beyond those of whoever makes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenLimits {
    /// How long a connection may take to be made. Absent: as long as the request.
    pub connect_timeout: Option<Duration>,
    /// The longest response body, in bytes.
    pub max_body: Option<u64>,
}

/// Counts bytes of a response before they are read: false when the host has no room for them.
pub type ResponseRoom<'a> = &'a mut dyn FnMut(u64) -> bool;

/// What a request serves, which decides its priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestPurpose {
    /// A reply or another message of the agent. It may use the whole of the channel's rate.
    Reply,
    /// What the agent is doing, a typing indicator for instance. It goes out only when there is plenty of room, and never
    /// waits.
    Status,
    /// A poll, which may wait for its response for most of a minute and is cut off when the host shuts down.
    Poll,
    /// What a webhook needs to be responded to; cut off when the host has been shutting down for a moment.
    Webhook,
    /// Everything else.
    #[default]
    Other,
}
