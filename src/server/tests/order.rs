//! Requests are handled in the order in which they were complete.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;
use crate::server::{Response, ServerLimits};

#[test]
fn the_handler_sees_every_arrival_once_and_in_order() {
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let seen = arrivals.clone();
    let server = start(ServerLimits::default(), move |request| {
        seen.lock().unwrap().push(request.arrival);
        // Responded to elsewhere, so that responses and requests overlap as they do in the host.
        thread::spawn(move || request.responder.respond(Response::json(200, "{}")));
    });
    let address = server.local_addr();
    let clients: Vec<_> = (0..32)
        .map(|client| {
            thread::spawn(move || {
                for round in 0..25 {
                    // Bodies around the size from which tiny_http leaves them in the socket.
                    let length = [0, 10, 1024, 1025, 30_000][(client + round) % 5];
                    let mut request =
                        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
                            .into_bytes();
                    request.resize(request.len() + length, b'x');
                    assert_eq!(status(&exchange(address, &request)), 200);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert!(arrivals.lock().unwrap().iter().copied().eq(0..32 * 25));
}

#[test]
fn a_short_request_does_not_overtake_a_long_one_that_was_complete_before() {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = paths.clone();
    let server = start(ServerLimits::default(), move |request| {
        seen.lock().unwrap().push(request.path.clone());
        request.responder.respond(Response::json(200, "{}"));
    });
    // One after the other in time, without waiting for responses, each over a connection of its own.
    let mut clients = Vec::new();
    for round in 0..60_u64 {
        let length = if round % 2 == 0 { 200_000 } else { 0 };
        let mut request =
            format!("POST /{round} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        request.resize(request.len() + length, b'x');
        let mut client = connect(server.local_addr());
        client.write_all(&request).unwrap();
        eventually("it is complete", || server.stats().requests > round);
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(status(&read_all(client)), 200);
    }
    let expected: Vec<String> = (0..60).map(|round| format!("/{round}")).collect();
    assert_eq!(*paths.lock().unwrap(), expected);
}
