//! Registries with the tools of the fixtures.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tinclaw::{ToolError, ToolRegistry, WasmToolRuntime, WasmToolRuntimeConfig};

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

pub fn tool_bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join("tools").join(format!("{name}.wasm"))).unwrap()
}

pub fn hostile_bytes(name: &str) -> Vec<u8> {
    let path = fixtures().join("hostile/tools").join(format!("{name}.wat"));
    wat::parse_str(std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn registry() -> ToolRegistry {
    with_config(|_| {})
}

pub fn with_config(change: impl FnOnce(&mut WasmToolRuntimeConfig)) -> ToolRegistry {
    let mut config = WasmToolRuntimeConfig::default();
    change(&mut config);
    ToolRegistry::new(WasmToolRuntime::new(config).unwrap())
}

/// Adds the fixture tool `v5` under a name, with a capability file.
pub fn add(tools: &ToolRegistry, name: &str, capabilities: &Value) {
    let text = capabilities.to_string();
    let tool = tools.runtime().prepare(name, &tool_bytes("tool_v5"), Some(text.as_bytes())).unwrap();
    tools.add(tool).unwrap();
}

/// A registry with the fixture tool under the name `tool`.
pub fn one(capabilities: &Value) -> ToolRegistry {
    let tools = registry();
    add(&tools, "tool", capabilities);
    tools
}

pub fn hostile(name: &str, capabilities: &Value) -> Result<ToolRegistry, ToolError> {
    let tools = registry();
    let text = capabilities.to_string();
    tools.add(tools.runtime().prepare("hostile", &hostile_bytes(name), Some(text.as_bytes()))?).unwrap();
    Ok(tools)
}

/// Calls `tool`.
pub fn call(tools: &ToolRegistry, params: Value) -> Result<String, String> {
    tools.call("tool", &params.to_string()).map_err(|error| error.to_string())
}

pub fn task(name: &str, text: &str) -> Value {
    json!({"do": name, "text": text})
}

/// A server that responds to each request with its head.
pub struct Upstream {
    pub base: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && connection.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let response = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{head}",
                    head.len()
                );
                seen.lock().unwrap().push(head);
                connection.write_all(response.as_bytes()).unwrap();
            }
        });
        Self { base, heads }
    }

    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}
