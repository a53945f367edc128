//! A fake of Feishu's Open API, and of its events: <https://open.feishu.cn/document>.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::{BlockEncryptMut as _, KeyIvInit as _, block_padding::Pkcs7};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::fake::{CallLog, Orders, json as response, locked};
use crate::form;
use crate::play::Play;
use crate::support::client::{self, Reply};
use crate::support::upstream::{Recorded, Response, Upstream};

/// The bot's own id.
pub const BOT: &str = "ou_bot";
/// The app's id.
pub const APP_ID: &str = "cli_app";

/// A message that the bot sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The message that it replies to, or the user.
    pub to: String,
    pub in_thread: bool,
    pub kind: String,
    /// The text, or what a post says in Markdown.
    pub text: String,
    pub file: Option<(String, Vec<u8>)>,
}

struct Credentials {
    secret: String,
    key: String,
}

#[derive(Default)]
struct State {
    tokens: u64,
    /// The only token that is accepted.
    token: String,
    is_revoked: bool,
    is_down: bool,
    /// What every message is refused with: status, code, words.
    error: Option<(u16, i64, String)>,
    resources: BTreeMap<String, Vec<u8>>,
    messages: BTreeMap<String, Value>,
    uploaded: Vec<(String, Vec<u8>)>,
    uuids: BTreeSet<String>,
}

pub struct Inner {
    credentials: Credentials,
    state: Mutex<State>,
    pub orders: Orders,
    pub sent: CallLog<Sent>,
    /// `POST` and `DELETE`, with the message.
    pub typing: CallLog<String>,
}

pub struct Feishu {
    pub inner: Arc<Inner>,
    pub upstream: Upstream,
}

impl Feishu {
    /// An app with the secrets of the plays.
    pub fn start() -> Self {
        Self::with("value-of-feishu_app_secret", "value-of-feishu_encrypt_key")
    }

    /// An app with this secret and Encrypt Key.
    pub fn with(secret: &str, key: &str) -> Self {
        let credentials = Credentials { secret: secret.into(), key: key.into() };
        let inner = Arc::new(Inner {
            credentials,
            state: Mutex::default(),
            orders: Orders::default(),
            sent: CallLog::default(),
            typing: CallLog::default(),
        });
        let upstream = Upstream::of(&inner, Inner::response);
        Self { inner, upstream }
    }

    pub fn fail_with(&self, status: u16, code: i64, words: &str) {
        locked(&self.inner.state).error = Some((status, code, words.to_owned()));
    }

    pub fn set_down(&self, is_down: bool) {
        locked(&self.inner.state).is_down = is_down;
    }

    /// The token that was given last is accepted no longer.
    pub fn end_token(&self) {
        locked(&self.inner.state).token.clear();
    }

    /// The secret of the app was reset.
    pub fn revoke(&self) {
        let mut state = locked(&self.inner.state);
        state.is_revoked = true;
        state.token.clear();
    }

    pub fn tokens(&self) -> u64 {
        locked(&self.inner.state).tokens
    }

    pub fn put_resource(&self, key: &str, data: &[u8]) {
        locked(&self.inner.state).resources.insert(key.to_owned(), data.to_vec());
    }

    /// A message that can be read by its id.
    pub fn put_message(&self, id: &str, sender: &Value, text: &str) {
        let content = json!({"text": text}).to_string();
        let message =
            json!({"message_id": id, "msg_type": "text", "sender": sender, "body": {"content": content}});
        locked(&self.inner.state).messages.insert(id.to_owned(), message);
    }

    /// `{"encrypt": …}` ("Encrypt Key"): AES-256-CBC with SHA-256 of the key, behind an initialisation vector.
    pub fn encrypted(&self, text: &str) -> String {
        let key = digest(&SHA256, self.inner.credentials.key.as_bytes());
        let iv = [7; 16];
        let encryptor =
            cbc::Encryptor::<Aes256>::new_from_slices(key.as_ref(), &iv).expect("32 and 16 bytes");
        let data = encryptor.encrypt_padded_vec_mut::<Pkcs7>(text.as_bytes());
        json!({"encrypt": STANDARD.encode([&iv[..], &data].concat())}).to_string()
    }

