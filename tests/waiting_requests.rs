//! Requests that wait until their channel's workspace changes.

mod support;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use support::client::{self, Reply};
use support::{eventually, fixtures};
use tinclaw::host::ChannelState;
use tinclaw::{AgentResponse, Host};

const PATH: &str = "/webhook/everything";

fn host() -> (Host, SocketAddr) {
    let runtime = fixtures::runtime();
    let builder = fixtures::host(&[], &[]).channel(fixtures::channel(&runtime, "everything"));
    let host = builder.start().expect("the host starts");
    let address = host.local_addr().expect("an address");
    eventually("the channel starts", || {
        (host.health().expect("health").channels[0].state == ChannelState::Ready).then_some(())
    });
    (host, address)
}

fn post(address: SocketAddr, task: &Value) -> Reply {
    let headers = [("content-type", "application/json"), ("tinclaw-waited", "forged")];
    client::request(address, "POST", PATH, &headers, task.to_string().as_bytes())
}

/// A request that waits for a file, on a thread of its own.
fn wait_for(address: SocketAddr, path: &str, seconds: u64) -> JoinHandle<Reply> {
    let task = json!({"do": "wait", "path": path, "seconds": seconds});
    thread::spawn(move || post(address, &task))
}

fn wait_until_parked(host: &Host, count: usize) {
    eventually("the requests wait", || {
        (host.health().expect("health").channels[0].requests_parked == count).then_some(())
    });
}

#[test]
fn a_request_that_waits_gets_its_response_when_the_workspace_changes() {
    let (host, address) = host();
    let waiting: Vec<_> = (0..3).map(|_| wait_for(address, "notes/a", 50)).collect();
    wait_until_parked(&host, 3);
    // A change of something else runs the guest again, which waits on.
    post(address, &json!({"do": "workspace-write", "path": "notes/b", "content": "b"}));
    wait_until_parked(&host, 3);
    post(address, &json!({"do": "workspace-write", "path": "notes/a", "content": "a"}));
    for waiting in waiting {
        let reply = waiting.join().expect("a reply");
        assert_eq!((reply.status, reply.json()), (200, json!({"ok": "a"})));
        assert_eq!(reply.header("tinclaw-wait"), None);
    }
    wait_until_parked(&host, 0);
}

#[test]
fn the_agents_reply_can_be_the_response_to_the_request() {
    let (host, address) = host();
    post(
        address,
        &json!({"do": "sequence", "tasks": [
            {"do": "workspace-write", "path": "tasks/on-respond", "content":
                json!({"do": "workspace-write", "path": "notes/reply", "content": "done"}).to_string()},
            {"do": "emit-message", "user_id": "u", "content": "hello"},
        ]}),
    );
    let waiting = wait_for(address, "notes/reply", 50);
    wait_until_parked(&host, 1);
    let delivery = host.messages().recv_timeout(Duration::from_secs(90)).expect("a message");
    host.respond(&delivery, AgentResponse::default()).expect("a reply");
    delivery.ack();
    assert_eq!(waiting.join().expect("a reply").json(), json!({"ok": "done"}));
}

#[test]
fn a_request_that_has_waited_long_enough_gets_the_guests_response() {
    let (_host, address) = host();
    let reply = wait_for(address, "notes/never", 1).join().expect("a reply");
    let waited = reply.json()["waited"].as_str().and_then(|waited| waited.parse::<u64>().ok());
    assert!(reply.status == 200 && waited >= Some(1), "{waited:?}");
}

/// Clients that left kept their places for up to a minute: 64 of them, and nobody else could wait.
#[test]
fn clients_that_leave_make_room_for_others() {
    let (host, address) = host();
    let body = json!({"do": "wait", "path": "notes/a", "seconds": 60}).to_string();
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..65 {
        let mut leaving = TcpStream::connect(address).expect("a connection");
        leaving.write_all(request.as_bytes()).expect("a request");
        wait_until_parked(&host, 1);
        drop(leaving);
        wait_until_parked(&host, 0);
    }
    let waiting = wait_for(address, "notes/a", 60);
    wait_until_parked(&host, 1);
    post(address, &json!({"do": "workspace-write", "path": "notes/a", "content": "a"}));
    assert_eq!(waiting.join().expect("a reply").json(), json!({"ok": "a"}));
}

#[test]
fn requests_that_wait_are_refused_when_the_host_stops() {
    let (host, address) = host();
    let waiting = wait_for(address, "notes/never", 50);
    wait_until_parked(&host, 1);
    host.shutdown();
    let reply = waiting.join().expect("a reply");
    assert_eq!((reply.status, reply.json()), (503, json!({"error": "shutting_down"})));
}
