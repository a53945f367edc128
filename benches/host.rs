//! The whole host: webhooks a second, memory, time to start, size of the program. Prints, decides nothing:
//! `cargo bench --bench host`.
//!
//! Client and host share the machine's cores. The state is in memory; `--bench durability` has the disk.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tinclaw::secrets::{MemorySecrets, Secret};
use tinclaw::server::ServerLimits;
use tinclaw::{Host, WasmChannel, WasmChannelRuntime, WasmChannelRuntimeConfig};

const RUN: Duration = Duration::from_secs(4);
/// How often the daemon is started for a figure.
const STARTS: usize = 9;
const SECRET: &str = "open-sesame";

fn main() {
    for guest in ["echo", "large"] {
        for keep_alive in [false, true] {
            for connections in [1, 8, 64] {
                throughput(guest, connections, keep_alive);
            }
        }
    }
    let program = env!("CARGO_BIN_EXE_tinclaw");
    println!("program: {:.2} MB", megabytes(fs::metadata(program).expect("the program").len()));
    for channels in [1, 6] {
        start_and_memory(program, channels);
    }
}

fn throughput(guest: &str, connections: usize, keep_alive: bool) {
    let host = start(guest, if keep_alive { Duration::from_secs(30) } else { Duration::ZERO });
    let address = host.local_addr().expect("an address");
    let request = request(guest);
    let begin = Instant::now();
    while !exchange(&mut None, address, &request, keep_alive) {
        assert!(begin.elapsed() < Duration::from_secs(10), "the channel takes no webhook");
        thread::sleep(Duration::from_millis(50));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let agent = {
        let messages = host.messages();
        thread::spawn(move || messages.for_each(tinclaw::Delivery::ack))
    };
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let (stop, request) = (stop.clone(), request.clone());
            thread::spawn(move || client(address, &request, keep_alive, &stop))
        })
        .collect();
    let begin = Instant::now();
    thread::sleep(RUN);
    let elapsed = begin.elapsed();
    stop.store(true, Ordering::Relaxed);
    let mut times: Vec<Duration> =
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
    times.sort();
    println!(
        "{guest:5} {connections:2} connections, {} {:6.0} webhooks/s, p50 {:5.2} ms, p99 {:5.2} ms",
        if keep_alive { "kept: " } else { "fresh:" },
        times.len() as f64 / elapsed.as_secs_f64(),
        share(&times, 500),
        share(&times, 990),
    );
    host.shutdown();
    agent.join().expect("the agent");
}

fn start(guest: &str, keep_alive: Duration) -> Host {
    let runtime = WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).expect("a runtime");
    let secrets = MemorySecrets::new();
    secrets.set(&format!("{guest}_webhook_secret"), Secret::from(SECRET)).expect("a name");
    let limits = ServerLimits { keep_alive, ..ServerLimits::default() };
    let builder = Host::builder().listen(([127, 0, 0, 1], 0).into()).server_limits(limits);
    let builder = builder.configure(|config| {
        config.secrets = Arc::new(secrets);
        // The agent keeps up only on average: what waits is not what is measured here.
        config.queue.messages = usize::MAX;
        config.queue.bytes = u64::MAX;
    });
    builder.channel(channel(&runtime, guest)).start().expect("a host")
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn channel(runtime: &WasmChannelRuntime, guest: &str) -> WasmChannel {
    let wasm = fs::read(fixture(&format!("{guest}.wasm"))).expect("the guest");
    let file = fs::read(fixture(&format!("{guest}.capabilities.json"))).expect("its capability file");
    let mut file: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    file["capabilities"]["channel"]["emit_rate_limit"] =
        serde_json::json!({"messages_per_minute": 100_000_000, "messages_per_hour": 1_000_000_000});
    let name = guest.parse().expect("a name");
    WasmChannel::from_bytes(runtime, name, &wasm, Some(file.to_string().as_bytes())).expect("a channel")
}

