//! Requests to the server that the operator names.

use serde_json::Value;
use tinclaw_tool_kit::Call;
use tinclaw_tool_kit::http::Request;

/// The server's base URL. The host puts the token in.
pub struct Server<'a>(&'a str);

impl<'a> Server<'a> {
    /// The server of the setting `url`.
    ///
    /// # Errors
    /// It is not set.
    pub fn of(call: &'a Call) -> Result<Self, String> {
        let url = call.setting("url").and_then(Value::as_str).unwrap_or_default().trim_end_matches('/');
        if url.is_empty() {
            return Err("the operator has not set `url` in [tool.home_assistant.config]".into());
        }
        Ok(Self(url))
    }

    pub fn get(&self, path: &str) -> Result<Value, String> {
        self.send(Request::get(format!("{}{path}", self.0)))
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.send(Request::post(format!("{}{path}", self.0), body))
    }

    fn send(&self, request: Request) -> Result<Value, String> {
        let response = request.send()?;
        match response.status {
            401 => {
                Err("Home Assistant does not accept the token: store a new one as home_assistant_token"
                    .into())
            }
            404 => Err("Home Assistant knows no such entity or service".into()),
            _ => response.success()?.json(),
        }
    }
}

/// An entity's id, such as `light.kitchen`.
///
/// # Errors
/// There is none, or it is none.
pub fn entity_id(id: Option<&str>) -> Result<&str, String> {
    let id = id.ok_or("`entity_id` is needed, as light.kitchen")?;
    match id.split_once('.') {
        Some((domain, name)) if is_name(domain) && is_name(name) => Ok(id),
        _ => Err(format!("`entity_id`: {id:?} is none, as light.kitchen is")),
    }
}

/// A domain or a service, such as `turn_on`.
///
/// # Errors
/// There is none, or it is none.
pub fn name<'a>(field: &str, name: Option<&'a str>) -> Result<&'a str, String> {
    match name {
        Some(name) if is_name(name) => Ok(name),
        Some(name) => Err(format!("`{field}`: {name:?} has other characters than a to z, 0 to 9 and _")),
        None => Err(format!("`{field}` is needed")),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}
