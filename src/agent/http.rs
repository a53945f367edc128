//! An HTTP server that is asked for each message.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::Deserializer;
use ureq::http::{HeaderName, HeaderValue};
use wit_abi::types::AgentResponse;

use super::message::{MAX_LINE_BYTES, message_json};
use super::quote::quote;
use super::response::{ResponseError, ResponseFields, read};
use super::server::{AgentServer, ServerCredential, ServerError, ServerRequest, redirect_to};
use super::text::lossy;
use super::{Agent, outcome};
use crate::capability::http::CredentialLocation;
#[cfg(feature = "cli")]
use crate::egress::OutboundHttp;
use crate::egress::is_host_owned;
use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::bounded;
use crate::model::deadline::deadline_after;
use crate::model::human_duration::HumanDuration;
use crate::model::log_throttle::LogThrottle;
use crate::model::scoped_thread::spawn_scoped;
use crate::model::value_error::ValueError;
use crate::net::without_credentials;
use crate::secrets::{Secret, SecretStore};
use crate::store::MessageId;

/// How long a delivery lasts beyond the time for a response.
const LEASE_MARGIN: Duration = Duration::from_secs(60);

/// How long a response may take that says no more than that the server is there.
#[cfg(feature = "cli")]
const REACH_TIMEOUT: Duration = Duration::from_secs(20);

/// How an `http` agent is asked.
/// Deserialises from the fields of `[agent]` in `tinclaw.toml`; the URL is part of `kind` there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default = "HttpSettings::without_url", deny_unknown_fields)]
pub struct HttpSettings {
    /// Where messages are posted.
    #[serde(skip)]
    pub url: String,
    /// Messages that are asked for at a time, never two of one conversation. Default 8.
    #[serde(deserialize_with = "bounded::count::<_, _, 1, 1024>")]
    pub concurrency: usize,
    /// How long a response may take. Default 2 min.
    #[serde(rename = "timeout_secs", deserialize_with = "bounded::secs::<_, 1, 3600>")]
    pub timeout: Duration,
    /// Headers of every request.
    #[serde(deserialize_with = "headers")]
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

    fn without_url() -> Self {
        Self::new("")
    }

    /// Whether the headers can be sent.
    ///
    /// # Errors
    /// A name or a value is not one of a header, or the host sets that header itself.
    pub fn check(&self) -> Result<(), ValueError> {
        for (name, value) in &self.headers {
            header_name(name)?;
            if is_host_owned(name) {
                return Err(ValueError::HostHeader(name.clone()));
            }
            HeaderValue::from_str(value).map_err(|_| ValueError::HeaderValue(name.clone()))?;
        }
        header_name(&self.auth_header).map(drop)
    }
}

/// Headers as an object.
fn headers<'de, D: Deserializer<'de>>(field: D) -> Result<Vec<(String, String)>, D::Error> {
    BTreeMap::deserialize(field).map(|headers| headers.into_iter().collect())
}

fn header_name(name: &str) -> Result<HeaderName, ValueError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| ValueError::HeaderName(name.to_owned()))
}

const AUTHORIZATION: &str = "authorization";

/// The `http` agent: posts each message to a server.
pub struct HttpAgent {
    settings: HttpSettings,
    server: AgentServer,
    /// Failures in a row to reach the server at all: any thread adds one when a request did not reach it, and sets it to 0 when
    /// one did. It decides nothing but the length of the next wait, so threads may race.
    unreachable: AtomicU32,
    /// Set once, before the host ends the requests that are under way: what fails then is no failure of a message.
    stops: AtomicBool,
    /// Anybody who writes to a failing agent causes a line. Held for the look-up that decides whether it is written.
    log: Mutex<LogThrottle>,
}

/// Why there is no response.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum HttpAskError {
    /// The server cannot be asked at present: no failure of the message.
    #[error("{0}")]
    Unavailable(String),
    /// It has failed on this message.
    #[error("{0}")]
    Failed(String),
}

impl HttpAgent {
    /// An agent that asks a server.
    #[must_use]
    pub fn new(settings: HttpSettings, secrets: Arc<dyn SecretStore>) -> Self {
        let credential = settings
            .auth_secret
            .clone()
            .map(|secret| ServerCredential { secret, location: credential_location(&settings.auth_header) });
        let server = AgentServer::new(&settings.url, &settings.headers, credential, secrets);
        let log = Mutex::new(LogThrottle::new(20, Duration::from_secs(60)));
        Self { settings, server, unreachable: AtomicU32::new(0), stops: AtomicBool::new(false), log }
    }

