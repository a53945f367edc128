//! A response as bytes: printed for tiny_http's writer, and found again in what comes back over the private socket; and what
//! the front responds by itself to requests that never reach the handler.

use std::io::Write as _;
use std::time::SystemTime;

use super::Response;
use crate::model::clock::http_now;
use crate::net::header_field::{is_name, is_value};

/// Longest head of a response, in bytes. Fields that do not fit are dropped.
pub(crate) const MAX_REPLY_HEAD_BYTES: usize = 64 << 10;

/// Fields that are the server's: the framing, and what concerns one connection only (RFC 9110 section 7.6.1).
const DROPPED: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Prints a response, without the `Connection` field, which the front puts in.
pub(crate) fn print(response: &Response, is_head_request: bool, now: SystemTime) -> Vec<u8> {
    let has_body = may_have_body(response.status);
    let sent_body = sent_body(response, is_head_request);
    let mut bytes = Vec::with_capacity(256 + sent_body.len());
    put(&mut bytes, format_args!("HTTP/1.1 {} {}\r\n", response.status, reason_phrase(response.status)));
    if has_body {
        put(&mut bytes, format_args!("Content-Length: {}\r\n", response.body.len()));
    }
    // A server with a clock says when it responded (RFC 9110 section 6.6.1).
    if !response.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("date")) {
        put(&mut bytes, format_args!("Date: {}\r\n", httpdate::HttpDate::from(now)));
    }
    for (name, value) in &response.headers {
        let room = MAX_REPLY_HEAD_BYTES - bytes.len() - 2;
        if is_sendable(name, value) && name.len() + value.len() + 4 <= room {
            put(&mut bytes, format_args!("{name}: {}\r\n", value.trim_matches([' ', '\t'])));
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(sent_body);
    bytes
}

/// The part of the body that goes over the wire.
pub(crate) fn sent_body(response: &Response, is_head_request: bool) -> &[u8] {
    if may_have_body(response.status) && !is_head_request { &response.body } else { &[] }
}

fn put(bytes: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    bytes.write_fmt(text).expect("writing to a vector cannot fail");
}

/// 1xx, 204 and 304 never have a body (RFC 9110 section 6.4.1).
fn may_have_body(status: u16) -> bool {
    status >= 200 && status != 204 && status != 304
}

/// The field may be sent, and is not ours.
fn is_sendable(name: &str, value: &str) -> bool {
    is_name(name) && is_value(value) && !DROPPED.iter().any(|dropped| name.eq_ignore_ascii_case(dropped))
}

/// Where a response's head and body end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Bytes of the head, its empty line included.
    pub(crate) head: usize,
    /// Bytes of the body after it.
    pub(crate) body: usize,
}

/// What came back over the private socket is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidResponse;

