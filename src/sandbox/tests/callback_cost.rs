//! What a callback costs. Prints, asserts nothing: `cargo test --release --lib measure_callback_cost -- --ignored --nocapture`.
//!
//! The floor, the same call on an instance that is kept, is measured by the ignored test
//! `a_fresh_instance_beside_a_kept_one`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wit_abi::types::{IncomingHttpRequest, PairingUpsertResult};

use crate::channel::ChannelLimits;
use crate::channel::workspace::WorkspaceSnapshot;
use crate::egress::{OutboundCall, OutboundRequest, OutboundResponse, ResponseRoom};
use crate::event::callback::{Callback, CallbackValue};
use crate::sandbox::{
    CallbackContext, ChannelRuntimeInfo, GuestHttpError, GuestLogRate, GuestServices, HostCallError,
    MemoryBudget, PreparedChannelModule, StopFlag, WasmChannelRuntime, WasmChannelRuntimeConfig, WorkerPool,
};

/// Many short rounds, of which the best counts: other programs disturb some of them.
const ROUNDS: usize = 100;

/// Has nothing for the guest.
struct Nothing;

impl GuestServices for Nothing {
    fn http_request(
        &self,
        _: OutboundRequest,
        _: OutboundCall,
        _: ResponseRoom<'_>,
    ) -> Result<OutboundResponse, GuestHttpError> {
        Err("no network in a bench".to_owned().into())
    }
    fn secret_exists(&self, _: &str) -> bool {
        false
    }
    fn websocket_send(&self, _: String) -> Result<(), HostCallError> {
        Err(HostCallError::service("no socket in a bench"))
    }
    fn pairing_upsert(&self, _: &str, _: &str) -> Result<PairingUpsertResult, HostCallError> {
        Err(HostCallError::service("no pairing in a bench"))
    }
    fn pairing_resolve(&self, _: &str) -> Result<Option<String>, HostCallError> {
        Ok(None)
    }
    fn pairing_allow_from(&self) -> Result<Vec<String>, HostCallError> {
        Ok(Vec::new())
    }
    fn pairing_is_allowed(&self, _: &str, _: Option<&str>) -> Result<bool, HostCallError> {
        Ok(false)
    }
    fn now_millis(&self) -> u64 {
        1_700_000_000_000
    }
}

#[test]
#[ignore = "measures time, which only a release build on a quiet machine makes meaningful"]
fn measure_callback_cost() {
    let message = r#"{"user": "ann", "text": "Water the plants?"}"#.to_owned();
    let guests = [("echo", message.clone()), ("echo_plain", message), ("large", payload("telegram_reply"))];
    for (name, body) in guests {
        let bytes = std::fs::read(fixture(&format!("{name}.wasm"))).unwrap();
        measure(name, &bytes, &webhook(&format!("/webhook/{name}"), &body));
    }
}

fn fixture(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures", file].iter().collect()
}

/// The body of a recorded webhook, as its provider sends it.
fn payload(name: &str) -> String {
    let text = std::fs::read_to_string(fixture(&format!("payloads/{name}.json"))).unwrap();
    let request: serde_json::Value = serde_json::from_str(&text).unwrap();
    request["body"].to_string()
}

fn webhook(path: &str, body: &str) -> Callback {
    Callback::HttpRequest(Arc::new(IncomingHttpRequest {
        method: "POST".to_owned(),
        path: path.to_owned(),
        headers_json: r#"{"content-type":"application/json"}"#.to_owned(),
        query_json: "{}".to_owned(),
        body: body.as_bytes().to_vec(),
        secret_validated: true,
    }))
}

fn measure(name: &str, bytes: &[u8], callback: &Callback) {
    let mb = bytes.len() as f64 / 1e6;
    let preparing = best(3, || {
        let runtime = WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).unwrap();
        let start = Instant::now();
        runtime.prepare(name, bytes).unwrap();
        start.elapsed()
    });
    let runtime = WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).unwrap();
    let prepared = runtime.prepare(name, bytes).unwrap();
    println!(
        "{name}: {:.0} KB, {:.2} MB of initial memory; prepared in {}, {} per MB",
        bytes.len() as f64 / 1e3,
        prepared.initial_memory_bytes() as f64 / 1e6,
        micros(preparing),
        micros(preparing.div_f64(mb)),
    );
    let report = prepared.run(context(&prepared), callback);
    match &report.result {
        Ok(CallbackValue::Http(response)) if response.status == 200 => {}
        other => println!("  warning: the callback did something else: {other:?} {:?}", report.logs),
    }
    println!(
        "  one callback: {} fuel, {:.2} MB peak memory, {} messages",
        report.usage.fuel,
        report.usage.peak_memory as f64 / 1e6,
        report.effects.messages.len()
    );

    let fresh = per_call(|| {
        std::hint::black_box(prepared.run(context(&prepared), callback));
    });
    println!("  in an instance of its own: {}", micros(fresh));

    // As the host does it: one thread says what to run, another makes the instance and runs it.
    let pool = WorkerPool::new(1);
    let handed_over = per_call(|| {
        let (done, wait) = crossbeam_channel::bounded(1);
        let (prepared, context, callback) = (prepared.clone(), context(&prepared), callback.clone());
        pool.submit(Box::new(move || done.send(prepared.run(context, &callback)).unwrap())).unwrap();
        std::hint::black_box(wait.recv().unwrap());
    });
    println!("  fresh, on a worker that is woken for it: {}", micros(handed_over));
}

fn context(prepared: &PreparedChannelModule) -> CallbackContext {
    CallbackContext {
        channel: Arc::new(ChannelRuntimeInfo {
            name: "bench".into(),
            limits: ChannelLimits::default(),
            services: Arc::new(Nothing),
            log_rate: GuestLogRate::default(),
        }),
        workspace: WorkspaceSnapshot::empty(),
        deadline: Instant::now() + Duration::from_secs(30),
        stop: StopFlag::default(),
        memory: MemoryBudget::unlimited().reserve(prepared.initial_memory_bytes()).unwrap(),
    }
}

/// The time of one call, the best of several rounds of many.
fn per_call(mut call: impl FnMut()) -> Duration {
    const CALLS: u32 = 50;
    best(ROUNDS, || {
        let start = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        start.elapsed() / CALLS
    })
}

fn best(rounds: usize, mut round: impl FnMut() -> Duration) -> Duration {
    (0..rounds).map(|_| round()).min().unwrap_or_default()
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}
