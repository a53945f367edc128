//! What the front responds by itself: the requests that never reach the handler, and why.

use std::io::Write as _;

use crate::model::clock::http_now;

/// Why a request is refused by the front. Each has a status and a stable code; none tells anything about the inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rejection {
    RequestLine,
    Target,
    Header,
    LineEnd,
    Host,
    Length,
    AmbiguousLength,
    TransferEncoding,
    UnknownTransferCoding,
    Chunk,
    HeadTimeout,
    BodyTimeout,
    BodyTooLarge,
    Expectation,
    HeadTooLarge,
    TooManyFields,
    Busy,
    BusyForSender,
    OutOfMemory,
    ShuttingDown,
    Handover,
    ResponseTimeout,
    Version,
}

impl Rejection {
    /// The status code and the code in the body.
    pub(crate) fn status_and_code(self) -> (u16, &'static str) {
        match self {
            Rejection::RequestLine => (400, "bad_request_line"),
            Rejection::Target => (400, "bad_target"),
            Rejection::Header => (400, "bad_header"),
            Rejection::LineEnd => (400, "bad_line_end"),
            Rejection::Host => (400, "bad_host"),
            Rejection::Length => (400, "bad_content_length"),
            Rejection::AmbiguousLength => (400, "ambiguous_length"),
            Rejection::TransferEncoding => (400, "bad_transfer_encoding"),
            Rejection::Chunk => (400, "bad_chunk"),
            Rejection::HeadTimeout => (408, "head_timeout"),
            Rejection::BodyTimeout => (408, "body_timeout"),
            Rejection::BodyTooLarge => (413, "body_too_large"),
            Rejection::Expectation => (417, "unknown_expectation"),
            Rejection::HeadTooLarge => (431, "head_too_large"),
            Rejection::TooManyFields => (431, "too_many_fields"),
            Rejection::UnknownTransferCoding => (501, "unknown_transfer_coding"),
            Rejection::Busy => (503, "too_many_connections"),
            Rejection::BusyForSender => (503, "too_many_connections_from_address"),
            Rejection::OutOfMemory => (503, "out_of_memory"),
            Rejection::ShuttingDown => (503, "shutting_down"),
            Rejection::Handover => (503, "temporarily_unavailable"),
            Rejection::ResponseTimeout => (504, "response_timeout"),
            Rejection::Version => (505, "version_not_supported"),
        }
    }

    /// The whole response. It always ends the connection. `with_body` is false for `HEAD`.
    pub(crate) fn response(self, with_body: bool) -> Vec<u8> {
        let (status, code) = self.status_and_code();
        let body = format!("{{\"error\":\"{code}\"}}");
        let mut response = Vec::with_capacity(256);
        let printed = write!(
            response,
            "HTTP/1.1 {status} {}\r\nContent-Length: {}\r\nContent-Type: application/json\r\nDate: {}\r\n{}\
             Connection: close\r\n\r\n{}",
            reason_phrase(status),
            body.len(),
            httpdate::HttpDate::from(http_now()),
            if status == 503 { "Retry-After: 1\r\n" } else { "" },
            if with_body { &body } else { "" },
        );
        printed.expect("writing to a vector cannot fail");
        response
    }
}

/// The usual words after a status code (RFC 9110 section 15); empty for codes without.
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    tiny_http::StatusCode(status).default_reason_phrase()
}
