//! What a server may not do to the host: hold it up, fill its memory, send it elsewhere, tell the guest a secret.

use std::io::Write as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{KEY, Setup, TOKEN, Upstream, assert_no_secret, channel, get, request, response, send, until};
use crate::egress::{MAX_RESPONSE_HEAD_BYTES, OutboundError, OutboundRequest, OutboundResponse};

const URL: &str = "https://api.example.com/x";

fn headers(got: &OutboundResponse) -> Value {
    serde_json::from_str(&got.response.headers_json).unwrap()
}

fn with_limit(upstream: &Upstream, limit: u64) -> crate::egress::ChannelHttp {
    let http = json!({"allowlist": [{"host": "api.example.com"}], "max_response_bytes": limit});
    Setup::new(http).rewrite("api.example.com", upstream).build()
}

// What happened: responses were read into memory that was counted nowhere: ten callbacks that read 10 MiB each took 100 MiB
// beside the budget.
#[test]
fn memory_for_a_body_is_asked_for_before_it_is_taken() {
    const BODY: u64 = 1_000_000;
    let upstream = Upstream::fixed(response(200, "", "x".repeat(BODY as usize)));
    let ask = |most: u64| {
        let mut asked = 0;
        let mut room = |more| {
            asked += more;
            asked <= most
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let got = channel(&upstream).request(get(URL), until(deadline), &mut room);
        (got.map(|got| got.response.body.len() as u64), asked)
    };
    let (got, asked) = ask(u64::MAX);
    assert_eq!(got.unwrap(), BODY);
    assert!((BODY..=2 * BODY).contains(&asked), "{asked}");
    assert_eq!(ask(asked).0.unwrap(), BODY);
    let (got, asked_in_vain) = ask(BODY / 2);
    assert!(matches!(got, Err(OutboundError::NoRoomForResponse { .. })), "{got:?}");
    assert!(asked_in_vain <= BODY, "it is not asked again: {asked_in_vain}");
}

#[test]
fn any_status_is_a_response_with_its_body() {
    for status in [200, 201, 204, 304, 400, 401, 404, 409, 418, 429, 500, 503, 599] {
        let body = if matches!(status, 204 | 304) { "" } else { "{\"ok\":false}" };
        let upstream = Upstream::fixed(response(status, "", body));
        let got = send(&channel(&upstream), get(URL)).unwrap();
        assert_eq!((got.response.status, got.response.body.as_slice()), (status, body.as_bytes()));
    }
}

#[test]
fn a_redirect_is_a_response_and_is_not_followed() {
    let other = Upstream::fixed(response(200, "", "never"));
    for status in [301, 302, 303, 307, 308] {
        let location = format!("Location: http://{}/x\r\n", other.address);
        let upstream = Upstream::fixed(response(status, &location, "moved"));
        let channel = channel(&upstream);
        for method in ["GET", "POST"] {
            let got = send(&channel, request(method, URL, "{}", None)).unwrap();
            assert_eq!(got.response.status, status);
            assert_eq!(headers(&got)["location"], format!("http://{}/x", other.address));
        }
        assert_eq!(upstream.received().len(), 2);
    }
    assert_eq!(other.connections(), 0);
}

#[test]
fn secrets_in_a_response_are_replaced_and_the_call_succeeds() {
    let body =
        json!({"echo": TOKEN, "again": KEY, "b64": STANDARD.encode(format!("user:{KEY}")), "text": "stays"});
    let extra = format!(
        "Location: https://h/?t={KEY}\r\nX-Echo: a {TOKEN} b\r\nSet-Cookie: k={KEY}\r\nX-Odd: {}\r\nX-{KEY}: x\r\nX-Plain: stays\r\n",
        KEY.replace('0', "%30")
    );
    for status in [200, 302, 500] {
        let upstream = Upstream::fixed(response(status, &extra, body.to_string()));
        let got = send(&channel(&upstream), get(URL)).unwrap();
        let text = String::from_utf8(got.response.body.clone()).unwrap();
        assert_no_secret(&text);
        assert_no_secret(&got.response.headers_json);
        assert!(!text.contains("eS0wMTIzNDU2Nzg5YWJjZGVm"), "{text}");
        let parsed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&parsed["echo"], &parsed["text"]), (&json!("[redacted]"), &json!("stays")));
        let headers = headers(&got);
        assert_eq!(headers["location"], "https://h/?t=[redacted]");
        assert_eq!(headers["x-odd"], "[redacted]");
        assert_eq!(headers["x-plain"], "stays");
        assert_eq!(headers["content-length"], text.len().to_string());
    }
}

