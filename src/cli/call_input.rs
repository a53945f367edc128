//! The input of `tinclaw call`: from JSON to a callback. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tinclaw::event::callback::{Callback, CallbackKind};
use tinclaw::{AgentResponse, Attachment, StatusUpdate};
use wit_abi::types::IncomingHttpRequest;

use super::agent::status_type;

/// What a callback is called with, and the files that are there before.
pub struct CallInput {
    pub callback: Callback,
    pub workspace: BTreeMap<String, String>,
}

/// The callback of this name.
pub fn kind(name: &str) -> Result<CallbackKind, String> {
    let found = CallbackKind::ALL.into_iter().find(|kind| kind.name() == name || kind.name()[3..] == *name);
    found.ok_or_else(|| {
        let names = CallbackKind::ALL.map(CallbackKind::name).join(", ");
        format!("{name:?} is no callback: there are {names}")
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RequestIn {
    method: String,
    path: Option<String>,
    headers: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
    body: Option<Value>,
    body_base64: Option<String>,
    secret_validated: bool,
}

impl Default for RequestIn {
    fn default() -> Self {
        Self {
            method: "POST".into(),
            path: None,
            headers: BTreeMap::new(),
            query: BTreeMap::new(),
            body: None,
            body_base64: None,
            secret_validated: true,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TimerIn {
    name: String,
    payload: String,
}

impl Default for TimerIn {
    fn default() -> Self {
        Self { name: "timer".into(), payload: String::new() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ResponseIn {
    user_id: String,
    message_id: String,
    content: String,
    thread_id: Option<String>,
    metadata: Value,
    attachments: Vec<FileIn>,
}

impl Default for ResponseIn {
    fn default() -> Self {
        Self {
            user_id: "user".into(),
            message_id: "1".into(),
            content: "Hello".into(),
            thread_id: None,
            metadata: Value::Object(Map::new()),
            attachments: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIn {
    filename: String,
    #[serde(default = "octets")]
    mime_type: String,
    data: String,
}

fn octets() -> String {
    "application/octet-stream".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StatusIn {
    status: String,
    message: String,
    metadata: Value,
}

impl Default for StatusIn {
    fn default() -> Self {
        Self { status: "thinking".into(), message: String::new(), metadata: Value::Object(Map::new()) }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NothingIn {}

/// Makes the callback of this kind. `start_config` is what `on-start` gets, `first_path` the first path that the channel
/// may have.
pub fn call_input(
    kind: CallbackKind,
    json: &str,
    start_config: Arc<str>,
    first_path: Option<&str>,
) -> Result<CallInput, String> {
    let text = if json.trim().is_empty() { "{}" } else { json };
    let mut fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("the input is no JSON object: {error}"))?;
    let workspace = fields.remove("workspace").map_or(Ok(BTreeMap::new()), serde_json::from_value);
    let workspace = workspace.map_err(|error| format!("`workspace` is no object of texts: {error}"))?;
    let callback = match kind {
        CallbackKind::Start => {
            read::<NothingIn>(fields)?;
            Callback::Start { config_json: start_config }
        }
        CallbackKind::HttpRequest => Callback::HttpRequest(Arc::new(request(read(fields)?, first_path)?)),
        CallbackKind::Poll => read::<NothingIn>(fields).map(|_| Callback::Poll)?,
        CallbackKind::Shutdown => read::<NothingIn>(fields).map(|_| Callback::Shutdown)?,
        CallbackKind::Timer => {
            let TimerIn { name, payload } = read(fields)?;
            Callback::Timer { name: name.into(), payload: payload.into() }
        }
        CallbackKind::Respond => {
            if fields.contains_key("user_id") {
                return Err("on-respond has no `user_id`; on-broadcast has".into());
            }
            Callback::Respond(Arc::new(response(read(fields)?)?.1))
        }
        CallbackKind::Broadcast => {
            let (user_id, response) = response(read(fields)?)?;
            Callback::Broadcast { user_id: user_id.into(), response: Arc::new(response) }
        }
        CallbackKind::Status => {
            let StatusIn { status, message, metadata } = read(fields)?;
            let status = status_type(&status)?;
            Callback::Status(Arc::new(StatusUpdate { status, message, metadata_json: metadata.to_string() }))
        }
    };
    Ok(CallInput { callback, workspace })
}

fn read<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| format!("the input is not as expected: {error}"))
}

fn request(input: RequestIn, first_path: Option<&str>) -> Result<IncomingHttpRequest, String> {
    let path = input.path.or_else(|| first_path.map(str::to_owned));
    let path = path.ok_or("the channel has no allowed path, so the input must have `path`")?;
    let body = match (input.body, input.body_base64) {
        (Some(_), Some(_)) => return Err("the input has both `body` and `body_base64`".into()),
        (Some(Value::String(text)), None) => text.into_bytes(),
        (Some(value), None) => value.to_string().into_bytes(),
        (None, Some(text)) => BASE64.decode(&text).map_err(|error| format!("`body_base64`: {error}"))?,
        (None, None) => Vec::new(),
    };
    let mut headers: BTreeMap<String, String> =
        input.headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    if !body.is_empty() {
        headers.entry("content-type".into()).or_insert_with(|| "application/json".into());
    }
    Ok(IncomingHttpRequest {
        method: input.method.to_uppercase(),
        path,
        headers_json: object(headers),
        query_json: object(input.query),
        body,
        secret_validated: input.secret_validated,
    })
}

fn object(fields: BTreeMap<String, String>) -> String {
    Value::Object(fields.into_iter().map(|(name, value)| (name, Value::String(value))).collect()).to_string()
}

fn response(input: ResponseIn) -> Result<(String, AgentResponse), String> {
    let attachments = input.attachments.into_iter().map(|file| {
        let data =
            BASE64.decode(&file.data).map_err(|error| format!("attachment {:?}: {error}", file.filename))?;
        Ok(Attachment { filename: file.filename, mime_type: file.mime_type, data })
    });
    let response = AgentResponse {
        message_id: input.message_id,
        content: input.content,
        thread_id: input.thread_id,
        metadata_json: input.metadata.to_string(),
        attachments: attachments.collect::<Result<_, String>>()?,
    };
    Ok((input.user_id, response))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(kind: CallbackKind, json: &str) -> Result<Callback, String> {
        call_input(kind, json, "{}".into(), Some("/webhook/a")).map(|input| input.callback)
    }

    #[test]
    fn every_callback_has_defaults() {
        for kind in CallbackKind::ALL {
            for json in ["", "{}"] {
                assert_eq!(input(kind, json).unwrap().kind(), kind);
            }
        }
    }

    #[test]
    fn a_request_is_what_was_written() {
        let json = r#"{"method":"put","headers":{"X-A":"1"},"query":{"q":"2"},"body":{"b":[1]}}"#;
        let Ok(Callback::HttpRequest(request)) = input(CallbackKind::HttpRequest, json) else { panic!() };
        assert_eq!((request.method.as_str(), request.path.as_str()), ("PUT", "/webhook/a"));
        assert_eq!(request.headers_json, r#"{"content-type":"application/json","x-a":"1"}"#);
        assert_eq!(
            (request.query_json.as_str(), request.body.as_slice()),
            (r#"{"q":"2"}"#, br#"{"b":[1]}"#.as_slice())
        );
        assert!(request.secret_validated);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (kind, json, part) in [
            (CallbackKind::Poll, r#"{"x":1}"#, "unknown field `x`"),
            (CallbackKind::HttpRequest, r#"{"body":"a","body_base64":"YQ=="}"#, "both"),
            (CallbackKind::HttpRequest, "[]", "no JSON object"),
            (CallbackKind::Respond, r#"{"user_id":"a"}"#, "no `user_id`"),
            (CallbackKind::Status, r#"{"status":"asleep"}"#, "no status"),
            (CallbackKind::Poll, r#"{"workspace":{"a":1}}"#, "no object of texts"),
        ] {
            let error = input(kind, json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
        assert!(kind("on-pol").is_err());
        assert_eq!(kind("poll"), Ok(CallbackKind::Poll));
    }
}
