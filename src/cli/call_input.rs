//! The input of `tinclaw call`: from JSON to a callback. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wit_abi::types::IncomingHttpRequest;

use crate::agent::status_type;
use crate::event::callback::{Callback, CallbackKind};
use crate::model::document::{Comments, DocumentError, read};
use crate::model::unique_json::{JsonError, parse_json};
use crate::{AgentResponse, Attachment, StatusUpdate};

/// What a callback is called with, and the files that are there before.
pub struct CallInput {
    pub callback: Callback,
    pub workspace: BTreeMap<String, String>,
}

/// Why there is nothing to call a callback with.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("{name:?} is no callback: there are {names}")]
    NoCallback { name: String, names: String },
    #[error("the input is not as expected: {0}")]
    Input(Box<InputError>),
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Field(#[from] DocumentError),
    #[error("user_id: on-respond has none; on-broadcast has")]
    UserId,
    #[error("status: {0}")]
    Status(String),
    #[error("tools are called with `tinclaw tools call`")]
    Tool,
    #[error("path: the channel has no allowed path, so the input must have one")]
    NoPath,
    #[error("body: give it or `body_base64`, not both")]
    TwoBodies,
    #[error("body_base64: {0}")]
    Body(base64::DecodeError),
    #[error("the data of {filename:?} is not base64: {source}")]
    Attachment { filename: String, source: base64::DecodeError },
}

/// The callback of this name.
pub fn kind(name: &str) -> Result<CallbackKind, InputError> {
    let found = CallbackKind::ALL.into_iter().find(|kind| kind.name() == name || kind.name()[3..] == *name);
    found.ok_or_else(|| {
        let names = CallbackKind::ALL.map(CallbackKind::name).join(", ");
        InputError::NoCallback { name: name.to_owned(), names }
    })
}

/// Makes the callback of this kind. `start_config` is what `on-start` gets, `first_path` the first path that the channel
/// may have.
pub fn call_input(
    kind: CallbackKind,
    text: &str,
    start_config: Arc<str>,
    first_path: Option<&str>,
) -> Result<CallInput, InputError> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let input = parse_json(text.as_bytes())
        .map_err(InputError::Json)
        .and_then(|value| input_of(kind, value, start_config, first_path));
    input.map_err(|error| InputError::Input(Box::new(error)))
}

fn input_of(
    kind: CallbackKind,
    value: Value,
    start_config: Arc<str>,
    first_path: Option<&str>,
) -> Result<CallInput, InputError> {
    let (callback, workspace) = match kind {
        CallbackKind::Start => {
            (Callback::Start { config_json: start_config }, fields::<NoInput>(value)?.workspace)
        }
        CallbackKind::Poll => (Callback::Poll, fields::<NoInput>(value)?.workspace),
        CallbackKind::Shutdown => (Callback::Shutdown, fields::<NoInput>(value)?.workspace),
        CallbackKind::HttpRequest => {
            let input: RequestInput = fields(value)?;
            let workspace = input.workspace.clone();
            (Callback::HttpRequest(Arc::new(request(input, first_path)?)), workspace)
        }
        CallbackKind::Timer => {
            let input: TimerInput = fields(value)?;
            let name = input.name.unwrap_or_else(|| "timer".to_owned());
            (Callback::Timer { name: name.into(), payload: input.payload.into() }, input.workspace)
        }
        CallbackKind::SocketOpen => (Callback::SocketOpen, fields::<NoInput>(value)?.workspace),
        CallbackKind::SocketText => {
            let input: SocketTextInput = fields(value)?;
            (Callback::SocketText(input.text.into()), input.workspace)
        }
        CallbackKind::SocketClose => {
            let input: SocketCloseInput = fields(value)?;
            (Callback::SocketClose { code: input.code, reason: input.reason.into() }, input.workspace)
        }
        CallbackKind::Respond => {
            let input: ResponseInput = fields(value)?;
            if input.user_id.is_some() {
                return Err(InputError::UserId);
            }
            let workspace = input.workspace.clone();
            (Callback::Respond(Arc::new(response(input)?)), workspace)
        }
        CallbackKind::Broadcast => {
            let mut input: ResponseInput = fields(value)?;
            let user_id = input.user_id.take().unwrap_or_else(|| "user".to_owned()).into();
            let workspace = input.workspace.clone();
            (Callback::Broadcast { user_id, response: Arc::new(response(input)?) }, workspace)
        }
        CallbackKind::Status => {
            let input: StatusInput = fields(value)?;
            let status = status_type(input.status.as_deref().unwrap_or("thinking"))
                .map_err(|error| InputError::Status(error.to_string()))?;
            let metadata_json = input.metadata_json.unwrap_or_else(|| metadata(input.metadata));
            let update = StatusUpdate { status, message: input.message, metadata_json };
            (Callback::Status(Arc::new(update)), input.workspace)
        }
        // `CallbackKind::ALL`, of which the command line takes one, does not have these.
        CallbackKind::Execute | CallbackKind::Schema | CallbackKind::Description => {
            return Err(InputError::Tool);
        }
    };
    Ok(CallInput { callback, workspace })
}

