//! A fake of Telegram's Bot API: <https://core.telegram.org/bots/api>.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fake::{CallLog, Orders, json as response, locked};
use crate::form;
use crate::support::upstream::{Recorded, Response, Upstream};

pub const TOKEN: &str = "value-of-telegram_bot_token";
pub const BOT_ID: i64 = 42;

/// A message that the bot sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub method: String,
    pub chat: i64,
    pub text: String,
    pub is_html: bool,
    pub topic: Option<i64>,
    pub reply_to: Option<i64>,
    pub file: Option<(String, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    updates: Vec<Value>,
    next_update: i64,
    webhook: Option<Value>,
    blocked: BTreeSet<i64>,
    moved: BTreeMap<i64, i64>,
    files: BTreeMap<String, Vec<u8>>,
    is_revoked: bool,
    is_down: bool,
}

#[derive(Default)]
pub struct Inner {
    token: String,
    state: Mutex<State>,
    pub orders: Orders,
    pub sent: CallLog<Sent>,
    /// Messages that were changed, as the bot said it.
    pub edited: CallLog<Value>,
    pub typing: CallLog<i64>,
    pub commands: CallLog<Value>,
    pub acknowledged_callbacks: CallLog<String>,
}

pub struct Telegram {
    pub inner: Arc<Inner>,
    pub upstream: Upstream,
}

impl Telegram {
    pub fn start() -> Self {
        Self::with_token(TOKEN)
    }

    /// The API as the bot with this token sees it.
    pub fn with_token(token: &str) -> Self {
        let inner = Arc::new(Inner { token: token.to_owned(), ..Inner::default() });
        locked(&inner.state).next_update = 1000;
        let upstream = Upstream::of(&inner, Inner::respond);
        Self { inner, upstream }
    }

    /// Somebody does something.
    pub fn update(&self, kind: &str, what: Value) -> Value {
        let mut state = locked(&self.inner.state);
        state.next_update += 1;
        let update = json!({"update_id": state.next_update, kind: what});
        state.updates.push(update.clone());
        update
    }

    pub fn again(&self, update: &Value) {
        locked(&self.inner.state).updates.push(update.clone());
    }

    pub fn block(&self, chat: i64) {
        locked(&self.inner.state).blocked.insert(chat);
    }

    pub fn move_chat(&self, from: i64, to: i64) {
        locked(&self.inner.state).moved.insert(from, to);
    }

    pub fn put_file(&self, id: &str, data: &[u8]) {
        locked(&self.inner.state).files.insert(id.to_owned(), data.to_vec());
    }

    pub fn revoke(&self) {
        locked(&self.inner.state).is_revoked = true;
    }

    pub fn set_down(&self, is_down: bool) {
        locked(&self.inner.state).is_down = is_down;
    }

    pub fn set_webhook(&self) {
        locked(&self.inner.state).webhook = Some(json!({"url": "https://old.example"}));
    }

    pub fn webhook(&self) -> Option<Value> {
        locked(&self.inner.state).webhook.clone()
    }

    /// Every update was fetched and confirmed.
    pub fn is_drained(&self) -> bool {
        locked(&self.inner.state).updates.is_empty()
    }
}

fn refused(code: u16, description: &str) -> Response {
    response(code, &json!({"ok": false, "error_code": code, "description": description}))
}

fn done(result: Value) -> Response {
    response(200, &json!({"ok": true, "result": result}))
}

