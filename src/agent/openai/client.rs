//! HTTP to the server of a model.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::super::quote::quote;
use super::super::server::{AgentServer, ServerCredential, ServerError, ServerRequest, redirect_to};
use super::draft::{ChatCompletion, Draft, DraftError, MAX_RESPONSE_BYTES};
use super::server_error::{ServerErrorKind, classify, error_text, status_within};
use super::settings::OpenAiSettings;
use super::sse::{EventReader, LineTooLong};
use super::stop::Stop;
use super::wait::asked_wait;
use crate::capability::http::CredentialLocation;
use crate::egress::{OpenResponse, OutboundError, OutboundHttp, Redaction};
use crate::model::deadline::deadline_after;
use crate::secrets::SecretStore;

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
    server: AgentServer,
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
    /// Whether the server responded, and it is the list of its models that it does not have.
    #[cfg(feature = "cli")]
    pub(crate) fn lists_no_models(&self) -> bool {
        matches!(self.kind, AskErrorKind::Refused(ServerErrorKind::Invalid, _))
    }

    pub(super) fn new(kind: AskErrorKind, error: impl Into<String>) -> Self {
        Self { kind, error: error.into() }
    }
}

impl ModelClient {
    pub fn new(settings: &OpenAiSettings, secrets: Arc<dyn SecretStore>) -> Self {
        let credential = settings.api_key.clone();
        let credential =
            credential.map(|secret| ServerCredential { secret, location: CredentialLocation::Bearer {} });
        Self { server: AgentServer::new(&settings.url, &[], credential, secrets) }
    }

    /// Gives the client the host's outbound HTTP, without which it asks nothing.
    pub fn connect(&self, outbound: &OutboundHttp) {
        self.server.connect(outbound);
    }

    /// Whether the key is there.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn check_key(&self) -> Result<(), String> {
        self.server.check_secret()
    }

    /// Asks for the next message of a conversation. `on_text` gets what has arrived of it, again and again.
    pub fn ask(
        &self,
        body: &Value,
        deadline: Instant,
        stop: &Stop,
        on_text: OnText<'_>,
    ) -> Result<ChatCompletion, AskError> {
        let asked = self.ask_now(body, deadline, stop, on_text);
        // The host ends the requests that are under way when it stops.
        asked.map_err(|error| if stop.is_set() { stopped() } else { error })
    }

    fn ask_now(
        &self,
        body: &Value,
        deadline: Instant,
        stop: &Stop,
        on_text: OnText<'_>,
    ) -> Result<ChatCompletion, AskError> {
        let response = self.server.ask(ServerRequest {
            method: "POST",
            path: "/chat/completions",
            body: Some(body.to_string().into_bytes()),
            max_response_bytes: MAX_BODY_BYTES,
            deadline,
        })?;
        if !(200..300).contains(&response.status()) {
            return Err(refused(response));
        }
        if let Some(encoding) = encoding_of(&response) {
            let error = format!("the response is compressed ({encoding}), which was not asked for");
            return Err(AskError::new(AskErrorKind::NotUnderstood, error));
        }
        let redaction = response.redaction();
        let completion = if is_event_stream(&response) {
            let mut show = |draft: &Draft| on_text(&|| redaction.redacted(&draft.text_so_far()));
            read_stream(response, stop, &mut show)
        } else {
            read_whole(response)
        };
        // A server may repeat the key.
        match completion {
            Ok(completion) => Ok(without_secrets(completion, &redaction)),
            Err(error) => Err(AskError { error: quote(&redaction.redacted(&error.error), &[]), ..error }),
        }
    }

    /// The models that the server has.
    pub fn models(&self) -> Result<Vec<String>, AskError> {
        let response = self.server.ask(ServerRequest {
            method: "GET",
            path: "/models",
            body: None,
            max_response_bytes: MAX_SMALL_BODY_BYTES,
            deadline: deadline_after(Instant::now(), MODELS_TIMEOUT),
        })?;
        if !(200..300).contains(&response.status()) {
            return Err(refused(response));
        }
        let body = response.read_whole(&mut |_| true).map_err(ServerError::from)?.response.body;
        Ok(models_of(&body))
    }
}