fn fields<T: DeserializeOwned>(value: Value) -> Result<T, InputError> {
    Ok(read(value, Comments::Refused)?)
}

/// The input of a callback that takes nothing.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NoInput {
    workspace: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RequestInput {
    workspace: BTreeMap<String, String>,
    path: Option<String>,
    body: Option<Value>,
    body_base64: Option<String>,
    headers: BTreeMap<String, String>,
    /// As the guest gets them, in place of `headers`.
    headers_json: Option<String>,
    query_json: Option<String>,
    method: Option<String>,
    query: BTreeMap<String, String>,
    secret_validated: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SocketTextInput {
    workspace: BTreeMap<String, String>,
    text: String,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SocketCloseInput {
    workspace: BTreeMap<String, String>,
    code: Option<u16>,
    reason: String,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TimerInput {
    workspace: BTreeMap<String, String>,
    name: Option<String>,
    payload: String,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ResponseInput {
    workspace: BTreeMap<String, String>,
    user_id: Option<String>,
    message_id: Option<String>,
    content: Option<String>,
    thread_id: Option<String>,
    metadata: Option<Value>,
    /// As the guest gets it, in place of `metadata`.
    metadata_json: Option<String>,
    attachments: Vec<AttachmentInput>,
}

/// A file with its bytes in base64.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttachmentInput {
    filename: String,
    #[serde(default)]
    mime_type: Option<String>,
    data: String,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StatusInput {
    workspace: BTreeMap<String, String>,
    status: Option<String>,
    message: String,
    metadata: Option<Value>,
    /// As the guest gets it, in place of `metadata`.
    metadata_json: Option<String>,
}

fn metadata(metadata: Option<Value>) -> String {
    metadata.map_or_else(|| "{}".to_owned(), |metadata| metadata.to_string())
}

fn request(input: RequestInput, first_path: Option<&str>) -> Result<IncomingHttpRequest, InputError> {
    let Some(path) = input.path.or_else(|| first_path.map(str::to_owned)) else {
        return Err(InputError::NoPath);
    };
    let body = body(input.body, input.body_base64)?;
    let headers = input.headers.into_iter().map(|(name, value)| (name.to_lowercase(), value));
    let mut headers: BTreeMap<String, String> = headers.collect();
    if !body.is_empty() {
        headers.entry("content-type".into()).or_insert_with(|| "application/json".into());
    }
    Ok(IncomingHttpRequest {
        method: input.method.unwrap_or_else(|| "POST".to_owned()).to_uppercase(),
        path,
        headers_json: input.headers_json.unwrap_or_else(|| object(headers)),
        query_json: input.query_json.unwrap_or_else(|| object(input.query)),
        body,
        secret_validated: input.secret_validated.unwrap_or(true),
    })
}

fn body(body: Option<Value>, body_base64: Option<String>) -> Result<Vec<u8>, InputError> {
    match (body, body_base64) {
        (Some(_), Some(_)) => Err(InputError::TwoBodies),
        (Some(Value::String(text)), None) => Ok(text.into_bytes()),
        (Some(value), None) => Ok(value.to_string().into_bytes()),
        (None, Some(text)) => BASE64.decode(text).map_err(InputError::Body),
        (None, None) => Ok(Vec::new()),
    }
}

fn object(fields: BTreeMap<String, String>) -> String {
    Value::Object(fields.into_iter().map(|(name, value)| (name, Value::String(value))).collect()).to_string()
}

fn response(input: ResponseInput) -> Result<AgentResponse, InputError> {
    Ok(AgentResponse {
        message_id: input.message_id.unwrap_or_else(|| "1".to_owned()),
        content: input.content.unwrap_or_else(|| "Hello".to_owned()),
        thread_id: input.thread_id,
        metadata_json: input.metadata_json.unwrap_or_else(|| metadata(input.metadata)),
        attachments: input.attachments.into_iter().map(attachment).collect::<Result<_, _>>()?,
    })
}

fn attachment(input: AttachmentInput) -> Result<Attachment, InputError> {
    let AttachmentInput { filename, mime_type, data } = input;
    let data = BASE64.decode(data);
    let data = data.map_err(|source| InputError::Attachment { filename: filename.clone(), source })?;
    let mime_type = mime_type.unwrap_or_else(|| "application/octet-stream".to_owned());
    Ok(Attachment { data, filename, mime_type })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(kind: CallbackKind, json: &str) -> Result<Callback, String> {
        call_input(kind, json, "{}".into(), Some("/webhook/a"))
            .map(|input| input.callback)
            .map_err(|error| error.to_string())
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
            (CallbackKind::Poll, "{", "not JSON: EOF while parsing an object at line 1 column 1"),
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
        assert!(
            input(CallbackKind::Status, r#"{"status":"asleep"}"#).unwrap_err().contains("is not a status")
        );
        let pathless =
            call_input(CallbackKind::HttpRequest, "", "{}".into(), None).err().unwrap().to_string();
        assert!(pathless.contains("must have one"), "{pathless}");
        assert!(kind("on-pol").is_err());
        assert_eq!(kind("poll").unwrap(), CallbackKind::Poll);
    }
}
