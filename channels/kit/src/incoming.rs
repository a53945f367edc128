//! A request to the channel, and its response.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::bindings::exports::near::agent::channel::{IncomingHttpRequest, OutgoingHttpResponse};
use crate::json;

/// A request to one of the channel's paths.
#[derive(Debug)]
pub struct Incoming {
    /// The method, in capitals.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The body as it came.
    pub body: Vec<u8>,
    /// Whether the host has authenticated the sender.
    pub is_authenticated: bool,
    headers: Map<String, Value>,
    query: Map<String, Value>,
}

impl Incoming {
    pub(crate) fn of(request: IncomingHttpRequest) -> Self {
        Self {
            method: request.method,
            path: request.path,
            body: request.body,
            is_authenticated: request.secret_validated,
            headers: json::fields(&request.headers_json),
            query: json::fields(&request.query_json),
        }
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.as_str()
    }

    /// A value of the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name)?.as_str()
    }

    /// The body as this type.
    ///
    /// # Errors
    /// What does not fit.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        json::read(&self.body)
    }

    /// The body as JSON, or the fields of a form (`application/x-www-form-urlencoded`) as an object of texts.
    pub fn value(&self) -> Value {
        let is_form = self
            .header("content-type")
            .is_some_and(|value| value.trim_start().starts_with("application/x-www-form-urlencoded"));
        if is_form {
            return Value::Object(form_fields(&self.body));
        }
        json::value(&self.body)
    }
}

/// The fields of a form (the URL standard, section 5.1).
pub(crate) fn form_fields(body: &[u8]) -> Map<String, Value> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = form_text(halves.next().unwrap_or_default());
            (name, Value::from(form_text(halves.next().unwrap_or_default())))
        })
        .collect()
}

fn form_text(bytes: &[u8]) -> String {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let decoded =
            (*byte == b'%').then(|| Some((hex(bytes.get(at + 1))?, hex(bytes.get(at + 2))?))).flatten();
        match (byte, decoded) {
            (_, Some((high, low))) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', None) => out.push(b' '),
            (byte, None) => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What the channel responds.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    headers: Map<String, Value>,
    body: Vec<u8>,
}

impl Response {
    /// 200 without a body.
    pub fn ok() -> Self {
        Self::new(200, Vec::new())
    }

    /// A status and a body without a type.
    pub fn new(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: Map::new(), body }
    }

    /// A status and a text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status, text.into().into_bytes()).header("content-type", "text/plain; charset=utf-8")
    }

    /// A status and a value as JSON.
    ///
    /// # Panics
    /// When the value is none that JSON has.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        Self::new(status, json::text(value).into_bytes()).header("content-type", "application/json")
    }

    /// Sets a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), Value::from(value));
        self
    }

    pub(crate) fn into_raw(self) -> OutgoingHttpResponse {
        OutgoingHttpResponse {
            status: self.status,
            headers_json: Value::Object(self.headers).to_string(),
            body: self.body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::form_fields;

    #[test]
    fn a_form_is_read() {
        let fields = form_fields(b"text=a+b%21%C3%BC&x=&flag&bad=%zz&y=1%2");
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
        for expected in [("text", "a b!ü"), ("x", ""), ("flag", ""), ("bad", "%zz"), ("y", "1%2")] {
            assert!(fields.contains(&expected), "{expected:?}: {fields:?}");
        }
    }
}
