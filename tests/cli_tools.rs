//! `tinclaw tools`, and the tools of a running host.

mod cli_support;
mod support;

use std::path::{Path, PathBuf};

use cli_support::{Place, Ran};
use serde_json::{Value, json};

/// A fixture tool under a name of its own, in a directory of this place.
fn tool(place: &Place, path: &str, capabilities: &str) -> PathBuf {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tools/tool_v5.wasm");
    place.file(&format!("{path}.capabilities.json"), capabilities);
    place.file(&format!("{path}.wasm"), std::fs::read(fixture).unwrap())
}

#[track_caller]
fn said(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}{}", ran.out, ran.err);
    for part in parts {
        assert!(ran.out.contains(part) || ran.err.contains(part), "{part}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn a_tool_is_checked_called_installed_listed_and_removed() {
    let place = Place::new();
    tool(&place, "here/my-tool", r#"{"http": {"allowlist": [{"host": "a.example", "path_prefix": "/v"}]}}"#);
    let check = place.run(&["tools", "check", "here"]);
    said(
        &check,
        0,
        &["my_tool", "near:agent@0.3.0", "https://a.example/v", "inside a name", "1 tool, 0 errors"],
    );
    said(
        &place.run(&["tools", "call", "here/my-tool.wasm", r#"{"do":"echo","text":"hello"}"#]),
        0,
        &["hello\n"],
    );
    let input =
        place.run_with_input(&["tools", "call", "here/my-tool.wasm", "-"], r#"{"do":"echo","text":"in"}"#);
    said(&input, 0, &["in\n"]);

    said(&place.run(&["tools", "list"]), 0, &["no tools"]);
    said(
        &place.run(&["tools", "install", "here/my-tool.wasm"]),
        0,
        &["installed", "tinclaw/tools/my_tool.wasm"],
    );
    said(&place.run(&["tools", "install", "here/my-tool.wasm"]), 1, &["--force"]);
    said(&place.run(&["tools", "list"]), 0, &["NAME", "my_tool", "Does one small thing"]);
    said(
        &place.run(&["tools", "check", "my-tool"]),
        0,
        &["my_tool", "https://a.example/v", "1 tool, 0 errors"],
    );
    said(&place.run(&["tools", "call", "my-tool", r#"{"do":"echo","text":"again"}"#]), 0, &["again\n"]);
    said(&place.run(&["tools", "remove", "my-tool"]), 0, &["removed", "my_tool.capabilities.json"]);
    said(&place.run(&["tools", "remove", "my-tool"]), 1, &["there is no tool my-tool"]);

    let installed = place.run(&["tools", "install", "here/my-tool.wasm", "--json"]).json();
    assert_eq!(installed["name"], "my_tool");
    assert!(installed["installed"].as_str().unwrap().ends_with("tinclaw/tools/my_tool.wasm"), "{installed}");
    let removed = place.run(&["tools", "remove", "my-tool", "--json"]).json();
    assert_eq!(removed["removed"].as_array().unwrap().len(), 2, "{removed}");
}

#[test]
fn what_is_refused_says_why_and_ends_with_1() {
    let place = Place::new();
    tool(&place, "here/tool", "{}");
    let wrong = place.run(&["tools", "call", "here/tool.wasm", r#"{"do":"echo","txt":"a"}"#]);
    said(&wrong, 1, &["error:", "`txt` is not a known field; did you mean `text`?"]);
    tool(&place, "bad/typo", r#"{"htp": {}}"#);
    place.file("bad/torn.wasm", "no wasm");
    let check = place.run(&["tools", "check", "bad"]);
    said(&check, 1, &["did you mean `http`", "this is not WebAssembly", "0 tools, 2 errors"]);
    said(&place.run(&["tools", "install", "bad/typo.wasm"]), 1, &["did you mean `http`"]);
    said(
        &place.run(&["tools", "check", "nowhere"]),
        1,
        &["nowhere does not exist: name a directory of tools"],
    );
    let echo = place.channel("echo");
    said(
        &place.run(&["tools", "check", echo.to_str().unwrap()]),
        1,
        &["this is no tool: it exports `near:agent/channel@0.3.1`"],
    );
}

#[test]
fn a_call_in_json_has_what_it_took() {
    let place = Place::new();
    tool(&place, "tools/a", r#"{"tool_invoke": {"aliases": {"other": "b"}}}"#);
    tool(&place, "tools/b", "{}");
    place.file("tinclaw.toml", "tools = [\"tools\"]\n");
    let params = r#"{"do":"invoke","text":"other","params":{"do":"echo","text":"from b"}}"#;
    let ran = place.run(&["tools", "call", "a", params, "--json"]);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((found["output"].as_str(), &found["error"]), (Some("from b"), &Value::Null));
    assert!(found["fuel"].as_u64().unwrap() > 0 && found["peak_memory_bytes"].as_u64().unwrap() > 0);
    let logged = place.run(&["tools", "call", "b", r#"{"do":"log","text":"here"}"#, "--json"]);
    let found: Value = serde_json::from_str(&logged.out).unwrap();
    assert_eq!(found["logs"], json!([{"level": "info", "message": "here"}]), "as `call` has it");
    let ran = place.run(&["tools", "list", "--json"]);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["tools"][1]["name"], "b");
    assert_eq!(found["tools"][0]["schema"]["type"], "object");

    place.file("tools/broken.wasm", "no wasm");
    place.file("tools/broken.capabilities.json", "{}");
    let found: Value = serde_json::from_str(&place.run(&["tools", "check", "tools", "--json"]).out).unwrap();
    assert_eq!((found["tools"].as_array().unwrap().len(), &found["error_count"]), (2, &1.into()), "{found}");
    assert_eq!(found["diagnostics"][0]["code"], "not-loaded", "{found}");
    assert!(found["tools"][0]["diagnostics"].is_array() && found["warning_count"].is_u64(), "{found}");
}

#[test]
fn files_are_read_from_the_directory_of_the_configuration_or_the_command_line() {
    let place = Place::new();
    tool(&place, "tools/reader", r#"{"workspace": {"allowed_prefixes": ["notes/"]}}"#);
    place.file("tinclaw.toml", "tools = [\"tools\"]\ntool_files = \"files\"\n");
    place.file("files/notes/a.md", "text");
    place.file("others/notes/a.md", "other");
    let read = |more: &[&str]| {
        let arguments = ["tools", "call", "reader", r#"{"do":"read","text":"notes/a.md"}"#];
        place.run(&[&arguments, more].concat())
    };
    said(&read(&[]), 0, &["read text\n"]);
    said(&read(&["--files", "others"]), 0, &["read other\n"]);
    said(&read(&["--files", "nowhere"]), 1, &["nowhere", "is no directory"]);
}

#[test]
fn a_tool_of_the_program_is_installed_and_does_what_the_operator_allows() {
    let place = Place::new();
    said(&place.run(&["tools", "install", "rocket"]), 1, &["fetch, home_assistant, notes"]);
    for name in ["notes", "fetch", "home-assistant"] {
        said(&place.run(&["tools", "install", name]), 0, &["installed", &name.replace('-', "_")]);
    }
    // It printed an error and ended with 0.
    said(&place.run(&["tools", "check", "home-assistant"]), 1, &["1 tool, 1 error"]);
    said(&place.run(&["tools", "check", "notes"]), 0, &["1 tool, 0 errors"]);
    said(&place.run(&["tools", "install", "notes"]), 1, &["--force"]);
    said(&place.run(&["tools", "call", "notes", r#"{"action":"add","text":"tea"}"#]), 0, &[r#"{"added":1}"#]);

    let upstream = support::upstream::Upstream::start(|request, _| {
        let state = r#"[{"entity_id": "light.hall", "state": "on", "attributes": {}}]"#;
        match request.target.as_str() {
            "/api/states" => (200, Vec::new(), state.into()),
            target => (200, vec![("content-type".into(), "text/html".into())], format!("<p>{target}").into()),
        }
    });
    let base = upstream.url();
    place.file(
        "tinclaw.toml",
        format!(
            "http_rewrite = {{ \"a.example\" = \"{base}\" }}\n\
             [tool.fetch]\nextend_rights = true\ncapabilities.http.allowlist = [{{ host = \"a.example\" }}]\n\
             [tool.home_assistant.config]\nurl = \"{base}\"\n"
        ),
    );
    let fetch = |url: &str| {
        let params = serde_json::json!({"url": url}).to_string();
        place.run(&["tools", "call", "fetch", &params])
    };
    said(&fetch("https://a.example/x"), 0, &["https://a.example/x\n\n/x\n"]);
    said(&fetch("https://b.example/x"), 1, &["b.example"]);
    let mut states = place.command(&["tools", "call", "home-assistant", r#"{"action":"states"}"#]);
    let states = states.env("TINCLAW_SECRET_HOME_ASSISTANT_TOKEN", "value-of-the-token").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&states.stdout), "light.hall: on\n", "{states:?}");
    let asked = upstream.wait_for("the states", |request| request.target == "/api/states");
    assert_eq!(asked.header("authorization"), Some("Bearer value-of-the-token"));
}

#[test]
fn an_operator_s_table_of_a_tool_is_checked() {
    let place = Place::new();
    let refused = |text: &str, part: &str| {
        place.file("tinclaw.toml", text);
        said(&place.run(&["tools", "list"]), 2, &[part]);
    };
    refused("[tool.a.capabilities.http]\nallowlist = []\n", "[tool.a]: capabilities.http.allowlist needs");
    refused("[tool.a]\nextend_right = true\n", "extend_rights");
    refused("[tool.\"a b\"]\n", "a b");
}
