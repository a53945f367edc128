//! Requests. The host checks each against the tool's allow-list, puts the credentials in, and keeps to the tool's rate.

use serde_json::{Map, Value};

use crate::host;

/// Bytes of a response that an error quotes.
const QUOTED_BYTES: usize = 200;

/// A request that is put together and sent.
#[derive(Debug)]
pub struct Request {
    method: &'static str,
    url: String,
    headers: Map<String, Value>,
    body: Option<Vec<u8>>,
    timeout_ms: Option<u32>,
}

impl Request {
    /// A request with this method, in capitals.
    pub fn new(method: &'static str, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Map::new(), body: None, timeout_ms: None }
    }

    /// A GET request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST request with this value as JSON.
    pub fn post(url: impl Into<String>, value: &Value) -> Self {
        let mut request = Self::new("POST", url).header("content-type", "application/json");
        request.body = Some(value.to_string().into_bytes());
        request
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.into());
        self
    }

    /// How long to wait for the response, in milliseconds. Default: what the capability file says.
    #[must_use]
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.timeout_ms = Some(timeout_ms);
        self
    }

    /// Sends it. A response of any status is a response.
    ///
    /// # Errors
    /// The host's words: it refused to send, or there is no response.
    pub fn send(self) -> Result<Response, String> {
        let headers = Value::Object(self.headers).to_string();
        let response =
            host::http_request(self.method, &self.url, &headers, self.body.as_deref(), self.timeout_ms)?;
        let headers = match serde_json::from_str(&response.headers_json) {
            Ok(Value::Object(headers)) => headers,
            _ => Map::new(),
        };
        Ok(Response { status: response.status, headers, body: response.body })
    }
}

/// What the server responded with.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: Map<String, Value>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.as_str()
    }

    /// The response when its status is 200 to 299.
    ///
    /// # Errors
    /// The status, and the beginning of the body.
    pub fn success(self) -> Result<Self, String> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(QUOTED_BYTES)]);
        let words = body.split_whitespace().collect::<Vec<_>>().join(" ");
        Err(format!("the server responded with {}: {words}", self.status))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("the response is no JSON: {error}"))
    }
}
