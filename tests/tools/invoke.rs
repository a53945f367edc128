//! One tool invokes another, with the other's rights and on its own time and fuel.

use std::sync::Arc;

use serde_json::{Value, json};
use tinclaw::secrets::MemorySecrets;

use crate::support::{add, call, hostile_bytes, one, registry, task, with_config};

fn invoke(alias: &str, params: &Value, times: u64) -> Value {
    json!({"do": "invoke", "text": alias, "params": params, "n": times})
}

fn aliases(names: &Value) -> Value {
    json!({"tool_invoke": {"aliases": names}})
}

#[test]
fn an_alias_of_the_file_reaches_its_tool_and_no_other() {
    let tools = registry();
    add(&tools, "tool", &aliases(&json!({"other": "other-tool", "gone": "not_there"})));
    add(&tools, "other_tool", &json!({}));
    add(&tools, "hidden", &json!({}));
    assert_eq!(call(&tools, invoke("other", &task("echo", "hello"), 1)), Ok("hello".to_owned()));
    let error = call(&tools, invoke("hidden", &task("echo", "a"), 1)).unwrap_err();
    assert!(error.contains("does not have this alias"), "{error}");
    let error = call(&tools, invoke("other_tool", &task("echo", "a"), 1)).unwrap_err();
    assert!(error.contains("does not have this alias"), "{error}");
    let error = call(&tools, invoke("gone", &task("echo", "a"), 1)).unwrap_err();
    assert!(error.contains("there is no tool `not_there`: there are hidden, other_tool, tool"), "{error}");
    // What the other tool says of itself, and what is wrong with its parameters, comes back as text.
    let error = call(&tools, invoke("other", &task("fail", "sorry"), 1)).unwrap_err();
    assert_eq!(error, "sorry");
    let error = call(&tools, invoke("other", &json!({"do": "fly"}), 1)).unwrap_err();
    assert!(
        error.contains("other_tool: the parameters do not fit its schema: `do` must be one of"),
        "{error}"
    );
}

#[test]
fn without_aliases_nothing_is_invoked() {
    let error = call(&one(&json!({})), invoke("tool", &task("echo", "a"), 1)).unwrap_err();
    assert!(error.contains("does not have this alias"), "{error}");
}

#[test]
fn the_callee_has_its_own_rights_and_not_those_of_the_caller() {
    let secrets = MemorySecrets::new();
    secrets.set("key", "value".into()).unwrap();
    let tools = with_config(|config| config.secrets = Arc::new(secrets));
    let both = json!({
        "tool_invoke": {"aliases": {"other": "other"}},
        "secrets": {"allowed_names": ["key"]},
    });
    add(&tools, "tool", &both);
    add(&tools, "other", &json!({}));
    assert_eq!(call(&tools, task("secret", "key")), Ok("true".to_owned()));
    assert_eq!(call(&tools, invoke("other", &task("secret", "key"), 1)), Ok("false".to_owned()));
}

#[test]
fn invocations_nest_four_deep_and_no_deeper() {
    let nested = |depth: u32| (0..depth).fold(task("echo", "deep"), |inner, _| invoke("self", &inner, 1));
    let tools = one(&aliases(&json!({"self": "tool"})));
    assert_eq!(call(&tools, nested(4)), Ok("deep".to_owned()));
    let error = call(&tools, nested(5)).unwrap_err();
    assert!(error.contains("4 deep"), "{error}");
}

#[test]
fn the_callee_runs_on_the_fuel_of_its_caller() {
    let tools = registry();
    let mut rights = aliases(&json!({"other": "other"}));
    rights["tool"] = json!({"call_fuel": 20_000_000});
    add(&tools, "tool", &rights);
    add(&tools, "other", &json!({"tool": {"call_fuel": 10_000_000_000u64}}));
    let spend = |n: u64| json!({"do": "spend", "n": n});
    assert!(call(&tools, invoke("other", &spend(1000), 1)).is_ok());
    let error = call(&tools, invoke("other", &spend(1_000_000_000), 1)).unwrap_err();
    assert!(error.contains("fuel"), "{error}");
    // Its own limit holds too.
    add(&tools, "small", &json!({"tool": {"call_fuel": 1_000_000}}));
    let error = tools.call("small", &spend(1_000_000_000).to_string()).unwrap_err().to_string();
    assert!(error.contains("fuel of 1000000 units"), "{error}");
}

#[test]
fn the_callee_runs_on_the_time_of_its_caller() {
    let tools = registry();
    let most_fuel = 10_000_000_000u64;
    let mut rights = aliases(&json!({"other": "other"}));
    rights["tool"] = json!({"call_timeout_secs": 1, "call_fuel": most_fuel});
    add(&tools, "tool", &rights);
    let patient = json!({"tool": {"call_timeout_secs": 300, "call_fuel": most_fuel}}).to_string();
    let looping = tools.runtime().prepare("other", &hostile_bytes("loop_execute"), Some(patient.as_bytes()));
    tools.add(looping.unwrap()).unwrap();
    let params = invoke("other", &json!({}), 1).to_string();
    let report = tools.call_with("tool", tinclaw::ToolCall { params, context: None });
    let error = report.result.unwrap_err().to_string();
    // On a very quick machine the fuel may end first.
    assert!(error.contains("call_timeout_secs") || error.contains("fuel"), "{error}");
    assert!(report.elapsed < std::time::Duration::from_secs(300), "that is the callee's own time");
}

#[test]
fn the_context_of_a_call_goes_with_it() {
    let tools = one(&aliases(&json!({"self": "tool"})));
    let call = |params: Value| {
        let context = Some(r#"{"user": "ada"}"#.to_owned());
        let call = tinclaw::ToolCall { params: params.to_string(), context };
        tools.call_with("tool", call).result.unwrap()
    };
    assert_eq!(call(json!({"do": "context"})), r#"{"user": "ada"}"#);
    assert_eq!(call(invoke("self", &json!({"do": "context"}), 1)), r#"{"user": "ada"}"#);
    assert_eq!(tools.call("tool", r#"{"do": "context"}"#).unwrap(), "none");
}
