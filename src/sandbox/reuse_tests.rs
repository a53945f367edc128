//! What a fresh instance costs beside one that is kept from callback to callback, which the host never does: the floor.
//! Prints, asserts nothing: `cargo test --release --lib -- --ignored --nocapture a_fresh_instance_beside_a_kept_one`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wit_abi::types::IncomingHttpRequest;

use super::*;
use crate::capability::limits::ChannelLimits;
use crate::sandbox::{WasmChannelRuntime, WasmChannelRuntimeConfig, instance};

/// Many short rounds, of which the best counts: other programs disturb some of them.
const ROUNDS: usize = 1000;
const CALLS: u32 = 5;

struct KeptInstance<'a> {
    call: CallbackRun<'a>,
    instance: Instance,
}

impl<'a> KeptInstance<'a> {
    fn new(prepared: &'a PreparedChannelModule) -> Self {
        let mut call = CallbackRun::new(prepared, context());
        let instance = call.instantiate(CallbackKind::Start).unwrap();
        Self { call, instance }
    }

    fn run(&mut self, callback: &Callback) -> CallbackValue {
        let state = self.call.prepared.host_state(context());
        let before = std::mem::replace(self.call.store.data_mut(), state);
        self.call.store.data_mut().set_handles(before.handles());
        self.call.run_in(self.instance, callback).unwrap()
    }
}

fn context() -> CallbackContext {
    instance::idle_context("bench", ChannelLimits::default()).unwrap()
}

fn fixture(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures", file].iter().collect()
}

/// The time of one call, the best of several rounds of many.
fn per_call(mut call: impl FnMut()) -> Duration {
    let round = |_| {
        let start = Instant::now();
        (0..CALLS).for_each(|_| call());
        start.elapsed() / CALLS
    };
    (0..ROUNDS).map(round).min().unwrap()
}

#[test]
#[ignore = "measures time, which only a release build on a quiet machine makes meaningful"]
fn a_fresh_instance_beside_a_kept_one() {
    let bytes = std::fs::read(fixture("large.wasm")).unwrap();
    let payload = std::fs::read(fixture("payloads/telegram_reply.json")).unwrap();
    let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    let callback = Callback::HttpRequest(Arc::new(IncomingHttpRequest {
        method: "POST".to_owned(),
        path: "/webhook/large".to_owned(),
        headers_json: r#"{"content-type":"application/json"}"#.to_owned(),
        query_json: "{}".to_owned(),
        body: payload["body"].to_string().into_bytes(),
        secret_validated: true,
    }));
    let runtime = WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).unwrap();
    let prepared = runtime.prepare("large", &bytes).unwrap();
    let fresh = per_call(|| assert!(prepared.run(context(), &callback).result.is_ok()));
    let mut kept = KeptInstance::new(&prepared);
    let reused = per_call(|| {
        kept.run(&callback);
    });
    println!("fresh {fresh:?}, reused {reused:?}: {:.2} times", fresh.as_secs_f64() / reused.as_secs_f64());
}
