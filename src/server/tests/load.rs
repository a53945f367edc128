//! How the HTTP server does under load: `cargo test --release --lib measure_server_load -- --ignored --nocapture`. Prints; decides nothing.
//!
//! Client and server share one process and its cores, so the numbers are a lower bound.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::server::{DEFAULT_BODY_BYTES, HeadDecision, HttpServer, IncomingRequest, Response, ServerLimits};

const RUN: Duration = Duration::from_secs(4);

#[test]
#[ignore = "measures time, which only a release build on a quiet machine makes meaningful"]
fn measure_server_load() {
    for keep_alive in [false, true] {
        for connections in [1, 8, 64] {
            throughput(connections, keep_alive);
        }
    }
    slow_connections(2_000);
    misbehaving_connections(10_000);
}

fn start(keep_alive: Duration) -> HttpServer {
    let limits = ServerLimits { keep_alive, ..ServerLimits::default() };
    let handler = |request: IncomingRequest| {
        let text = format!("{{\"ok\":true,\"bytes\":{}}}", request.body.len());
        request.responder.respond(Response::json(200, text));
    };
    let address = "127.0.0.1:0".parse().unwrap();
    let check = Arc::new(|_: &str, _: &str| HeadDecision::Read { max_body_bytes: DEFAULT_BODY_BYTES });
    HttpServer::start(address, limits, check, Box::new(handler)).unwrap()
}

/// What a provider sends: some fields, a signature, 400 bytes of JSON.
fn webhook() -> Vec<u8> {
    let body = format!("{{\"update_id\":1,\"message\":{{\"text\":\"{}\"}}}}", "x".repeat(360));
    format!(
        "POST /webhook/telegram HTTP/1.1\r\nHost: hooks.example.org\r\nUser-Agent: provider/1.0\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nX-Hub-Signature-256: sha256={}\r\nX-Request-Id: 0123456789abcdef\r\n\
         Accept-Encoding: gzip, deflate\r\nX-Forwarded-For: 203.0.113.7\r\nContent-Length: {}\r\n\r\n{body}",
        "0".repeat(64),
        body.len()
    )
    .into_bytes()
}

fn throughput(connections: usize, keep_alive: bool) {
    let server = start(if keep_alive { Duration::from_secs(30) } else { Duration::ZERO });
    let address = server.local_addr();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..connections).map(|_| spawn_client(address, keep_alive, &stop)).collect();
    let (begin, begin_cpu) = (Instant::now(), cpu_times());
    thread::sleep(RUN);
    let (elapsed, cpu) = (begin.elapsed(), cpu_times());
    stop.store(true, Ordering::Relaxed);
    let mut times: Vec<Duration> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let count = times.len() as f64;
    times.sort();
    let spent = |name: &str| {
        let of_name = cpu.iter().filter(|(_, thread)| thread.name == name);
        let ticks =
            of_name.map(|(id, thread)| thread.ticks - begin_cpu.get(id).map_or(0, |before| before.ticks));
        ticks.sum::<u64>() as f64 * 1e6 / TICKS / count
    };
    println!(
        "{connections:3} connections, {}: {:6.0} webhooks/s, p50 {:5.2} ms, p99 {:5.2} ms; CPU a webhook: front {:.0}, \
         tiny_http {:.0}, handler {:.0}, client {:.0} µs; {} private connections",
        if keep_alive { "kept " } else { "fresh" },
        count / elapsed.as_secs_f64(),
        milliseconds(&times, 500),
        milliseconds(&times, 990),
        spent("tinclaw-front"),
        spent("other"),
        spent("tinclaw-http"),
        spent("client"),
        server.stats().private_connections,
    );
    server.shutdown();
}

fn milliseconds(sorted: &[Duration], share: usize) -> f64 {
    sorted[(sorted.len() * share / 1000).min(sorted.len() - 1)].as_secs_f64() * 1e3
}

/// Linux counts CPU time in hundredths of a second.
const TICKS: f64 = 100.0;

/// The CPU time of a thread so far.
struct ThreadTime {
    name: String,
    ticks: u64,
}

/// The CPU time of this process's threads by their numbers. Threads without one of our names are tiny_http's.
fn cpu_times() -> BTreeMap<String, ThreadTime> {
    let mut times = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else { continue };
        let name = &stat[open + 1..close];
        let known = ["tinclaw-front", "tinclaw-http", "client", "slow"].contains(&name);
        let name = if known { name } else { "other" }.to_owned();
        // User and system time are the 12th and 13th field after the name.
        let ticks =
            stat[close + 2..].split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        times.insert(task.file_name().to_string_lossy().into_owned(), ThreadTime { name, ticks });
    }
    times
}

