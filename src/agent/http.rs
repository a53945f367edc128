//! An HTTP server that is asked for each message.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderName, HeaderValue};
use wit_abi::types::AgentResponse;

use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::human_duration::HumanDuration;
use crate::model::log_throttle::LogThrottle;
use crate::secrets::{Secret, SecretStore};

use super::message::{MAX_LINE_BYTES, message_json};
use super::quote::quote;
use super::response::{ResponseFields, read};
use super::text::lossy;
use super::{Agent, outcome};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a delivery lasts beyond the time for a response.
const LEASE_MARGIN: Duration = Duration::from_secs(60);

/// How an `http` agent is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where messages are posted.
    pub url: String,
    /// Messages that are asked for at a time, never two of one conversation. Default 8.
    pub concurrency: usize,
    /// How long a response may take. Default 2 min.
    pub timeout: Duration,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// The name of a secret that every request carries.
    pub auth_secret: Option<String>,
    /// The header that it is in. Default `authorization`, where it follows `Bearer `.
    pub auth_header: String,
}

impl HttpSettings {
    /// The defaults for this URL.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            concurrency: 8,
            timeout: Duration::from_secs(120),
            headers: Vec::new(),
            auth_secret: None,
            auth_header: AUTHORIZATION.to_owned(),
        }
    }

    /// Whether the headers can be sent.
    ///
    /// # Errors
    /// A name or a value is not one of a header.
    pub fn check(&self) -> Result<(), HeaderError> {
        for (name, value) in &self.headers {
            header_name(name)?;
            HeaderValue::from_str(value).map_err(|_| HeaderError::Value(value.clone()))?;
        }
        header_name(&self.auth_header).map(drop)
    }
}

fn header_name(name: &str) -> Result<HeaderName, HeaderError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::Name(name.to_owned()))
}

/// Why a header of [`HttpSettings`] cannot be sent with requests to the agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name has characters that HTTP does not allow in one.
    #[error("{0:?} is not a header name; use letters, digits and -")]
    Name(String),
    /// The value has line ends or other characters that HTTP does not allow in one.
    #[error("{0:?} is not a header value; use printable ASCII on one line")]
    Value(String),
}

const AUTHORIZATION: &str = "authorization";

/// The `http` agent: posts each message to a server.
pub struct HttpAgent {
    settings: HttpSettings,
    secrets: Arc<dyn SecretStore>,
    client: ureq::Agent,
    /// Failures in a row to reach the server at all: any thread adds one when a request did not reach it, and sets it to 0 when
    /// one did. It decides nothing but the length of the next wait, so threads may race.
    unreachable: AtomicU32,
    /// Anybody who writes to a failing agent causes a line. Held for the look-up that decides whether it is written.
    log: Mutex<LogThrottle>,
}

/// Why there is no response.
#[derive(Debug, PartialEq, Eq)]
enum AskError {
    /// The server cannot be asked at present: no failure of the message.
    Unavailable(String),
    /// It has failed on this message.
    Failed(String),
}

