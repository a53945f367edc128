//! HTTP to the server of a model.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use ureq::Body;
use ureq::http::{HeaderValue, Response};

use crate::model::deadline::deadline_after;
use crate::model::human_duration::HumanDuration;
use crate::secrets::{Secret, SecretStore};

use super::super::quote::quote;
use super::draft::{Completion, Draft, DraftError, MAX_RESPONSE_BYTES};
use super::server_error::{ServerErrorKind, classify, error_text, status_within};
use super::settings::OpenAiSettings;
use super::sse::{EventReader, LineTooLong};
use super::stop::Stop;
use super::wait::asked_wait;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the list of models may take.
const MODELS_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes that are read of an error, or of the list of models.
const MAX_SMALL_BODY_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes of a response: its text, and the JSON around it.
const MAX_BODY_BYTES: u64 = 4 * MAX_RESPONSE_BYTES as u64;

/// What is done with a response while it arrives.
pub(super) type OnText<'a> = &'a mut dyn FnMut(&Draft);

/// Asks the server.
pub(super) struct Client {
    url: String,
    api_key: Option<String>,
    secrets: Arc<dyn SecretStore>,
    http: ureq::Agent,
}

/// Why the model did not reply. `error` is for the operator, without secrets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AskError {
    pub kind: AskErrorKind,
    pub error: String,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskErrorKind {
    /// The server has said no, and possibly when to ask again.
    Refused(ServerErrorKind, Option<Duration>),
    /// The response did not arrive as a whole, or there was nothing in it.
    Cut,
    /// The time for the whole reply is over.
    TimedOut,
    /// The response is not one of this API.
    NotUnderstood,
    /// The host stops.
    Stopped,
}

impl AskError {
    pub fn new(kind: AskErrorKind, error: impl Into<String>) -> Self {
        Self { kind, error: error.into() }
    }

    fn unavailable(error: impl Into<String>) -> Self {
        Self::new(AskErrorKind::Refused(ServerErrorKind::Unavailable, None), error)
    }
}

