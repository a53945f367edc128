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

/// A host with the web chat, whose page is open in the browser; and the page's URL.
fn open_chat(browser: &Browser) -> (Host, String) {
    let runtime = fixtures::runtime();
    let host =
        fixtures::host(&[], &[]).channel(fixtures::channel(&runtime, "webchat")).start().expect("a host");
    let address = host.local_addr().expect("an address");
    eventually("the page is there", || {
        (client::request(address, "GET", "/chat", &[], b"").status == 200).then_some(())
    });
    let url = format!("http://{address}/chat");
    browser.open(&url);
    (host, url)
}

#[test]
fn a_visitor_types_a_message_and_reads_the_reply() {
    let Some(browser) = Browser::start() else {
        eprintln!("skipped: chromium and chromedriver are not installed");
        return;
    };
    let (host, url) = open_chat(&browser);
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
    // Markdown is shown as what it means, and code can be copied.
    browser.type_into("#text", "**bold** and `code`");
    browser.click("#send");
    eventually("formatted text is on the page", || {
        echo(&host);
        (browser.script("return document.querySelectorAll('#log strong').length") == json!(1)).then_some(())
    });
    assert_eq!(browser.script("return document.querySelectorAll('.agent code').length"), json!(1));
    // A draft survives a reload, and so does the conversation.
    browser.type_into("#text", "not yet sent");
    browser.open(&url);
    eventually("the conversation is back", || {
        (browser.script("return document.querySelectorAll('#log .message').length") == json!(4)).then_some(())
    });
    assert_eq!(browser.script("return document.querySelector('#text').value"), json!("not yet sent"));
    // Text over the limit is refused, and not cut.
    let pasted = "const text = document.querySelector('#text'); text.value = 'x'.repeat(4001); \
                  text.dispatchEvent(new Event('input')); \
                  return [text.value.length, document.querySelector('#send').disabled, \
                  document.querySelector('#room').textContent]";
    assert_eq!(browser.script(pasted), json!([4001, true, "1 characters too many"]));
}

#[test]
fn files_go_both_ways_and_what_is_unread_is_counted() {
    let Some(browser) = Browser::start() else {
        eprintln!("skipped: chromium and chromedriver are not installed");
        return;
    };
    let (host, _) = open_chat(&browser);
    let choose = "const files = new DataTransfer(); \
                  files.items.add(new File(['note'], 'note.txt', { type: 'text/plain' })); \
                  const event = new Event('drop'); event.dataTransfer = files; dispatchEvent(event)";
    browser.script(choose);
    eventually("the file is chosen", || {
        (browser.script("return document.querySelectorAll('#chosen button').length") == json!(1))
            .then_some(())
    });
    browser.click("#send");
    let delivery = host.messages().recv_timeout(std::time::Duration::from_secs(90)).expect("a message");
    assert_eq!(delivery.message().attachments[0].filename.as_deref(), Some("note.txt"));
    let data = delivery.attachment_data(0).expect("the store works").expect("it is kept");
    assert_eq!(&data[..], b"note");
    browser.script("document.hasFocus = () => false");
    let png = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, PIXEL).expect("base64");
    let picture =
        tinclaw::Attachment { filename: "dot.png".into(), mime_type: "image/png".into(), data: png };
    let content = "```js\nlet a = 1 < 2;\n```".to_owned();
    let attachments = vec![picture];
    host.respond(&delivery, AgentResponse { content, attachments, ..AgentResponse::default() })
        .expect("the reply is kept");
    delivery.ack();
    eventually("the picture is shown", || {
        let shown = "const img = document.querySelector('.picture'); return !!img && img.naturalWidth";
        (browser.script(shown) == json!(1)).then_some(())
    });
    assert_eq!(browser.script("return document.title"), json!("(1) Chat"));
    assert_eq!(
        browser.script("return document.querySelector('.code pre').textContent"),
        json!("let a = 1 < 2;\n")
    );
    browser.click(".copy");
    eventually("the code is copied, or selected", || {
        let words = browser.script("return document.querySelector('.copy').textContent");
        ["Copied", "Selected"].contains(&words.as_str()?).then_some(())
    });
}

/// A picture of one pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
