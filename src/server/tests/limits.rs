//! Each limit of the server: what is at the limit passes, what is one past it does not.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::*;
use crate::server::{HttpServer, IncomingRequest, Response, ServerError, ServerLimits};

const SHORT: Duration = Duration::from_millis(200);

fn post(path: &str, length: usize) -> Vec<u8> {
    let mut bytes =
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + length, b'x');
    bytes
}

fn refused(response: &str, expected: (u16, &str)) {
    assert_eq!((status(response), code(response)), expected, "{response:?}");
}

#[test]
fn a_head_of_16_kib_passes_and_one_byte_more_does_not() {
    let server = start(ServerLimits::default(), describe);
    let head = |length: usize| {
        let (start, end) = ("GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
        format!("{start}{}{end}", "x".repeat(length - start.len() - end.len()))
    };
    assert_eq!(status(&exchange(server.local_addr(), head(16 << 10).as_bytes())), 200);
    refused(&exchange(server.local_addr(), head((16 << 10) + 1).as_bytes()), (431, "head_too_large"));
}

#[test]
fn sixty_four_fields_pass_and_one_more_does_not() {
    let server = start(ServerLimits::default(), describe);
    let head = |fields: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(fields - 1));
    assert_eq!(status(&exchange(server.local_addr(), head(64).as_bytes())), 200);
    refused(&exchange(server.local_addr(), head(65).as_bytes()), (431, "too_many_fields"));
}

#[test]
fn a_body_may_have_the_limit_of_its_route() {
    let server = start(ServerLimits::default(), describe);
    for (path, limit) in [("/small", 10), ("/large", 1 << 20)] {
        let response = exchange(server.local_addr(), &post(path, limit));
        assert!(response.contains(&format!("\nbody {limit}\n")), "{path}: {:?}", &response[..200]);
        refused(&exchange(server.local_addr(), &post(path, limit + 1)), (413, "body_too_large"));
    }
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_sent() {
    let server = start(ServerLimits::default(), describe);
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n";
    refused(&exchange(server.local_addr(), head), (413, "body_too_large"));
}

#[test]
fn a_body_that_never_ends_is_cut_off() {
    let server = start(ServerLimits::default(), describe);
    let mut stream = connect(server.local_addr());
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    let mut sent = 0;
    while stream.write_all(&chunk).is_ok() && sent < 100 {
        sent += 1;
    }
    refused(&read_all(&mut stream), (413, "body_too_large"));
}

#[test]
fn a_head_that_does_not_come_in_time_is_refused() {
    let server = start(ServerLimits { header_timeout: SHORT, ..ServerLimits::default() }, describe);
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\nHost: a\r\n"] {
        refused(&exchange(server.local_addr(), bytes), (408, "header_timeout"));
    }
    // Bytes that come one by one do not buy more time.
    let mut stream = connect(server.local_addr());
    let begin = Instant::now();
    while stream.write_all(b"G").is_ok() && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begin.elapsed() < PATIENCE);
    assert_eq!(server.stats().timed_out, 3);
}

#[test]
fn a_body_that_does_not_come_in_time_is_refused() {
    let server = start(ServerLimits { body_timeout: SHORT, ..ServerLimits::default() }, describe);
    for encoding in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let bytes = format!("POST / HTTP/1.1\r\nHost: a\r\n{encoding}\r\n\r\n1");
        refused(&exchange(server.local_addr(), bytes.as_bytes()), (408, "body_timeout"));
    }
}

