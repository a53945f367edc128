//! A fake of Slack's Web API: <https://docs.slack.dev/reference/methods>.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::hmac;
use serde_json::{Value, json};

use crate::fake::{CallLog, Orders, json as response, locked};
use crate::play::Play;
use crate::support::client::Reply;
use crate::support::upstream::{Recorded, Response, Upstream};

pub const TOKEN: &str = "Bearer value-of-slack_bot_token";
const SIGNING_SECRET: &str = "value-of-slack_signing_secret";

/// A message that the app sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub channel: String,
    pub thread: Option<String>,
    pub text: String,
    pub file: Option<(String, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    error: Option<String>,
    is_down: bool,
    files: BTreeMap<String, Vec<u8>>,
    places: Vec<(String, usize, Option<Vec<u8>>)>,
}

#[derive(Default)]
pub struct Inner {
    token: String,
    signing_secret: String,
    state: Mutex<State>,
    pub orders: Orders,
    pub sent: CallLog<Sent>,
    /// Messages that were changed, as the bot said it.
    pub edited: CallLog<Value>,
    pub statuses: CallLog<String>,
    /// Links of Socket Mode that were asked for.
    pub opened: CallLog<()>,
}

pub struct Slack {
    pub inner: Arc<Inner>,
    pub upstream: Upstream,
}

impl Slack {
    pub fn start() -> Self {
        Self::with_secrets(TOKEN, SIGNING_SECRET)
    }

    /// The service for the app with this `Authorization` and this signing secret.
    pub fn with_secrets(token: &str, signing_secret: &str) -> Self {
        let (token, signing_secret) = (token.to_owned(), signing_secret.to_owned());
        let inner = Arc::new(Inner { token, signing_secret, ..Inner::default() });
        let upstream = Upstream::of(&inner, Inner::respond);
        Self { inner, upstream }
    }

    /// Every method fails like this.
    pub fn fail_with(&self, error: &str) {
        locked(&self.inner.state).error = Some(error.to_owned());
    }

    pub fn set_down(&self, is_down: bool) {
        locked(&self.inner.state).is_down = is_down;
    }

    pub fn put_file(&self, path: &str, data: &[u8]) {
        locked(&self.inner.state).files.insert(path.to_owned(), data.to_vec());
    }

    /// Posts what Slack posts, with its signature ("Verifying requests from Slack").
    pub fn post(&self, play: &Play, content_type: &str, body: &str) -> Reply {
        self.post_to(play.address, content_type, body)
    }

    /// The same to any host.
    pub fn post_to(&self, host: SocketAddr, content_type: &str, body: &str) -> Reply {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.inner.signing_secret.as_bytes());
        let tag = hmac::sign(&key, format!("v0:{now}:{body}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let headers = [
            ("content-type", content_type),
            ("x-slack-request-timestamp", now.as_str()),
            ("x-slack-signature", &format!("v0={hex}")),
        ];
        crate::support::client::request(host, "POST", "/webhook/slack", &headers, body.as_bytes())
    }

    /// Posts an event.
    pub fn event(&self, play: &Play, id: &str, event: &Value) -> Reply {
        let body = json!({"type": "event_callback", "event_id": id, "team_id": "T1", "event": event});
        self.post(play, "application/json", &body.to_string())
    }
}

fn refused(error: &str) -> Response {
    response(200, &json!({"ok": false, "error": error}))
}

