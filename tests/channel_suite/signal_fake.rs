//! A fake of signal-cli-rest-api: <https://bbernhard.github.io/signal-cli-rest-api/>. A message is gone once it is fetched.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::fake::{CallLog, Orders, json as response, locked};
use crate::support::upstream::{Recorded, Response, Upstream};

/// The bot's number.
pub const NUMBER: &str = "+4915112345678";
/// Its name in a path.
const IN_PATH: &str = "%2B4915112345678";

/// A message that the bot sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub to: String,
    pub text: String,
    /// Time and author of the message that is quoted.
    pub quote: Option<(u64, String)>,
    pub file: Option<(String, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Value>,
    error: Option<(u16, String)>,
    is_down: bool,
    mode: Option<&'static str>,
    files: BTreeMap<String, Vec<u8>>,
}

#[derive(Default)]
pub struct Inner {
    state: Mutex<State>,
    pub orders: Orders,
    pub sent: CallLog<Sent>,
    /// `PUT` and `DELETE`, with the recipient.
    pub typing: CallLog<String>,
}

pub struct Signal {
    pub inner: Arc<Inner>,
    pub upstream: Upstream,
}

impl Signal {
    pub fn start() -> Self {
        let inner = Arc::new(Inner::default());
        let upstream = Upstream::of(&inner, Inner::response);
        Self { inner, upstream }
    }

    /// Something from Ann, with what the envelope has beside her.
    pub fn envelope(&self, timestamp: u64, more: Value) {
        let mut envelope = json!({"source": "+4916", "sourceNumber": "+4916", "sourceUuid": "uuid-ann",
            "sourceName": "Ann", "sourceDevice": 1, "timestamp": timestamp});
        envelope.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        locked(&self.inner.state).waiting.push(json!({"envelope": envelope, "account": NUMBER}));
    }

    pub fn say(&self, timestamp: u64, text: &str) {
        self.envelope(timestamp, json!({"dataMessage": {"timestamp": timestamp, "message": text}}));
    }

    pub fn fail_with(&self, status: u16, error: &str) {
        locked(&self.inner.state).error = Some((status, error.to_owned()));
    }

    pub fn set_down(&self, is_down: bool) {
        locked(&self.inner.state).is_down = is_down;
    }

    pub fn set_mode(&self, mode: &'static str) {
        locked(&self.inner.state).mode = Some(mode);
    }

    pub fn put_file(&self, id: &str, data: &[u8]) {
        locked(&self.inner.state).files.insert(id.to_owned(), data.to_vec());
    }
}

fn refused(status: u16, error: &str) -> Response {
    response(status, &json!({"error": error}))
}

impl Inner {
    fn response(&self, request: &Recorded) -> Response {
        if locked(&self.state).is_down {
            return (502, Vec::new(), Vec::new());
        }
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), &parts[..]) {
            ("GET", ["v1", "about"]) => {
                let mode = locked(&self.state).mode.unwrap_or("native");
                response(200, &json!({"versions": ["v1", "v2"], "mode": mode, "version": "0.95"}))
            }
            ("GET", ["v1", "accounts"]) => response(200, &json!([NUMBER])),
            ("GET", ["v1", "receive", number]) => {
                assert_eq!((*number, query), (IN_PATH, "timeout=20"));
                self.receive()
            }
            ("GET", ["v1", "attachments", id]) => match locked(&self.state).files.get(*id) {
                Some(data) => (200, Vec::new(), data.clone()),
                None => refused(404, "No attachment with that id found"),
            },
            (method @ ("PUT" | "DELETE"), ["v1", "typing-indicator", IN_PATH]) => {
                let to = request.json()["recipient"].as_str().expect("a recipient").to_owned();
                self.typing.push(format!("{method} {to}"));
                (204, Vec::new(), Vec::new())
            }
            ("POST", ["v2", "send"]) => self.send(&request.json()),
            _ => refused(404, "page not found"),
        }
    }

    fn receive(&self) -> Response {
        let waiting = std::mem::take(&mut locked(&self.state).waiting);
        if waiting.is_empty() {
            // The real one waits as long as it is asked to.
            std::thread::sleep(Duration::from_millis(20));
        }
        response(200, &Value::Array(waiting))
    }

    fn send(&self, body: &Value) -> Response {
        if let Some(ordered) = self.orders.take("send") {
            return ordered;
        }
        if let Some((status, error)) = &locked(&self.state).error {
            return refused(*status, error);
        }
        assert_eq!(body["number"], NUMBER);
        let recipients = body["recipients"].as_array().expect("recipients");
        assert_eq!(recipients.len(), 1);
        let to = recipients[0].as_str().expect("a recipient");
        let is_known = ["uuid-", "group.", "+"].iter().any(|sign| to.starts_with(sign));
        let text = body["message"].as_str().unwrap_or_default();
        let file = body["base64_attachments"][0].as_str().map(read_file);
        if !is_known || (text.is_empty() && file.is_none()) {
            return refused(400, "Couldn't process request - please provide a message");
        }
        assert!(text.encode_utf16().count() <= 2000, "Signal's apps would send a file");
        let quote = body["quote_timestamp"]
            .as_u64()
            .map(|timestamp| (timestamp, body["quote_author"].as_str().unwrap_or_default().to_owned()));
        self.sent.push(Sent { to: to.to_owned(), text: text.to_owned(), quote, file });
        response(201, &json!({"timestamp": "1700000000000"}))
    }
}

/// `data:<MIME-TYPE>;filename=<FILENAME>;base64,<BASE64>`.
fn read_file(text: &str) -> (String, Vec<u8>) {
    let (head, data) = text.split_once(";base64,").expect("data");
    let (kind, name) = head.split_once(";filename=").expect("a name");
    assert!(kind.starts_with("data:") && kind.contains('/'), "{kind}");
    (name.to_owned(), STANDARD.decode(data).expect("base64"))
}