impl Client {
    pub fn new(settings: &OpenAiSettings, secrets: Arc<dyn SecretStore>) -> Self {
        let http = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("tinclaw/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self { url: settings.url.clone(), api_key: settings.api_key.clone(), secrets, http }
    }

    /// Asks for the next message of a conversation. `on_text` gets what has arrived of it, again and again.
    pub fn ask(
        &self,
        body: &Value,
        deadline: Instant,
        stop: &Stop,
        on_text: OnText<'_>,
    ) -> Result<Completion, AskError> {
        let secret = self.secret()?;
        let time = deadline.saturating_duration_since(Instant::now());
        let request = self.http.post(format!("{}/chat/completions", self.url));
        let mut request = request.config().timeout_global(Some(time)).build();
        request = request.header("content-type", "application/json");
        if let Some(secret) = &secret {
            request = request.header("authorization", bearer(secret)?);
        }
        let sent = request.send(body.to_string());
        let response = sent.map_err(|error| ask_error(&error, deadline))?;
        if !response.status().is_success() {
            return Err(refused(response, secret.as_slice()));
        }
        let completion = if is_event_stream(&response) {
            read_stream(response, deadline, stop, on_text)
        } else {
            read_whole(response, deadline)
        };
        // A server may repeat the key.
        completion.map_err(|error| AskError { error: quote(&error.error, secret.as_slice()), ..error })
    }

    /// The models that the server has.
    pub fn models(&self) -> Result<Vec<String>, AskError> {
        let secret = self.secret()?;
        let request = self.http.get(format!("{}/models", self.url));
        let mut request = request.config().timeout_global(Some(MODELS_TIMEOUT)).build();
        if let Some(secret) = &secret {
            request = request.header("authorization", bearer(secret)?);
        }
        let deadline = deadline_after(Instant::now(), MODELS_TIMEOUT);
        let mut response = request.call().map_err(|error| ask_error(&error, deadline))?;
        if !response.status().is_success() {
            return Err(refused(response, secret.as_slice()));
        }
        let body = response.body_mut().with_config().limit(MAX_SMALL_BODY_BYTES).read_to_vec();
        let body = body.map_err(|error| ask_error(&error, deadline))?;
        Ok(models_of(&body))
    }

    /// The secret is read for each request, so that a new value counts at once.
    fn secret(&self) -> Result<Option<Secret>, AskError> {
        let Some(name) = &self.api_key else { return Ok(None) };
        match self.secrets.get(name) {
            Ok(Some(secret)) => Ok(Some(secret)),
            Ok(None) => Err(AskError::unavailable(format!(
                "the secret {name} is missing; set it with `tinclaw secrets set {name}`"
            ))),
            Err(error) => Err(AskError::unavailable(format!("the secret {name} cannot be read: {error}"))),
        }
    }
}

fn bearer(secret: &Secret) -> Result<HeaderValue, AskError> {
    let value = HeaderValue::from_str(&format!("Bearer {}", secret.expose()));
    let mut value =
        value.map_err(|_| AskError::unavailable("the key has characters that no header can have"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn refused(mut response: Response<Body>, secrets: &[Secret]) -> AskError {
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let wait = asked_wait(header, SystemTime::now());
    // Without a body the status says enough.
    let body =
        response.body_mut().with_config().limit(MAX_SMALL_BODY_BYTES).read_to_vec().unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    let quoted = quote(&body, secrets);
    let mut error =
        if quoted.is_empty() { format!("status {status}") } else { format!("status {status}: {quoted}") };
    let kind = classify(status, &error_text(&body));
    if status == 404 && kind == ServerErrorKind::Invalid {
        error += " (does the URL of the agent lack /v1?)";
    }
    AskError::new(AskErrorKind::Refused(kind, wait), error)
}

fn is_event_stream(response: &Response<Body>) -> bool {
    let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

fn read_stream(
    response: Response<Body>,
    deadline: Instant,
    stop: &Stop,
    on_text: OnText<'_>,
) -> Result<Completion, AskError> {
    let mut body = response.into_body();
    let mut body = body.as_reader();
    let (mut reader, mut draft) = (EventReader::default(), Draft::default());
    let mut piece = vec![0; 16 * 1024];
    while !draft.is_done() {
        if stop.is_set() {
            return Err(AskError::new(AskErrorKind::Stopped, "the host stops"));
        }
        match body.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => {
                take(&mut reader, &mut draft, &piece[..read])?;
                on_text(&draft);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The model was done; how its connection ends is of no interest.
            Err(_) if draft.is_complete() => break,
            Err(error) => return Err(read_error(&error, deadline)),
        }
    }
    finish(reader, draft)
}

fn take(reader: &mut EventReader, draft: &mut Draft, bytes: &[u8]) -> Result<(), AskError> {
    let events = reader.push(bytes).map_err(|LineTooLong| {
        AskError::new(AskErrorKind::NotUnderstood, "a line of the stream is too long")
    })?;
    events.iter().try_for_each(|event| draft.add(event)).map_err(draft_error)
}

fn finish(reader: EventReader, mut draft: Draft) -> Result<Completion, AskError> {
    if let Some(last) = reader.finish()
        && !draft.is_complete()
    {
        // Half an event is no error of its own: the stream was cut.
        match draft.add(&last) {
            Ok(()) | Err(DraftError::NotUnderstood(_)) => {}
            Err(error) => return Err(draft_error(error)),
        }
    }
    draft.finish().map_err(draft_error)
}

fn read_whole(mut response: Response<Body>, deadline: Instant) -> Result<Completion, AskError> {
    let body = response.body_mut().with_config().limit(MAX_BODY_BYTES).read_to_vec();
    let body = body.map_err(|error| ask_error(&error, deadline))?;
    let text = String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body));
    // A stream that does not say so.
    if text.trim_start().starts_with("data:") || text.starts_with(':') {
        let (mut reader, mut draft) = (EventReader::default(), Draft::default());
        take(&mut reader, &mut draft, &body)?;
        return finish(reader, draft);
    }
    let completion = Draft::of_response(&text);
    completion.map_err(|error| match error {
        DraftError::NotUnderstood(reason) => {
            let error = format!("the response is not understood: {reason}: {text}");
            AskError::new(AskErrorKind::NotUnderstood, error)
        }
        other => draft_error(other),
    })
}

fn draft_error(error: DraftError) -> AskError {
    match error {
        DraftError::Refused(value) => {
            let text = value.to_string();
            let kind = classify(status_within(&value), &error_text(&text));
            AskError::new(AskErrorKind::Refused(kind, None), format!("error in the response: {text}"))
        }
        DraftError::NotUnderstood(reason) => {
            AskError::new(AskErrorKind::NotUnderstood, format!("the response is not understood: {reason}"))
        }
        DraftError::Cut => AskError::new(AskErrorKind::Cut, "the response was cut off"),
        DraftError::Empty => AskError::new(AskErrorKind::Cut, "the response has neither text nor tool calls"),
    }
}

fn timed_out() -> AskError {
    AskError::new(AskErrorKind::TimedOut, "the time for the reply is over")
}

fn read_error(error: &io::Error, deadline: Instant) -> AskError {
    if error.kind() == io::ErrorKind::TimedOut || Instant::now() >= deadline {
        return timed_out();
    }
    AskError::new(AskErrorKind::Cut, format!("the response was cut off: {error}"))
}

fn ask_error(error: &ureq::Error, deadline: Instant) -> AskError {
    use ureq::Timeout::{Connect, Resolve};
    match error {
        ureq::Error::Timeout(Connect | Resolve) => {
            AskError::unavailable(format!("no connection within {}", HumanDuration(CONNECT_TIMEOUT)))
        }
        ureq::Error::Timeout(_) => timed_out(),
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => AskError::unavailable(error.to_string()),
        ureq::Error::Io(cause) if is_unreachable(cause.kind()) => AskError::unavailable(cause.to_string()),
        ureq::Error::Io(cause) => read_error(cause, deadline),
        other => AskError::new(AskErrorKind::Cut, other.to_string()),
    }
}

/// Whether nothing can have reached the server.
fn is_unreachable(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    matches!(kind, ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable)
}

/// The names in a list of models.
fn models_of(body: &[u8]) -> Vec<String> {
    let list: Value = serde_json::from_slice(body).unwrap_or_default();
    let models = list.get("data").or_else(|| list.get("models")).unwrap_or(&list);
    let names = models.as_array().into_iter().flatten();
    let names =
        names.filter_map(|model| ["id", "name", "model"].iter().find_map(|field| model.get(field)?.as_str()));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_models_are_read() {
        for (body, expected) in [
            (r#"{"object":"list","data":[{"id":"a"},{"id":"b"}]}"#, vec!["a", "b"]),
            (r#"{"models":[{"name":"a","model":"a:latest"}]}"#, vec!["a"]),
            (r#"[{"id":"a"}]"#, vec!["a"]),
            (r#"{"data":null}"#, vec![]),
            ("hi", vec![]),
        ] {
            assert_eq!(models_of(body.as_bytes()), expected, "{body}");
        }
    }
}
