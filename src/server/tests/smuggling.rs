//! Raw bytes that two readers could understand differently, or that no honest client sends, and what each gets.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::server::{Response, ServerLimits};

/// A name, the bytes, and the status and code of the response (no code: the handler responded).
type Row = (&'static str, &'static [u8], u16, &'static str);

const REQUEST_LINES: &[Row] = &[
    ("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
    ("tab for a space", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
    ("leading space", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
    ("no version", b"GET /\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
    ("lower-case protocol", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
    ("space after the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "bad_request_line"),
    ("space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
    ("brackets in the method", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
    (
        "five empty lines first",
        b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
        "bad_request_line",
    ),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version_not_supported"),
    ("HTTP/0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "version_not_supported"),
    ("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 400, "bad_header"),
];

const TARGETS: &[Row] = &[
    ("absolute form without a host", b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
    ("absolute form of another scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
    (
        "absolute form with user information",
        b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
        "bad_target",
    ),
    ("authority form", b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
    ("asterisk form of another method", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
    ("relative path", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
    ("fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
    ("letters beyond ASCII", b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
    ("bytes that are no text", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
    ("control character", b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
    ("delete character", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
];

const LINES: &[Row] = &[
    ("bare line feeds", b"GET / HTTP/1.1\nHost: a\n\n", 400, "bad_line_end"),
    ("bare line feed after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bad_line_end"),
    ("bare line feed after a field", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, "bad_line_end"),
    ("bare line feed at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bad_line_end"),
    ("bare carriage return", b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, "bad_line_end"),
    ("two carriage returns", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, "bad_line_end"),
    ("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400, "bad_header"),
    ("NUL in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400, "bad_header"),
    ("NUL in the target", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_header"),
];

const FIELDS: &[Row] = &[
    ("space before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "bad_header"),
    ("tab before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 0\r\n\r\n", 400, "bad_header"),
    ("folded value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, "bad_header"),
    ("folded with a tab", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", 400, "bad_header"),
    ("space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "bad_header"),
    ("no colon", b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400, "bad_header"),
    ("empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400, "bad_header"),
    ("space in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", 400, "bad_header"),
    (
        "letters beyond ASCII in a name",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa4: b\r\n\r\n",
        400,
        "bad_header",
    ),
    ("control character in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", 400, "bad_header"),
    ("delete character in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400, "bad_header"),
    ("no host", b"GET / HTTP/1.1\r\n\r\n", 400, "bad_host"),
    ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "bad_host"),
    ("host with user information", b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "bad_host"),
    ("host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "bad_host"),
    ("unknown expectation", b"GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n", 417, "unknown_expectation"),
];

const LENGTHS: &[Row] = &[
    (
        "two lengths",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
        "ambiguous_length",
    ),
    (
        "the same length twice",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\na",
        400,
        "ambiguous_length",
    ),
    (
        "length and encoding",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "ambiguous_length",
    ),
    (
        "encoding and length",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
        "ambiguous_length",
    ),
    (
        "list of lengths",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na",
        400,
        "bad_content_length",
    ),
    ("sign", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400, "bad_content_length"),
    ("minus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, "bad_content_length"),
    ("hexadecimal", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na", 400, "bad_content_length"),
    (
        "space inside",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 0\r\n\r\na",
        400,
        "bad_content_length",
    ),
    ("empty", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400, "bad_content_length"),
    (
        "beyond 64 bits",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\n",
        400,
        "bad_content_length",
    ),
    (
        "larger than any body may be",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n",
        413,
        "body_too_large",
    ),
];

const ENCODINGS: &[Row] = &[
    ("two encodings", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_transfer_encoding"),
    ("list of encodings", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "unknown_transfer_coding"),
    ("chunked not last", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501, "unknown_transfer_coding"),
    ("identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 501, "unknown_transfer_coding"),
    ("almost chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, "unknown_transfer_coding"),
    ("chunked twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "bad_transfer_encoding"),
    ("blanks before the end of a size line", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n", 400, "bad_chunk"),
    ("chunked with a parameter", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 400, "bad_transfer_encoding"),
    ("in quotes", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400, "bad_transfer_encoding"),
    ("vertical tab before it", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400, "bad_header"),
    ("from a client of HTTP/1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_transfer_encoding"),
    ("chunk size with a sign", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n", 400, "bad_chunk"),
    ("chunk with a bare line feed", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", 400, "bad_chunk"),
    ("chunk longer than its size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400, "bad_chunk"),
    ("chunk size that overflows", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1ffffffffffffffff\r\n", 413, "body_too_large"),
];

/// Odd, but plain in meaning.
const ACCEPTED: &[Row] = &[
    ("one empty line first", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, ""),
    ("four empty lines first", b"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, ""),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 200, ""),
    ("absolute form", b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 200, ""),
    ("absolute form without a path", b"GET http://A?q HTTP/1.1\r\nHost: a\r\n\r\n", 200, ""),
    (
        "blanks in a chunk extension",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 ; a = b\r\na\r\n0\r\n\r\n",
        200,
        "",
    ),
    ("HTTP/1.0 without a host", b"GET / HTTP/1.0\r\n\r\n", 200, ""),
    ("an unknown method", b"FROB / HTTP/1.1\r\nHost: a\r\n\r\n", 200, ""),
    ("an empty value", b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", 200, ""),
    ("no space after the colon", b"GET / HTTP/1.1\r\nHost:a\r\n\r\n", 200, ""),
    ("white space around a length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t1 \r\n\r\na", 200, ""),
    ("zeros before a length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 001\r\n\r\na", 200, ""),
    (
        "chunked in capitals",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n1\r\na\r\n0\r\n\r\n",
        200,
        "",
    ),
    (
        "a trailer",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
        200,
        "",
    ),
    (
        "an upgrade, which is ignored",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        200,
        "",
    ),
    ("a host with a port", b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 200, ""),
    ("a value beyond ASCII", b"GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4\xff\r\n\r\n", 200, ""),
];

#[test]
fn each_row_gets_its_response_and_only_plain_requests_reach_the_handler() {
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = handled.clone();
    let server = start(ServerLimits::default(), move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        request.responder.respond(Response::json(200, "{}"));
    });
    let tables = [REQUEST_LINES, TARGETS, LINES, FIELDS, LENGTHS, ENCODINGS, ACCEPTED];
    let mut failures = Vec::new();
    for (name, bytes, expected_status, expected_code) in tables.into_iter().flatten() {
        let response = exchange(server.local_addr(), bytes);
        if status(&response) != *expected_status || code(&response) != *expected_code {
            failures.push(format!("{name}: {response:?}"));
        }
        assert!(response.contains("\r\nConnection: close\r\n"), "{name}: {response:?}");
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(handled.load(Ordering::SeqCst), ACCEPTED.len());
}

#[test]
fn bytes_after_a_request_are_never_parsed_as_another() {
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = handled.clone();
    let server = start(ServerLimits::default(), move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        describe(request);
    });
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let rows = [
        format!("GET /first HTTP/1.1\r\nHost: a\r\n\r\n{hidden}"),
        format!("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n{hidden}"),
        format!("POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()),
    ];
    for row in &rows {
        let response = exchange(server.local_addr(), row.as_bytes());
        assert_eq!(response.matches("HTTP/1.1 200").count(), 1, "{row:?}: {response:?}");
        assert!(response.contains("/first []"), "{row:?}: {response:?}");
    }
    assert_eq!(handled.load(Ordering::SeqCst), rows.len());
}

#[test]
fn a_request_about_the_whole_server_gets_the_response_of_the_server() {
    let server = start(ServerLimits::default(), |request| {
        panic!("the handler got {}", request.target);
    });
    let response = exchange(server.local_addr(), b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 204 "), "{response:?}");
}

/// A request to a path that nobody takes used to be read whole: its body took memory that others waited for.
#[test]
fn a_request_refused_by_its_head_gets_its_response_before_the_body() {
    let limits = ServerLimits { body_memory: 0, ..ServerLimits::default() };
    let server = start(limits, |request| panic!("the handler got {}", request.target));
    for rest in
        ["Content-Length: 1000000", "Transfer-Encoding: chunked", "Expect: 100-continue\r\nContent-Length: 5"]
    {
        let head = format!("POST /nope HTTP/1.1\r\nHost: a\r\n{rest}\r\n\r\n");
        let mut stream = connect(server.local_addr());
        stream.write_all(head.as_bytes()).unwrap();
        let response = read_all(&mut stream);
        assert!(
            response.starts_with("HTTP/1.1 404 ") && response.ends_with("{\"error\":\"not_found\"}"),
            "{response:?}"
        );
    }
    assert_eq!(server.stats().responses_at_head, 3);
}

#[test]
fn fields_of_the_private_connection_cannot_be_forged() {
    let server = start(ServerLimits::default(), describe);
    let response = exchange(
        server.local_addr(),
        b"GET / HTTP/1.1\r\nX-Tinclaw-Envelope: a 7 203.0.113.1\r\nHost: a\r\nx-tinclaw-hex-cookie: 61\r\nX-TINCLAW: 1\r\n\r\n",
    );
    assert!(response.ends_with("GET / []\nhost: a\nbody 0\n"), "{response:?}");
}

#[test]
fn a_value_beyond_ascii_reaches_the_handler() {
    let server = start(ServerLimits::default(), describe);
    let response = exchange(
        server.local_addr(),
        "GET / HTTP/1.1\r\nHost: a\r\nX-City: S\u{e3}o Paulo\r\n\r\n".as_bytes(),
    );
    assert!(response.contains("x-city: S\u{e3}o Paulo\n"), "{response:?}");
}

#[test]
fn expect_continue_is_acknowledged_only_for_accepted_bodies() {
    let server = start(ServerLimits::default(), describe);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let mut stream = connect(server.local_addr());
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").unwrap();
    assert!(read_all(&mut stream).ends_with("body 2\nhi"));

    let refused = exchange(
        server.local_addr(),
        head.replace("POST /", "POST /small").replace(": 2", ": 11").as_bytes(),
    );
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused:?}");

    let old = exchange(server.local_addr(), (head.replace("1.1", "1.0") + "hi").as_bytes());
    assert!(old.starts_with("HTTP/1.1 200 ") && old.ends_with("body 2\nhi"), "{old:?}");
}