impl Inner {
    fn respond(&self, request: &Recorded) -> Response {
        if locked(&self.state).is_down {
            return (502, Vec::new(), b"<html>bad gateway</html>".to_vec());
        }
        if let Some(path) = request.target.strip_prefix(&format!("/file/bot{}/", self.token)) {
            return match locked(&self.state).files.get(path.trim_start_matches("files/")) {
                Some(data) => (200, Vec::new(), data.clone()),
                None => refused(404, "Not Found"),
            };
        }
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let Some(method) = path.strip_prefix(&format!("/bot{}/", self.token)) else {
            return refused(401, "Unauthorized");
        };
        if locked(&self.state).is_revoked {
            return refused(401, "Unauthorized");
        }
        if let Some(ordered) = self.orders.take(method) {
            return ordered;
        }
        if method == "getUpdates" {
            return self.updates(query);
        }
        let arguments = match Arguments::read(request) {
            Ok(arguments) => arguments,
            Err(error) => return refused(400, &format!("Bad Request: {error}")),
        };
        match method {
            "getMe" => {
                done(json!({"id": BOT_ID, "is_bot": true, "username": "tin_bot", "first_name": "Tin"}))
            }
            "setMyCommands" => {
                self.commands.push(arguments.json["commands"].clone());
                done(json!(true))
            }
            "setWebhook" => self.set_webhook(&arguments.json),
            "deleteWebhook" => {
                assert_eq!(arguments.json["drop_pending_updates"], Value::Null, "what waits is kept");
                locked(&self.state).webhook = None;
                done(json!(true))
            }
            "getWebhookInfo" => done(locked(&self.state).webhook.clone().unwrap_or(json!({"url": ""}))),
            "sendMessage" | "sendPhoto" | "sendDocument" | "sendVoice" | "sendAudio" | "sendVideo" => {
                self.send(method, &arguments)
            }
            "editMessageText" => {
                self.edited.push(arguments.json.clone());
                done(json!({"message_id": arguments.json["message_id"]}))
            }
            "sendChatAction" => {
                assert_eq!(arguments.json["action"], "typing");
                self.typing.push(arguments.json["chat_id"].as_i64().expect("a chat"));
                done(json!(true))
            }
            "answerCallbackQuery" => {
                self.acknowledged_callbacks
                    .push(arguments.json["callback_query_id"].as_str().unwrap_or_default().to_owned());
                done(json!(true))
            }
            "getFile" => self.locate(&arguments.json),
            _ => refused(404, "Not Found"),
        }
    }

    fn updates(&self, query: &str) -> Response {
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let allowed: Vec<String> = serde_json::from_str(&query["allowed_updates"]).expect("a list of kinds");
        assert!(query["timeout"].parse::<u32>().is_ok_and(|timeout| timeout <= 50), "{query:?}");
        let offset: i64 = query["offset"].parse().expect("an offset");
        let mut state = locked(&self.state);
        if state.webhook.is_some() {
            return refused(
                409,
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
            );
        }
        state.updates.retain(|update| update["update_id"].as_i64() >= Some(offset));
        let kinds = |update: &&Value| allowed.iter().any(|kind| !update[kind].is_null());
        let limit: usize = query["limit"].parse().expect("a limit");
        let found: Vec<Value> = state.updates.iter().filter(kinds).take(limit).cloned().collect();
        drop(state);
        if found.is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
        done(json!(found))
    }

