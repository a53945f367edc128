//! One bad channel hurts itself only: every hostile guest runs beside an honest one, which must not notice.
//!
//! What happened: `memory_grow_loop` ended the whole process. wasmi's fastest dispatch relies on the compiler to turn the
//! call of the next instruction into a jump, which it cannot for `memory.grow`; a loop of failing `memory.grow`s then
//! overflowed the worker's native stack within one slice of fuel. Since then growing costs so much fuel that a slice ends
//! before the stack does.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use support::temp_dir::TempDir;
use support::{client, eventually, fixtures};
use tinclaw::{Host, LoadError, WasmChannel, WasmChannelLoader, WasmChannelRuntime};

/// Small limits, so that a guest that loops comes to its end quickly. They are also what a small machine would set.
fn host(channels: Vec<WasmChannel>) -> (Host, SocketAddr) {
    let builder = fixtures::host(&["echo_webhook_secret", "echo_token"], &[]).configure(|config| {
        for (limit, value) in [("fuel", 3_000_000), ("callback_timeout_secs", 2), ("memory_mb", 16)] {
            config.limit_caps.set(limit, value).expect("a limit");
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

fn honest_channel_responds(address: SocketAddr, beside: &str) {
    let body = json!({"user": "ann", "text": "hello"});
    let secret = fixtures::value_of("echo_webhook_secret");
    let reply = eventually(&format!("the honest channel responds beside {beside}"), || {
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
        honest_channel_responds(address, &name);
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
        honest_channel_responds(address, &name);
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

/// The honest guest with these segments besides its own, and 6 MB of memory for them.
fn guest_with(segments: &str) -> Vec<u8> {
    let text = fs::read_to_string(fixtures::path("hostile/honest.wat")).expect("the guest");
    let text = text.replace(r#"(memory (export "memory") 2)"#, r#"(memory (export "memory") 96)"#);
    let end = text.rfind(')').expect("the end of the module");
    wat::parse_str(format!("{} {segments})", &text[..end])).expect("the guest assembles")
}

// What happened: a guest with 1,700 element segments of 9,000 items each took most of a second for each instance, on the
// router's thread: other channels' webhooks went from 4 ms to 1.7 s. Data segments did the same. Now their sum is bounded,
// and instances are made by workers.
#[test]
fn a_guest_of_many_segments_is_refused_past_the_bound_and_not_noticed_below_it() {
    let runtime = fixtures::runtime();
    let file = fs::read(fixtures::path("hostile/hostile.capabilities.json")).expect("the capability file");
    let load = |segments: &str| {
        let name = "segments".parse().expect("a name");
        WasmChannel::from_bytes(&runtime, name, &guest_with(segments), Some(&file))
    };
    let items = |segments: usize| {
        let segment = format!("(elem (i32.const 0) func {})", "$f ".repeat(5_000));
        format!("(table 5000 funcref) (func $f) {}", segment.repeat(segments))
    };
    let data =
        |segments: usize| format!(r#"(data (i32.const 65536) "{}")"#, "x".repeat(1_500)).repeat(segments);
    for (segments, reason) in [
        (items(21), "105000 items in element segments, and 100000 are allowed"),
        (data(9_990), "data segments have 14985"),
    ] {
        let error = load(&segments).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    }
    let heavy = load(&(items(20) + &data(4_100))).expect("within the bounds");
    let (host, address) = host(vec![heavy, fixtures::channel(&runtime, "echo")]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..30 {
                    client::request(address, "POST", "/webhook/hostile", &[], b"{}");
                }
            });
        }
        (0..30).for_each(|_| honest_channel_responds(address, "many segments"));
    });
    let health = host.health().expect("health");
    let echo = health.channels.iter().find(|channel| channel.name.as_str() == "echo");
    assert_eq!(echo.map(|channel| channel.failed), Some(0));
    host.shutdown();
}

/// A component of nothing but one section.
fn component(section: u8, content: &[u8]) -> Vec<u8> {
    let mut guest = b"\0asm\x0d\0\x01\0".to_vec();
    guest.push(section);
    let mut size = content.len();
    while size > 0x7f {
        guest.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    guest.push(size as u8);
    guest.extend(content);
    guest
}

#[test]
fn a_component_of_fifty_megabytes_is_refused_as_bytes_and_as_a_file() {
    let runtime = fixtures::runtime();
    let huge = component(0, &vec![0; 50 << 20]);
    let name = "huge".parse().expect("a name");
    let error =
        WasmChannel::from_bytes(&runtime, name, &huge, None).expect_err("it is too large").to_string();
    assert!(error.contains("huge") && error.contains("16777216"), "{error}");
    let dir = TempDir::new();
    // Nothing is written: a file with a hole is as long, and costs no disk.
    let file = fs::File::create(dir.join("huge.wasm")).expect("a file");
    file.set_len(50 << 20).expect("its length");
    let results = WasmChannelLoader::new(runtime).load(dir.path());
    let results = results.expect("the directory is read");
    assert!(results.loaded.is_empty());
    let error = results.failed[0].to_string();
    assert!(error.contains("huge") && error.contains("16777216"), "{error}");
}

#[test]
fn types_nested_a_hundred_levels_deep_are_refused() {
    const COMPONENTS: u8 = 4;
    const TYPES: u8 = 7;
    // A type that declares one type (1), which is again such a one, down to one that declares nothing.
    let nested = |kind: u8, depth: usize| {
        let types = [&[1], [kind, 1, 1].repeat(depth - 1).as_slice(), &[kind, 0]].concat();
        component(TYPES, &types)
    };
    // A string, and a hundred times the option of the type before.
    let option = |level: u8| [0x6b, level | 0x80, 0];
    let options = [&[101, 0x73], (0..100).flat_map(option).collect::<Vec<u8>>().as_slice()].concat();
    let components = (1..100).fold(component(0, b"\x01n"), |inner, _| component(COMPONENTS, &inner));
    let rows = [
        ("components", components, "this is no channel"),
        ("component types", nested(0x41, 100), "this is no channel"),
        ("instance types", nested(0x42, 100), "this is no channel"),
        ("instance types without end", nested(0x42, 1_000_000), "nested more than"),
        ("options", component(TYPES, &options), "this is no channel"),
    ];
    let runtime = fixtures::runtime();
    for (what, bytes, reason) in rows {
        let name = "deep".parse().expect("a name");
        let error = WasmChannel::from_bytes(&runtime, name, &bytes, None).expect_err(what);
        assert!(matches!(error, LoadError::Guest(_)), "{what}: {error}");
        assert!(error.to_string().contains(reason), "{what}: {error}");
    }
}
