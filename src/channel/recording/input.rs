//! A callback's input as JSON, in the fields that `tinclaw call` reads.

use serde_json::{Map, Value, json};
use wit_abi::types::{AgentResponse, StatusType};

use super::Bytes;
use crate::event::callback::Callback;

/// The input of a callback. That of `on-start` is its configuration, which stands beside it.
pub(super) fn input(callback: &Callback) -> Value {
    match callback {
        Callback::HttpRequest(request) => {
            let mut fields = json!({
                "method": request.method,
                "path": request.path,
                "headers_json": request.headers_json,
                "query_json": request.query_json,
                "secret_validated": request.secret_validated,
            });
            match Bytes::of(&request.body) {
                Bytes::Text(text) => fields["body"] = json!(text),
                Bytes::Base64 { base64 } => fields["body_base64"] = json!(base64),
            }
            fields
        }
        Callback::Timer { name, payload } => json!({"name": &**name, "payload": &**payload}),
        Callback::SocketText(text) => json!({"text": &**text}),
        Callback::SocketClose { code, reason } => json!({"code": code, "reason": &**reason}),
        Callback::Respond(response) => Value::Object(of_response(response)),
        Callback::Broadcast { user_id, response } => {
            let mut fields = of_response(response);
            fields.insert("user_id".into(), json!(&**user_id));
            Value::Object(fields)
        }
        Callback::Status(update) => json!({
            "status": status_name(update.status),
            "message": update.message,
            "metadata_json": update.metadata_json,
        }),
        _ => json!({}),
    }
}

fn of_response(response: &AgentResponse) -> Map<String, Value> {
    use base64::Engine as _;
    let attachments = response.attachments.iter().map(|file| {
        let data = base64::engine::general_purpose::STANDARD.encode(&file.data);
        json!({"filename": file.filename, "mime_type": file.mime_type, "data": data})
    });
    let fields = json!({
        "message_id": response.message_id,
        "content": response.content,
        "thread_id": response.thread_id,
        "metadata_json": response.metadata_json,
        "attachments": attachments.collect::<Value>(),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The name under which `tinclaw call` knows a status.
fn status_name(status: StatusType) -> String {
    let mut name = String::new();
    for letter in format!("{status:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