impl HttpAgent {
    /// An agent that asks a server.
    #[must_use]
    pub fn new(settings: HttpSettings, secrets: Arc<dyn SecretStore>) -> Self {
        let client = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(settings.timeout))
            .user_agent(concat!("tinclaw/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let log = Mutex::new(LogThrottle::new(20, Duration::from_secs(60)));
        Self { settings, secrets, client, unreachable: AtomicU32::new(0), log }
    }

    fn work(&self, host: &Host) {
        for delivery in host.messages() {
            outcome::begin(host, &delivery);
            delivery.extend(self.settings.timeout.saturating_add(LEASE_MARGIN));
            match self.ask(&delivery) {
                Ok(response) => {
                    self.unreachable.store(0, Ordering::Relaxed);
                    match response {
                        Some(response) => outcome::reply(host, delivery, response),
                        None => outcome::complete(host, delivery),
                    }
                }
                Err(AskError::Failed(error)) => {
                    self.unreachable.store(0, Ordering::Relaxed);
                    self.log_failure(&delivery, &error);
                    outcome::fail(host, delivery, &error, None);
                }
                Err(AskError::Unavailable(error)) => {
                    let failures = self.unreachable.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                    self.log_failure(&delivery, &error);
                    host.agent_report().failed(&error);
                    outcome::release(host, delivery, outcome::wait_after(failures).min(MAX_UNAVAILABLE_WAIT));
                }
            }
        }
    }

    fn log_failure(&self, delivery: &Delivery, error: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(suppressed) = log.check(&(), Instant::now()) {
            let (url, id) = (&self.settings.url, delivery.id());
            log::error!("agent {url} did not reply to message {id}: {error}{suppressed}");
        }
    }

    fn ask(&self, delivery: &Delivery) -> Result<Option<AgentResponse>, AskError> {
        let body = message_json(delivery, |index| delivery.attachment_data(index).map_err(|e| e.to_string()))
            .map_err(|error| AskError::Unavailable(format!("the message cannot be read: {error}")))?;
        let secret = self.secret()?;
        let mut request = self.client.post(&self.settings.url).header("content-type", "application/json");
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        if let Some(secret) = &secret {
            request = request.header(&self.settings.auth_header, self.credential(secret)?);
        }
        let mut got = request.send(body).map_err(|error| self.ask_error(&error))?;
        let kind = got.headers().get("content-type").and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        let status = got.status().as_u16();
        let body = got.body_mut().with_config().limit(MAX_LINE_BYTES as u64).read_to_vec();
        let body = body.map_err(|error| self.ask_error(&error))?;
        read_response(status, &kind, &body, &self.redacted_values(secret))
    }

    /// What is left out of quotes: the secret, and the last word of each header, which may be a key.
    fn redacted_values(&self, secret: Option<Secret>) -> Vec<Secret> {
        let words = self.settings.headers.iter().filter_map(|(_, value)| value.split_whitespace().last());
        words.map(Secret::from).chain(secret).collect()
    }

    /// The secret is read for each request, so that a new value counts at once.
    fn secret(&self) -> Result<Option<Secret>, AskError> {
        let Some(name) = &self.settings.auth_secret else { return Ok(None) };
        match self.secrets.get(name) {
            Ok(Some(secret)) => Ok(Some(secret)),
            Ok(None) => Err(AskError::Unavailable(format!("the secret {name} is missing"))),
            Err(error) => Err(AskError::Unavailable(format!("the secret {name} cannot be read: {error}"))),
        }
    }

    fn credential(&self, secret: &Secret) -> Result<HeaderValue, AskError> {
        let scheme =
            if self.settings.auth_header.eq_ignore_ascii_case(AUTHORIZATION) { "Bearer " } else { "" };
        let value = HeaderValue::from_str(&format!("{scheme}{}", secret.expose()));
        let mut value = value.map_err(|_| {
            AskError::Unavailable("the secret has characters that no header can have".to_owned())
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn ask_error(&self, error: &ureq::Error) -> AskError {
        use ureq::Timeout::{Connect, Resolve};
        match error {
            ureq::Error::Timeout(Connect | Resolve) => {
                AskError::Unavailable(format!("no connection within {}", HumanDuration(CONNECT_TIMEOUT)))
            }
            ureq::Error::Timeout(_) => {
                AskError::Failed(format!("timed out after {}", HumanDuration(self.settings.timeout)))
            }
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                AskError::Unavailable(error.to_string())
            }
            ureq::Error::Io(cause) if is_unreachable(cause.kind()) => {
                AskError::Unavailable(cause.to_string())
            }
            other => AskError::Failed(other.to_string()),
        }
    }
}

/// The longest wait while the server cannot be asked.
const MAX_UNAVAILABLE_WAIT: Duration = Duration::from_secs(60);

/// Whether nothing can have reached the server.
fn is_unreachable(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    matches!(kind, ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable)
}

impl Agent for HttpAgent {
    fn serve(&self, host: &Host) {
        host.agent_report().begin("http");
        thread::scope(|scope| {
            for _ in 1..self.settings.concurrency {
                scope.spawn(|| self.work(host));
            }
            self.work(host);
        });
    }

    fn describe(&self) -> String {
        let HttpSettings { url, concurrency, timeout, .. } = &self.settings;
        format!("POST {url} (at most {concurrency} at a time, {} each)", HumanDuration(*timeout))
    }
}

/// What a response means: a reply, none, or that the message is to be redelivered. What is not understood is quoted,
/// never taken for "no reply".
fn read_response(
    status: u16,
    content_type: &str,
    body: &[u8],
    secrets: &[Secret],
) -> Result<Option<AgentResponse>, AskError> {
    let text = lossy(body);
    if !(200..300).contains(&status) {
        let quoted = quote(&text, secrets);
        let error =
            if quoted.is_empty() { format!("status {status}") } else { format!("status {status}: {quoted}") };
        return Err(if is_unavailable(status) {
            AskError::Unavailable(error)
        } else {
            AskError::Failed(error)
        });
    }
    if status == 204 || body.is_empty() {
        return Ok(None);
    }
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let understood = if media_type == "application/json" || media_type.ends_with("+json") {
        read::<ResponseFields>(&text).and_then(ResponseFields::into_response)
    } else if media_type.is_empty() || media_type == "text/plain" || media_type == "text/markdown" {
        return Ok(Some(AgentResponse { content: text.into_owned(), ..AgentResponse::default() }));
    } else {
        Err(format!("its type is {media_type}; application/json and text/plain are understood"))
    };
    understood.map_err(|error| {
        AskError::Failed(format!("the response is not understood: {error}: {}", quote(&text, secrets)))
    })
}

/// Whether a status says that the server, or the proxy in front of it, cannot take any message at present.
fn is_unavailable(status: u16) -> bool {
    matches!(status, 429 | 502 | 503)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, content_type: &str, body: &[u8]) -> Result<Option<String>, String> {
        let secrets = [Secret::from("hunter2-hunter2")];
        let read = read_response(status, content_type, body, &secrets);
        match read {
            Ok(reply) => Ok(reply.map(|reply| reply.content)),
            Err(AskError::Failed(error)) => Err(error),
            Err(AskError::Unavailable(error)) => Err(format!("unavailable: {error}")),
        }
    }

    #[test]
    fn responses_are_replies_or_none() {
        let reply = |content: &str| Some(content.to_owned());
        type Row = (u16, &'static str, &'static [u8], Option<String>);
        let rows: [Row; 13] = [
            (200, "text/plain; charset=utf-8", b"hi", reply("hi")),
            (200, "", b"hi", reply("hi")),
            (201, "application/json", br#"{"content":"hi","extra":1}"#, reply("hi")),
            (200, "Application/JSON;charset=utf-8", br#"{"content":"hi"}"#, reply("hi")),
            (200, "application/json", br#"{"content":""}"#, reply("")),
            (200, "application/json", br#"{"content":null}"#, None),
            (200, "application/json", b"\xef\xbb\xbf{\"content\":\"hi\"}", reply("hi")),
            (200, "application/json", br#"{"content":"cut \ud83c"}"#, reply("cut \u{fffd}")),
            (200, "application/json", b"{\"content\":\"caf\xe9\"}", reply("caf\u{fffd}")),
            (204, "text/plain", b"", None),
            (200, "text/plain", b"", None),
            (200, "text/plain", b"\xff", reply("\u{fffd}")),
            (200, "text/plain", b"\xef\xbb\xbfhi", reply("hi")),
        ];
        for (status, content_type, body, expected) in rows {
            assert_eq!(read(status, content_type, body), Ok(expected), "{status} {content_type} {body:?}");
        }
    }

    /// A 2xx JSON object without a reply was acknowledged in silence: whoever wrote got no response, and no log said why.
    #[test]
    fn an_unknown_response_is_an_error_that_quotes_it() {
        let json = "application/json";
        type Row = (u16, &'static str, &'static [u8], &'static str);
        let rows: [Row; 11] = [
            (503, "text/plain", b"later", "unavailable: status 503: later"),
            (200, json, br#"{"reply":"x"}"#, r#"neither `content` nor `attachments`: {"reply":"x"}"#),
            (200, json, br#"{"choices":[1]}"#, r#"neither `content` nor `attachments`: {"choices":[1]}"#),
            (200, json, b"{}", "neither `content` nor `attachments`: {}"),
            (200, json, br#"["x"]"#, "expected an object: [\"x\"]"),
            (200, json, br#""x""#, "expected an object: \"x\""),
            (200, json, b"hi", "not JSON: expected value at line 1 column 1: hi"),
            (200, json, br#"{"error":"hunter2-hunter2"}"#, r#"{"error":"[redacted]"}"#),
            (200, "text/html", b"<p>", "text/html; application/json and text/plain are understood: <p>"),
            (302, "text/plain", b"x", "status 302: x"),
            (500, "text/plain", b"not\nnow", "status 500: not\\nnow"),
        ];
        for (status, content_type, body, part) in rows {
            let error = read(status, content_type, body).unwrap_err();
            assert!(error.ends_with(part), "{error}");
        }
    }
}
