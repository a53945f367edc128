//! HTTP to the server of a model.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use ureq::Body;
use ureq::http::{HeaderValue, Response};

use super::super::basic_auth::BasicAuth;
use super::super::connection::{self, redirect_to};
use super::super::quote::{quote, redacted};
use super::draft::{ChatCompletion, Draft, DraftError, MAX_RESPONSE_BYTES};
use super::server_error::{ServerErrorKind, classify, error_text, status_within};
use super::settings::OpenAiSettings;
use super::sse::{EventReader, LineTooLong};
use super::stop::Stop;
use super::wait::asked_wait;
use crate::model::deadline::deadline_after;
use crate::secrets::{Secret, SecretStore};

/// How long the list of models may take.
const MODELS_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes that are read of an error, or of the list of models.
const MAX_SMALL_BODY_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes of a response: its text, and the JSON around it.
const MAX_BODY_BYTES: u64 = 4 * MAX_RESPONSE_BYTES as u64;

/// What is done with the text of a response while it arrives.
pub(super) type OnText<'a> = &'a mut dyn FnMut(&dyn Fn() -> String);

/// Asks the server.
pub(super) struct ModelClient {
    url: String,
    /// The user and password of the URL.
    basic: Option<BasicAuth>,
    api_key: Option<String>,
    secrets: Arc<dyn SecretStore>,
    http: ureq::Agent,
}

/// Why the model did not reply. `error` is for the operator, without secrets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub(crate) struct AskError {
    pub(super) kind: AskErrorKind,
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
    pub(super) fn new(kind: AskErrorKind, error: impl Into<String>) -> Self {
        Self { kind, error: error.into() }
    }

    fn unavailable(error: impl Into<String>) -> Self {
        Self::new(AskErrorKind::Refused(ServerErrorKind::Unavailable, None), error)
    }
}

impl ModelClient {
    pub fn new(settings: &OpenAiSettings, secrets: Arc<dyn SecretStore>) -> Self {
        let http = connection::client(None);
        let (url, basic) = BasicAuth::taken_from(&settings.url);
        Self { url, basic, api_key: settings.api_key.clone(), secrets, http }
    }

    /// Asks for the next message of a conversation. `on_text` gets what has arrived of it, again and again.
    pub fn ask(
        &self,
        body: &Value,
        deadline: Instant,
        stop: &Stop,
        on_text: OnText<'_>,
    ) -> Result<ChatCompletion, AskError> {
        let secret = self.secret()?;
        let secrets = self.redacted_values(secret.as_ref());
        let time = deadline.saturating_duration_since(Instant::now());
        let request = self.http.post(format!("{}/chat/completions", self.url));
        let mut request = request.config().timeout_global(Some(time)).build();
        // Without this a server may compress what it likes.
        request = request.header("content-type", "application/json").header("accept-encoding", "identity");
        if let Some(value) = self.authorization(secret.as_ref())? {
            request = request.header("authorization", value);
        }
        let sent = request.send(body.to_string());
        let response = sent.map_err(|error| ask_error(&error, deadline))?;
        if !response.status().is_success() {
            return Err(refused(response, &secrets));
        }
        if let Some(encoding) = encoding_of(&response) {
            let error = format!("the response is compressed ({encoding}), which was not asked for");
            return Err(AskError::new(AskErrorKind::NotUnderstood, error));
        }
        let completion = if is_event_stream(&response) {
            let mut show = |draft: &Draft| on_text(&|| redacted(&draft.text_so_far(), &secrets).into_owned());
            read_stream(response, deadline, stop, &mut show)
        } else {
            read_whole(response, deadline)
        };
        // A server may repeat the key.
        match completion {
            Ok(completion) => Ok(without_secrets(completion, &secrets)),
            Err(error) => Err(AskError { error: quote(&error.error, &secrets), ..error }),
        }
    }

    /// The models that the server has.
    pub fn models(&self) -> Result<Vec<String>, AskError> {
        let secret = self.secret()?;
        let request = self.http.get(format!("{}/models", self.url));
        let mut request = request.config().timeout_global(Some(MODELS_TIMEOUT)).build();
        request = request.header("accept-encoding", "identity");
        if let Some(value) = self.authorization(secret.as_ref())? {
            request = request.header("authorization", value);
        }
        let deadline = deadline_after(Instant::now(), MODELS_TIMEOUT);
        let mut response = request.call().map_err(|error| ask_error(&error, deadline))?;
        if !response.status().is_success() {
            return Err(refused(response, &self.redacted_values(secret.as_ref())));
        }
        let body = response.body_mut().with_config().limit(MAX_SMALL_BODY_BYTES).read_to_vec();
        let body = body.map_err(|error| ask_error(&error, deadline))?;
        Ok(models_of(&body))
    }

