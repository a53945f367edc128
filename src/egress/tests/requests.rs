//! What reaches a server: the request that the guest wrote, with framing that is the host's.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Setup, Upstream, channel, get, request, response, send, until};
use crate::egress::{OutboundCall, OutboundError, OutboundRequest, RequestPurpose};

const URL: &str = "https://api.example.com/x";

#[test]
fn methods_and_bodies_arrive() {
    type Row<'a> = (&'a str, Option<&'a [u8]>, Option<&'a str>);
    let rows: [Row<'_>; 11] = [
        ("GET", None, None),
        ("GET", Some(b""), None),
        ("GET", Some(b"query"), Some("5")),
        ("head", None, None),
        ("POST", Some(b"body"), Some("4")),
        ("POST", None, Some("0")),
        ("PUT", Some(b"\x00\xff"), Some("2")),
        ("patch", Some(b"x"), Some("1")),
        ("DELETE", None, None),
        ("DELETE", Some(b"why"), Some("3")),
        ("OPTIONS", None, None),
    ];
    for (method, body, length) in rows {
        let upstream = Upstream::start(move |request, stream| {
            let body = if request.line.starts_with("HEAD") { "" } else { "response" };
            stream.write_all(&response(200, "", body)).is_ok()
        });
        let got = send(&channel(&upstream), request(method, URL, "{}", body)).unwrap();
        assert_eq!(got.response.status, 200);
        let received = upstream.only();
        assert_eq!(received.line, format!("{} /x HTTP/1.1", method.to_uppercase()));
        assert_eq!(received.body, body.unwrap_or_default(), "{method}");
        assert_eq!(received.header("content-length"), length, "{method}");
        assert_eq!(received.header("transfer-encoding"), None, "{method}");
    }
}

#[test]
fn the_host_sets_framing_and_connection_headers() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let headers = json!({
        "Host": "evil.example", "Content-Length": "9999", "Transfer-Encoding": "chunked", "Connection": "close, X-Hop",
        "X-Hop": "1", "Keep-Alive": "x", "Upgrade": "websocket", "TE": "trailers", "Expect": "100-continue",
        "Content-Type": "application/json", "X-Custom": "kept", "User-Agent": "guest/1.0"
    });
    send(&channel(&upstream), request("POST", URL, &headers.to_string(), Some(b"{}"))).unwrap();
    let received = upstream.only();
    assert_eq!(received.header("host"), Some(upstream.address.to_string().as_str()));
    assert_eq!(received.header("content-length"), Some("2"));
    for dropped in ["transfer-encoding", "x-hop", "keep-alive", "upgrade", "te", "expect", "connection"] {
        assert_eq!(received.header(dropped), None, "{dropped}");
    }
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(received.header("x-custom"), Some("kept"));
    assert_eq!(received.header("user-agent"), Some("guest/1.0"));
}

#[test]
fn a_body_cannot_smuggle_a_second_request() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let body = b"0\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n";
    let headers = r#"{"Transfer-Encoding": "chunked", "Content-Length": "0"}"#;
    send(&channel(&upstream), request("POST", URL, headers, Some(body))).unwrap();
    assert_eq!(upstream.only().body, body);
}

#[test]
fn as_many_headers_as_are_allowed_arrive() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let headers: serde_json::Map<String, serde_json::Value> =
        (0..64).map(|n| (format!("x-header-{n}"), json!("v".repeat(400)))).collect();
    send(&channel(&upstream), request("GET", URL, &serde_json::to_string(&headers).unwrap(), None)).unwrap();
    let received = upstream.only();
    assert_eq!(received.headers.iter().filter(|(name, _)| name.starts_with("x-header-")).count(), 64);
}

#[test]
fn the_longest_url_and_header_arrive() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let url = format!("{URL}?q={}", "x".repeat(8 * 1024 - URL.len() - 3));
    let headers = json!({"a": "y".repeat(8 * 1024 - 1)}).to_string();
    send(&channel(&upstream), request("GET", &url, &headers, None)).unwrap();
    assert_eq!(upstream.only().header("a").map(str::len), Some(8 * 1024 - 1));
    assert!(send(&channel(&upstream), get(&format!("{url}x"))).is_err());
}

#[test]
fn a_rewritten_host_keeps_its_path_below_the_base() {
    let upstream = Upstream::fixed(response(200, "", ""));
    let mut setup = Setup::new(json!({"allowlist": [{"host": "api.telegram.org", "path_prefix": "/bot"}]}));
    setup.operator.http_rewrite.insert("api.telegram.org".into(), format!("{}/local/", upstream.base()));
    let outbound = setup.outbound();
    let channel = setup.build_on(outbound);
    send(&channel, get("https://api.telegram.org/bot1/getMe?a=b")).unwrap();
    assert_eq!(upstream.only().line, "GET /local/bot1/getMe?a=b HTTP/1.1");
    assert!(matches!(
        send(&channel, get("https://api.telegram.org/file/x")),
        Err(OutboundError::NotAllowed(_))
    ));
}