/// A server that showed half of a token in each of two headers of one name gave the guest both.
#[test]
fn a_secret_that_is_split_over_headers_of_one_name_is_replaced() {
    let (first, rest) = KEY.split_at(KEY.len() / 2);
    for last in ["", "X-Half: other\r\n"] {
        let extra = format!(
            "X-Half: {first}\r\nX-Other: {rest}\r\nx-half: {rest}\r\n{last}X-Plain: a\r\nX-Plain: b\r\n"
        );
        let upstream = Upstream::fixed(response(200, &extra, ""));
        let got = headers(&send(&channel(&upstream), get(URL)).unwrap());
        let half = got["x-half"].as_str().unwrap();
        assert!(!half.contains(first) && !half.contains(rest), "{got}");
        assert_eq!(got["x-plain"], "a, b");
    }
}

#[test]
fn headers_reach_the_guest_in_lower_case_and_joined() {
    let upstream = Upstream::fixed(response(
        200,
        "X-Encrypted-Param: abc\r\nSet-Cookie: a=1\r\nSET-COOKIE: b=2\r\n",
        "",
    ));
    let headers = headers(&send(&channel(&upstream), get(URL)).unwrap());
    assert_eq!(headers["x-encrypted-param"], "abc");
    assert_eq!(headers["set-cookie"], "a=1, b=2");
    assert_eq!(headers["content-length"], "0");
}

#[test]
fn header_values_that_are_no_text_are_survived() {
    let upstream = Upstream::fixed(
        [b"HTTP/1.1 200 OK\r\nX-Latin: caf\xe9\r\nContent-Length: 0\r\n\r\n".as_slice()].concat(),
    );
    let headers = headers(&send(&channel(&upstream), get(URL)).unwrap());
    assert_eq!(headers["x-latin"], "caf\u{fffd}");
}

#[test]
fn a_body_at_the_limit_is_taken_and_one_byte_more_is_not() {
    let chunked = |n: usize| {
        let body = "x".repeat(n);
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{n:x}\r\n{body}\r\n0\r\n\r\n")
            .into_bytes()
    };
    for make in
        [&|n: usize| response(200, "", "x".repeat(n)) as Vec<u8>, &chunked as &dyn Fn(usize) -> Vec<u8>]
    {
        let full = Upstream::fixed(make(1000));
        assert_eq!(send(&with_limit(&full, 1000), get(URL)).unwrap().response.body.len(), 1000);
        let over = Upstream::fixed(make(1001));
        let error = send(&with_limit(&over, 1000), get(URL)).unwrap_err();
        assert!(matches!(error, OutboundError::ResponseTooLarge { limit: 1000, .. }), "{error}");
    }
    let empty = Upstream::fixed(response(200, "", ""));
    assert!(send(&with_limit(&empty, 0), get(URL)).is_ok());
}