    fn set_webhook(&self, body: &Value) -> Response {
        let url = body["url"].as_str().unwrap_or_default();
        let secret = body["secret_token"].as_str().unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !url.starts_with("https://") {
            return refused(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook");
        }
        if secret.is_empty() || secret.len() > 256 || !secret.chars().all(fits) {
            return refused(400, "Bad Request: secret token contains unallowed characters");
        }
        locked(&self.state).webhook = Some(body.clone());
        done(json!(true))
    }

    fn locate(&self, body: &Value) -> Response {
        let id = body["file_id"].as_str().unwrap_or_default();
        let state = locked(&self.state);
        match state.files.get(id) {
            Some(data) if data.len() > 20 << 20 => refused(400, "Bad Request: file is too big"),
            Some(_) => done(json!({"file_id": id, "file_path": format!("files/{id}")})),
            None => refused(400, "Bad Request: wrong file_id or the file is temporarily unavailable"),
        }
    }

    fn send(&self, method: &str, arguments: &Arguments) -> Response {
        let body = &arguments.json;
        let Some(chat) = body["chat_id"].as_i64() else {
            return refused(400, "Bad Request: chat_id is empty");
        };
        {
            let state = locked(&self.state);
            if let Some(to) = state.moved.get(&chat) {
                return response(
                    400,
                    &json!({"ok": false, "error_code": 400,
                    "description": "Bad Request: group chat was upgraded to a supergroup chat",
                    "parameters": {"migrate_to_chat_id": to}}),
                );
            }
            if state.blocked.contains(&chat) {
                return refused(403, "Forbidden: bot was blocked by the user");
            }
        }
        if chat == 404 {
            return refused(400, "Bad Request: chat not found");
        }
        let (field, limit) = if method == "sendMessage" { ("text", 4096) } else { ("caption", 1024) };
        let source = body[field].as_str().unwrap_or_default();
        let is_html = match body["parse_mode"].as_str() {
            None => false,
            Some("HTML") => true,
            Some(_) => return refused(400, "Bad Request: unsupported parse_mode"),
        };
        let text = match if is_html { shown(source) } else { Ok(source.to_owned()) } {
            Ok(text) => text,
            Err(error) => return refused(400, &format!("Bad Request: can't parse entities: {error}")),
        };
        if method == "sendMessage" && text.trim().is_empty() {
            return refused(400, "Bad Request: message text is empty");
        }
        if text.encode_utf16().count() > limit {
            return refused(400, &format!("Bad Request: {field} is too long"));
        }
        if method != "sendMessage" && arguments.file.is_none() {
            return refused(400, "Bad Request: there is no file in the request");
        }
        if method == "sendPhoto"
            && arguments.file.as_ref().is_some_and(|(_, data)| data.starts_with(b"no picture"))
        {
            return refused(400, "Bad Request: IMAGE_PROCESS_FAILED");
        }
        let reply_to = &body["reply_parameters"];
        if !reply_to.is_null() {
            assert_eq!(reply_to["allow_sending_without_reply"], true, "the message may be gone");
        }
        self.sent.push(Sent {
            method: method.to_owned(),
            chat,
            text,
            is_html,
            topic: body["message_thread_id"].as_i64(),
            reply_to: reply_to["message_id"].as_i64(),
            file: arguments.file.clone(),
        });
        done(json!({"message_id": self.sent.len(), "chat": {"id": chat}}))
    }
}

/// What a method was called with.
struct Arguments {
    json: Value,
    file: Option<(String, Vec<u8>)>,
}

impl Arguments {
    fn read(request: &Recorded) -> Result<Self, String> {
        // "We support GET and POST HTTP methods": what takes no parameters is asked for with either.
        if request.method == "GET"
            && (request.target.ends_with("/getMe") || request.target.ends_with("/getWebhookInfo"))
        {
            return Ok(Self { json: Value::Null, file: None });
        }
        if request.method != "POST" {
            return Err("POST is needed".into());
        }
        let kind = request.header("content-type").unwrap_or_default();
        if kind.starts_with("application/json") {
            let json = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
            return Ok(Self { json, file: None });
        }
        let fields = form::read(kind, &request.body)?;
        let mut json = serde_json::Map::new();
        let mut file = None;
        for field in fields {
            if let Some(name) = field.filename {
                file = Some((name, field.data));
                continue;
            }
            let text = String::from_utf8(field.data).map_err(|error| error.to_string())?;
            let is_json = matches!(field.name.as_str(), "chat_id" | "message_thread_id" | "reply_parameters");
            let value =
                if is_json { serde_json::from_str(&text).map_err(|e| e.to_string())? } else { json!(text) };
            json.insert(field.name, value);
        }
        Ok(Self { json: Value::Object(json), file })
    }
}

/// The text that "HTML style" shows, or what is wrong with it.
fn shown(html: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = html;
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix("</") {
            let (name, after) = tail.split_once('>').ok_or("unclosed end tag")?;
            if open.pop().as_deref() != Some(name) {
                return Err(format!("unmatched end tag </{name}>"));
            }
            rest = after;
        } else if let Some(tail) = rest.strip_prefix('<') {
            let (tag, after) = tail.split_once('>').ok_or("unclosed start tag")?;
            let name = tag.split(' ').next().unwrap_or_default();
            let is_known = match name {
                "b" | "i" | "u" | "s" | "pre" => tag == name,
                "blockquote" => tag == name && !open.iter().any(|open| open == "blockquote"),
                "code" => tag == name || tag.starts_with("code class=\"language-"),
                "a" => tag.starts_with("a href=\"") && tag.ends_with('"'),
                _ => false,
            };
            if !is_known {
                return Err(format!("unsupported start tag <{tag}>"));
            }
            open.push(name.to_owned());
            rest = after;
        } else if rest.starts_with('&') {
            let known = [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')];
            let (entity, c) = known.iter().find(|(entity, _)| rest.starts_with(entity)).ok_or("a bare &")?;
            out.push(*c);
            rest = &rest[entity.len()..];
        } else if c == '>' {
            return Err("a bare >".into());
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    if open.is_empty() { Ok(out) } else { Err(format!("can't find end tag of {open:?}")) }
}