/// Finds the end of a response as soon as its head is there.
pub(crate) fn frame(bytes: &[u8], is_head_request: bool) -> Result<Option<Frame>, InvalidResponse> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > MAX_REPLY_HEAD_BYTES { Err(InvalidResponse) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| InvalidResponse)?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).ok_or(InvalidResponse)?;
    let status: u16 = status_line.get(..3).and_then(|digits| digits.parse().ok()).ok_or(InvalidResponse)?;
    let mut length = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().map_err(|_| InvalidResponse)?);
            break;
        }
    }
    let body = match length {
        _ if is_head_request || !may_have_body(status) => 0,
        Some(length) => length,
        None => return Err(InvalidResponse),
    };
    Ok(Some(Frame { head: end + 4, body }))
}

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
    HeaderTimeout,
    BodyTimeout,
    BodyTooLarge,
    Expectation,
    HeadTooLarge,
    TooManyFields,
    Busy,
    BusyForSender,
    OutOfMemory,
    ShuttingDown,
    NotDispatched,
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
            Rejection::HeaderTimeout => (408, "header_timeout"),
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
            Rejection::NotDispatched => (503, "temporarily_unavailable"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(response: &Response, is_head_request: bool) -> String {
        String::from_utf8(print(response, is_head_request, SystemTime::UNIX_EPOCH)).unwrap()
    }

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Response { status, headers, body: body.into() }
    }

    #[test]
    fn a_response_is_printed_unchanged() {
        let given = response(
            201,
            &[("X-A", "1"), ("x-a", "2"), ("Content-Type", "text/plain"), ("X-City", "São")],
            "hi",
        );
        assert_eq!(
            printed(&given, false),
            "HTTP/1.1 201 Created\r\nContent-Length: 2\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-A: 1\r\nx-a: 2\r\n\
             Content-Type: text/plain\r\nX-City: São\r\n\r\nhi"
        );
    }

    #[test]
    fn a_field_is_sent_only_when_it_is_valid_and_not_ours() {
        let rows = [
            ("X-Fine", "a b\tc", true),
            ("X-Empty", "", true),
            ("Set-Cookie", "a=b; Path=/", true),
            ("Date", "yesterday", true),
            ("Content-Length", "5", false),
            ("CONTENT-LENGTH", "5", false),
            ("Transfer-Encoding", "chunked", false),
            ("Connection", "keep-alive", false),
            ("Keep-Alive", "timeout=5", false),
            ("Upgrade", "h2c", false),
            ("Trailer", "X", false),
            ("", "empty name", false),
            ("X Space", "a", false),
            ("X-Colon:", "a", false),
            ("X-Ü", "a", false),
            ("X-Split", "a\r\nSet-Cookie: b", false),
            ("X-Split\r\nSet-Cookie", "b", false),
            ("X-Feed", "a\nb", false),
            ("X-Nul", "a\0b", false),
            ("X-Delete", "a\u{7f}b", false),
        ];
        for (name, value, sent) in rows {
            let text = printed(&response(200, &[(name, value)], ""), false);
            assert_eq!(text.contains(&format!("\r\n{name}: {value}\r\n")), sent, "{name:?}: {value:?}");
            assert_eq!(
                text.lines().count(),
                if sent && name != "Date" { 5 } else { 4 },
                "{name:?}: {value:?}"
            );
        }
    }

    #[test]
    fn a_head_grows_to_its_limit_only() {
        let long = "v".repeat(MAX_REPLY_HEAD_BYTES / 3);
        let text =
            printed(&response(200, &[("A", &long), ("B", &long), ("C", &long), ("D", "short")], ""), false);
        assert!(text.len() <= MAX_REPLY_HEAD_BYTES);
        assert!(text.contains("B: ") && !text.contains("C: ") && text.contains("D: "));
    }

    #[test]
    fn a_printed_response_is_framed() {
        let rows = [
            (200, false, "body", 4),
            (200, true, "body", 0),
            (200, false, "", 0),
            (204, false, "body", 0),
            (304, false, "body", 0),
            (599, false, "\r\n\r\n", 4),
        ];
        for (status, is_head_request, body, expected) in rows {
            let bytes = print(&response(status, &[], body), is_head_request, SystemTime::UNIX_EPOCH);
            for length in 0..bytes.len() - expected {
                assert_eq!(
                    frame(&bytes[..length], is_head_request),
                    Ok(None),
                    "{status}, first {length} bytes"
                );
            }
            let found = frame(&bytes, is_head_request).unwrap().unwrap();
            assert_eq!((found.head + found.body, found.body), (bytes.len(), expected), "{status}");
        }
    }

    #[test]
    fn responses_of_tiny_http_itself_are_framed_too() {
        let text =
            b"HTTP/1.1 500 Internal Server Error\r\nServer: tiny-http (Rust)\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(frame(text, false), Ok(Some(Frame { head: text.len(), body: 0 })));
    }

    #[test]
    fn an_invalid_response_is_refused() {
        let rows: [&[u8]; 5] = [
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            b"\r\n\r\n",
        ];
        for bytes in rows {
            assert_eq!(frame(bytes, false), Err(InvalidResponse));
        }
        assert_eq!(frame(&[b'a'; MAX_REPLY_HEAD_BYTES + 1], false), Err(InvalidResponse));
    }
}
