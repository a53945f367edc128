//! A response that is read while it arrives, with what its errors say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use wit_abi::types::HttpResponse;

use super::channel::RunningRequest;
use super::client::{ClientError, Exchange, MAX_RESPONSE_HEAD_BYTES, OutboundClient, RawResponse, RawStream};
use super::error::OutboundError;
use super::headers;
use super::leak::{self, SecretMatcher};
use super::request::{OutboundResponse, ResponseRoom};
use super::retry_after;

/// A response whose body is still to be read, nothing of it looked at.
pub(super) struct UpstreamResponse {
    stream: RawStream,
    context: ErrorContext,
}

/// What errors of a request say about it.
struct ErrorContext {
    /// What the caller called the server.
    host: String,
    begun: Instant,
    max_body: u64,
}

impl ErrorContext {
    fn error(&self, error: ClientError) -> OutboundError {
        let host = self.host.clone();
        match error {
            ClientError::Timeout => {
                OutboundError::Timeout { host, after: self.begun.elapsed(), is_sent: true }
            }
            ClientError::HeadTooLarge => {
                OutboundError::ResponseHeadTooLarge { host, limit: MAX_RESPONSE_HEAD_BYTES }
            }
            ClientError::BodyTooLarge => OutboundError::ResponseTooLarge { host, limit: self.max_body },
            ClientError::NoRoom => OutboundError::NoRoomForResponse { host },
            ClientError::ConnectTimeout => {
                OutboundError::Timeout { host, after: self.begun.elapsed(), is_sent: false }
            }
            ClientError::NoConnection(reason) => OutboundError::Connection { host, reason, is_sent: false },
            ClientError::Failed(reason) => OutboundError::Connection { host, reason, is_sent: true },
        }
    }
}

impl UpstreamResponse {
    /// Sends a request and reads the head of the response.
    pub(super) fn open(
        client: &OutboundClient,
        host: &str,
        exchange: &Exchange<'_>,
    ) -> Result<Self, OutboundError> {
        let context =
            ErrorContext { host: host.to_owned(), begun: Instant::now(), max_body: exchange.max_body };
        match client.open(exchange) {
            Ok(stream) => Ok(Self { stream, context }),
            Err(error) => Err(context.error(error)),
        }
    }

    /// The status.
    #[cfg(any(feature = "agent-http", feature = "agent-openai"))]
    pub(super) fn status(&self) -> u16 {
        self.stream.status
    }

    /// Names in lower case, and values.
    #[cfg(any(feature = "agent-http", feature = "agent-openai"))]
    pub(super) fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.stream.headers
    }

    /// Reads some of the body; 0 at its end.
    #[cfg(feature = "agent-openai")]
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, OutboundError> {
        self.stream.read(buffer).map_err(|error| self.context.error(error))
    }

    /// Reads what there is. `room` is asked before memory for the body is taken.
    pub(super) fn read_whole(mut self, room: ResponseRoom<'_>) -> Result<RawResponse, OutboundError> {
        let body = self.stream.read_whole(room).map_err(|error| self.context.error(error))?;
        Ok(RawResponse { status: self.stream.status, headers: self.stream.headers, body })
    }
}

/// A response that is read while it arrives. Its request counts as under way until this is dropped.
pub struct OpenResponse<'a> {
    opened: UpstreamResponse,
    redaction: Redaction,
    _under_way: RunningRequest<'a>,
}

/// Takes out of what was received the secrets that whoever asked must not have.
#[derive(Clone)]
pub struct Redaction(Arc<SecretMatcher>);

#[cfg(feature = "agent-openai")]
impl Redaction {
    /// A text without them.
    pub fn redacted(&self, text: &str) -> String {
        let (text, _) = self.0.redact_received(text.as_bytes().to_vec());
        // What was UTF-8 and had whole secrets replaced is UTF-8.
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl<'a> OpenResponse<'a> {
    pub(super) fn new(
        opened: UpstreamResponse,
        matcher: Arc<SecretMatcher>,
        under_way: RunningRequest<'a>,
    ) -> Self {
        Self { opened, redaction: Redaction(matcher), _under_way: under_way }
    }

    /// The status.
    #[cfg(any(feature = "agent-http", feature = "agent-openai"))]
    pub fn status(&self) -> u16 {
        self.opened.status()
    }

    /// The first header of this name, which is in lower case, without secrets.
    #[cfg(any(feature = "agent-http", feature = "agent-openai"))]
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.opened.headers().iter().find(|(other, _)| other == name);
        found.map(|(_, value)| self.redaction.0.redact_header(value).0)
    }

    /// Reads some of the body as it came, so secrets may be in it; 0 at its end.
    ///
    /// # Errors
    /// The rest does not come, or is too long.
    #[cfg(feature = "agent-openai")]
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, OutboundError> {
        self.opened.read(buffer)
    }

    /// For texts that are made of what was read.
    #[cfg(feature = "agent-openai")]
    pub fn redaction(&self) -> Redaction {
        self.redaction.clone()
    }

    /// Reads what there is, and takes secrets out of it. `room` is asked before memory for the body is taken.
    ///
    /// # Errors
    /// As [`OpenResponse::read`], and when there is no room.
    pub fn read_whole(self, room: ResponseRoom<'_>) -> Result<OutboundResponse, OutboundError> {
        Ok(for_guest(&self.redaction.0, self.opened.read_whole(room)?))
    }
}

/// Step 7: the response as the guest gets it, without secrets.
fn for_guest(matcher: &SecretMatcher, response: RawResponse) -> OutboundResponse {
    let RawResponse { status, headers, body } = response;
    let (body, redacted) = matcher.redact_received(body);
    let mut shown: Vec<(String, String)> = Vec::with_capacity(headers.len());
    for (name, value) in &headers {
        // The length that the server gave is that of the body with the secret in it.
        let value = if redacted && name == "content-length" {
            body.len().to_string()
        } else {
            matcher.redact_header(value).0
        };
        shown.push((matcher.redact_header_name(name), value));
    }
    redact_split_values(matcher, &mut shown);
    let header =
        |wanted: &str| shown.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let (asked, date) = (header("retry-after"), header("date"));
    let retry_after = retry_after::of_response(status, asked, date, &body, SystemTime::now());
    let headers_json = headers::to_json(shown.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    OutboundResponse { response: HttpResponse { status, headers_json, body }, retry_after }
}

/// Replaces the values of headers of one name that show a secret together. A guest gets them joined, and undoes that.
fn redact_split_values(matcher: &SecretMatcher, headers: &mut [(String, String)]) {
    let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, (name, _)) in headers.iter().enumerate() {
        by_name.entry(name.to_ascii_lowercase()).or_default().push(place);
    }
    for places in by_name.into_values() {
        let values: Vec<&str> = places.iter().map(|place| headers[*place].1.trim()).collect();
        if matcher.is_split_over(&values) {
            places.into_iter().for_each(|place| leak::REDACTED.clone_into(&mut headers[place].1));
        }
    }
}
