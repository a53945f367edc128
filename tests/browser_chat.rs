//! The web chat in a real browser: what a newcomer does first.
//!
//! Needs `chromium` and `chromedriver`; where they are not installed the test says so and passes.

mod support;

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::{client, eventually, fixtures};
use tinclaw::{AgentResponse, Host};

/// A browser, driven through the WebDriver protocol (W3C Recommendation of 5 June 2018).
struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
}

impl Browser {
    fn start() -> Option<Self> {
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

    fn command(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}{path}", self.session), body)["value"].clone()
    }

    fn open(&self, url: &str) {
        self.command("/url", &json!({"url": url}));
    }

    /// The result of a script in the page.
    fn script(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({"script": script, "args": []}))
    }

    fn element(&self, selector: &str) -> Option<String> {
        let found = self.command("/element", &json!({"using": "css selector", "value": selector}));
        found.as_object()?.values().next()?.as_str().map(str::to_owned)
    }

    fn type_into(&self, selector: &str, text: &str) {
        let element = eventually(selector, || self.element(selector));
        self.command(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    fn click(&self, selector: &str) {
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

fn echo(host: &Host) {
    let Ok(delivery) = host.messages().recv_timeout(std::time::Duration::from_millis(20)) else { return };
    let content = format!("you said: {}", delivery.message().content);
    host.respond(&delivery, AgentResponse { content, ..AgentResponse::default() })
        .expect("the reply is kept");
    delivery.ack();
}

#[test]
fn a_visitor_types_a_message_and_reads_the_reply() {
    let Some(browser) = Browser::start() else {
        eprintln!("skipped: chromium and chromedriver are not installed");
        return;
    };
    let runtime = fixtures::runtime();
    let host =
        fixtures::host(&[], &[]).channel(fixtures::channel(&runtime, "webchat")).start().expect("a host");
    let address = host.local_addr().expect("an address");
    eventually("the page is there", || {
        (client::request(address, "GET", "/chat", &[], b"").status == 200).then_some(())
    });
    browser.open(&format!("http://{address}/chat"));
    browser.type_into("#text", "is <b>anybody</b> there?");
    browser.click("#send");
    let words = eventually("the response is on the page", || {
        echo(&host);
        let words = browser.script("return document.querySelector('#log').innerText").as_str()?.to_owned();
        words.contains("you said:").then_some(words)
    });
    assert!(words.contains("you said: is <b>anybody</b> there?"), "markup is shown as text: {words}");
    assert_eq!(browser.script("return document.querySelectorAll('#log b').length"), json!(0));
    assert_eq!(browser.script("return document.querySelector('#banner').hidden"), json!(true));
}
