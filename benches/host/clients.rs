//! A load of webhooks on one host, and what it cost.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Usage, resident};
use crate::served::{CHANNELS, SECRET, path_of};

/// Who sends webhooks, and how.
pub struct Load {
    /// `echo`, `large`, or `spread`: many channels with a large guest each.
    guest: &'static str,
    connections: usize,
    /// `kept` or `fresh` connections, `durable` state, or `busy` loops on all cores; the last two keep connections.
    way: &'static str,
}

impl Load {
    pub fn new(guest: &'static str, connections: usize, way: &'static str) -> Self {
        Self { guest, connections, way }
    }

    /// Loads a host, which `program` serves, for so long.
    pub fn run(&self, program: &Path, run: Duration) -> Figures {
        let directory = std::env::temp_dir().join(format!("tinclaw-bench-{}", std::process::id()));
        let state = if self.way == "durable" { directory.as_path() } else { Path::new("memory") };
        let mut host = Command::new(program)
            .args(["serve", self.guest])
            .arg(state)
            .arg(if self.way == "fresh" { "0" } else { "30" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the host starts");
        let mut address = String::new();
        BufReader::new(host.stdout.take().expect("its output")).read_line(&mut address).expect("a line");
        let address = address.trim().parse().expect("an address");
        let figures = self.measure(address, host.id(), run);
        // The end of its input ends it.
        drop(host.stdin.take());
        host.wait().expect("the host ends");
        drop(std::fs::remove_dir_all(&directory));
        figures
    }

    fn measure(&self, address: SocketAddr, host: u32, run: Duration) -> Figures {
        let requests = requests(self.guest);
        for request in &requests {
            wait_until_ready(address, request);
        }
        let mut spinning: Vec<Child> = if self.way == "busy" { spin() } else { Vec::new() };
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..self.connections)
            .map(|number| {
                let (stop, requests, kept) = (stop.clone(), requests.clone(), self.way != "fresh");
                thread::spawn(move || client(address, &requests, number, kept, &stop))
            })
            .collect();
        let (begin, before, idle) = (Instant::now(), Usage::of(host), resident(host));
        thread::sleep(run);
        let (elapsed, after) = (begin.elapsed(), Usage::of(host));
        stop.store(true, Ordering::Relaxed);
        let mut times: Vec<Duration> =
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
        for child in &mut spinning {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
        times.sort();
        let webhooks = times.len() as f64;
        Figures([
            webhooks / elapsed.as_secs_f64(),
            share(&times, 500),
            share(&times, 990),
            (after.cpu_micros - before.cpu_micros) / webhooks,
            (after.voluntary - before.voluntary) / webhooks,
            (after.involuntary - before.involuntary) / webhooks,
            idle,
            resident(host),
        ])
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = format!("{}:", self.way);
        write!(f, "{:6} {:2} connections, {way:8}", self.guest, self.connections)
    }
}

/// Webhooks a second, p50 and p99 in milliseconds; for each webhook: microseconds of CPU, context switches of threads that
/// waited, and of threads that were interrupted; resident memory at the beginning and at the end, in MiB. The host's alone,
/// with its agent.
pub struct Figures([f64; 8]);

impl Figures {
    pub fn medians(runs: &[Self]) -> Self {
        Self(std::array::from_fn(|figure| {
            let mut values: Vec<f64> = runs.iter().map(|run| run.0[figure]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        }))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rate, p50, p99, cpu, voluntary, involuntary, begin, end] = self.0;
        write!(
            f,
            "{rate:6.0} webhooks/s, p50 {p50:5.2} ms, p99 {p99:5.2} ms, CPU {cpu:4.0} µs, \
             switches {voluntary:4.1} + {involuntary:4.1}, resident {begin:4.1} then {end:4.1} MiB"
        )
    }
}

/// Two of them, or one for each core where there are fewer.
fn spin() -> Vec<Child> {
    let program = std::env::current_exe().expect("the path of this program");
    (0..2).map(|_| Command::new(&program).arg("spin").spawn().expect("a busy loop")).collect()
}

fn requests(guest: &str) -> Vec<Vec<u8>> {
    match guest {
        "spread" => (0..CHANNELS).map(|number| request(&path_of(number), true)).collect(),
        guest => vec![request(&format!("/webhook/{guest}"), guest == "large")],
    }
}

fn request(path: &str, is_large: bool) -> Vec<u8> {
    let body = if is_large {
        r#"{"update_id":1,"message":{"message_id":7,"date":1700000000,"text":"hello there","chat":{"id":5,"type":"private"},"from":{"id":5,"is_bot":false,"first_name":"Ann","username":"ann"}}}"#
    } else {
        r#"{"user":"ann","text":"hello there"}"#
    };
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         X-Webhook-Secret: {SECRET}\r\nX-Bot-Api-Secret-Token: {SECRET}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn wait_until_ready(address: SocketAddr, request: &[u8]) {
    let begin = Instant::now();
    while !exchange(&mut None, address, request, true) {
        assert!(begin.elapsed() < Duration::from_secs(60), "the channel takes no webhook");
        thread::sleep(Duration::from_millis(50));
    }
}

fn client(
    address: SocketAddr,
    requests: &[Vec<u8>],
    first: usize,
    kept: bool,
    stop: &AtomicBool,
) -> Vec<Duration> {
    let mut stream = None;
    let mut times = Vec::new();
    // Far apart, so that two clients rarely send to one channel.
    for request in requests.iter().cycle().skip(first * requests.len() / 8) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let begin = Instant::now();
        assert!(exchange(&mut stream, address, request, kept), "a webhook was not responded with 200");
        times.push(begin.elapsed());
    }
    times
}

/// Sends one request and reads its response; true when it is a 200.
fn exchange(kept: &mut Option<TcpStream>, address: SocketAddr, request: &[u8], keep_alive: bool) -> bool {
    let mut stream = kept.take().unwrap_or_else(|| TcpStream::connect(address).expect("a connection"));
    stream.write_all(request).expect("the request is sent");
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).expect("a response");
    let is_ok = buffer[..length].starts_with(b"HTTP/1.1 200");
    if keep_alive {
        *kept = Some(stream);
    } else {
        while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
    }
    is_ok
}

fn share(sorted: &[Duration], of_thousand: usize) -> f64 {
    sorted[(sorted.len() * of_thousand / 1000).min(sorted.len() - 1)].as_secs_f64() * 1e3
}
