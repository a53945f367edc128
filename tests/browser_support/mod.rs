//! A browser, driven through the WebDriver protocol (W3C Recommendation of 5 June 2018).
//!
//! Needs `chromium` and `chromedriver`; where they are not installed a test says so and passes.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{client, eventually};

/// A running browser with one tab.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
}

impl Browser {
    /// Starts one; nothing when it is not installed.
    pub fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut browser = Self { driver, address: ([127, 0, 0, 1], port).into(), session: String::new() };
        eventually("chromedriver responds", || {
            client::try_request(browser.address, "GET", "/status", &[], b"").ok()
        });
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ];
        let capabilities = json!({"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}});
        let created = browser.call("POST", "/session", &json!({"capabilities": capabilities}));
        browser.session = created["value"]["sessionId"].as_str()?.to_owned();
        Some(browser)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let headers = [("content-type", "application/json")];
        client::request(self.address, method, path, &headers, body.to_string().as_bytes()).json()
    }

    /// A command of the session.
    pub fn command(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}{path}", self.session), body)["value"].clone()
    }

    pub fn open(&self, url: &str) {
        self.command("/url", &json!({"url": url}));
    }

    /// Presses and releases a key.
    pub fn press(&self, key: &str) {
        let keys = [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        self.command("/actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": keys}]}));
    }

    /// A command of the Chrome DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) {
        self.command("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}));
    }

    /// The result of a script in the page.
    pub fn script(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({"script": script, "args": []}))
    }

    pub fn element(&self, selector: &str) -> Option<String> {
        let found = self.command("/element", &json!({"using": "css selector", "value": selector}));
        found.as_object()?.values().next()?.as_str().map(str::to_owned)
    }

    pub fn type_into(&self, selector: &str, text: &str) {
        let element = eventually(selector, || self.element(selector));
        self.command(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    pub fn click(&self, selector: &str) {
        let element = eventually(selector, || self.element(selector));
        self.command(&format!("/element/{element}/click"), &json!({}));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            self.call("DELETE", &format!("/session/{}", self.session), &json!({}));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