    /// The headers of a signed request ("Event subscription security verification").
    pub fn signed(&self, timestamp: u64, body: &str) -> Vec<(&'static str, String)> {
        let (time, nonce) = (timestamp.to_string(), "n0nce");
        let signed = [&time, nonce, self.inner.credentials.key.as_str(), body].concat();
        let hex: String =
            digest(&SHA256, signed.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        vec![
            ("content-type", "application/json".to_owned()),
            ("x-lark-request-timestamp", time),
            ("x-lark-request-nonce", nonce.to_owned()),
            ("x-lark-signature", hex),
        ]
    }

    /// Posts an event, encrypted and signed.
    pub fn post(&self, address: SocketAddr, event: &Value) -> Reply {
        let body = self.encrypted(&event.to_string());
        let headers = self.signed(now_secs(), &body);
        post(address, &headers, &body)
    }

    /// Posts the challenge of "Configure request URL", which is encrypted and not signed.
    pub fn challenge(&self, address: SocketAddr, challenge: &str) -> Reply {
        let body = self.encrypted(
            &json!({"challenge": challenge, "token": "v", "type": "url_verification"}).to_string(),
        );
        post(address, &[("content-type", "application/json".to_owned())], &body)
    }

    /// A message of Ann's, with what it has beside its text.
    pub fn message(id: &str, kind: &str, content: &Value, more: &Value) -> Value {
        let mut message = json!({"message_id": id, "create_time": "1", "chat_id": "oc_1", "chat_type": "p2p",
            "message_type": kind, "content": content.to_string()});
        message.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"schema": "2.0",
            "header": {"event_id": format!("ev-{id}"), "event_type": "im.message.receive_v1", "create_time": "1",
                "token": "v", "app_id": APP_ID, "tenant_key": "t"},
            "event": {"sender": {"sender_id": {"union_id": "on_ann", "user_id": "ann", "open_id": "ou_ann"},
                "sender_type": "user", "tenant_key": "t"}, "message": message}})
    }

    /// Ann says something to the bot alone.
    pub fn say(&self, play: &Play, id: &str, text: &str) -> Reply {
        self.post(play.address, &Self::message(id, "text", &json!({"text": text}), &json!({})))
    }
}

/// The sender of the bot's own messages, as they are read back.
pub fn own_sender() -> Value {
    json!({"id": APP_ID, "id_type": "app_id", "sender_type": "app", "tenant_key": "t"})
}

pub fn now_secs() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

