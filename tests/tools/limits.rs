//! The limits of tools, at their value and one past it.

use serde_json::{Value, json};

use crate::support::{call, fixtures, hostile_bytes, one, registry, task, with_config};

/// Calls a tool whose file has these limits.
fn limited(limits: Value, params: Value) -> Result<String, String> {
    call(&one(&json!({"tool": limits})), params)
}

fn refused(result: Result<String, String>, part: &str) {
    let error = result.expect_err(part);
    assert!(error.contains(part), "{error}");
}

fn fuel_of(params: &Value) -> u64 {
    let call = tinclaw::ToolCall { params: params.to_string(), context: None };
    one(&json!({})).call_with("tool", call).fuel
}

#[test]
fn fuel_is_enough_at_its_limit_and_not_one_unit_below() {
    let params = json!({"do": "spend", "n": 300_000});
    let needed = fuel_of(&params);
    assert!(needed > 1_000_001, "{needed}");
    assert!(limited(json!({"call_fuel": needed}), params.clone()).is_ok());
    refused(limited(json!({"call_fuel": needed - 1}), params), "tool.call_fuel");
}

#[test]
fn a_call_has_its_time_and_is_stopped_after_it() {
    let tools = registry();
    let rights = json!({"tool": {"call_timeout_secs": 1, "call_fuel": 10_000_000_000u64}}).to_string();
    let looping = tools.runtime().prepare("tool", &hostile_bytes("loop_execute"), Some(rights.as_bytes()));
    tools.add(looping.unwrap()).unwrap();
    let report = tools.call_with("tool", tinclaw::ToolCall::default());
    // On a very quick machine the fuel may end first.
    let error = report.result.unwrap_err().to_string();
    assert!(error.contains("tool.call_timeout_secs") || error.contains("tool.call_fuel"), "{error}");
    if error.contains("tool.call_timeout_secs") {
        assert!(report.elapsed >= std::time::Duration::from_secs(1));
    }
}

#[test]
fn memory_is_given_up_to_its_limit_and_no_page_further() {
    // The tool has 17 pages to begin with, and its allocator keeps a little for itself.
    let grow = |pages: u64| limited(json!({"call_memory_mb": 4}), json!({"do": "grow", "n": pages}));
    let most = (1..64).rev().find(|pages| grow(*pages).is_ok()).unwrap();
    assert!(most >= 40, "{most}");
    refused(grow(most + 1), "tool.call_memory_mb");
    // The default is 10 MiB.
    let by_default = |pages: u64| call(&one(&json!({})), json!({"do": "grow", "n": pages}));
    assert!(by_default(most + 6 * 16).is_ok());
    refused(by_default(most + 1 + 6 * 16), "may have 10485760");
}

#[test]
fn parameters_have_as_many_bytes_as_they_may() {
    let params = task("echo", "hello");
    let bytes = params.to_string().len();
    assert!(limited(json!({"max_params_bytes": bytes}), params.clone()).is_ok());
    refused(limited(json!({"max_params_bytes": bytes - 1}), params), "tool.max_params_bytes");
}

#[test]
fn output_has_as_many_bytes_as_it_may() {
    let output = |n: u64| limited(json!({"max_output_bytes": 1000}), json!({"do": "output", "n": n}));
    assert_eq!(output(1000).unwrap().len(), 1000);
    refused(output(1001), "tool.max_output_bytes");
}

#[test]
fn a_schema_has_as_many_bytes_as_it_may() {
    let tools = registry();
    let bytes = hostile_bytes("honest");
    // The description, of 7 bytes, is the longer text.
    let prepare = |limit: u64| {
        let rights = json!({"tool": {"max_schema_bytes": limit}}).to_string();
        tools.runtime().prepare("tool", &bytes, Some(rights.as_bytes())).map_err(|error| error.to_string())
    };
    assert!(prepare(7).is_ok());
    assert!(prepare(6).unwrap_err().contains("tool.max_schema_bytes"));
}

#[test]
fn a_file_has_as_many_bytes_as_it_may() {
    let read = |limit: u64| {
        let tools = with_config(|config| config.files = Some(fixtures()));
        let rights =
            json!({"workspace": {"allowed_prefixes": ["payloads/"]}, "tool": {"max_file_bytes": limit}});
        crate::support::add(&tools, "tool", &rights);
        call(&tools, task("read", "payloads/plain_text.json")).unwrap()
    };
    let bytes = std::fs::metadata(fixtures().join("payloads/plain_text.json")).unwrap().len();
    assert!(read(bytes).starts_with("read {"));
    assert_eq!(read(bytes - 1), "none");
}

#[test]
fn a_call_invokes_as_many_tools_as_it_may() {
    let invoke = |limits: Value, times: u64| {
        let tools = one(&json!({"tool": limits, "tool_invoke": {"aliases": {"self": "tool"}}}));
        call(&tools, json!({"do": "invoke", "text": "self", "params": task("echo", "a"), "n": times}))
    };
    assert!(invoke(json!({"max_invokes_per_call": 2}), 2).is_ok());
    refused(invoke(json!({"max_invokes_per_call": 2}), 3), "tool.max_invokes_per_call");
    assert!(invoke(json!({}), 20).is_ok());
    refused(invoke(json!({}), 21), "20 tools");
}

#[test]
fn tools_are_invoked_as_often_a_minute_and_an_hour_as_they_may() {
    for field in ["requests_per_minute", "requests_per_hour"] {
        let tools = one(&json!({"tool_invoke": {"aliases": {"self": "tool"}, "rate_limit": {field: 2}}}));
        let invoke = || call(&tools, json!({"do": "invoke", "text": "self", "params": task("echo", "a")}));
        assert!(invoke().is_ok() && invoke().is_ok(), "{field}");
        refused(invoke(), "tool_invoke.rate_limit");
    }
}

#[test]
fn a_call_makes_as_many_requests_as_it_may() {
    // What is refused for another reason counts too.
    let tools = one(&json!({"http": {"max_requests_per_callback": 0}}));
    refused(call(&tools, task("http", "https://a.example/")), "http.max_requests_per_callback");
    let tools = one(&json!({"http": {"max_requests_per_callback": 1}}));
    refused(call(&tools, task("http", "https://a.example/")), "a.example");
}