#[test]
fn connections_are_kept_and_used_again() {
    let upstream = Upstream::fixed(response(200, "", "ok"));
    let channel = channel(&upstream);
    for _ in 0..5 {
        send(&channel, get(URL)).unwrap();
    }
    assert_eq!((upstream.received().len(), upstream.connections()), (5, 1));
}

#[test]
fn a_connection_with_bytes_left_over_is_not_used_again() {
    let sneaky = [response(200, "", "ok"), response(200, "", "for the next request")].concat();
    let upstream = Upstream::fixed(sneaky);
    let channel = channel(&upstream);
    for _ in 0..3 {
        assert_eq!(send(&channel, get(URL)).unwrap().response.body, b"ok");
        // The second response may come a moment after the first.
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(upstream.connections(), 3);
}

// SIGTERM waited 10 s for a long poll, in which nothing is lost when it is cut off.
#[test]
fn stopping_polls_aborts_long_polls_and_leaves_replies_running() {
    const PATIENCE: Duration = Duration::from_secs(90);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let upstream = Upstream::start(move |request, stream| {
        if request.line.contains("/poll") {
            std::thread::sleep(Duration::from_secs(600));
        }
        released.lock().unwrap().recv_timeout(Duration::from_secs(60)).unwrap();
        stream.write_all(&response(200, "", "sent")).is_ok()
    });
    let http = json!({"allowlist": [{"host": "api.example.com"}]});
    let setup = Setup::new(http).rewrite("api.example.com", &upstream);
    let outbound = setup.outbound();
    let channel = setup.build_on(outbound.clone());
    let ask = |path: &str, purpose| {
        let deadline = Instant::now() + PATIENCE;
        let request =
            OutboundRequest { timeout: Some(PATIENCE), ..get(&format!("https://api.example.com{path}")) };
        channel.request(request, OutboundCall { purpose, ..until(deadline) }, &mut |_| true)
    };
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| ask("/poll", RequestPurpose::Poll));
        let reply = scope.spawn(|| ask("/reply", RequestPurpose::Reply));
        while upstream.received().len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        outbound.end_polls();
        // Not because its time was over.
        let is_cut_off =
            |ended: Result<_, OutboundError>| matches!(ended, Err(OutboundError::Connection { .. }));
        assert!(is_cut_off(poll.join().unwrap()));
        assert!(is_cut_off(ask("/poll", RequestPurpose::Poll)), "a later poll fails at once");
        release.send(()).unwrap();
        assert_eq!(reply.join().unwrap().unwrap().response.body, b"sent");
    });
}

/// A resolver that finds nothing for as long as it may look.
struct Silent(std::sync::mpsc::SyncSender<()>);

impl crate::egress::resolver::NameResolver for Silent {
    fn resolve(&self, _: &str, _: &str, deadline: Instant) -> std::io::Result<Vec<std::net::IpAddr>> {
        let _ = self.0.try_send(());
        let most = Duration::from_secs(20);
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()).min(most));
        Err(std::io::ErrorKind::TimedOut.into())
    }
}

// A poll that waited for a lookup was not cut off, and the host waited with it.
#[test]
fn stopping_polls_ends_their_lookups() {
    let (asked, is_asked) = std::sync::mpsc::sync_channel(1);
    let mut setup = Setup::new(json!({"allowlist": [{"host": "api.example.com"}]}));
    setup.resolver = Some(std::sync::Arc::new(Silent(asked)));
    let outbound = setup.outbound();
    let channel = setup.build_on(outbound.clone());
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| {
            let call = until(Instant::now() + Duration::from_secs(300));
            channel.request(get(URL), OutboundCall { purpose: RequestPurpose::Poll, ..call }, &mut |_| true)
        });
        is_asked.recv().unwrap();
        outbound.end_polls();
        let error = poll.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("the host is shutting down"), "{error}");
    });
}

#[test]
fn the_end_of_the_host_ends_requests_that_are_under_way() {
    let (arrived, has_arrived) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    // It would respond in the end: not its error is what ends the request.
    let upstream = Upstream::start(move |_, stream| {
        let _ = arrived.send(());
        let _ = released.lock().unwrap().recv_timeout(Duration::from_secs(60));
        stream.write_all(&response(200, "", "late")).is_ok()
    });
    let setup =
        Setup::new(json!({"allowlist": [{"host": "api.example.com"}]})).rewrite("api.example.com", &upstream);
    let outbound = setup.outbound();
    let channel = setup.build_on(outbound.clone());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            channel.request(get(URL), until(Instant::now() + Duration::from_secs(300)), &mut |_| true)
        });
        has_arrived.recv().unwrap();
        outbound.shutdown();
        assert!(matches!(waiting.join().unwrap(), Err(OutboundError::Connection { .. })));
    });
    // One after the other: nothing is sent any more, though the service responds again.
    drop(release);
    assert!(matches!(send(&channel, get(URL)), Err(OutboundError::Connection { .. })));
}

#[test]
fn a_channel_and_its_host_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<crate::egress::ChannelHttp>();
    shared::<crate::egress::OutboundHttp>();
    shared::<OutboundError>();
}