#[test]
fn a_body_that_never_ends_is_read_up_to_the_limit_and_no_further() {
    let endless: [fn(&mut std::net::TcpStream) -> bool; 2] = [
        |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while stream.write_all(b"400\r\n").and_then(|()| stream.write_all(&[b'x'; 1024])).is_ok()
                && stream.write_all(b"\r\n").is_ok()
            {}
            false
        },
        |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
            false
        },
    ];
    for write in endless {
        let upstream = Upstream::start(move |_, stream| write(stream));
        let error = send(&with_limit(&upstream, 100_000), get(URL)).unwrap_err();
        assert!(matches!(error, OutboundError::ResponseTooLarge { .. }), "{error}");
    }
}

#[test]
fn a_declared_length_of_terabytes_allocates_nothing() {
    let upstream =
        Upstream::fixed("HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\nConnection: close\r\n\r\nshort");
    // The connection stays open after these bytes, so the deadline ends it.
    let quick = OutboundRequest { timeout: Some(Duration::from_millis(300)), ..get(URL) };
    let error = send(&channel(&upstream), quick).unwrap_err();
    assert!(matches!(error, OutboundError::Timeout { .. }), "{error}");
}

#[test]
fn a_header_of_a_megabyte_is_refused() {
    let rows = [
        format!("HTTP/1.1 200 OK\r\nX-Big: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(1 << 20)),
        format!("HTTP/1.1 200 {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(1 << 20)),
    ];
    for head in rows {
        let upstream = Upstream::fixed(head);
        let error = send(&channel(&upstream), get(URL)).unwrap_err();
        assert!(matches!(error, OutboundError::ResponseHeadTooLarge { .. }), "{error:?}");
    }
    let upstream = Upstream::fixed(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(200_000)));
    assert!(matches!(send(&channel(&upstream), get(URL)), Err(OutboundError::Connection { .. })));
}

#[test]
fn a_head_at_the_limit_is_taken_and_one_byte_more_is_not() {
    let head = |length: usize| {
        let rest = response(200, "X: \r\n", "").len();
        response(200, &format!("X: {}\r\n", "x".repeat(length - rest)), "")
    };
    assert_eq!(head(MAX_RESPONSE_HEAD_BYTES).len(), MAX_RESPONSE_HEAD_BYTES);
    let full = Upstream::fixed(head(MAX_RESPONSE_HEAD_BYTES));
    assert!(send(&channel(&full), get(URL)).is_ok());
    let over = Upstream::fixed(head(MAX_RESPONSE_HEAD_BYTES + 1));
    let error = send(&channel(&over), get(URL)).unwrap_err();
    assert!(matches!(error, OutboundError::ResponseHeadTooLarge { .. }), "{error:?}");
}

#[test]
fn a_response_that_is_not_http_is_an_error() {
    let rows = [
        "",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 99999 OK\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
    ];
    for bytes in rows {
        let upstream = Upstream::start(move |_, stream| {
            let _ = stream.write_all(bytes.as_bytes());
            let _ = stream.shutdown(std::net::Shutdown::Both);
            false
        });
        let result = send(&channel(&upstream), get(URL));
        assert!(matches!(result, Err(OutboundError::Connection { .. })), "{bytes:?}: {result:?}");
    }
}

#[test]
fn a_server_that_is_slow_at_any_point_is_left_at_the_deadline() {
    let drip = |stream: &mut std::net::TcpStream, text: &str| {
        for byte in text.bytes() {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let silent = Upstream::start(|_, _| {
        std::thread::sleep(Duration::from_secs(5));
        false
    });
    let slow_head = Upstream::start(move |_, stream| {
        drip(stream, &"HTTP/1.1 200 OK\r\nX: y\r\n".repeat(100));
        false
    });
    let slow_body = Upstream::start(move |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        drip(stream, &"x".repeat(1000));
        false
    });
    for (what, upstream) in [("silent", silent), ("slow head", slow_head), ("slow body", slow_body)] {
        let channel = channel(&upstream);
        let by_guest = OutboundRequest { timeout: Some(Duration::from_millis(200)), ..get(URL) };
        let error = send(&channel, by_guest).unwrap_err();
        assert!(matches!(error, OutboundError::Timeout { .. }), "{what}: {error}");
        let greedy = OutboundRequest { timeout: Some(Duration::from_secs(3600)), ..get(URL) };
        let error = channel
            .request(greedy, until(Instant::now() + Duration::from_millis(200)), &mut |_| true)
            .unwrap_err();
        assert!(matches!(error, OutboundError::Timeout { .. }), "{what}, callback's deadline: {error}");
    }
}

#[test]
fn a_server_that_does_not_read_is_left_at_the_deadline() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _held = std::thread::spawn(move || {
        let held = listener.accept();
        std::thread::sleep(Duration::from_secs(10));
        drop(held);
    });
    let http = json!({"allowlist": [{"host": "api.example.com"}], "max_request_bytes": 64 << 20});
    let mut setup = Setup::new(http).secrets(crate::secrets::MemorySecrets::new());
    setup.operator.http_rewrite.insert("api.example.com".to_owned(), format!("http://{address}"));
    let channel = setup.build();
    let body = vec![0; 16 << 20];
    let request = OutboundRequest {
        timeout: Some(Duration::from_millis(500)),
        ..request("POST", URL, "{}", Some(&body))
    };
    let error = send(&channel, request).unwrap_err();
    assert!(matches!(error, OutboundError::Timeout { .. }), "{error}");
}

#[test]
fn a_deadline_that_has_passed_makes_no_connection() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let error = channel(&upstream).request(get(URL), until(Instant::now()), &mut |_| true).unwrap_err();
    assert!(matches!(error, OutboundError::Timeout { .. }), "{error}");
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn compressed_bytes_stay_bytes_and_are_not_asked_for() {
    // 20 bytes of gzip that would be ten megabytes are still 20 bytes to the host.
    let bomb = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03not really deflate";
    let upstream = Upstream::fixed(response(200, "Content-Encoding: gzip\r\n", bomb));
    let channel = with_limit(&upstream, bomb.len() as u64);
    let got = send(&channel, get(URL)).unwrap();
    assert_eq!(got.response.body, bomb);
    assert_eq!(headers(&got)["content-encoding"], "gzip");
    assert_eq!(upstream.only().header("accept-encoding"), Some("identity"));
    // A guest that could ask for compression would get a response in which no secret is found.
    for asked in [r#"{"Accept-Encoding": "gzip"}"#, r#"{"ACCEPT-ENCODING": "br", "TE": "gzip"}"#] {
        send(&channel, request("GET", URL, asked, None)).unwrap();
        let received = upstream.received();
        let last = received.last().unwrap();
        assert_eq!((last.header("accept-encoding"), last.header("te")), (Some("identity"), None), "{asked}");
    }
}

#[test]
fn a_wait_that_the_server_asks_for_is_reported() {
    let upstream = Upstream::fixed(response(429, "Retry-After: 17\r\n", ""));
    assert_eq!(send(&channel(&upstream), get(URL)).unwrap().retry_after, Some(Duration::from_secs(17)));
    let telegram = r#"{"ok":false,"error_code":429,"parameters":{"retry_after":5}}"#;
    let upstream = Upstream::fixed(response(429, "", telegram));
    assert_eq!(send(&channel(&upstream), get(URL)).unwrap().retry_after, Some(Duration::from_secs(5)));
    let upstream = Upstream::fixed(response(200, "", "{}"));
    assert_eq!(send(&channel(&upstream), get(URL)).unwrap().retry_after, None);
    // Counted from this host's clock, this date is long past.
    let dates = "Date: Fri, 31 Dec 1999 23:59:30 GMT\r\nRetry-After: Sat, 01 Jan 2000 00:00:00 GMT\r\n";
    let upstream = Upstream::fixed(response(503, dates, ""));
    assert_eq!(send(&channel(&upstream), get(URL)).unwrap().retry_after, Some(Duration::from_secs(30)));
}
