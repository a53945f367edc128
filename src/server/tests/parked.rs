//! Requests that wait for their response without a private connection.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;
use crate::server::{HttpServer, Responder, Response, ServerLimits};

/// A server that parks every request but those to `/now`, and the parked ones.
fn parking(limits: ServerLimits) -> (HttpServer, Receiver<Responder>) {
    let limits = ServerLimits { keep_alive: PATIENCE, ..limits };
    let (sender, receiver) = channel();
    let server = start(limits, move |request| match request.path.as_str() {
        "/now" => request.responder.respond(Response::json(200, "\"now\"")),
        _ => sender.send(request.responder.park()).unwrap(),
    });
    (server, receiver)
}

fn ask(address: SocketAddr, method: &str, path: &str) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    stream
}

fn next(requests: &Receiver<Responder>) -> Responder {
    requests.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn parked_requests_hold_up_no_other_and_get_their_responses() {
    let limits = ServerLimits { connections: 100, connections_per_address: 100, ..ServerLimits::default() };
    let (server, requests) = parking(limits);
    let mut clients: Vec<_> = (0..64).map(|_| ask(server.local_addr(), "GET", "/")).collect();
    let parked: Vec<_> = clients.iter().map(|_| next(&requests)).collect();
    assert_eq!(status(&read_response(&mut ask(server.local_addr(), "GET", "/now"))), 200);
    // Each is one of those that were parked, whichever it is.
    for (number, responder) in parked.into_iter().enumerate() {
        responder.respond(Response::json(200, format!("{number:02}")));
    }
    let mut numbers: Vec<_> = clients.iter_mut().map(read_response).collect();
    numbers.iter_mut().for_each(|response| *response = response.split_off(response.len() - 2));
    numbers.sort();
    assert_eq!(numbers, (0..64).map(|number| format!("{number:02}")).collect::<Vec<_>>());
}

#[test]
fn a_connection_takes_the_next_request_after_a_parked_one() {
    let (server, requests) = parking(ServerLimits::default());
    let mut client = ask(server.local_addr(), "GET", "/");
    next(&requests).respond(Response::json(201, "1"));
    assert_eq!(status(&read_response(&mut client)), 201);
    client.write_all(b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(status(&read_response(&mut client)), 200);
}

#[test]
fn a_parked_request_may_have_a_large_response_and_head_has_no_body() {
    let (server, requests) = parking(ServerLimits::default());
    let mut client = ask(server.local_addr(), "GET", "/");
    next(&requests).respond(Response { status: 200, headers: vec![], body: vec![b'x'; 2 << 20] });
    assert_eq!(read_response(&mut client).matches('x').count(), 2 << 20);
    let mut client = ask(server.local_addr(), "HEAD", "/");
    next(&requests).respond(Response { status: 200, headers: vec![], body: b"body".to_vec() });
    client.write_all(b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let both = read_all(&mut client);
    assert!(
        both.contains("Content-Length: 4\r\n") && !both.contains("body") && both.ends_with("\"now\""),
        "{both}"
    );
}

#[test]
fn a_parked_request_without_a_response_gets_one_in_time() {
    let limits = ServerLimits { response_timeout: Duration::from_millis(200), ..ServerLimits::default() };
    let (server, requests) = parking(limits);
    let mut client = ask(server.local_addr(), "GET", "/");
    let late = next(&requests);
    let response = read_all(&mut client);
    assert_eq!((status(&response), code(&response)), (504, "response_timeout"));
    // Whoever asked has gone.
    late.respond(Response::json(200, "1"));
    let mut client = ask(server.local_addr(), "GET", "/");
    drop(next(&requests));
    assert_eq!(status(&read_response(&mut client)), 500, "dropped");
}

// What happened: a client that left while its request was parked was noticed when its response came, up to a minute later.
#[test]
fn a_client_that_leaves_while_its_request_is_parked_is_noticed_at_once() {
    let (server, requests) = parking(ServerLimits::default());
    let client = ask(server.local_addr(), "GET", "/");
    let mut staying = ask(server.local_addr(), "GET", "/");
    let parked = [next(&requests), next(&requests)];
    drop(client);
    eventually("it has left", || parked.iter().any(Responder::is_abandoned));
    eventually("its connection is free", || server.stats().connections == 1);
    let stays = parked.iter().filter(|responder| !responder.is_abandoned()).count();
    assert_eq!(stays, 1);
    for responder in parked {
        responder.respond(Response::json(201, "1"));
    }
    assert_eq!(status(&read_response(&mut staying)), 201);

    // One that was told that there is no response no longer waits either.
    let limits = ServerLimits { response_timeout: Duration::from_millis(200), ..ServerLimits::default() };
    let (server, requests) = parking(limits);
    let mut client = ask(server.local_addr(), "GET", "/");
    let parked = next(&requests);
    assert_eq!(status(&read_all(&mut client)), 504);
    eventually("it no longer waits", || parked.is_abandoned());
}

#[test]
fn parked_requests_are_refused_when_the_server_stops() {
    let limits = ServerLimits { shutdown_timeout: Duration::from_millis(50), ..ServerLimits::default() };
    let (server, requests) = parking(limits);
    let mut client = ask(server.local_addr(), "GET", "/");
    let parked = next(&requests);
    // It waits for those that are being handled, and for no longer than this.
    let stop = std::thread::spawn(move || server.shutdown());
    let response = read_all(&mut client);
    stop.join().unwrap();
    assert_eq!((status(&response), code(&response)), (503, "shutting_down"));
    parked.respond(Response::json(200, "1"));
}
