//! What the front answers by itself: the requests that never reach the handler, and why.

use std::io::Write as _;

use crate::model::clock::http_now;

/// Why a request is refused by the front. Each has a status and a stable code; none tells anything about the inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
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
    NoAnswer,
    Version,
}

impl Refusal {
    /// The status code and the code in the body.
    pub(crate) fn status_and_code(self) -> (u16, &'static str) {
        match self {
            Refusal::RequestLine => (400, "bad_request_line"),
            Refusal::Target => (400, "bad_target"),
            Refusal::Header => (400, "bad_header"),
            Refusal::LineEnd => (400, "bad_line_end"),
            Refusal::Host => (400, "bad_host"),
            Refusal::Length => (400, "bad_content_length"),
            Refusal::AmbiguousLength => (400, "ambiguous_length"),
            Refusal::TransferEncoding => (400, "bad_transfer_encoding"),
            Refusal::Chunk => (400, "bad_chunk"),
            Refusal::HeadTimeout => (408, "head_timeout"),
            Refusal::BodyTimeout => (408, "body_timeout"),
            Refusal::BodyTooLarge => (413, "body_too_large"),
            Refusal::Expectation => (417, "unknown_expectation"),
            Refusal::HeadTooLarge => (431, "head_too_large"),
            Refusal::TooManyFields => (431, "too_many_fields"),
            Refusal::UnknownTransferCoding => (501, "unknown_transfer_coding"),
            Refusal::Busy => (503, "too_many_connections"),
            Refusal::BusyForSender => (503, "too_many_connections_from_address"),
            Refusal::OutOfMemory => (503, "out_of_memory"),
            Refusal::ShuttingDown => (503, "shutting_down"),
            Refusal::Handover => (503, "temporarily_unavailable"),
            Refusal::NoAnswer => (504, "no_answer_in_time"),
            Refusal::Version => (505, "version_not_supported"),
        }
    }

    /// The whole answer. It always ends the connection. `with_body` is false for `HEAD`.
    pub(crate) fn answer(self, with_body: bool) -> Vec<u8> {
        let (status, code) = self.status_and_code();
        let body = format!("{{\"error\":\"{code}\"}}");
        let mut answer = Vec::with_capacity(256);
        let printed = write!(
            answer,
            "HTTP/1.1 {status} {}\r\nContent-Length: {}\r\nContent-Type: application/json\r\nDate: {}\r\n{}\
             Connection: close\r\n\r\n{}",
            reason_phrase(status),
            body.len(),
            httpdate::HttpDate::from(http_now()),
            if status == 503 { "Retry-After: 1\r\n" } else { "" },
            if with_body { &body } else { "" },
        );
        printed.expect("writing to a vector cannot fail");
        answer
    }
}

/// The usual words after a status code (RFC 9110 section 15); empty for codes without.
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    tiny_http::StatusCode(status).default_reason_phrase()
}