#[test]
fn when_every_place_is_taken_the_oldest_without_a_request_goes() {
    let server = start(ServerLimits { connections: 3, ..ServerLimits::default() }, describe);
    let mut waiting: Vec<TcpStream> = Vec::new();
    for count in 1..=3 {
        waiting.push(connect(server.local_addr()));
        waiting.last_mut().unwrap().write_all(b"GET / HT").unwrap();
        eventually("it is accepted", || server.stats().accepted == count);
    }
    assert_eq!(server.stats().evicted, 0);
    assert_eq!(status(&get(server.local_addr(), "/")), 200);
    refused(&read_all(&mut waiting[0]), (503, "too_many_connections"));
    for stream in &mut waiting[1..] {
        stream.write_all(b"TP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(status(&read_all(stream)), 200);
    }
    assert_eq!(server.stats().evicted, 1);
}

/// A server whose requests wait until they are let go.
fn holding(limits: ServerLimits) -> (HttpServer, std::sync::mpsc::Receiver<IncomingRequest>) {
    let (sender, receiver) = channel();
    let server = start(limits, move |request| sender.send(request).unwrap());
    (server, receiver)
}

fn ask(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream
}

#[test]
fn when_every_place_waits_for_its_response_the_newcomer_is_refused() {
    let (server, requests) = holding(ServerLimits { connections: 3, ..ServerLimits::default() });
    let mut clients: Vec<_> = (0..3).map(|_| ask(server.local_addr())).collect();
    let held: Vec<_> = (0..3).map(|_| requests.recv_timeout(PATIENCE).unwrap()).collect();
    let response = get(server.local_addr(), "/");
    refused(&response, (503, "too_many_connections"));
    assert!(response.contains("\r\nRetry-After: 1\r\n"), "{response}");
    for request in held {
        request.responder.respond(Response::json(200, "{}"));
    }
    for client in &mut clients {
        assert_eq!(status(&read_all(client)), 200);
    }
}

#[test]
fn one_address_has_its_own_limit_unless_it_is_a_trusted_proxy() {
    let limits =
        ServerLimits { connections_per_address: 2, trusted_proxies: vec![], ..ServerLimits::default() };
    let (server, requests) = holding(limits.clone());
    let _clients: Vec<_> = (0..2).map(|_| ask(server.local_addr())).collect();
    let _held: Vec<_> = (0..2).map(|_| requests.recv_timeout(PATIENCE).unwrap()).collect();
    refused(&get(server.local_addr(), "/"), (503, "too_many_connections_from_address"));

    let trusting = ServerLimits { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..limits };
    let (server, requests) = holding(trusting);
    let _clients: Vec<_> = (0..5).map(|_| ask(server.local_addr())).collect();
    let _held: Vec<_> = (0..5).map(|_| requests.recv_timeout(PATIENCE).unwrap()).collect();
}

#[test]
fn a_response_that_does_not_come_in_time_is_made_up_for() {
    let (server, requests) = holding(ServerLimits { response_timeout: SHORT, ..ServerLimits::default() });
    let mut client = ask(server.local_addr());
    let request = requests.recv_timeout(PATIENCE).unwrap();
    refused(&read_all(&mut client), (504, "response_timeout"));
    // The late response goes nowhere, and the private connection serves again.
    request.responder.respond(Response::json(200, vec![b'x'; 100_000]));
    eventually("its memory is released", || server.stats().response_memory_used == 0);
    let mut client = ask(server.local_addr());
    requests.recv_timeout(PATIENCE).unwrap().responder.respond(Response::json(200, "{}"));
    assert!(read_all(&mut client).ends_with("\r\n\r\n{}"));
    assert_eq!(server.stats().response_timeouts, 1);
    eventually("there are as many private connections as always", || server.stats().private_connections == 4);
}

#[test]
fn a_handler_that_does_not_return_costs_its_successors_and_they_are_not_handled_late() {
    let limits = ServerLimits { dispatch_timeout: SHORT, ..ServerLimits::default() };
    let (entered, has_entered) = channel();
    let (release, released) = channel::<()>();
    let server = start(limits, move |request| {
        entered.send(request.path.clone()).unwrap();
        if request.path == "/blocks" {
            released.recv().unwrap();
        }
        describe(request);
    });
    let address = server.local_addr();
    let blocked = std::thread::spawn(move || get(address, "/blocks"));
    assert_eq!(has_entered.recv_timeout(PATIENCE).unwrap(), "/blocks");
    refused(&get(address, "/behind"), (503, "temporarily_unavailable"));
    release.send(()).unwrap();
    assert_eq!(status(&blocked.join().unwrap()), 200);
    assert_eq!(status(&get(address, "/next")), 200);
    assert_eq!(has_entered.recv_timeout(PATIENCE).unwrap(), "/next");
    assert_eq!(server.stats().dispatch_failures, 1);
}

#[test]
fn a_response_may_have_its_limit_and_one_byte_more_is_an_error() {
    let limits =
        ServerLimits { max_response_bytes: 100_000, response_memory: 150_000, ..ServerLimits::default() };
    let server = start(limits, |request| {
        let length: usize = request.query.parse().unwrap();
        request.responder.respond(Response { status: 200, headers: vec![], body: vec![b'x'; length] });
    });
    assert!(get(server.local_addr(), "/?100000").ends_with(&"x".repeat(100_000)));
    refused(&get(server.local_addr(), "/?100001"), (500, "response_too_large"));
    let head = exchange(server.local_addr(), b"HEAD /?100000 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.contains("Content-Length: 100000\r\n") && head.ends_with("\r\n\r\n"), "{head:?}");
    eventually("all memory is released", || server.stats().response_memory_used == 0);
}

#[test]
fn responses_share_a_memory_and_slow_readers_are_dropped() {
    let limits = ServerLimits {
        max_response_bytes: 8 << 20,
        response_memory: 10 << 20,
        write_timeout: Duration::from_millis(500),
        ..ServerLimits::default()
    };
    let server = start(limits, |request| {
        request.responder.respond(Response { status: 200, headers: vec![], body: vec![b'x'; 8 << 20] });
    });
    // More than the sockets between us hold, so the response stays with the server while nobody reads.
    let mut slow = ask(server.local_addr());
    eventually("the response is under way", || server.stats().response_memory_used == 8 << 20);
    refused(&get(server.local_addr(), "/"), (503, "out_of_memory"));
    eventually("the slow reader is dropped", || server.stats().slow_readers == 1);
    eventually("its memory is released", || server.stats().response_memory_used == 0);
    let mut part = Vec::new();
    let _ = slow.read_to_end(&mut part);
    assert!(part.len() < 8 << 20, "{}", part.len());
    assert!(get(server.local_addr(), "/").len() > 8 << 20);
}

// One thread writes large responses, and one the front: neither may wait for a client.
#[test]
fn a_client_that_does_not_read_its_large_response_holds_up_no_other() {
    const LARGE: usize = 8 << 20;
    let limits = ServerLimits {
        max_response_bytes: LARGE as u64,
        response_memory: 4 * LARGE as u64,
        write_timeout: PATIENCE,
        ..ServerLimits::default()
    };
    let server = start(limits, |request| {
        request.responder.respond(Response { status: 200, headers: vec![], body: vec![b'x'; LARGE] });
    });
    let mut slow = [ask(server.local_addr()), ask(server.local_addr())];
    eventually("both responses are under way", || server.stats().response_memory_used == 2 * LARGE as u64);
    for _ in 0..3 {
        assert!(get(server.local_addr(), "/").len() > LARGE);
    }
    assert_eq!(
        server.stats().response_memory_used,
        2 * LARGE as u64,
        "the others wait for their clients still"
    );
    for client in &mut slow {
        assert_eq!(read_response(client).matches('x').count(), LARGE);
    }
}

#[test]
fn bodies_share_a_memory_and_wait_for_it() {
    let limits = ServerLimits { body_memory: 600 << 10, ..ServerLimits::default() };
    let (server, requests) = holding(limits);
    let address = server.local_addr();
    let send = move |length: usize| std::thread::spawn(move || exchange(address, &post("/", length)));
    let first = send(500 << 10);
    let held = requests.recv_timeout(PATIENCE).unwrap();
    eventually("its memory is taken", || server.stats().body_memory_used == (500 << 10) - (16 << 10));
    // There is no memory for this one until the first has its response; small ones need none.
    let second = send(400 << 10);
    let small = send(16 << 10);
    let passed = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(passed.body.len(), 16 << 10);
    held.responder.respond(Response::json(200, "{}"));
    passed.responder.respond(Response::json(200, "{}"));
    let late = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(late.body.len(), 400 << 10);
    late.responder.respond(Response::json(200, "{}"));
    for client in [first, second, small] {
        assert_eq!(status(&client.join().unwrap()), 200);
    }
    eventually("all memory is released", || server.stats().body_memory_used == 0);
}

#[test]
fn unfinished_bodies_do_not_keep_the_memory_from_others() {
    let limits = ServerLimits { body_memory: 600 << 10, ..ServerLimits::default() };
    let server = start(limits, describe);
    let mut hoarders: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = connect(server.local_addr());
            stream.write_all(&post("/", 1 << 20)[..200 << 10]).unwrap();
            stream
        })
        .collect();
    eventually("the memory is taken", || server.stats().body_memory_used > 400 << 10);
    let response = exchange(server.local_addr(), &post("/", 400 << 10));
    assert!(response.contains("\nbody 409600\n"), "{:?}", &response[..200]);
    refused(&read_all(&mut hoarders[0]), (503, "out_of_memory"));
}

#[test]
fn limits_that_cannot_work_are_refused() {
    let limits = ServerLimits { connections: 0, ..ServerLimits::default() };
    let address = "127.0.0.1:0".parse().unwrap();
    let check = Arc::new(|_: &str, _: &str| crate::server::HeadDecision::Read { max_body_bytes: 0 });
    let refused = HttpServer::start(address, limits, check, Box::new(|_| {}));
    assert!(matches!(refused, Err(ServerError::Limit { field: "connections", .. })));
}
