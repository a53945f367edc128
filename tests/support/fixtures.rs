//! The fixture guests, and hosts that run them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tinclaw::secrets::{MemorySecrets, Secret};
use tinclaw::{Host, HostBuilder, WasmChannel, WasmChannelRuntime, WasmChannelRuntimeConfig};
use wit_abi::guest::{GuestKind, ImportKnowledge, read_guest};

/// The value of every secret in the tests: `value-of-NAME`.
pub fn value_of(secret: &str) -> String {
    format!("value-of-{secret}")
}

/// A file of the fixtures, or of the channels that come with the program.
pub fn path(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let channel = root.join("channels").join(name.split('.').next().unwrap_or(name)).join(name);
    if channel.is_file() { channel } else { root.join("fixtures").join(name) }
}

pub fn runtime() -> WasmChannelRuntime {
    WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).expect("a runtime")
}

/// A fixture guest with its own capability file.
pub fn channel(runtime: &WasmChannelRuntime, name: &str) -> WasmChannel {
    channel_with(runtime, name, |_| {})
}

/// A fixture guest with a changed capability file.
pub fn channel_with(
    runtime: &WasmChannelRuntime,
    name: &str,
    change: impl FnOnce(&mut serde_json::Value),
) -> WasmChannel {
    channel_of(runtime, name, &guest(name), change)
}

/// The binary of a fixture guest.
pub fn guest(name: &str) -> Vec<u8> {
    std::fs::read(path(&format!("{name}.wasm"))).expect("the guest")
}

/// The core module of a fixture guest that is a component: a plain guest of the same channel.
pub fn core_module(name: &str) -> Vec<u8> {
    let component = guest(name);
    let read = read_guest(&component, &|_| ImportKnowledge::Unknown).expect("a guest without WASI");
    assert_eq!(read.kind, GuestKind::Component, "{name}");
    read.module.to_vec()
}

/// This guest with the changed capability file of a fixture.
pub fn channel_of(
    runtime: &WasmChannelRuntime,
    name: &str,
    wasm: &[u8],
    change: impl FnOnce(&mut serde_json::Value),
) -> WasmChannel {
    let file = std::fs::read(path(&format!("{name}.capabilities.json"))).expect("its capability file");
    let mut file: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    change(&mut file);
    let name = name.parse().expect("a channel's name");
    WasmChannel::from_bytes(runtime, name, wasm, Some(file.to_string().as_bytes())).expect("a channel")
}

/// A channel of WebAssembly text, with this capability file.
pub fn hostile(runtime: &WasmChannelRuntime, name: &str, capabilities: &serde_json::Value) -> WasmChannel {
    let wasm = wat::parse_file(path(&format!("hostile/{name}.wat"))).expect("the guest assembles");
    let name = name.parse().expect("a channel's name");
    WasmChannel::from_bytes(runtime, name, &wasm, Some(capabilities.to_string().as_bytes()))
        .expect("a channel")
}

/// A host on a free port with these secrets, whose channels' requests to `rewrites` go to loopback.
pub fn host(secrets: &[&str], rewrites: &[(&str, String)]) -> HostBuilder {
    host_with(self::secrets(secrets, &[]), rewrites)
}

/// These secrets, some of them with a value of their own.
pub fn secrets(names: &[&str], values: &[(&str, &str)]) -> MemorySecrets {
    let store = MemorySecrets::new();
    for name in names {
        let own = values.iter().find(|(of, _)| of == name).map(|(_, value)| (*value).to_owned());
        store.set(name, Secret::new(own.unwrap_or_else(|| value_of(name)))).expect("a secret's name");
    }
    store
}

/// As [`host`], with a store of secrets.
pub fn host_with(store: MemorySecrets, rewrites: &[(&str, String)]) -> HostBuilder {
    Host::builder().listen(([127, 0, 0, 1], 0).into()).configure(|config| {
        config.secrets = Arc::new(store);
        config.min_poll_interval = Duration::from_millis(20);
        config.outbound.http_rewrite =
            rewrites.iter().map(|(host, base)| ((*host).to_owned(), base.clone())).collect();
    })
}