fn spawn_client(address: SocketAddr, keep_alive: bool, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    let stop = stop.clone();
    thread::Builder::new().name("client".into()).spawn(move || client(address, keep_alive, &stop)).unwrap()
}

fn client(address: SocketAddr, keep_alive: bool, stop: &AtomicBool) -> Vec<Duration> {
    let request = webhook();
    let mut buffer = [0; 4096];
    let mut kept = None;
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let mut stream: TcpStream = kept.take().unwrap_or_else(|| TcpStream::connect(address).unwrap());
        stream.write_all(&request).unwrap();
        let length = stream.read(&mut buffer).unwrap();
        assert!(
            buffer[..length].starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&buffer[..length])
        );
        if keep_alive {
            kept = Some(stream);
        } else {
            while stream.read(&mut buffer).unwrap() > 0 {}
        }
        times.push(begin.elapsed());
    }
    times
}

/// Many connections that send one byte a second, and reconnect when they are closed, while somebody sends webhooks.
fn slow_connections(count: usize) {
    let server = start(Duration::ZERO);
    let address = server.local_addr();
    let before = resident();
    let stop = Arc::new(AtomicBool::new(false));
    let slow = {
        let stop = stop.clone();
        thread::Builder::new().name("slow".into()).spawn(move || send_slowly(address, count, &stop)).unwrap()
    };
    thread::sleep(Duration::from_secs(2));
    let client = spawn_client(address, false, &stop);
    thread::sleep(Duration::from_secs(10));
    let during = resident();
    stop.store(true, Ordering::Relaxed);
    let mut times = client.join().unwrap();
    let opened = slow.join().unwrap();
    thread::sleep(Duration::from_millis(500));
    times.sort();
    println!(
        "{count} slow connections ({opened} opened): {} webhooks meanwhile, p50 {:.2} ms, p99 {:.2} ms; RSS {} KiB \
         before, {} during, {} after; {:?}",
        times.len(),
        milliseconds(&times, 500),
        milliseconds(&times, 990),
        before >> 10,
        during >> 10,
        resident() >> 10,
        server.stats(),
    );
    server.shutdown();
}

fn send_slowly(address: SocketAddr, count: usize, stop: &AtomicBool) -> usize {
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut streams: Vec<TcpStream> = (0..count).map(|_| connect()).collect();
    let mut opened = count;
    let text = b"POST /webhook HTTP/1.1\r\nHost: example.org\r\nX-Filler: ";
    let mut byte = 0;
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        for stream in &mut streams {
            let mut response = [0; 512];
            let closed =
                stream.read(&mut response).is_ok() || stream.write(&[text[byte % text.len()]]).is_err();
            if closed {
                *stream = connect();
                opened += 1;
            }
        }
        byte = (byte + 1) % text.len();
        thread::sleep(Duration::from_secs(1).saturating_sub(begin.elapsed()));
    }
    opened
}

/// Connections that go away in the midst of things, or talk nonsense.
fn misbehaving_connections(count: usize) {
    let server = start(Duration::ZERO);
    let address = server.local_addr();
    let request = webhook();
    for _ in 0..100 {
        TcpStream::connect(address).unwrap().write_all(&request).unwrap();
    }
    thread::sleep(Duration::from_millis(500));
    let before = (resident(), entries("/proc/self/fd"), entries("/proc/self/task"));
    let begin = Instant::now();
    for index in 0..count {
        let mut stream = TcpStream::connect(address).unwrap();
        match index % 4 {
            0 => {}
            1 => drop(stream.write_all(&request[..request.len() / 3])),
            2 => drop(stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\n\n")),
            // Closing with an unread response resets the connection.
            _ => drop(stream.write_all(&request)),
        }
    }
    let took = begin.elapsed();
    thread::sleep(Duration::from_millis(1_000));
    let after = (resident(), entries("/proc/self/fd"), entries("/proc/self/task"));
    println!(
        "{count} misbehaving connections in {took:.2?}: RSS {} KiB before, {} after; {} files before, {} after; {} threads \
         before, {} after; {:?}",
        before.0 >> 10,
        after.0 >> 10,
        before.1,
        after.1,
        before.2,
        after.2,
        server.stats(),
    );
    server.shutdown();
}

fn entries(directory: &str) -> usize {
    fs::read_dir(directory).unwrap().count()
}

/// Memory of this process that is in RAM, in bytes.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
