//! Every guest in `fixtures/hostile`: it hurts itself, and the host can say how.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wit_abi::types::{AgentResponse, IncomingHttpRequest, StatusType, StatusUpdate};

use super::support::{Bench, runtime};
use crate::channel::ChannelLimits;
use crate::event::callback::Callback;
use crate::sandbox::{PreparedChannelModule, WasmChannelError, WasmChannelRuntime};

fn dir() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures", "hostile"].iter().collect()
}

fn names() -> Vec<String> {
    let files = std::fs::read_dir(dir()).unwrap().map(|entry| entry.unwrap().path());
    let mut names = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect::<Vec<_>>();
    names.sort();
    names
}

fn prepare(runtime: &WasmChannelRuntime, name: &str) -> Result<Arc<PreparedChannelModule>, WasmChannelError> {
    let bytes = wat::parse_file(dir().join(format!("{name}.wat"))).unwrap();
    runtime.prepare(name, &bytes)
}

fn callbacks() -> Vec<Callback> {
    let response = Arc::new(AgentResponse {
        content: "hi".into(),
        metadata_json: "{}".into(),
        ..AgentResponse::default()
    });
    let update =
        StatusUpdate { status: StatusType::Thinking, message: "hm".into(), metadata_json: "{}".into() };
    let request = IncomingHttpRequest {
        method: "POST".into(),
        path: "/webhook/hostile".into(),
        headers_json: "{}".into(),
        query_json: "{}".into(),
        body: b"{}".to_vec(),
        secret_validated: true,
    };
    vec![
        Callback::Start { config_json: "{}".into() },
        Callback::HttpRequest(Arc::new(request)),
        Callback::Poll,
        Callback::Timer { name: "t".into(), payload: "p".into() },
        Callback::Respond(Arc::clone(&response)),
        Callback::Status(Arc::new(update)),
        Callback::Broadcast { user_id: "u".into(), response },
        Callback::Shutdown,
    ]
}

/// One word for how a callback ended.
fn word(error: &WasmChannelError) -> &'static str {
    match error {
        WasmChannelError::NotLoadable { .. } | WasmChannelError::InvalidModule { .. } => "refused",
        WasmChannelError::Instantiation { .. } => "instantiation",
        WasmChannelError::OutOfFuel { .. } => "fuel",
        WasmChannelError::DeadlineExceeded { .. } => "deadline",
        WasmChannelError::OutOfMemory { .. } => "memory",
        WasmChannelError::TableLimit { .. } => "table",
        WasmChannelError::Trap { .. } => "trap",
        WasmChannelError::ImportNotGiven { .. } => "not given",
        WasmChannelError::AbiViolation { .. } => "abi",
        WasmChannelError::GuestError { .. } => "error",
        WasmChannelError::UnusableResponse { .. } => "response",
        other => panic!("{other:?}"),
    }
}

/// What must become of the guests whose names begin so: at least one callback ends with this word, and each ends with it
/// or well. Later rows are for single guests and go before earlier ones.
const FATES: &[(&str, &str)] = &[
    ("respond_", "ok"),
    ("enum_", "abi"),
    ("feature_", "ok"),
    ("flood_", "fuel"),
    ("http_", "ok"),
    ("huge_", "ok"),
    ("loop_", "fuel"),
    ("memory_", "memory"),
    ("missing_", "refused"),
    ("option_", "abi"),
    ("pointer_", "abi"),
    ("post_", "abi"),
    ("realloc_", "abi"),
    ("recursion_", "trap"),
    ("result_", "abi"),
    ("socket_", "ok"),
    ("table", "refused"),
    ("trap_", "trap"),
    ("unknown_", "refused"),
    ("utf8_", "abi"),
    ("wasi_", "abi"),
    ("workspace_", "ok"),
    ("wrong_", "refused"),
    ("data_outside_memory", "refused"),
    ("feature_memory64", "refused"),
    ("feature_shared_memory", "refused"),
    ("feature_two_memories", "refused"),
    ("flood_emit_10000", "ok"),
    ("flood_emit_attachments", "ok"),
    ("flood_log_10000", "ok"),
    ("honest", "ok"),
    ("huge_attachment", "memory"),
    ("initialize_emits", "ok"),
    ("memory_grow_at_once", "ok"),
    ("memory_grow_loop", "fuel"),
    ("memory_initial", "refused"),
    ("missing_optional_exports", "ok"),
    ("pointer_emit_absent_option_is_garbage", "ok"),
    ("realloc_grows_memory", "ok"),
    ("realloc_zero", "ok"),
    ("result_bad_bool", "ok"),
    ("result_body_huge", "memory"),
    ("result_error_huge", "error"),
    ("result_headers_inject", "ok"),
    ("result_headers_not_json", "response"),
    ("respond_unusable", "response"),
    ("result_status", "response"),
    ("table_bomb", "table"),
    ("wasi_exit", "trap"),
    ("wasi_not_given", "not given"),
    ("wasi_random_flood", "fuel"),
];

#[test]
fn every_hostile_guest_fails_as_declared_and_affects_no_other_channel() {
    let runtime = runtime();
    let honest = Bench::with(prepare(&runtime, "honest").unwrap());
    let mut surprises = Vec::new();
    for name in names() {
        let fate = FATES.iter().rev().find(|(prefix, _)| name.starts_with(prefix));
        let (_, fate) = fate.unwrap_or_else(|| panic!("no fate is written down for {name}"));
        let ends = ends(&runtime, &name);
        let meets_it = ends.iter().any(|(_, end)| end == fate);
        if !meets_it || ends.iter().any(|(_, end)| *end != "ok" && end != fate) {
            surprises.push(format!("{name}, whose fate is {fate}: {ends:#?}"));
        }
        for callback in callbacks() {
            assert!(honest.run(&callback).result.is_ok(), "after {name}");
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// How each callback of a guest ended.
fn ends(runtime: &WasmChannelRuntime, name: &str) -> Vec<(String, &'static str)> {
    let prepared = match prepare(runtime, name) {
        Ok(prepared) => prepared,
        Err(error) => return vec![(error.to_string(), word(&error))],
    };
    let mut bench = Bench::with(prepared);
    // Fuel ends them, and not the clock: an emulated ARMv6 had not spent it all after five seconds.
    let callback_timeout = Duration::from_secs(120);
    bench.limits = ChannelLimits { fuel: 5_000_000, callback_timeout, ..ChannelLimits::for_testing() };
    let end = |callback: Callback| {
        let report = bench.run(&callback);
        let text = format!("{}: {:?} {:?}", report.kind, report.result, report.effects.dropped);
        (text, report.result.as_ref().map_or_else(word, |_| "ok"))
    };
    callbacks().into_iter().map(end).collect()
}

#[test]
fn error_texts_of_a_guest_are_shortened_and_printable() {
    let bench = Bench::with(prepare(&runtime(), "result_error_huge").unwrap());
    let errors =
        callbacks().iter().filter_map(|callback| bench.run(callback).result.err()).collect::<Vec<_>>();
    let [WasmChannelError::GuestError { message, .. }] = errors.as_slice() else { panic!("{errors:?}") };
    assert!(message.len() <= 4096, "{} bytes", message.len());
    assert!(!message.chars().any(char::is_control));
}
