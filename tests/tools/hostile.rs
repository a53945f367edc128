//! Each hostile tool fails alone, in words, and the next call is as good as ever.

use serde_json::{Value, json};

use crate::support::{call, hostile, one, task};

/// Small limits, so that guests that use all of something are quick about it.
fn rights() -> Value {
    json!({
        "tool": {"call_fuel": 1_000_000, "call_timeout_secs": 10},
        "tool_invoke": {"aliases": {"self": "hostile"}, "rate_limit": {"requests_per_minute": 1_000_000}},
    })
}

/// Hostile tools that are refused when they are loaded, and a part of the reason.
const REFUSED: &[(&str, &str)] = &[
    ("loop_schema", "schema: it used up its fuel"),
    ("loop_description", "description: it used up its fuel"),
    ("grow_schema", "schema: it needs"),
    ("memory_initial_11_mib", "memory"),
    ("trap_schema", "schema: it trapped"),
    ("schema_outside", "schema: it broke the calling convention"),
    ("schema_not_json", "its schema cannot be used: it is not JSON"),
    ("schema_is_a_list", "neither an object nor a boolean"),
    ("schema_huge", "tool.max_schema_bytes"),
];

/// Hostile tools whose call fails, and a part of the reason.
const FAILING: &[(&str, &str)] = &[
    ("loop_execute", "execute: it used up its fuel"),
    ("loop_realloc", "execute: it used up its fuel"),
    ("grow", "tool.call_memory_mb"),
    ("trap", "execute: it trapped"),
    ("recursion", "execute: it trapped"),
    ("response_outside", "broke the calling convention"),
    ("response_misaligned", "broke the calling convention"),
    ("response_straddles_end", "broke the calling convention"),
    ("response_discriminant", "broke the calling convention"),
    ("response_text_outside", "broke the calling convention"),
    ("response_not_utf8", "broke the calling convention"),
    ("output_huge", "tool.max_output_bytes"),
    ("invoke_itself_for_ever", "execute: it used up its fuel"),
    ("invoke_result_outside", "broke the calling convention"),
    ("realloc_outside", "broke the calling convention"),
    ("log_flood", "execute: it used up its fuel"),
    ("state_content_outside", "broke the calling convention"),
    ("state_flood", "execute: it used up its fuel"),
];

#[test]
fn a_tool_that_nobody_could_call_is_refused() {
    for (name, part) in REFUSED {
        let error = hostile(name, &rights()).expect_err(name).to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
}

#[test]
fn a_call_that_misbehaves_fails_alone() {
    for (name, part) in FAILING {
        let tools = hostile(name, &rights()).unwrap_or_else(|error| panic!("{name}: {error}"));
        for _ in 0..2 {
            let error = tools.call("hostile", "{}").expect_err(name).to_string();
            assert!(error.contains(part), "{name}: {error}");
        }
    }
}

#[test]
fn every_hostile_tool_is_tried_here() {
    let elsewhere = [
        "honest",
        "error_huge",
        "invoke_itself",
        "schema_invokes",
        "read_outside",
        "state_then_error",
        "state_then_trap",
        "state_escape",
        "schema_writes",
    ];
    let known: Vec<&str> = REFUSED.iter().chain(FAILING).map(|(name, _)| *name).chain(elsewhere).collect();
    for entry in std::fs::read_dir(crate::support::fixtures().join("hostile/tools")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(known.contains(&name), "{name} is tried nowhere");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&format!(";; {name}: ")), "{name} does not say what it does");
    }
}

#[test]
fn a_loading_tool_gets_no_host_calls_and_its_errors_are_shortened() {
    for name in ["honest", "schema_invokes", "read_outside"] {
        let tools = hostile(name, &rights()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(tools.call("hostile", "{}").unwrap(), "Hostile", "{name}");
    }
    let tools = hostile("error_huge", &rights()).unwrap();
    let error = tools.call("hostile", "{}").unwrap_err().to_string();
    assert!(error.len() <= 4096, "{}", error.len());
}

#[test]
fn invoking_deeper_and_deeper_ends_with_an_error() {
    let tools = hostile("invoke_itself", &rights()).unwrap();
    let report = tools.call_with("hostile", tinclaw::ToolCall::default());
    let text = report.result.unwrap();
    assert!(text.contains("4 deep"), "{text}");
    // The caller pays for what it invoked.
    assert!(report.fuel > 4 * 300, "{}", report.fuel);
}

// The worker that had run the last call held the registry for a moment longer than its caller, and would have waited for
// its own end.
#[test]
fn a_registry_goes_right_after_its_last_call() {
    for _ in 0..200 {
        let tools = hostile("honest", &json!({})).unwrap();
        assert!(tools.call("hostile", "{}").is_ok());
    }
}

#[test]
fn a_loop_takes_no_time_from_others() {
    let looping = hostile("loop_execute", &json!({"tool": {"call_timeout_secs": 60}})).unwrap();
    let honest = one(&json!({}));
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| looping.call("hostile", "{}"));
        assert_eq!(call(&honest, task("echo", "here")), Ok("here".to_owned()));
        looping.shutdown();
        assert!(stuck.join().unwrap().is_err());
    });
}

#[test]
fn a_call_that_fails_after_writing_leaves_nothing_and_neither_does_loading() {
    for (name, part) in
        [("state_then_error", "Hostile"), ("state_then_trap", "it trapped"), ("schema_writes", "Hostile")]
    {
        let tools = hostile(name, &rights()).unwrap();
        for round in 0..2 {
            // When the file were there, it would succeed.
            let error = tools.call("hostile", "{}").expect_err(name).to_string();
            assert!(error.contains(part), "{name}, {round}: {error}");
        }
    }
}

#[test]
fn a_tool_does_not_leave_its_own_files() {
    let tools = hostile("state_escape", &rights()).unwrap();
    assert_eq!(tools.call("hostile", "{}").unwrap(), "Hostile");
}