fn request(guest: &str) -> Vec<u8> {
    let body = if guest == "large" {
        r#"{"update_id":1,"message":{"message_id":7,"date":1700000000,"text":"hello there","chat":{"id":5,"type":"private"},"from":{"id":5,"is_bot":false,"first_name":"Ann","username":"ann"}}}"#
    } else {
        r#"{"user":"ann","text":"hello there"}"#
    };
    let length = body.len();
    format!(
        "POST /webhook/{guest} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         X-Webhook-Secret: {SECRET}\r\nX-Bot-Api-Secret-Token: {SECRET}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn client(address: SocketAddr, request: &[u8], keep_alive: bool, stop: &AtomicBool) -> Vec<Duration> {
    let mut kept = None;
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        assert!(exchange(&mut kept, address, request, keep_alive), "a webhook was not answered 200");
        times.push(begin.elapsed());
    }
    times
}

/// Sends one request and reads its answer; true when it is a 200.
fn exchange(kept: &mut Option<TcpStream>, address: SocketAddr, request: &[u8], keep_alive: bool) -> bool {
    let mut stream = kept.take().unwrap_or_else(|| TcpStream::connect(address).expect("a connection"));
    stream.write_all(request).expect("the request is sent");
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).expect("an answer");
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

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Starts the daemon with so many channels of the size of real ones, and reads when the last one is ready.
fn start_and_memory(program: &str, channels: usize) {
    let dir = std::env::temp_dir().join(format!("tinclaw-bench-{}-{channels}", std::process::id()));
    let channels_dir = dir.join("channels");
    fs::create_dir_all(&channels_dir).expect("a directory");
    for number in 0..channels {
        install_large(&channels_dir, number);
    }
    let mut times = Vec::new();
    let mut memory = 0.0;
    for _ in 0..STARTS {
        let begin = Instant::now();
        let mut daemon = spawn(program, &dir, &channels_dir);
        wait_until_ready(&mut daemon, channels);
        times.push(begin.elapsed());
        if times.len() == STARTS {
            // What only the start needed has gone back by then.
            thread::sleep(Duration::from_secs(3));
            memory = resident(daemon.id());
        }
        daemon.kill().expect("the daemon runs");
        daemon.wait().expect("the daemon ends");
    }
    times.sort();
    println!(
        "{channels} channels of 360 KB: ready after {:.0} ms (median of {STARTS}), resident {memory:.1} MiB",
        times[STARTS / 2].as_secs_f64() * 1e3
    );
    fs::remove_dir_all(&dir).expect("the directory goes");
}

fn install_large(channels_dir: &Path, number: usize) {
    let name = format!("large{number}");
    let file = fs::read(fixture("large.capabilities.json")).expect("the capability file");
    let mut file: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    file["name"] = name.clone().into();
    file["capabilities"]["channel"]["workspace_prefix"] = format!("channels/{name}/").into();
    // Bytes that differ, so that nothing is shared between the channels.
    let mut wasm = fs::read(fixture("large.wasm")).expect("the guest");
    wasm.extend([0, 5, 3, b'n', b'o', b'.', b'0' + u8::try_from(number).expect("few channels")]);
    fs::write(channels_dir.join(format!("{name}.wasm")), wasm).expect("the guest is written");
    fs::write(channels_dir.join(format!("{name}.capabilities.json")), file.to_string())
        .expect("the file is written");
}

fn spawn(program: &str, dir: &Path, channels_dir: &Path) -> Child {
    Command::new(program)
        .args(["run", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(dir.join("state"))
        .arg("--channels")
        .arg(channels_dir)
        .env("RUST_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the daemon starts")
}

fn wait_until_ready(daemon: &mut Child, channels: usize) {
    let log = BufReader::new(daemon.stderr.take().expect("its log"));
    let mut ready = 0;
    for line in log.lines().map_while(Result::ok) {
        ready += usize::from(line.contains("is ready"));
        if ready == channels {
            return;
        }
    }
    panic!("the daemon ended with {ready} of {channels} channels ready");
}

fn resident(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    let kibibytes: f64 =
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    kibibytes / 1024.0
}
