//! What goes in and what comes out.

use std::fmt;
use std::time::Duration;

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

/// What the upstream server answered, with secrets taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundAnswer {
    /// What the guest gets. Any status is an answer, also 3xx (redirects are not followed), 4xx and 5xx.
    pub response: HttpResponse,
    /// How long the server asks to wait before the next try: the header `Retry-After` (RFC 9110, section 10.2.3), or
    /// `parameters.retry_after` in the body of a 429 (Telegram Bot API, `ResponseParameters`). At most a day.
    pub retry_after: Option<Duration>,
}
