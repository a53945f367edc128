//! The input of `tinclaw call`: from JSON to a callback. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tinclaw::agent::status_type;
use tinclaw::event::callback::{Callback, CallbackKind};
use tinclaw::fields::{Fields, json, strictly};
use tinclaw::{AgentResponse, Attachment, StatusUpdate};
use wit_abi::types::IncomingHttpRequest;

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

/// Makes the callback of this kind. `start_config` is what `on-start` gets, `first_path` the first path that the channel
/// may have.
pub fn call_input(
    kind: CallbackKind,
    text: &str,
    start_config: Arc<str>,
    first_path: Option<&str>,
) -> Result<CallInput, String> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let read = |fields: &mut Fields| {
        let workspace = fields.texts_by_name("workspace");
        Some(CallInput { callback: callback(kind, fields, start_config, first_path)?, workspace })
    };
    let input = json(text).and_then(|value| strictly(value, read));
    input.map_err(|wrong| format!("the input is not as expected: {wrong}"))
}

fn callback(
    kind: CallbackKind,
    fields: &mut Fields,
    start_config: Arc<str>,
    first_path: Option<&str>,
) -> Option<Callback> {
    Some(match kind {
        CallbackKind::Start => Callback::Start { config_json: start_config },
        CallbackKind::HttpRequest => Callback::HttpRequest(Arc::new(request(fields, first_path)?)),
        CallbackKind::Poll => Callback::Poll,
        CallbackKind::Shutdown => Callback::Shutdown,
        CallbackKind::Timer => Callback::Timer {
            name: text_or(fields, "name", "timer").into(),
            payload: text_or(fields, "payload", "").into(),
        },
        CallbackKind::Respond => {
            if fields.any("user_id").is_some() {
                return fields.check("user_id", Err("on-respond has none; on-broadcast has".into()));
            }
            Callback::Respond(Arc::new(response(fields)))
        }
        CallbackKind::Broadcast => Callback::Broadcast {
            user_id: text_or(fields, "user_id", "user").into(),
            response: Arc::new(response(fields)),
        },
        CallbackKind::Status => {
            let status = status_type(&text_or(fields, "status", "thinking"));
            Callback::Status(Arc::new(StatusUpdate {
                status: fields.check("status", status)?,
                message: text_or(fields, "message", ""),
                metadata_json: metadata(fields),
            }))
        }
    })
}

fn text_or(fields: &mut Fields, name: &'static str, default: &str) -> String {
    fields.text(name).unwrap_or_else(|| default.to_owned())
}

fn metadata(fields: &mut Fields) -> String {
    fields.any("metadata").map_or_else(|| "{}".to_owned(), |metadata| metadata.to_string())
}

fn request(fields: &mut Fields, first_path: Option<&str>) -> Option<IncomingHttpRequest> {
    let Some(path) = fields.text("path").or_else(|| first_path.map(str::to_owned)) else {
        return fields
            .check("path", Err("the channel has no allowed path, so the input must have one".into()));
    };
    let body = body(fields)?;
    let mut headers = BTreeMap::new();
    for (name, value) in fields.texts_by_name("headers") {
        headers.insert(name.to_lowercase(), value);
    }
    if !body.is_empty() {
        headers.entry("content-type".into()).or_insert_with(|| "application/json".into());
    }
    Some(IncomingHttpRequest {
        method: text_or(fields, "method", "POST").to_uppercase(),
        path,
        headers_json: object(headers),
        query_json: object(fields.texts_by_name("query")),
        body,
        secret_validated: fields.flag("secret_validated").unwrap_or(true),
    })
}

fn body(fields: &mut Fields) -> Option<Vec<u8>> {
    match (fields.any("body"), fields.text("body_base64")) {
        (Some(_), Some(_)) => fields.check("body", Err("give it or `body_base64`, not both".into())),
        (Some(Value::String(text)), None) => Some(text.into_bytes()),
        (Some(value), None) => Some(value.to_string().into_bytes()),
        (None, Some(text)) => {
            fields.check("body_base64", BASE64.decode(text).map_err(|error| error.to_string()))
        }
        (None, None) => Some(Vec::new()),
    }
}

fn object(fields: BTreeMap<String, String>) -> String {
    Value::Object(fields.into_iter().map(|(name, value)| (name, Value::String(value))).collect()).to_string()
}

fn response(fields: &mut Fields) -> AgentResponse {
    AgentResponse {
        message_id: text_or(fields, "message_id", "1"),
        content: text_or(fields, "content", "Hello"),
        thread_id: fields.text("thread_id"),
        metadata_json: metadata(fields),
        attachments: fields.inner_list("attachments", attachment),
    }
}

/// A file with its bytes in base64.
fn attachment(fields: &mut Fields) -> Option<Attachment> {
    let filename = fields.text("filename")?;
    let mime_type = fields.text("mime_type").unwrap_or_else(|| "application/octet-stream".to_owned());
    let data = BASE64.decode(fields.text("data")?);
    let data = data.map_err(|error| format!("the data of {filename:?} is not base64: {error}"));
    Some(Attachment { data: fields.check("data", data)?, filename, mime_type })
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
        for (kind, json, expected) in [
            (CallbackKind::Poll, r#"{"x":1}"#, "unknown field `x`; known here are workspace"),
            (CallbackKind::Timer, r#"{"paylod":""}"#, "unknown field `paylod`; did you mean `payload`?"),
            (
                CallbackKind::HttpRequest,
                r#"{"body":"a","body_base64":"YQ=="}"#,
                "body: give it or `body_base64`, not both",
            ),
            (
                CallbackKind::HttpRequest,
                r#"{"body_base64":"!"}"#,
                "body_base64: Invalid symbol 33, offset 0.",
            ),
            (CallbackKind::HttpRequest, "[]", "it must be a set of fields, not a list"),
            (CallbackKind::Poll, "{", "no JSON: EOF while parsing an object at line 1 column 1"),
            (CallbackKind::Respond, r#"{"user_id":"a"}"#, "user_id: on-respond has none; on-broadcast has"),
            (
                CallbackKind::Broadcast,
                r#"{"attachments":[{"filename":"a","data":"","size":0}]}"#,
                "unknown field `attachments[0].size`; known here are filename, mime_type, data",
            ),
            (CallbackKind::Poll, r#"{"workspace":{"a":1}}"#, "workspace.a must be a string, not 1"),
        ] {
            let expected = format!("the input is not as expected: {expected}");
            assert_eq!(input(kind, json).err(), Some(expected), "{json}");
        }
        assert!(input(CallbackKind::Status, r#"{"status":"asleep"}"#).unwrap_err().contains("is no status"));
        let pathless = call_input(CallbackKind::HttpRequest, "", "{}".into(), None).err().unwrap();
        assert!(pathless.contains("must have one"), "{pathless}");
        assert!(kind("on-pol").is_err());
        assert_eq!(kind("poll"), Ok(CallbackKind::Poll));
    }
}
