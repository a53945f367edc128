//! A host in a process of its own, with an agent that acknowledges everything at once.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tinclaw::host::StateLocation;
use tinclaw::secrets::{MemorySecrets, Secret};
use tinclaw::server::ServerLimits;
use tinclaw::store::Durability;
use tinclaw::{Host, WasmChannel, WasmChannelRuntime, WasmChannelRuntimeConfig};

pub const SECRET: &str = "open-sesame";
/// How many channels `spread` has.
pub const CHANNELS: usize = 1000;

/// Takes a guest (see `Load`), a place for the state (`memory` or a directory), and for how many seconds connections are
/// kept; prints the address on which it listens, and ends when its input does.
pub fn serve(arguments: &[String]) {
    let [guest, state, kept] = arguments else { panic!("serve GUEST STATE SECONDS") };
    let host = start(guest, state, Duration::from_secs(kept.parse().expect("seconds")));
    let messages = host.messages();
    let agent = thread::spawn(move || messages.for_each(tinclaw::Delivery::ack));
    println!("{}", host.local_addr().expect("an address"));
    std::io::stdin().read_to_end(&mut Vec::new()).expect("the end of the input");
    host.shutdown();
    agent.join().expect("the agent");
}

fn start(guest: &str, state: &str, keep_alive: Duration) -> Host {
    let runtime = WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).expect("a runtime");
    let secrets = MemorySecrets::new();
    for guest in ["echo", "large"] {
        secrets.set(&format!("{guest}_webhook_secret"), Secret::from(SECRET)).expect("a name");
    }
    let limits = ServerLimits { keep_alive, ..ServerLimits::default() };
    let builder = Host::builder().listen(([127, 0, 0, 1], 0).into()).server_limits(limits);
    let mut builder = builder.configure(|config| {
        config.secrets = Arc::new(secrets);
        if state != "memory" {
            config.state =
                StateLocation::Directory { path: PathBuf::from(state), durability: Durability::Full };
        }
        // The agent keeps up only on average: what waits is not what is measured here.
        config.queue.messages = usize::MAX;
        config.queue.bytes = u64::MAX;
    });
    if guest == "spread" {
        for number in 0..CHANNELS {
            builder = builder.channel(numbered(&runtime, number));
        }
    } else {
        let (wasm, file) = fixture(guest);
        builder = builder.channel(channel(&runtime, guest, &wasm, &file));
    }
    builder.start().expect("a host")
}

fn fixture(name: &str) -> (Vec<u8>, Value) {
    let path = |ending: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.{ending}"));
    let wasm = fs::read(path("wasm")).expect("the guest");
    let file = fs::read(path("capabilities.json")).expect("its capability file");
    let mut file: Value = serde_json::from_slice(&file).expect("JSON");
    file["capabilities"]["channel"]["emit_rate_limit"] =
        json!({"messages_per_minute": 100_000_000, "messages_per_hour": 1_000_000_000});
    (wasm, file)
}

/// One of many with a large guest, whose path is its own. The path is in the guest's data, so no two are the same bytes.
fn numbered(runtime: &WasmChannelRuntime, number: usize) -> WasmChannel {
    let (mut wasm, mut file) = fixture("large");
    let (name, path) = (format!("large{number}"), path_of(number));
    let written = b"/webhook/large";
    let places: Vec<usize> = (0..wasm.len()).filter(|place| wasm[*place..].starts_with(written)).collect();
    for place in places {
        wasm[place..place + written.len()].copy_from_slice(path.as_bytes());
    }
    file["name"] = json!(name);
    let section = &mut file["capabilities"]["channel"];
    section["workspace_prefix"] = json!(format!("channels/{name}/"));
    section["allowed_paths"] = json!([path]);
    channel(runtime, &name, &wasm, &file)
}

/// As long as the path that is written in the guest.
pub fn path_of(number: usize) -> String {
    format!("/webhook/{number:05}")
}

fn channel(runtime: &WasmChannelRuntime, name: &str, wasm: &[u8], file: &Value) -> WasmChannel {
    let name = name.parse().expect("a name");
    WasmChannel::from_bytes(runtime, name, wasm, Some(file.to_string().as_bytes())).expect("a channel")
}
