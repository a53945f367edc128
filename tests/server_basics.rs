//! What an ordinary client sees.

mod server_support;

use server_support::*;
use tinclaw::ingress::server::ServerLimits;

#[test]
fn a_request_reaches_the_handler_and_its_answer_the_client() {
    let server = start(ServerLimits::default(), describe);
    let answer = exchange(
        server.local_addr(),
        b"POST /hook/a%20b?x=1&y=%3F?z HTTP/1.1\r\nHost: localhost\r\nX-One: 1\r\nX-One: 2\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(
        answer
            .ends_with("POST /hook/a%20b [x=1&y=%3F?z]\nhost: localhost\nx-one: 1\nx-one: 2\nbody 5\nhello"),
        "{answer}"
    );
}