impl Inner {
    fn respond(&self, request: &Recorded) -> Response {
        if locked(&self.state).is_down {
            return (503, Vec::new(), b"down".to_vec());
        }
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        if let Some(path) = path.strip_prefix("/upload/") {
            return self.upload(path, request);
        }
        if let Some(path) = path.strip_prefix("/files-pri/") {
            let has_token = request.header("authorization") == Some(&*self.token);
            return match locked(&self.state).files.get(path).filter(|_| has_token) {
                Some(data) => (200, Vec::new(), data.clone()),
                None => (
                    200,
                    vec![("content-type".into(), "text/html; charset=utf-8".into())],
                    b"<html>".to_vec(),
                ),
            };
        }
        let Some(method) = path.strip_prefix("/api/") else { return (404, Vec::new(), Vec::new()) };
        if method == "apps.connections.open" {
            return self.open(request);
        }
        if request.header("authorization") != Some(&*self.token) {
            return refused("not_authed");
        }
        if let Some(error) = &locked(&self.state).error {
            return refused(error);
        }
        if let Some(ordered) = self.orders.take(method) {
            return ordered;
        }
        let is_json = request.header("content-type") == Some("application/json; charset=utf-8");
        let body: Value = if is_json { request.json() } else { Value::Null };
        match method {
            "auth.test" => {
                response(200, &json!({"ok": true, "user_id": "UBOT", "bot_id": "B1", "team_id": "T1"}))
            }
            "chat.postMessage" => self.message(&body),
            "chat.update" => {
                self.edited.push(body);
                response(200, &json!({"ok": true}))
            }
            "assistant.threads.setStatus" => {
                self.statuses.push(body["status"].as_str().expect("a status").to_owned());
                response(200, &json!({"ok": true}))
            }
            "files.getUploadURLExternal" => self.place(query),
            "files.completeUploadExternal" => self.complete(&body),
            _ => refused("unknown_method"),
        }
    }

    /// Gives out the address of a link of Socket Mode, for the app-level token alone.
    fn open(&self, request: &Recorded) -> Response {
        if request.header("authorization") != Some("Bearer value-of-slack_app_token") {
            return refused("not_allowed_token_type");
        }
        if let Some(error) = &locked(&self.state).error {
            return refused(error);
        }
        if let Some(ordered) = self.orders.take("apps.connections.open") {
            return ordered;
        }
        self.opened.push(());
        let url = format!("wss://wss-primary.slack.com/link/?ticket={}&app_id=A1", self.opened.len());
        response(200, &json!({"ok": true, "url": url}))
    }

    fn message(&self, body: &Value) -> Response {
        let text = body["text"].as_str().unwrap_or_default();
        let channel = body["channel"].as_str().unwrap_or_default();
        if text.is_empty() {
            return refused("no_text");
        }
        if text.chars().count() > 40_000 {
            return refused("msg_too_long");
        }
        if !channel.starts_with(['C', 'D', 'U']) {
            return refused("channel_not_found");
        }
        assert!(text.chars().count() <= 4_000, "Slack advises against more");
        self.sent.push(Sent {
            channel: channel.to_owned(),
            thread: body["thread_ts"].as_str().map(str::to_owned),
            text: text.to_owned(),
            file: None,
        });
        response(200, &json!({"ok": true, "ts": "1.1"}))
    }

    fn place(&self, query: &str) -> Response {
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let Some(length) = query.get("length").and_then(|length| length.parse().ok()) else {
            return refused("invalid_arguments");
        };
        let mut state = locked(&self.state);
        state.places.push((query["filename"].clone(), length, None));
        let id = format!("F{}", state.places.len() - 1);
        let url = format!("https://files.slack.com/upload/{id}");
        response(200, &json!({"ok": true, "upload_url": url, "file_id": id}))
    }

    fn upload(&self, path: &str, request: &Recorded) -> Response {
        let number: usize = path.trim_start_matches('F').parse().expect("a place");
        let mut state = locked(&self.state);
        let (_, length, data) = &mut state.places[number];
        if *length != request.body.len() {
            return (400, Vec::new(), b"wrong length".to_vec());
        }
        *data = Some(request.body.clone());
        (200, Vec::new(), b"OK".to_vec())
    }

    fn complete(&self, body: &Value) -> Response {
        let id = body["files"][0]["id"].as_str().unwrap_or_default();
        let number: usize = id.trim_start_matches('F').parse().expect("a place");
        let (name, _, data) = locked(&self.state).places[number].clone();
        let Some(data) = data else { return refused("file_not_found") };
        self.sent.push(Sent {
            channel: body["channel_id"].as_str().unwrap_or_default().to_owned(),
            thread: body["thread_ts"].as_str().map(str::to_owned),
            text: String::new(),
            file: Some((name, data)),
        });
        response(200, &json!({"ok": true}))
    }
}