    /// The status with which the server responds to a request that asks for nothing.
    ///
    /// # Errors
    /// It does not respond.
    #[cfg(feature = "cli")]
    pub(crate) fn reach(&self, outbound: &OutboundHttp) -> Result<u16, String> {
        self.server.connect(outbound);
        let deadline = deadline_after(Instant::now(), REACH_TIMEOUT.min(self.settings.timeout));
        let request = ServerRequest { method: "HEAD", path: "", body: None, max_response_bytes: 0, deadline };
        self.server.ask(request).map(|response| response.status()).map_err(|error| error.to_string())
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
                Err(_) if self.stops.load(Ordering::Acquire) => {
                    outcome::release(host, delivery, Duration::ZERO);
                }
                Err(HttpAskError::Failed(error)) => {
                    self.unreachable.store(0, Ordering::Relaxed);
                    outcome::fail(host, delivery, &error, None);
                }
                Err(HttpAskError::Unavailable(error)) => {
                    let failures = self.unreachable.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                    let wait = outcome::wait_after(failures).min(MAX_UNAVAILABLE_WAIT);
                    let (id, channel) = (delivery.id(), delivery.channel().to_owned());
                    let tried = outcome::unavailable(host, delivery, &error, wait);
                    self.log_failure(id, channel.as_str(), &error, &tried);
                }
            }
        }
    }

    /// The agent could not be asked; which try it was and when the next one is, is in `tried`. An attempt that failed has its line
    /// from the mailbox, which counts attempts.
    fn log_failure(&self, id: MessageId, channel: &str, error: &str, tried: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(suppressed) = log.check(&(), Instant::now()) {
            let url = without_credentials(&self.settings.url);
            log::error!(
                target: channel, message_id = id.0;
                "channel {channel}: agent {url} did not reply to message {id}: {error}{tried}{suppressed}"
            );
        }
    }

    fn ask(&self, delivery: &Delivery) -> Result<Option<AgentResponse>, HttpAskError> {
        let body = message_json(delivery, |index| delivery.attachment_data(index))
            .map_err(|error| HttpAskError::Unavailable(error.to_string()))?;
        let response = self.server.ask(ServerRequest {
            method: "POST",
            path: "",
            body: Some(body.into()),
            max_response_bytes: MAX_LINE_BYTES as u64,
            deadline: deadline_after(Instant::now(), self.settings.timeout),
        })?;
        let kind = response.header("content-type").unwrap_or_default();
        let status = response.status();
        if (300..400).contains(&status) {
            return Err(HttpAskError::Failed(format!("status {status}{}", redirect_to(&response))));
        }
        let body = response.read_whole(&mut |_| true).map_err(ServerError::from)?.response.body;
        read_response(status, &kind, &body, &self.header_values())
    }

    /// What is left out of quotes: the last word of each header, which may be a key. It may be an ordinary word too, so replies keep
    /// it.
    fn header_values(&self) -> Vec<Secret> {
        let words = self.settings.headers.iter().filter_map(|(_, value)| value.split_whitespace().last());
        words.map(Secret::from).collect()
    }
}

/// Where the secret goes.
fn credential_location(header: &str) -> CredentialLocation {
    match header.eq_ignore_ascii_case(AUTHORIZATION) {
        true => CredentialLocation::Bearer {},
        false => CredentialLocation::Header { name: header.to_owned(), prefix: None },
    }
}

impl From<ServerError> for HttpAskError {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::NotSent(error) => Self::Unavailable(error),
            ServerError::Refused(error) | ServerError::TimedOut(error) | ServerError::Broken(error) => {
                Self::Failed(error)
            }
        }
    }
}

/// The longest wait while the server cannot be asked.
const MAX_UNAVAILABLE_WAIT: Duration = Duration::from_secs(60);

impl Agent for HttpAgent {
    fn serve(&self, host: &Host) {
        host.agent_report().begin("http");
        self.server.connect(host.manager().outbound());
        thread::scope(|scope| {
            for running in 1..self.settings.concurrency {
                if let Err(error) = spawn_scoped(scope, "tinclaw-agent", || self.work(host)) {
                    log::warn!("the agent is asked {running} times at once and no more: {error}");
                    break;
                }
            }
            self.work(host);
        });
    }

    fn stop(&self) {
        self.stops.store(true, Ordering::Release);
    }

    fn describe(&self) -> String {
        let HttpSettings { url, concurrency, timeout, .. } = &self.settings;
        let url = without_credentials(url);
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
) -> Result<Option<AgentResponse>, HttpAskError> {
    let text = lossy(body);
    if !(200..300).contains(&status) {
        let quoted = quote(&text, secrets);
        let error =
            if quoted.is_empty() { format!("status {status}") } else { format!("status {status}: {quoted}") };
        return Err(if is_unavailable(status) {
            HttpAskError::Unavailable(error)
        } else {
            HttpAskError::Failed(error)
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
        Err(ResponseError::MediaType(media_type))
    };
    understood.map_err(|error| {
        HttpAskError::Failed(format!("the response is not understood: {error}: {}", quote(&text, secrets)))
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
            Err(HttpAskError::Failed(error)) => Err(error),
            Err(HttpAskError::Unavailable(error)) => Err(format!("unavailable: {error}")),
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
