//! What an ordinary client sees, and how a server ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::*;
use crate::server::{HeadDecision, HttpServer, IncomingRequest, Response, ServerError, ServerLimits};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn holding(limits: ServerLimits) -> (HttpServer, Receiver<IncomingRequest>) {
    let (sender, receiver) = channel();
    (start(limits, move |request| sender.send(request).unwrap()), receiver)
}

fn ask(server: &HttpServer) -> TcpStream {
    let mut stream = connect(server.local_addr());
    stream.write_all(GET).unwrap();
    stream
}

#[test]
fn a_request_reaches_the_handler_and_its_response_the_client() {
    let server = start(ServerLimits::default(), describe);
    let response = exchange(
        server.local_addr(),
        b"POST /hook/a%20b?x=1&y=%3F?z HTTP/1.1\r\nHost: localhost\r\nX-One: 1\r\nX-One: 2\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("\r\nConnection: close\r\n"), "{response}");
    assert!(
        response
            .ends_with("POST /hook/a%20b [x=1&y=%3F?z]\nhost: localhost\nx-one: 1\nx-one: 2\nbody 5\nhello"),
        "{response}"
    );
}

#[test]
fn the_handler_sees_the_address_of_the_client() {
    let (server, requests) = holding(ServerLimits::default());
    let _client = ask(&server);
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(request.peer.to_string(), "127.0.0.1");
    assert_eq!(request.arrival, 0);
}

#[test]
fn responses_of_every_kind_arrive_as_they_should() {
    let server = start(ServerLimits::default(), |request| {
        let status = request.query.parse().unwrap();
        let headers = vec![
            ("X-Kept".to_owned(), "yes".to_owned()),
            ("Content-Length".to_owned(), "999".to_owned()),
            ("Transfer-Encoding".to_owned(), "chunked".to_owned()),
            ("X-Split".to_owned(), "a\r\nX-Smuggled: b".to_owned()),
        ];
        request.responder.respond(Response { status, headers, body: b"body".to_vec() });
    });
    let address = server.local_addr();
    for (status_sent, status_seen, body) in [
        (200, 200, "body"),
        (204, 204, ""),
        (304, 304, ""),
        (404, 404, "body"),
        (599, 599, "body"),
        (100, 502, "{\"error\":\"bad_response\"}"),
        (101, 502, "{\"error\":\"bad_response\"}"),
        (0, 502, "{\"error\":\"bad_response\"}"),
        (600, 502, "{\"error\":\"bad_response\"}"),
    ] {
        let response = get(address, &format!("/?{status_sent}"));
        assert_eq!(status(&response), status_seen, "{response:?}");
        let (head, seen) = response.split_once("\r\n\r\n").unwrap();
        assert_eq!(seen, body, "{response:?}");
        assert!(
            !head.contains("Smuggled") && !head.contains("999") && !head.contains("chunked"),
            "{response:?}"
        );
        assert_eq!(head.contains("X-Kept: yes"), status_seen == status_sent, "{response:?}");
        assert_eq!(head.contains("Content-Length"), ![204, 304].contains(&status_seen), "{response:?}");
    }
    let head = exchange(address, b"HEAD /?200 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.contains("Content-Length: 4\r\n") && head.ends_with("\r\n\r\n"), "{head:?}");
}

#[test]
fn large_bodies_pass_both_ways() {
    let server = start(ServerLimits::default(), |request| {
        request.responder.respond(Response { status: 200, headers: vec![], body: request.body });
    });
    let body: String = (0..1 << 20).map(|index| char::from(b'a' + (index % 26) as u8)).collect();
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let response = exchange(server.local_addr(), request.as_bytes());
    assert!(response.split_once("\r\n\r\n").unwrap().1 == body);
}

#[test]
fn a_request_that_is_dropped_gets_500() {
    let server = start(ServerLimits::default(), drop);
    let response = get(server.local_addr(), "/");
    assert_eq!((status(&response), code(&response)), (500, "no_response"));
}

#[test]
fn a_handler_that_panics_costs_one_request() {
    let server = start(ServerLimits::default(), |request| {
        assert!(request.path != "/panic", "as the test wants it");
        describe(request);
    });
    assert_eq!(status(&get(server.local_addr(), "/panic")), 500);
    assert_eq!(status(&get(server.local_addr(), "/")), 200);
}

#[test]
fn slow_responses_do_not_delay_others() {
    let (server, requests) = holding(ServerLimits::default());
    let mut clients: Vec<_> = (0..100).map(|_| ask(&server)).collect();
    let held: Vec<_> = (0..100).map(|_| requests.recv_timeout(PATIENCE).unwrap()).collect();
    let mut quick = ask(&server);
    requests.recv_timeout(PATIENCE).unwrap().responder.respond(Response::json(201, "{}"));
    assert_eq!(status(&read_all(&mut quick)), 201);
    eventually("the quick one is gone", || server.stats().in_flight == 100);
    for request in held {
        thread::spawn(move || request.responder.respond(Response::json(200, "{}")));
    }
    for client in &mut clients {
        assert_eq!(status(&read_all(client)), 200);
    }
}

#[test]
fn a_client_that_leaves_is_not_missed() {
    let (server, requests) = holding(ServerLimits::default());
    drop(ask(&server));
    requests.recv_timeout(PATIENCE).unwrap().responder.respond(Response::json(200, vec![b'x'; 1 << 20]));
    eventually("it is forgotten", || {
        server.stats().connections == 0 && server.stats().response_memory_used == 0
    });
}

#[test]
fn connections_are_kept_only_when_that_is_wanted() {
    let kept = ServerLimits { keep_alive: Duration::from_secs(60), ..ServerLimits::default() };
    let server = start(kept, describe);
    let mut stream = connect(server.local_addr());
    for round in 0..3 {
        stream
            .write_all(format!("POST /{round} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").as_bytes())
            .unwrap();
        let response = read_response(&mut stream);
        assert!(
            response.contains(&format!("POST /{round} ")) && !response.contains("Connection: close"),
            "{response:?}"
        );
    }
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert!(read_all(&mut stream).contains("\r\nConnection: close\r\n"));
    eventually("all are counted", || server.stats().responses_sent == 4);
    assert_eq!(server.stats().accepted, 1);

    // HTTP/1.0 clients and those that send two requests at once get one response.
    for bytes in [&b"GET / HTTP/1.0\r\n\r\n"[..], &[GET, GET].concat()] {
        let response = exchange(server.local_addr(), bytes);
        assert_eq!(response.matches("HTTP/1.1 200").count(), 1, "{response:?}");
    }
}

#[test]
fn a_kept_connection_ends_after_its_time_and_is_the_first_to_go() {
    let limits = ServerLimits { keep_alive: Duration::from_millis(200), ..ServerLimits::default() };
    let server = start(limits.clone(), describe);
    let mut stream = ask(&server);
    assert_eq!(status(&read_response(&mut stream)), 200);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);

    let server = start(ServerLimits { keep_alive: PATIENCE, connections: 2, ..limits }, describe);
    let mut unfinished = connect(server.local_addr());
    unfinished.write_all(b"GET / HT").unwrap();
    eventually("it is accepted", || server.stats().accepted == 1);
    let mut idle = ask(&server);
    assert_eq!(status(&read_response(&mut idle)), 200);
    let mut newcomer = ask(&server);
    assert_eq!(status(&read_response(&mut newcomer)), 200);
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    unfinished.write_all(b"TP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(status(&read_all(&mut unfinished)), 200);
}

#[test]
fn a_server_that_ends_responds_to_what_it_has_and_takes_no_more() {
    let (server, requests) = holding(ServerLimits::default());
    let address = server.local_addr();
    let mut client = ask(&server);
    let request = requests.recv_timeout(PATIENCE).unwrap();
    let mut unfinished = connect(address);
    unfinished.write_all(b"GET / HT").unwrap();
    eventually("it is accepted", || server.stats().connections == 2);
    let ended = thread::spawn(move || server.shutdown());
    eventually("no connection is accepted", || TcpStream::connect(address).is_err());
    assert_eq!(code(&read_all(&mut unfinished)), "shutting_down");
    request.responder.respond(Response::json(200, "{}"));
    assert_eq!(status(&read_all(&mut client)), 200);
    ended.join().unwrap();
}

#[test]
fn a_server_waits_for_its_last_responses_only_so_long() {
    let limits = ServerLimits { shutdown_timeout: Duration::from_millis(100), ..ServerLimits::default() };
    let (server, requests) = holding(limits);
    let mut client = ask(&server);
    let request = requests.recv_timeout(PATIENCE).unwrap();
    server.shutdown();
    assert_eq!(code(&read_all(&mut client)), "shutting_down");
    request.responder.respond(Response::json(200, "{}"));
}

#[test]
fn a_closed_queue_lets_requests_inside_finish() {
    let (server, requests) = holding(ServerLimits { keep_alive: PATIENCE, ..ServerLimits::default() });
    let mut client = connect(server.local_addr());
    client.write_all(&GET[..10]).unwrap();
    eventually("it is accepted", || server.stats().accepted == 1);
    server.stop_accepting();
    eventually("no connection is accepted", || TcpStream::connect(server.local_addr()).is_err());
    client.write_all(&GET[10..]).unwrap();
    requests.recv_timeout(PATIENCE).unwrap().responder.respond(Response::json(200, "{}"));
    assert!(read_all(&mut client).contains("\r\nConnection: close\r\n"));
}

#[test]
fn a_dropped_server_ends_at_once() {
    let server = start(ServerLimits::default(), describe);
    let address = server.local_addr();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let server = start(ServerLimits::default(), describe);
    let address = server.local_addr();
    let check = std::sync::Arc::new(|_: &str, _: &str| HeadDecision::Read { max_body_bytes: 0 });
    let second = HttpServer::start(address, ServerLimits::default(), check, Box::new(drop));
    match second {
        Err(error @ ServerError::Listen { .. }) => assert!(error.to_string().contains(&address.to_string())),
        other => panic!("{other:?}"),
    }
}
