//! Tools of a host share its threads, its memory and its connections with channels, and take none of them from channels.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{client, eventually, fixtures};
use tinclaw::{Host, ToolError, ToolRegistry, WasmToolRuntime, WasmToolRuntimeConfig};

/// Tools of a runtime that makes so many calls at a time, in so many bytes of memory.
fn tools(calls: usize, memory_budget: usize) -> ToolRegistry {
    let mut config = WasmToolRuntimeConfig::default();
    (config.workers, config.memory_budget) = (calls, memory_budget);
    // So that a call without end has none on any machine, before it is told to stop.
    config.limit_caps.set("tool.call_fuel", u64::MAX).expect("a limit");
    ToolRegistry::new(WasmToolRuntime::new(config).expect("a runtime"))
}

fn add_hostile(tools: &ToolRegistry, name: &str) {
    let wasm = wat::parse_file(fixtures::path(&format!("hostile/tools/{name}.wat"))).expect("it assembles");
    let limits = json!({"tool": {"call_fuel": u64::MAX / 4, "call_timeout_secs": 300}}).to_string();
    tools
        .add(tools.runtime().prepare(name, &wasm, Some(limits.as_bytes())).expect("a tool"))
        .expect("a name");
}

fn add(tools: &ToolRegistry, name: &str, capabilities: &serde_json::Value) {
    let wasm = std::fs::read(fixtures::path("tools/tool_v5.wasm")).expect("the tool");
    let file = capabilities.to_string();
    tools.add(tools.runtime().prepare(name, &wasm, Some(file.as_bytes())).expect("a tool")).expect("a name");
}

/// A host with one worker and the echo channel.
fn host(tools: &ToolRegistry, memory_budget: usize) -> Host {
    let runtime = fixtures::runtime();
    fixtures::host(&["echo_token", "echo_webhook_secret"], &[])
        .configure(|config| {
            config.workers = 1;
            config.router.memory_budget = memory_budget;
        })
        .tools(tools.clone())
        .channel(fixtures::channel(&runtime, "echo"))
        .start()
        .expect("it starts")
}

/// A message comes in and is read.
fn says(host: &Host, text: &str) {
    let address = host.local_addr().expect("an address");
    let secret = fixtures::value_of("echo_webhook_secret");
    let body = json!({"user": "ann", "text": text});
    eventually("the webhook gets its response", || {
        let reply = client::webhook(address, "/webhook/echo", &secret, &body);
        (reply.status == 200).then_some(())
    });
    let delivery = host.messages().recv_timeout(Duration::from_secs(60)).expect("a message");
    assert_eq!(delivery.message().content, text);
    delivery.ack();
}

#[test]
fn calls_without_end_keep_no_callback_of_a_channel_waiting() {
    let tools = tools(3, 8 << 20);
    add_hostile(&tools, "loop_execute");
    let host = host(&tools, 64 << 20);
    std::thread::scope(|scope| {
        // Three run, as many wait as may, and one more is refused.
        let calls: Vec<_> = (0..10).map(|_| scope.spawn(|| tools.call("loop_execute", "{}"))).collect();
        eventually("one more is refused", || calls.iter().any(|call| call.is_finished()).then_some(()));
        for round in 0..3 {
            says(&host, &format!("here {round}"));
        }
        assert_eq!(calls.iter().filter(|call| !call.is_finished()).count(), 9, "the calls still run");
        tools.shutdown();
        let ended = calls.into_iter().map(|call| call.join().expect("no panic").expect_err("it never ends"));
        assert_eq!(ended.filter(|error| matches!(error, ToolError::Busy { .. })).count(), 1);
    });
}

/// The caller waits for the one that it invokes, and with a single place for calls nobody else could run that.
#[test]
fn a_call_that_invokes_others_does_not_wait_for_its_own_place() {
    let tools = tools(1, 64 << 20);
    add(&tools, "inner", &json!({}));
    let aliases = json!({"tool_invoke": {"aliases": {"other": "inner"}}});
    add(&tools, "outer", &aliases);
    let host = host(&tools, 256 << 20);
    let params =
        json!({"do": "invoke", "text": "other", "params": {"do": "echo", "text": "deep"}}).to_string();
    std::thread::scope(|scope| {
        // Two at a time: one waits for the other's place.
        let calls: Vec<_> = (0..2).map(|_| scope.spawn(|| tools.call("outer", &params))).collect();
        for call in calls {
            assert_eq!(call.join().expect("no panic").expect("an output"), "deep");
        }
    });
    host.shutdown();
    assert!(tools.call("inner", r#"{"do":"echo","text":"late"}"#).is_err(), "the host has ended");
}

/// The notes that a tool keeps are in the state of the host.
#[test]
fn what_a_tool_keeps_is_there_after_a_restart() {
    let directory = support::temp_dir::TempDir::new();
    let run = |params: &str| {
        let tools = tools(2, 64 << 20);
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/notes/notes.wasm");
        assert!(tools.load(&root).expect("the tool is there").is_empty());
        let host =
            Host::builder().state_dir(directory.path()).tools(tools.clone()).start().expect("it starts");
        let context = Some(json!({"channel": "webchat", "user": "ann"}).to_string());
        let call = tinclaw::ToolCall { params: params.to_owned(), context };
        let output = tools.call_with("notes", call).result.expect("an output");
        host.shutdown();
        let error = tools.call("notes", r#"{"action":"add","text":"late"}"#).expect_err("the host has ended");
        assert!(error.to_string().contains("the host is stopping"), "{error}");
        output
    };
    assert_eq!(run(r#"{"action":"add","text":"tea"}"#), r#"{"added":1}"#);
    assert_eq!(run(r#"{"action":"add","text":"milk"}"#), r#"{"added":2}"#);
    let found = run(r#"{"action":"list"}"#);
    assert!(found.contains("tea") && found.contains("milk"), "{found}");
}
