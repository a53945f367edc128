//! The tools that come with the program, as they are built, in the sandbox.

use std::path::Path;

use serde_json::{Value, json};
use tinclaw::{ToolCall, ToolRegistry};

use crate::support::{Upstream, with_config};

fn file(name: &str, ending: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tools/{name}/{name}.{ending}"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Adds a tool with its own capability file, changed.
fn add(tools: &ToolRegistry, name: &str, change: impl FnOnce(&mut Value)) {
    let mut capabilities: Value = serde_json::from_slice(&file(name, "capabilities.json")).unwrap();
    change(&mut capabilities);
    let text = capabilities.to_string();
    tools.add(tools.runtime().prepare(name, &file(name, "wasm"), Some(text.as_bytes())).unwrap()).unwrap();
}

fn notes() -> ToolRegistry {
    let tools = with_config(|_| {});
    add(&tools, "notes", |_| {});
    tools
}

/// Calls `notes` for a person.
fn note(tools: &ToolRegistry, user: &str, params: &Value) -> Result<Value, String> {
    let context = json!({"channel": "webchat", "user": user, "conversation": "c"}).to_string();
    let call = ToolCall { params: params.to_string(), context: Some(context) };
    let output = tools.call_with("notes", call).result.map_err(|error| error.to_string())?;
    Ok(serde_json::from_str(&output).unwrap())
}

#[test]
fn notes_are_kept_for_each_person_apart_and_found_by_their_words() {
    let tools = notes();
    note(&tools, "ann", &json!({"action": "add", "text": "The bike is in the cellar"})).unwrap();
    note(&tools, "bob", &json!({"action": "add", "text": "The bike is sold"})).unwrap();
    let found = |user: &str| note(&tools, user, &json!({"action": "search", "words": "BIKE"})).unwrap();
    assert_eq!(found("ann")["notes"][0]["text"], "The bike is in the cellar");
    assert_eq!(found("bob")["notes"][0]["text"], "The bike is sold");
    assert_eq!(found("eve")["of"], 0);
    note(&tools, "ann", &json!({"action": "remove", "id": 1})).unwrap();
    assert_eq!((&found("ann")["of"], &found("bob")["of"]), (&json!(0), &json!(1)));
    assert!(note(&tools, "ann", &json!({"action": "remove", "id": 1})).unwrap_err().contains("no note 1"));
    assert!(note(&tools, "ann", &json!({"action": "fly"})).unwrap_err().contains("`action`"));
}

/// Two calls of one response read the same notes; the one that ended later wrote over the other's.
#[test]
fn notes_that_are_added_at_the_same_time_are_all_there() {
    let tools = notes();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let params = json!({"action": "add", "text": format!("note {number}")});
            let tools = &tools;
            scope.spawn(move || note(tools, "ann", &params).unwrap());
        }
    });
    let all = note(&tools, "ann", &json!({"action": "list"})).unwrap();
    let mut texts: Vec<&str> =
        all["notes"].as_array().unwrap().iter().map(|note| note["text"].as_str().unwrap()).collect();
    texts.sort_unstable();
    let expected: Vec<String> = (0..8).map(|number| format!("note {number}")).collect();
    assert_eq!(texts, expected);
}

#[test]
fn notes_that_do_not_fit_are_refused_with_the_limit_and_the_others_stay() {
    let tools = with_config(|_| {});
    add(&tools, "notes", |file| file["tool"]["max_state_file_bytes"] = 200.into());
    note(&tools, "ann", &json!({"action": "add", "text": "short"})).unwrap();
    let error = note(&tools, "ann", &json!({"action": "add", "text": "x".repeat(200)})).unwrap_err();
    assert!(error.contains("tool.max_state_file_bytes"), "{error}");
    assert_eq!(note(&tools, "ann", &json!({"action": "list"})).unwrap()["of"], 1);
}

#[test]
fn fetch_asks_those_servers_that_the_operator_allows_and_no_other() {
    let upstream = Upstream::start();
    let tools = with_config(|config| {
        let server = upstream.base.clone();
        config.outbound.http_rewrite.insert("a.example".to_owned(), server);
    });
    add(&tools, "fetch", |file| file["http"]["allowlist"] = json!([{"host": "a.example"}]));
    let fetch =
        |url: &str| tools.call("fetch", &json!({"url": url}).to_string()).map_err(|error| error.to_string());
    let text = fetch("https://a.example/page").unwrap();
    assert!(text.starts_with("https://a.example/page\n\nGET /page HTTP/1.1"), "{text}");
    let error = fetch("https://b.example/page").unwrap_err();
    assert!(error.starts_with("https://b.example/page: ") && error.contains("allow"), "{error}");
    let by_default = with_config(|_| {});
    add(&by_default, "fetch", |_| {});
    assert!(by_default.call("fetch", r#"{"url":"https://a.example/"}"#).is_err());
    assert_eq!(upstream.heads().len(), 1);
}

#[test]
fn home_assistant_without_its_server_says_what_to_set() {
    let tools = with_config(|_| {});
    add(&tools, "home_assistant", |_| {});
    let error = tools.call("home_assistant", r#"{"action":"states"}"#).unwrap_err().to_string();
    assert!(error.contains("[tool.home_assistant.config]"), "{error}");
    let found: Vec<String> = tools.tools()[0].diagnostics().iter().map(ToString::to_string).collect();
    assert!(found.iter().any(|text| text.contains("the setting url is missing")), "{found:?}");
}