/// Posts to the channel's path.
pub fn post(address: SocketAddr, headers: &[(&'static str, String)], body: &str) -> Reply {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    client::request(address, "POST", "/webhook/feishu", &headers, body.as_bytes())
}

fn refused(status: u16, code: i64, words: &str) -> Response {
    response(status, &json!({"code": code, "msg": words, "error": {"log_id": "1"}}))
}

fn done(data: &Value) -> Response {
    response(200, &json!({"code": 0, "msg": "success", "data": data}))
}

impl Inner {
    fn response(&self, request: &Recorded) -> Response {
        if locked(&self.state).is_down {
            return (502, Vec::new(), Vec::new());
        }
        let Some(path) = request.target.strip_prefix("/open-apis/") else {
            return (404, Vec::new(), b"404 page not found".to_vec());
        };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        if path == "auth/v3/tenant_access_token/internal" {
            return self.give_token(request);
        }
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let is_known = token.is_some_and(|token| !token.is_empty() && token == locked(&self.state).token);
        if !is_known {
            return refused(
                400,
                99991663,
                "Invalid access token for authorization. Please make a test attempt",
            );
        }
        let parts: Vec<&str> = path.split('/').collect();
        match (request.method.as_str(), &parts[..]) {
            ("GET", ["bot", "v3", "info"]) => response(
                200,
                &json!({"code": 0, "msg": "ok", "bot": {"activate_status": 2, "app_name": "tin", "open_id": BOT}}),
            ),
            ("GET", ["im", "v1", "messages", id]) => self.message(id),
            ("GET", ["im", "v1", "messages", _, "resources", key]) => self.resource(key, query),
            ("POST", ["im", "v1", "messages", id, "reactions"]) => {
                assert_eq!(request.json(), json!({"reaction_type": {"emoji_type": "Typing"}}));
                self.typing.push(format!("POST {id}"));
                done(&json!({"reaction_id": format!("r-{id}")}))
            }
            ("DELETE", ["im", "v1", "messages", id, "reactions", reaction]) => {
                assert_eq!(*reaction, format!("r-{id}"));
                self.typing.push(format!("DELETE {id}"));
                done(&json!({}))
            }
            ("POST", ["im", "v1", "messages", id, "reply"]) => self.send(id, &request.json()),
            ("POST", ["im", "v1", "messages"]) => {
                assert_eq!(query, "receive_id_type=open_id");
                let body = request.json();
                self.send(body["receive_id"].as_str().expect("a receiver"), &body)
            }
            ("POST", ["im", "v1", kind @ ("images" | "files")]) => self.upload(kind, request),
            _ => (404, Vec::new(), b"404 page not found".to_vec()),
        }
    }

    fn give_token(&self, request: &Recorded) -> Response {
        assert_eq!(request.method, "POST");
        assert_eq!(request.header("content-type"), Some("application/json; charset=utf-8"));
        let body = request.json();
        let mut state = locked(&self.state);
        if body["app_id"] != APP_ID {
            return response(200, &json!({"code": 10003, "msg": "invalid param"}));
        }
        if body["app_secret"] != *self.credentials.secret || state.is_revoked {
            return response(200, &json!({"code": 10014, "msg": "app secret invalid"}));
        }
        state.tokens += 1;
        state.token = format!("t-{}", state.tokens);
        response(200, &json!({"code": 0, "msg": "ok", "tenant_access_token": state.token, "expire": 7200}))
    }

    fn message(&self, id: &str) -> Response {
        match locked(&self.state).messages.get(id) {
            Some(message) => done(&json!({"items": [message]})),
            None => refused(400, 230002, "Bot/User can NOT be out of the chat."),
        }
    }

    fn resource(&self, key: &str, query: &str) -> Response {
        let is_right = (key.starts_with("img_") && query == "type=image")
            || (key.starts_with("file_") && query == "type=file");
        match locked(&self.state).resources.get(key) {
            Some(data) if is_right => (200, vec![("content-type".into(), "image/png".into())], data.clone()),
            _ => refused(400, 234003, "File not in msg."),
        }
    }

    fn upload(&self, kind: &str, request: &Recorded) -> Response {
        let fields =
            form::read(request.header("content-type").unwrap_or_default(), &request.body).expect("a form");
        let field = |name: &str| fields.iter().find(|field| field.name == name);
        let file = match kind {
            "images" => {
                assert_eq!(field("image_type").expect("a type").data, b"message");
                field("image")
            }
            _ => {
                let types: [&[u8]; 7] = [b"opus", b"mp4", b"pdf", b"doc", b"xls", b"ppt", b"stream"];
                assert!(types.contains(&field("file_type").expect("a type").data.as_slice()));
                assert!(field("file_name").is_some());
                field("file")
            }
        };
        let file = file.expect("a file");
        let limit = if kind == "images" { 10 } else { 30 } * 1024 * 1024;
        if file.data.is_empty() || file.data.len() > limit {
            return refused(400, 234006, "The file size exceed the max value.");
        }
        let mut state = locked(&self.state);
        state.uploaded.push((file.filename.clone().expect("a name"), file.data.clone()));
        let number = state.uploaded.len() - 1;
        match kind {
            "images" => done(&json!({"image_key": format!("img_up_{number}")})),
            _ => done(&json!({"file_key": format!("file_up_{number}")})),
        }
    }

    fn send(&self, to: &str, body: &Value) -> Response {
        if let Some(ordered) = self.orders.take("send") {
            return ordered;
        }
        if let Some((status, code, words)) = &locked(&self.state).error {
            return refused(*status, *code, words);
        }
        if body.to_string().len() > 30 * 1024 {
            return refused(400, 230025, "The length of the message content reaches its limit.");
        }
        let invalid = || refused(400, 230001, "Your request contains an invalid request parameter.");
        let kind = body["msg_type"].as_str().expect("a type");
        let Ok(content) = serde_json::from_str::<Value>(body["content"].as_str().expect("a text")) else {
            return invalid();
        };
        let text = match kind {
            "text" => content["text"].as_str().expect("a text").to_owned(),
            "post" => {
                let element = &content["zh_cn"]["content"][0][0];
                assert_eq!(element["tag"], "md");
                element["text"].as_str().expect("a text").to_owned()
            }
            "image" | "file" => String::new(),
            _ => return invalid(),
        };
        let key = ["image_key", "file_key"].into_iter().find_map(|name| content[name].as_str());
        if text.is_empty() && key.is_none() {
            return invalid();
        }
        let mut state = locked(&self.state);
        if let Some(uuid) = body["uuid"].as_str() {
            assert!((1..=50).contains(&uuid.len()), "{uuid}");
            if !state.uuids.insert(uuid.to_owned()) {
                return done(&json!({"message_id": "om_known"}));
            }
        }
        let number = key.and_then(|key| key.rsplit('_').next()?.parse::<usize>().ok());
        let file = number.map(|number| state.uploaded[number].clone());
        let in_thread = body["reply_in_thread"] == true;
        self.sent.push(Sent { to: to.to_owned(), in_thread, kind: kind.to_owned(), text, file });
        done(&json!({"message_id": format!("om_out_{}", self.sent.len())}))
    }
}
