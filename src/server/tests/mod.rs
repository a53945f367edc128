//! What the server's tests share: starting a server, and speaking raw bytes with it.

mod basics;
mod hostile;
mod limits;
mod load;
#[cfg(feature = "cluster")]
mod moved;
mod order;
mod parked;
mod smuggling;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::server::{DEFAULT_BODY_BYTES, HeadDecision, HttpServer, IncomingRequest, Response, ServerLimits};

/// Far longer than anything takes; only a test that fails waits for so long.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A server on a free port of the loopback interface, with the usual body limit.
pub fn start(limits: ServerLimits, handler: impl FnMut(IncomingRequest) + Send + 'static) -> HttpServer {
    let check = Arc::new(|_: &str, path: &str| match path {
        "/small" => HeadDecision::Read { max_body_bytes: 10 },
        "/nope" => HeadDecision::Respond(Response::error(404, "not_found")),
        _ => HeadDecision::Read { max_body_bytes: DEFAULT_BODY_BYTES },
    });
    HttpServer::start("127.0.0.1:0".parse().unwrap(), limits, check, Box::new(handler)).unwrap()
}

/// Responds to each request with what was understood of it.
pub fn describe(request: IncomingRequest) {
    let mut text = format!("{} {} [{}]\n", request.method, request.path, request.query);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push_str(&format!("body {}\n", request.body.len()));
    let mut body = text.into_bytes();
    body.extend_from_slice(&request.body);
    request.responder.respond(Response {
        status: 200,
        headers: vec![("Content-Type".into(), "text/plain".into())],
        body,
    });
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes and reads until the server closes the connection.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    // A server that refuses early may close before everything is sent.
    let _ = stream.write_all(bytes);
    read_all(&mut stream)
}

pub fn read_all(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    match stream.read_to_end(&mut response) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => {
            panic!("no end of the response: {error}; so far {:?}", String::from_utf8_lossy(&response))
        }
    }
    String::from_utf8_lossy(&response).into_owned()
}

/// Reads one response from a connection that stays open.
pub fn read_response(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    let mut byte = [0];
    while !response.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        response.push(byte[0]);
    }
    let head = String::from_utf8(response).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8_lossy(&body)
}

pub fn get(address: SocketAddr, target: &str) -> String {
    exchange(address, format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
}

pub fn status(response: &str) -> u16 {
    response
        .get(9..12)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("no response: {response:?}"))
}

/// The stable code of a refusal.
pub fn code(response: &str) -> &str {
    response.split("{\"error\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

/// Waits until something is so.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Memory of this process that is in RAM, in bytes.
pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
