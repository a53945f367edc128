//! What tools get of the world: requests, secrets, files; and how a wrong call is told.

use std::sync::Arc;

use serde_json::json;
use tinclaw::secrets::MemorySecrets;

use crate::support::{add, call, one, task, with_config};

#[test]
fn a_wrong_call_names_the_field_and_the_guest_does_not_run() {
    let tools = one(&json!({}));
    let rows = [
        (json!({}), "`do` is missing"),
        (json!({"do": "fly"}), "`do` must be one of \"echo\""),
        (json!({"do": "echo", "txt": "a"}), "`txt` is not a known field; did you mean `text`?"),
        (json!({"do": "echo", "text": 1}), "`text` must be of type string, and is number"),
        (json!({"do": "spend", "n": -1}), "`n` must be at least 0, and is -1"),
        (json!([]), "the parameters must be of type object, and is array"),
    ];
    for (params, part) in rows {
        let report = tools.call_with("tool", tinclaw::ToolCall { params: params.to_string(), context: None });
        let error = report.result.unwrap_err().to_string();
        assert!(error.contains(part), "{params}: {error}");
        assert_eq!(report.fuel, 0, "{params}");
    }
    let error = tools.call("tool", "{").unwrap_err().to_string();
    assert!(error.contains("they are not JSON"), "{error}");
    let error = tools.call("tol", "{}").unwrap_err().to_string();
    assert_eq!(error, "there is no tool `tol`: there are tool");
}

#[test]
fn files_are_read_where_the_operator_and_the_file_say_so() {
    let directory = std::env::temp_dir().join(format!("tinclaw-tools-world-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("context")).unwrap();
    std::fs::write(directory.join("context/a.md"), "text").unwrap();
    std::fs::write(directory.join("private.md"), "no").unwrap();
    let tools = with_config(|config| config.files = Some(directory.clone()));
    add(&tools, "tool", &json!({"workspace": {"allowed_prefixes": ["context/"]}}));
    add(&tools, "closed", &json!({}));
    assert_eq!(call(&tools, task("read", "context/a.md")), Ok("read text".to_owned()));
    for path in ["context/b.md", "private.md", "context/../private.md", "/etc/passwd"] {
        assert_eq!(call(&tools, task("read", path)), Ok("none".to_owned()), "{path}");
    }
    let closed = tools.call("closed", &task("read", "context/a.md").to_string()).unwrap();
    assert_eq!(closed, "none");
    // Without a directory there is nothing to read.
    let none = one(&json!({"workspace": {"allowed_prefixes": [""]}}));
    assert_eq!(call(&none, task("read", "Cargo.toml")), Ok("none".to_owned()));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_directory_that_is_not_there_is_refused_at_once() {
    let mut config = tinclaw::WasmToolRuntimeConfig::default();
    config.files = Some("/nonexistent/tinclaw".into());
    let error = tinclaw::WasmToolRuntime::new(config).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/tinclaw"), "{error}");
}

#[test]
fn requests_go_where_the_file_says_with_its_credentials_and_secrets_do_not_come_back() {
    let server = crate::support::Upstream::start();
    let secrets = Arc::new(MemorySecrets::new());
    secrets.set("api_key", "0123456789abcdef0123".into()).unwrap();
    let tools = with_config(|config| {
        config.secrets = secrets;
        config.outbound.http_rewrite.insert("api.example.org".to_owned(), server.base.clone());
    });
    let rights = json!({
        "http": {
            "allowlist": [{"host": "api.example.org", "path_prefix": "/v1/"}],
            "credentials": {"key": {
                "secret_name": "api_key", "location": {"type": "bearer"}, "host_patterns": ["api.example.org"],
            }},
        },
        "secrets": {"allowed_names": ["api_*"]},
    });
    add(&tools, "tool", &rights);
    // The server sends the request's head back, in which the credential was.
    let response = call(&tools, task("http", "https://api.example.org/v1/echo")).unwrap();
    assert!(response.starts_with("200 GET /v1/echo"), "{response}");
    assert!(!response.contains("0123456789abcdef0123"), "{response}");
    assert!(server.heads().iter().all(|head| head.contains("Bearer 0123456789abcdef0123")));
    let error = call(&tools, task("http", "https://api.example.org/other")).unwrap_err();
    assert!(error.contains("api.example.org"), "{error}");
    let error = call(&tools, task("http", "https://api.example.org/v1/0123456789abcdef0123")).unwrap_err();
    assert!(error.contains("api_key"), "{error}");
    assert_eq!(call(&tools, task("secret", "api_key")), Ok("true".to_owned()));
    assert_eq!(call(&tools, task("secret", "other")), Ok("false".to_owned()));
    assert_eq!(server.heads().len(), 1);
}