impl From<ServerError> for AskError {
    fn from(error: ServerError) -> Self {
        let kind = match &error {
            ServerError::NotSent(_) => AskErrorKind::Refused(ServerErrorKind::Unavailable, None),
            ServerError::Refused(_) => AskErrorKind::Refused(ServerErrorKind::Invalid, None),
            ServerError::TimedOut(_) => AskErrorKind::TimedOut,
            ServerError::Broken(_) => AskErrorKind::Cut,
        };
        Self::new(kind, error.to_string())
    }
}

/// A response in which the server has repeated no secret, neither to the chat nor to a tool.
fn without_secrets(mut completion: ChatCompletion, redaction: &Redaction) -> ChatCompletion {
    let redact = |text: &mut String| *text = redaction.redacted(text);
    redact(&mut completion.text);
    completion.calls.iter_mut().for_each(|call| redact(&mut call.arguments));
    completion
}

fn refused(response: OpenResponse<'_>) -> AskError {
    let status = response.status();
    let wait = asked_wait(|name: &str| response.header(name), SystemTime::now());
    let redirect = redirect_to(&response);
    // Without a body the status says enough.
    let body = response.read_whole(&mut |_| true).map(|read| read.response.body).unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    let quoted = quote(&body, &[]);
    let mut error =
        if quoted.is_empty() { format!("status {status}") } else { format!("status {status}: {quoted}") };
    let kind = classify(status, &error_text(&body));
    if kind == ServerErrorKind::Redirect {
        error += &redirect;
    }
    if status == 404 && kind == ServerErrorKind::Invalid {
        error += " (does the URL of the agent lack /v1?)";
    }
    AskError::new(AskErrorKind::Refused(kind, wait), error)
}

/// How a response is compressed, if it is.
fn encoding_of(response: &OpenResponse<'_>) -> Option<String> {
    let encoding = response.header("content-encoding")?;
    let encoding = encoding.trim();
    let is_plain = encoding.is_empty() || encoding.eq_ignore_ascii_case("identity");
    (!is_plain).then(|| quote(encoding, &[]))
}

fn is_event_stream(response: &OpenResponse<'_>) -> bool {
    let kind = response.header("content-type").unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream")
}

fn read_stream(
    mut response: OpenResponse<'_>,
    stop: &Stop,
    on_text: &mut dyn FnMut(&Draft),
) -> Result<ChatCompletion, AskError> {
    let (mut reader, mut draft) = (EventReader::default(), Draft::default());
    let mut piece = vec![0; 16 * 1024];
    // What may follow a `finish_reason` (the usage, `[DONE]`) changes nothing, and some servers never end the stream.
    while !draft.is_complete() {
        if stop.is_set() {
            return Err(stopped());
        }
        match response.read(&mut piece).map_err(read_error)? {
            0 => break,
            read => {
                take(&mut reader, &mut draft, &piece[..read])?;
                on_text(&draft);
            }
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

fn read_whole(response: OpenResponse<'_>) -> Result<ChatCompletion, AskError> {
    let body = response.read_whole(&mut |_| true).map_err(read_error)?.response.body;
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

fn stopped() -> AskError {
    AskError::new(AskErrorKind::Stopped, "the host stops")
}

/// The rest of a response does not come.
fn read_error(error: OutboundError) -> AskError {
    AskError::from(ServerError::from(error))
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
    use crate::egress::OutboundHttpSettings;
    use crate::secrets::{MemorySecrets, Secret};
    use crate::test_support::upstream::Upstream;

    fn client(server: &Upstream) -> ModelClient {
        client_of(&OpenAiSettings::new(&server.url()), MemorySecrets::new())
    }

    fn client_of(settings: &OpenAiSettings, secrets: MemorySecrets) -> ModelClient {
        let client = ModelClient::new(settings, Arc::new(secrets));
        client.connect(&OutboundHttp::new(&OutboundHttpSettings::default()).unwrap());
        client
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
        let client = client_of(&settings, secrets);
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
        let client = client_of(&OpenAiSettings::new(&url), MemorySecrets::new());
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
