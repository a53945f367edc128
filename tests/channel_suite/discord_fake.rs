//! A fake of Discord's HTTP API: <https://docs.discord.com/developers/resources/message>.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::discord_gateway::Bot;
use crate::fake::{CallLog, Orders, json as response, locked};
use crate::form;
use crate::support::upstream::{Recorded, Response, Upstream};

/// A message that the bot sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub channel: String,
    pub reply_to: Option<String>,
    pub content: String,
    pub file: Option<(String, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    /// What every request to a channel is refused with.
    error: Option<(u16, Value)>,
    is_down: bool,
    /// Messages are made, and their responses get lost.
    loses_responses: bool,
    nonces: BTreeSet<String>,
    files: BTreeMap<String, Vec<u8>>,
}

#[derive(Default)]
pub struct Inner {
    token: String,
    state: Mutex<State>,
    pub orders: Orders,
    pub sent: CallLog<Sent>,
    /// Messages that were changed, as the bot said it.
    pub edited: CallLog<Value>,
    pub typing: CallLog<String>,
    /// Responses to interactions: token and type.
    pub responded: CallLog<(String, u64)>,
    pub commands: CallLog<Value>,
}

pub struct Discord {
    pub inner: Arc<Inner>,
    pub upstream: Upstream,
    pub bot: Bot,
}

impl Discord {
    /// A bot with the token of the plays.
    pub fn start() -> Self {
        Self::with_token("value-of-discord_bot_token")
    }

    pub fn with_token(token: &str) -> Self {
        let inner = Arc::new(Inner { token: token.to_owned(), ..Inner::default() });
        let upstream = Upstream::of(&inner, Inner::response);
        Self { inner, upstream, bot: Bot::start(token) }
    }

    pub fn fail_with(&self, status: u16, code: u64, message: &str) {
        let error = (status, json!({"code": code, "message": message}));
        locked(&self.inner.state).error = Some(error);
    }

    pub fn set_down(&self, is_down: bool) {
        locked(&self.inner.state).is_down = is_down;
    }

    pub fn set_losing_responses(&self, loses_responses: bool) {
        locked(&self.inner.state).loses_responses = loses_responses;
    }

    pub fn put_file(&self, path: &str, data: &[u8]) {
        locked(&self.inner.state).files.insert(path.to_owned(), data.to_vec());
    }
}

fn refused(status: u16, code: u64, message: &str) -> Response {
    response(status, &json!({"code": code, "message": message}))
}

impl Inner {
    fn response(&self, request: &Recorded) -> Response {
        if locked(&self.state).is_down {
            return (502, Vec::new(), b"<html>down".to_vec());
        }
        if let Some(path) = request.target.strip_prefix("/attachments/") {
            assert_eq!(request.header("authorization"), None, "the token is for the API alone");
            return match locked(&self.state).files.get(path) {
                Some(data) => (200, Vec::new(), data.clone()),
                None => (404, Vec::new(), Vec::new()),
            };
        }
        let Some(path) = request.target.strip_prefix("/api/v10/") else {
            return refused(404, 0, "404: Not Found");
        };
        let parts: Vec<&str> = path.split('/').collect();
        match (request.method.as_str(), &parts[..]) {
            // Their tokens are in their paths.
            ("POST", ["interactions", _, token, "callback"]) => {
                let kind = request.json()["type"].as_u64().expect("a type");
                self.responded.push(((*token).to_owned(), kind));
                return (204, Vec::new(), Vec::new());
            }
            ("PATCH", ["webhooks", "200", token, "messages", "@original"]) => {
                return self.message(&["@", token].concat(), &request.json(), None);
            }
            _ => {}
        }
        if request.header("authorization") != Some(&format!("Bot {}", self.token)) {
            return refused(401, 0, "401: Unauthorized");
        }
        if let Some((status, error)) = &locked(&self.state).error {
            return response(*status, error);
        }
        match (request.method.as_str(), &parts[..]) {
            ("POST", ["channels", channel, "messages"]) => self.create(channel, request),
            ("PATCH", ["channels", channel, "messages", id]) => {
                self.edited.push(json!({"channel": channel, "id": id, "content": request.json()["content"]}));
                response(200, &json!({"id": id}))
            }
            ("POST", ["channels", channel, "typing"]) => {
                self.typing.push((*channel).to_owned());
                (204, Vec::new(), Vec::new())
            }
            ("POST", ["users", "@me", "channels"]) => {
                let user = request.json()["recipient_id"].as_str().expect("a user").to_owned();
                response(200, &json!({"id": format!("D{user}"), "type": 1}))
            }
            ("PUT", ["applications", "200", "commands"]) => {
                self.commands.push(request.json());
                response(200, &request.json())
            }
            ("GET", ["users", "@me"]) => response(200, &json!({"id": "100", "username": "tin", "bot": true})),
            ("GET", ["applications", "@me"]) => response(200, &json!({"id": "200"})),
            _ => refused(404, 0, "404: Not Found"),
        }
    }

    fn create(&self, channel: &str, request: &Recorded) -> Response {
        if let Some(ordered) = self.orders.take("message") {
            return ordered;
        }
        if !channel.starts_with(['C', 'D']) {
            return refused(404, 10003, "Unknown Channel");
        }
        let kind = request.header("content-type").unwrap_or_default();
        if !kind.starts_with("multipart/") {
            return self.message(channel, &request.json(), None);
        }
        let fields = form::read(kind, &request.body).expect("a form");
        let payload = fields.iter().find(|field| field.name == "payload_json").expect("a payload");
        let file = fields.iter().find(|field| field.name == "files[0]").expect("a file");
        if file.data.len() > 10 * 1024 * 1024 {
            return refused(413, 40005, "Request entity too large");
        }
        let file = (file.filename.clone().expect("a name"), file.data.clone());
        self.message(channel, &serde_json::from_slice(&payload.data).expect("JSON"), Some(file))
    }

    fn message(&self, channel: &str, body: &Value, file: Option<(String, Vec<u8>)>) -> Response {
        let content = body["content"].as_str().unwrap_or_default();
        if content.is_empty() && file.is_none() {
            return refused(400, 50006, "Cannot send an empty message");
        }
        if content.chars().count() > 2000 {
            return refused(400, 50035, "Invalid Form Body");
        }
        assert_eq!(body["allowed_mentions"], json!({"parse": []}), "a reply would call everybody");
        let mut state = locked(&self.state);
        let nonce = body["nonce"].as_str().unwrap_or_default();
        assert!(nonce.len() <= 25, "{nonce}");
        let is_new =
            nonce.is_empty() || body["enforce_nonce"] != true || state.nonces.insert(nonce.to_owned());
        if is_new {
            self.sent.push(Sent {
                channel: channel.to_owned(),
                reply_to: body["message_reference"]["message_id"].as_str().map(str::to_owned),
                content: content.to_owned(),
                file,
            });
        }
        match state.loses_responses {
            true => (504, Vec::new(), Vec::new()),
            false => response(200, &json!({"id": "900"})),
        }
    }
}
