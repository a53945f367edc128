//! A fake of Meta's Graph API for WhatsApp: <https://developers.facebook.com/docs/whatsapp/cloud-api/reference>.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ring::hmac;
use serde_json::{Value, json};

use crate::fake::{CallLog, Orders, json as response, locked};
use crate::form;
use crate::play::Play;
use crate::support::client::{self, Reply};
use crate::support::upstream::{Recorded, Response, Upstream};

const TOKEN: &str = "Bearer value-of-whatsapp_access_token";
/// The number that the bot writes from.
pub const NUMBER: &str = "1066";

/// A message that the bot sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub to: String,
    pub quoted: Option<String>,
    pub kind: String,
    pub text: String,
    pub file: Option<(String, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    /// What every message is refused with: status, code, details.
    error: Option<(u16, i64, String)>,
    is_down: bool,
    media: BTreeMap<String, Vec<u8>>,
    uploaded: Vec<(String, Vec<u8>)>,
}

#[derive(Default)]
pub struct Inner {
    app_secret: String,
    state: Mutex<State>,
    pub orders: Orders,
    pub sent: CallLog<Sent>,
    pub typing: CallLog<String>,
}

pub struct WhatsApp {
    pub inner: Arc<Inner>,
    pub upstream: Upstream,
}

impl WhatsApp {
    /// An app with the secrets of the plays.
    pub fn start() -> Self {
        Self::with_secret("value-of-whatsapp_app_secret")
    }

    /// An app with this secret.
    pub fn with_secret(app_secret: &str) -> Self {
        let inner = Arc::new(Inner { app_secret: app_secret.to_owned(), ..Inner::default() });
        let upstream = Upstream::of(&inner, Inner::response);
        Self { inner, upstream }
    }

    pub fn fail_with(&self, status: u16, code: i64, details: &str) {
        locked(&self.inner.state).error = Some((status, code, details.to_owned()));
    }

    pub fn set_down(&self, is_down: bool) {
        locked(&self.inner.state).is_down = is_down;
    }

    pub fn put_media(&self, id: &str, data: &[u8]) {
        locked(&self.inner.state).media.insert(id.to_owned(), data.to_vec());
    }

    /// Posts what Meta posts, with its signature ("Validating Payloads").
    pub fn post(&self, play: &Play, value: &Value) -> Reply {
        self.post_to(play.address, value)
    }

    /// The same to the host at this address.
    pub fn post_to(&self, address: SocketAddr, value: &Value) -> Reply {
        let body = json!({"object": "whatsapp_business_account",
            "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]})
        .to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.inner.app_secret.as_bytes());
        let tag = hmac::sign(&key, body.as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let signature = format!("sha256={hex}");
        let headers = [("content-type", "application/json"), ("x-hub-signature-256", signature.as_str())];
        client::request(address, "POST", "/webhook/whatsapp", &headers, body.as_bytes())
    }

    /// A message of Ann's.
    pub fn say(&self, play: &Play, message: Value) -> Reply {
        self.say_to(play.address, message)
    }

    /// The same to the host at this address.
    pub fn say_to(&self, address: SocketAddr, message: Value) -> Reply {
        let value = json!({"messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550001", "phone_number_id": NUMBER},
            "contacts": [{"wa_id": "4915", "profile": {"name": "Ann"}}],
            "messages": [message]});
        self.post_to(address, &value)
    }
}

fn refused(status: u16, code: i64, details: &str) -> Response {
    response(
        status,
        &json!({"error": {"message": format!("(#{code}) {details}"), "type": "OAuthException", "code": code,
            "error_data": {"messaging_product": "whatsapp", "details": details}}}),
    )
}

impl Inner {
    fn response(&self, request: &Recorded) -> Response {
        if locked(&self.state).is_down {
            return (503, Vec::new(), Vec::new());
        }
        if request.header("authorization") != Some(TOKEN) {
            return refused(401, 190, "Invalid OAuth access token");
        }
        // `lookaside.fbsbx.com`
        if let Some(id) = request.target.strip_prefix("/whatsapp_business/attachments/?mid=") {
            return match locked(&self.state).media.get(id) {
                Some(data) => (200, Vec::new(), data.clone()),
                None => (404, Vec::new(), Vec::new()),
            };
        }
        let Some(path) = request.target.strip_prefix("/v23.0/") else {
            return refused(400, 2635, "Unsupported version");
        };
        match (request.method.as_str(), path) {
            ("POST", "1066/messages") => self.message(&request.json()),
            ("POST", "1066/media") => self.upload(request),
            ("GET", NUMBER) => response(
                200,
                &json!({"id": NUMBER, "display_phone_number": "+1 555-0001", "verified_name": "Tin"}),
            ),
            ("GET", id) => self.place(id),
            _ => refused(400, 100, "Unsupported request"),
        }
    }

    fn place(&self, id: &str) -> Response {
        let state = locked(&self.state);
        let Some(data) = state.media.get(id) else { return refused(400, 100, "Object does not exist") };
        let url = format!("https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid={id}");
        response(200, &json!({"id": id, "url": url, "mime_type": "image/png", "file_size": data.len()}))
    }

    fn upload(&self, request: &Recorded) -> Response {
        let fields =
            form::read(request.header("content-type").unwrap_or_default(), &request.body).expect("a form");
        let field = |name: &str| fields.iter().find(|field| field.name == name);
        assert_eq!(field("messaging_product").expect("a product").data, b"whatsapp");
        assert!(field("type").is_some());
        let file = field("file").expect("a file");
        let mut state = locked(&self.state);
        state.uploaded.push((file.filename.clone().expect("a name"), file.data.clone()));
        response(200, &json!({"id": (state.uploaded.len() - 1).to_string()}))
    }

    fn message(&self, body: &Value) -> Response {
        assert_eq!(body["messaging_product"], "whatsapp");
        if let Some(ordered) = self.orders.take("message") {
            return ordered;
        }
        if let Some((status, code, details)) = &locked(&self.state).error {
            return refused(*status, *code, details);
        }
        if body["status"] == "read" {
            assert_eq!(body["typing_indicator"], json!({"type": "text"}));
            self.typing.push(body["message_id"].as_str().expect("a message").to_owned());
            return response(200, &json!({"success": true}));
        }
        let kind = body["type"].as_str().unwrap_or_default();
        let content = &body[kind];
        let text = content["body"].as_str().unwrap_or_default();
        if kind == "text" && (text.is_empty() || text.chars().count() > 4096) {
            return refused(400, 100, "Param text.body must be 1 to 4096 characters long");
        }
        let to = body["to"].as_str().unwrap_or_default();
        if !to.bytes().all(|byte| byte.is_ascii_digit()) {
            return refused(400, 131009, "Parameter value is not valid");
        }
        let file = content["id"].as_str().map(|id| {
            let uploaded: usize = id.parse().expect("an upload");
            locked(&self.state).uploaded[uploaded].clone()
        });
        self.sent.push(Sent {
            to: to.to_owned(),
            quoted: body["context"]["message_id"].as_str().map(str::to_owned),
            kind: kind.to_owned(),
            text: text.to_owned(),
            file,
        });
        response(200, &json!({"messaging_product": "whatsapp", "messages": [{"id": "wamid.out"}]}))
    }
}
