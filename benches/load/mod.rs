//! Hosts, clients and an agent for the benches that need many webhooks.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use tinclaw::host::StateLocation;
use tinclaw::secrets::{MemorySecrets, Secret};
use tinclaw::{Host, WasmChannel, WasmChannelRuntime, WasmChannelRuntimeConfig};

const SECRET: &str = "open-sesame";

/// The limits per minute and hour that would stop a bench, at the most that a host may give.
const RATES: [(&str, u64); 2] =
    [("emit_rate_limit.messages_per_minute", 1_000_000), ("emit_rate_limit.messages_per_hour", 10_000_000)];

/// A host with so many copies of the plain echo guest, each of which recognises duplicates by their id.
pub fn host(state: StateLocation, channels: usize) -> Host {
    let runtime = WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).expect("a runtime");
    let secrets = MemorySecrets::new();
    secrets.set("echo_webhook_secret", Secret::from(SECRET)).expect("a name");
    let mut builder = Host::builder().listen(([127, 0, 0, 1], 0).into()).configure(|config| {
        config.secrets = Arc::new(secrets);
        config.state = state;
        for (limit, value) in RATES {
            config.limit_caps.set(limit, value).expect("a limit");
        }
    });
    for number in 0..channels {
        builder = builder.channel(channel(&runtime, number));
    }
    builder.start().expect("a host")
}

fn channel(runtime: &WasmChannelRuntime, number: usize) -> WasmChannel {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let wasm = fs::read(fixtures.join("echo_plain.wasm")).expect("the guest");
    let file = fs::read(fixtures.join("echo_plain.capabilities.json")).expect("its capability file");
    let mut file: Value = serde_json::from_slice(&file).expect("JSON");
    let (name, path) = (format!("echo_{number}"), path(number));
    file["name"] = json!(name);
    file["config"]["path"] = json!(path);
    let section = &mut file["capabilities"]["channel"];
    section["allowed_paths"] = json!([path]);
    section["webhook"]["dedupe"] = json!({"json_pointer": "/id"});
    section["emit_rate_limit"] = json!({"messages_per_minute": RATES[0].1, "messages_per_hour": RATES[1].1});
    let name = name.parse().expect("a name");
    WasmChannel::from_bytes(runtime, name, &wasm, Some(file.to_string().as_bytes())).expect("a channel")
}

fn path(channel: usize) -> String {
    format!("/webhook/echo_{channel}")
}

/// An agent that acknowledges everything at once, until the host shuts down.
pub fn agent(host: &Host) -> JoinHandle<()> {
    let messages = host.messages();
    thread::spawn(move || messages.for_each(tinclaw::Delivery::ack))
}

/// A provider with one connection, which it keeps as long as the host does.
pub struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Client {
    pub fn new(host: &Host) -> Self {
        Self { address: host.local_addr().expect("an address"), stream: None }
    }

    /// Sends a webhook until it gets 200; how often it was told to come back.
    pub fn deliver(&mut self, channel: usize, id: u64) -> u64 {
        let body = json!({"user": format!("user{}", id % 100), "text": "hello there", "id": id}).to_string();
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Webhook-Secret: {SECRET}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            path(channel),
            body.len()
        );
        let mut refused = 0;
        loop {
            match self.exchange(request.as_bytes()) {
                Ok(200) => return refused,
                Ok(503) => {
                    refused += 1;
                    thread::sleep(Duration::from_millis(2));
                }
                Ok(other) => panic!("a webhook got {other}"),
                // The host has closed an idle connection.
                Err(_) => self.stream = None,
            }
        }
    }

    fn exchange(&mut self, request: &[u8]) -> std::io::Result<u16> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.address)?,
        };
        stream.write_all(request)?;
        let mut head = Vec::new();
        let mut buffer = [0; 4096];
        // The responses of this guest and of the host are a few hundred bytes: head and body come together or in two parts.
        let (status, keeps) = loop {
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            head.extend_from_slice(&buffer[..length]);
            if let Some(response) = whole_response(&head) {
                break response;
            }
        };
        if keeps {
            self.stream = Some(stream);
        }
        Ok(status)
    }
}

/// Status, and whether the connection stays open, once head and body are there.
fn whole_response(bytes: &[u8]) -> Option<(u16, bool)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let field =
        |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    let length: usize = field("content-length")?.parse().ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    (body.len() >= length).then(|| (status, field("connection") != Some("close")))
}

/// A directory in which the files of a bench lie; it goes away with the value.
pub struct Scratch(pub std::path::PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tinclaw-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
