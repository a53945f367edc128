//! One bad channel hurts itself only: every hostile guest runs beside an honest one, which must not notice.
//!
//! What happened: `memory_grow_loop` ended the whole process. wasmi's fastest dispatch relies on the compiler to turn the
//! call of the next instruction into a jump, which it cannot for `memory.grow`; a loop of failing `memory.grow`s then
//! overflowed the worker's native stack within one slice of fuel. The host uses portable dispatch since.

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use harness::{client, eventually, fixtures};
use serde_json::{Value, json};
use tinclaw::{Host, LoadError, WasmChannel, WasmChannelRuntime};

/// Small limits, so that a guest that loops comes to its end quickly. They are also what a small machine would set.
fn host(channels: Vec<WasmChannel>) -> (Host, SocketAddr) {
    let builder = fixtures::host(&["echo_webhook_secret", "echo_token"], &[]).configure(|config| {
        for (limit, value) in [("fuel", 3_000_000), ("callback_timeout_secs", 2), ("memory_mb", 16)] {
            config.ceilings.set(limit, value).expect("a limit");
        }
    });
    let host = channels.into_iter().fold(builder, tinclaw::HostBuilder::channel).start().expect("a host");
    let address = host.local_addr().expect("an address");
    (host, address)
}

/// Every hostile guest that the loader takes, and how many it refuses.
fn hostile_channels(runtime: &WasmChannelRuntime) -> (BTreeMap<String, WasmChannel>, usize) {
    let file = fs::read(fixtures::path("hostile/hostile.capabilities.json")).expect("the capability file");
    let (mut loaded, mut refused) = (BTreeMap::new(), 0);
    for entry in fs::read_dir(fixtures::path("hostile")).expect("the directory").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "wat") {
            continue;
        }
        let wasm = wat::parse_file(&path).expect("the guest assembles");
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        match WasmChannel::from_bytes(runtime, name.parse().expect("a name"), &wasm, Some(&file)) {
            Ok(channel) => drop(loaded.insert(name, channel)),
            Err(LoadError::Guest(_)) => refused += 1,
            Err(other) => panic!("{name}: {other}"),
        }
    }
    (loaded, refused)
}

fn honest_channel_answers(address: SocketAddr, beside: &str) {
    let body = json!({"user": "ann", "text": "hello"});
    let secret = fixtures::value_of("echo_webhook_secret");
    let reply = eventually(&format!("the honest channel answers beside {beside}"), || {
        let reply = client::webhook(address, "/webhook/echo", &secret, &body);
        (reply.status != 503).then_some(reply)
    });
    assert_eq!(reply.status, 200, "beside {beside}");
}

#[test]
fn no_hostile_guest_is_noticed_by_the_channel_beside_it() {
    let runtime = fixtures::runtime();
    let (hostile, refused) = hostile_channels(&runtime);
    assert!(hostile.len() >= 110 && refused >= 20, "{} run, {refused} are refused", hostile.len());
    let honest = fixtures::channel(&runtime, "echo");
    for (name, channel) in hostile {
        let (host, address) = host(vec![channel, honest.clone()]);
        honest_channel_answers(address, &name);
        for _ in 0..2 {
            let reply = client::request(address, "POST", "/webhook/hostile", &[], b"{}");
            assert!(
                [200, 202, 204, 400, 404, 429, 500, 503].contains(&reply.status),
                "{name}: {}",
                reply.status
            );
            if reply.status >= 500 {
                let Value::Object(body) = reply.json() else { panic!("{name}: not an object") };
                assert_eq!(body.keys().collect::<Vec<_>>(), ["error"], "{name}: internals are told");
            }
        }
        honest_channel_answers(address, &name);
        while let Ok(delivery) = host.messages().recv_timeout(Duration::ZERO) {
            assert!(delivery.message().content.len() <= 64 * 1024 + 64, "{name}: a message of any size");
            delivery.ack();
        }
        let health = host.health().expect("health");
        let echo =
            health.channels.iter().find(|channel| channel.name.as_str() == "echo").expect("the honest one");
        assert_eq!(echo.failed, 0, "beside {name}: {:?}", echo.problems);
        host.shutdown();
    }
}