    /// The key, or else the user and password of the URL.
    fn authorization(&self, secret: Option<&Secret>) -> Result<Option<HeaderValue>, AskError> {
        match (secret, &self.basic) {
            (Some(secret), _) => bearer(secret).map(Some),
            (None, basic) => Ok(basic.as_ref().map(BasicAuth::header)),
        }
    }

    /// What a server may repeat and nobody is to read.
    fn redacted_values(&self, secret: Option<&Secret>) -> Vec<Secret> {
        secret.cloned().into_iter().chain(self.basic.iter().flat_map(BasicAuth::redacted_values)).collect()
    }

    /// The secret is read for each request, so that a new value counts at once.
    pub(super) fn secret(&self) -> Result<Option<Secret>, AskError> {
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

/// A response in which the server has repeated no secret, neither to the chat nor to a tool.
fn without_secrets(mut completion: ChatCompletion, secrets: &[Secret]) -> ChatCompletion {
    let redact = |text: &mut String| *text = redacted(text, secrets).into_owned();
    redact(&mut completion.text);
    completion.calls.iter_mut().for_each(|call| redact(&mut call.arguments));
    completion
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
    if kind == ServerErrorKind::Redirect {
        error += &redirect_to(&response, secrets);
    }
    if status == 404 && kind == ServerErrorKind::Invalid {
        error += " (does the URL of the agent lack /v1?)";
    }
    AskError::new(AskErrorKind::Refused(kind, wait), error)
}

/// How a response is compressed, if it is.
fn encoding_of(response: &Response<Body>) -> Option<String> {
    let encoding = response.headers().get("content-encoding")?.to_str().unwrap_or("unknown").trim();
    let is_plain = encoding.is_empty() || encoding.eq_ignore_ascii_case("identity");
    (!is_plain).then(|| quote(encoding, &[]))
}

fn is_event_stream(response: &Response<Body>) -> bool {
    let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

fn read_stream(
    response: Response<Body>,
    deadline: Instant,
    stop: &Stop,
    on_text: &mut dyn FnMut(&Draft),
) -> Result<ChatCompletion, AskError> {
    let mut body = response.into_body();
    let mut body = body.as_reader();
    let (mut reader, mut draft) = (EventReader::default(), Draft::default());
    let mut piece = vec![0; 16 * 1024];
    // What may follow a `finish_reason` (the usage, `[DONE]`) changes nothing, and some servers never end the stream.
    while !draft.is_complete() {
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

fn finish(reader: EventReader, mut draft: Draft) -> Result<ChatCompletion, AskError> {
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

fn read_whole(mut response: Response<Body>, deadline: Instant) -> Result<ChatCompletion, AskError> {
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
    match (connection::no_connection(error), error) {
        (Some(reason), _) => AskError::unavailable(reason),
        (None, ureq::Error::Timeout(_)) => timed_out(),
        (None, ureq::Error::Io(cause)) => read_error(cause, deadline),
        (None, other) => AskError::new(AskErrorKind::Cut, other.to_string()),
    }
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
    use serde_json::json;

    use super::*;
    use crate::secrets::MemorySecrets;
    use crate::test_support::upstream::Upstream;

    fn client(server: &Upstream) -> ModelClient {
        ModelClient::new(&OpenAiSettings::new(&server.url()), Arc::new(MemorySecrets::new()))
    }

    /// JSON with space after it, so many bytes in all.
    fn padded(json: &str, bytes: u64) -> Vec<u8> {
        let mut body = json.as_bytes().to_vec();
        body.resize(usize::try_from(bytes).expect("it fits into memory"), b' ');
        body
    }

    #[test]
    fn a_response_is_read_up_to_its_limit_and_not_one_byte_further() {
        let json = r#"{"choices":[{"message":{"content":"hi"}}]}"#;
        let server = Upstream::start(|_, before| {
            let kind = vec![("content-type".to_owned(), "application/json".to_owned())];
            (200, kind, padded(json, MAX_BODY_BYTES + before as u64))
        });
        let ask = || {
            let deadline = deadline_after(Instant::now(), Duration::from_secs(120));
            client(&server).ask(&json!({}), deadline, &Stop::default(), &mut |_| {})
        };
        assert_eq!(ask().map(|completion| completion.text), Ok("hi".to_owned()));
        assert_eq!(ask().map_err(|error| error.kind), Err(AskErrorKind::Cut));
    }

    #[test]
    fn a_compressed_response_is_not_asked_for_and_named_when_it_comes() {
        let server = Upstream::start(|request, before| {
            assert_eq!(request.header("accept-encoding"), Some("identity"));
            let encoding = ["identity", "gzip"][before.min(1)];
            let headers = vec![("content-encoding".to_owned(), encoding.to_owned())];
            (200, headers, br#"{"choices":[{"message":{"content":"hi"}}]}"#.to_vec())
        });
        let ask = || {
            let deadline = deadline_after(Instant::now(), Duration::from_secs(120));
            client(&server).ask(&json!({}), deadline, &Stop::default(), &mut |_| {})
        };
        assert_eq!(ask().map(|completion| completion.text), Ok("hi".to_owned()));
        let error = "the response is compressed (gzip), which was not asked for";
        assert_eq!(ask(), Err(AskError::new(AskErrorKind::NotUnderstood, error)));
    }

    /// A server that repeated the request's header in its reply showed the key to the whole chat.
    #[test]
    fn a_key_that_the_server_repeats_is_left_out_of_the_reply() {
        let server = Upstream::start(|request, before| {
            let text = format!("you sent {}", request.header("authorization").unwrap_or("nothing"));
            let message = json!({"content": text, "tool_calls": [{"function": {"name": "now", "arguments": {"a": text}}}]});
            let kind = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
            let chunk = json!({"choices": [{"delta": message, "message": message, "finish_reason": "stop"}]});
            match before {
                0 => (200, kind, format!("data: {chunk}\n\n").into_bytes()),
                _ => (200, Vec::new(), chunk.to_string().into_bytes()),
            }
        });
        let secrets = MemorySecrets::new();
        secrets.set("key", Secret::from("hunter2-hunter2")).unwrap();
        let settings = OpenAiSettings { api_key: Some("key".into()), ..OpenAiSettings::new(&server.url()) };
        let client = ModelClient::new(&settings, Arc::new(secrets));
        for _ in 0..2 {
            let deadline = deadline_after(Instant::now(), Duration::from_secs(120));
            let mut shown = Vec::new();
            let completion =
                client.ask(&json!({}), deadline, &Stop::default(), &mut |text| shown.push(text())).unwrap();
            assert_eq!(completion.text, "you sent Bearer [redacted]");
            assert_eq!(completion.calls[0].arguments, r#"{"a":"you sent Bearer [redacted]"}"#);
            assert!(shown.iter().all(|text| text == &completion.text), "{shown:?}");
        }
    }

    /// The password stood in the start banner, in errors and in the log.
    #[test]
    fn a_password_in_the_url_is_sent_as_basic_authentication() {
        let server = Upstream::start(|request, _| {
            let sent = request.header("authorization").unwrap_or_default().to_owned();
            (307, vec![("location".to_owned(), "http://other.example/v1".to_owned())], sent.into_bytes())
        });
        let url = server.url().replace("http://", "http://ann:pa55%20word@");
        let client = ModelClient::new(&OpenAiSettings::new(&url), Arc::new(MemorySecrets::new()));
        let error = client.models().unwrap_err().error;
        let expected = "status 307: Basic [redacted]: it redirects to http://other.example/v1, and redirects are not followed";
        assert_eq!(error, expected);
        let sent = server.requests()[0].clone();
        assert_eq!(sent.header("authorization"), Some("Basic YW5uOnBhNTUgd29yZA=="));
    }

    #[test]
    fn a_list_of_models_is_read_up_to_its_limit_and_not_one_byte_further() {
        let server = Upstream::start(|_, before| {
            (200, Vec::new(), padded(r#"{"data":[{"id":"a"}]}"#, MAX_SMALL_BODY_BYTES + before as u64))
        });
        assert_eq!(client(&server).models(), Ok(vec!["a".to_owned()]));
        assert_eq!(client(&server).models().map_err(|error| error.kind), Err(AskErrorKind::Cut));
    }

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
