//! Requests to the service: typed, with failures that say whether trying again helps.
//!
//! The host puts the credentials in, checks each request against the channel's allow-list, and keeps to the channel's rate.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;
use crate::host;
use crate::json;
use crate::multipart::Multipart;
use crate::retry_after;

/// The bytes of a response that a failure quotes, where the service has no field for its words.
const QUOTED_BYTES: usize = 200;

/// A request that is put together and sent.
#[derive(Debug)]
pub struct Request {
    method: &'static str,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    timeout_ms: Option<u32>,
}

impl Request {
    /// A request with this method, in capitals. The URL may hold a placeholder such as `{TELEGRAM_BOT_TOKEN}`.
    pub fn new(method: &'static str, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: None, timeout_ms: None }
    }

    /// A GET request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST request.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// A PUT request.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new("PUT", url)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends this value as JSON.
    ///
    /// # Panics
    /// When the value is none that JSON has, such as a map whose keys are no texts.
    pub fn json(self, value: &impl Serialize) -> Self {
        self.header("content-type", "application/json; charset=utf-8").body(json::text(value).into_bytes())
    }

    /// Sends a form with files.
    pub fn multipart(self, form: Multipart<'_>) -> Self {
        let (content_type, body) = form.finish();
        self.header("content-type", &content_type).body(body)
    }

    /// Sends these bytes.
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    /// How long to wait for the response, in milliseconds. Default: what the capability file says.
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.timeout_ms = Some(timeout_ms);
        self
    }

    /// Sends it. A response of any status is a response.
    ///
    /// # Errors
    /// [`Failure::NotSent`] when there is no response, or when the host refused to send.
    pub fn send(self) -> Result<Response, Failure> {
        let headers: serde_json::Map<String, Value> =
            self.headers.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
        let headers = Value::Object(headers).to_string();
        let sent =
            host::http_request(self.method, &self.url, &headers, self.body.as_deref(), self.timeout_ms);
        match sent {
            Ok(response) => Ok(Response {
                status: response.status,
                headers: json::fields(&response.headers_json),
                body: response.body,
            }),
            Err(words) => Err(Failure::NotSent(words)),
        }
    }
}

/// What the service responded.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: serde_json::Map<String, Value>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.as_str()
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as this type.
    ///
    /// # Errors
    /// [`Failure::Temporary`]: it is not what the service documents, which a proxy in between may have caused.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::read(&self.body)
            .map_err(|error| Failure::temporary(format!("the service's response is not readable: {error}")))
    }

    /// The body as JSON, or null.
    pub fn value(&self) -> Value {
        json::value(&self.body)
    }

    /// How long the service asks to wait, in milliseconds.
    pub fn retry_after_ms(&self) -> Option<u64> {
        retry_after::of_response(self.header("retry-after"), &self.body, host::now_millis())
    }

    /// The response when its status is 200 to 299.
    ///
    /// # Errors
    /// What the status means (RFC 9110, section 15): 401 is [`Failure::Unauthorized`]; 408, 409, 425, 429 and 5xx are
    /// [`Failure::Temporary`] with the wait that the service asks for; every other one is [`Failure::Permanent`].
    pub fn success(self) -> Result<Self, Failure> {
        if self.is_success() { Ok(self) } else { Err(self.failure(&self.words())) }
    }

    /// The failure that the status stands for, with these words.
    pub fn failure(&self, words: &str) -> Failure {
        let words = format!("the service responded with {}: {words}", self.status);
        match self.status {
            401 => Failure::Unauthorized(words),
            400..=499 if !matches!(self.status, 408 | 409 | 425 | 429) => Failure::Permanent(words),
            _ => Failure::Temporary { words, retry_after_ms: self.retry_after_ms() },
        }
    }

    /// What the service says about an error: its field for that, or the beginning of the body.
    fn words(&self) -> String {
        let body = self.value();
        let fields = ["/description", "/error/message", "/error", "/message", "/msg"];
        if let Some(words) = fields.iter().find_map(|field| body.pointer(field)?.as_str()) {
            return words.to_owned();
        }
        let cut = &self.body[..self.body.len().min(QUOTED_BYTES)];
        String::from_utf8_lossy(cut).trim().to_owned()
    }
}

/// A text as part of a URL's path or query.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(HEX[usize::from(byte >> 4)].into());
                out.push(HEX[usize::from(byte & 15)].into());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        Response { status, body: body.into(), ..Response::default() }
    }

    #[test]
    fn a_status_says_whether_trying_again_helps() {
        for (status, expected) in [
            (400, "permanent: the service responded with 400: no"),
            (401, "unauthorized: the service responded with 401: no"),
            (403, "permanent: the service responded with 403: no"),
            (408, "temporary: the service responded with 408: no"),
            (409, "temporary: the service responded with 409: no"),
            (425, "temporary: the service responded with 425: no"),
            (429, "temporary: the service responded with 429: no"),
            (500, "temporary: the service responded with 500: no"),
            (302, "temporary: the service responded with 302: no"),
        ] {
            let failure = response(status, r#"{"description":"no"}"#).success().unwrap_err();
            assert_eq!(failure.to_string(), expected);
        }
        assert!(response(204, "").success().is_ok());
    }

    #[test]
    fn the_words_of_the_service_are_found() {
        for (body, words) in [
            (r#"{"description":"a"}"#, "a"),
            (r#"{"error":{"message":"b"}}"#, "b"),
            (r#"{"error":"c"}"#, "c"),
            (r#"{"message":"d"}"#, "d"),
            (" plain ", "plain"),
            ("", ""),
        ] {
            assert_eq!(response(400, body).words(), words);
        }
    }

    #[test]
    fn a_path_holds_what_was_meant() {
        assert_eq!(encoded("!room:a.b/c d"), "%21room%3Aa.b%2Fc%20d");
        assert_eq!(encoded("ü"), "%C3%BC");
    }
}
