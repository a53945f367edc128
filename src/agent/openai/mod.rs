//! A language model behind the chat completions API, as llama.cpp's server, Ollama, vLLM, OpenRouter and others speak it.
//!
//! | file | job |
//! |---|---|
//! | `settings` | how a model is asked |
//! | `turn` | what a conversation is made of: pure |
//! | `window` | how much of it a model is told: pure |
//! | `request` | a request as JSON: pure |
//! | `sse` | events of a stream: pure |
//! | `draft` | a response, whole or in pieces: pure |
//! | `thinking` | what a model writes to itself: pure |
//! | `server_error` | what an error means: pure |
//! | `wait` | how long a server asks to wait: pure |
//! | `failure` | what a failure means for the message, and what the sender is told: pure |
//! | `client` | HTTP to the server |
//! | `tools` | what a model may call |
//! | `remind` | the built-in tool of reminders |
//! | `reminder_turns` | reminders as a part of their conversations |
//! | `rfc3339` | moments as a model writes them: pure |
//! | `attached` | what a model gets of a message's files |
//! | `conversation` | from a message to a reply |
//! | `stop` | the end of the host, for an agent that waits |

mod attached;
mod client;
mod conversation;
mod draft;
mod failure;
mod remind;
mod reminder_turns;
mod request;
mod rfc3339;
mod server_error;
mod settings;
mod sse;
mod stop;
mod thinking;
mod tools;
mod turn;
mod wait;
mod window;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use client::{AskError, AskErrorKind, ModelClient};
use conversation::Conversation;
use failure::{FailureAction, NoReply};
use reminder_turns::SaidReminders;
#[cfg(feature = "cli")]
use request::{ChatRequest, request_json};
use server_error::ServerErrorKind;
use stop::Stop;
use tools::ConversationTools;
#[cfg(feature = "cli")]
use turn::ChatTurn;
use wit_abi::types::AgentResponse;

use super::{Agent, outcome};
#[cfg(feature = "cli")]
use crate::egress::OutboundHttp;
use crate::host::Host;
use crate::inbox::{Delivery, FailedAttempt};
#[cfg(feature = "cli")]
use crate::model::deadline::deadline_after;
use crate::model::human_duration::HumanDuration;
use crate::model::log_throttle::LogThrottle;
use crate::model::scoped_thread::spawn_scoped;
use crate::net::without_credentials;
use crate::secrets::SecretStore;
use crate::store::MessageId;
#[cfg(feature = "cli")]
use crate::tool::ToolRegistry;

pub use settings::OpenAiSettings;
pub use window::HistoryWindow;

/// The longest wait while the server cannot be asked and does not say how long.
const MAX_UNAVAILABLE_WAIT: Duration = Duration::from_secs(60);
/// What the sender is told when the conversation was forgotten.
const FORGOTTEN: &str = "I have forgotten our conversation.";

/// The `openai` agent: asks a language model for the reply to each message.
pub struct OpenAiAgent {
    /// Those that hold from the next message on. Held to copy the pointer, and to exchange it.
    settings: RwLock<Arc<OpenAiSettings>>,
    client: ModelClient,
    flags: Flags,
    /// The only model of the server, when the settings name none: set by the thread that has listed the models, cleared by the
    /// one to which the server says that it has no such model. Held for a copy only.
    found_model: Mutex<Option<String>>,
    /// Failures in a row to reach the server at all: a thread adds one when the message has to wait for the server, and sets it
    /// to 0 after a reply or another failure. It decides nothing but the length of the next wait, so threads may race.
    unreachable: AtomicU32,
    said: SaidReminders,
    /// Anybody who writes to a failing agent causes a line. Held for the look-up that decides whether it is written.
    log: Mutex<LogThrottle>,
    stop: Stop,
}

#[cfg(feature = "cli")]
impl OpenAiSettings {
    /// Names on the list of tools that neither the host has nor the agent.
    pub(crate) fn unknown_tools(&self, registry: Option<&ToolRegistry>) -> Vec<String> {
        let tools = ConversationTools::new(registry, self.tools.as_deref());
        tools.unknown_names().into_iter().map(str::to_owned).collect()
    }
}

/// What the server has taught about the model. Each is set by the thread whose request was refused for it, and cleared when the
/// settings name another model.
#[derive(Default)]
struct Flags {
    is_limit_of_completion: AtomicBool,
    has_no_tools: AtomicBool,
}

impl OpenAiAgent {
    /// An agent that asks a model.
    #[must_use]
    pub fn new(settings: OpenAiSettings, secrets: Arc<dyn SecretStore>) -> Self {
        Self {
            client: ModelClient::new(&settings, secrets),
            settings: RwLock::new(Arc::new(settings)),
            flags: Flags::default(),
            found_model: Mutex::default(),
            unreachable: AtomicU32::new(0),
            said: SaidReminders::default(),
            log: Mutex::new(LogThrottle::new(20, Duration::from_secs(60))),
            stop: Stop::default(),
        }
    }

    /// Changes how the model is asked, from the next message on; replies that are being written are finished as they were begun. The
    /// URL, the key and the concurrency stay as they are.
    pub fn set_settings(&self, settings: OpenAiSettings) {
        let mut held = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        let OpenAiSettings { url, api_key, concurrency, .. } = (**held).clone();
        if held.model != settings.model {
            self.flags.is_limit_of_completion.store(false, Ordering::Relaxed);
            self.flags.has_no_tools.store(false, Ordering::Relaxed);
        }
        *held = Arc::new(OpenAiSettings { url, api_key, concurrency, ..settings });
    }

    /// The settings that hold now.
    fn settings(&self) -> Arc<OpenAiSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether these settings are of the same server and the same key, so that [`OpenAiAgent::set_settings`] makes them hold.
    #[cfg(feature = "cli")]
    pub(crate) fn asks_the_server_of(&self, settings: &OpenAiSettings) -> bool {
        let held = self.settings();
        (&held.url, &held.api_key) == (&settings.url, &settings.api_key)
    }

    /// Gives the agent outbound HTTP without a host, for a trial.
    #[cfg(feature = "cli")]
    pub(crate) fn connect(&self, outbound: &OutboundHttp) {
        self.client.connect(outbound);
    }

    /// The models that the server has.
    ///
    /// # Errors
    /// Why it did not say.
    #[cfg(feature = "cli")]
    pub(crate) fn models(&self) -> Result<Vec<String>, AskError> {
        self.client.models()
    }

    /// Asks one question outside of any conversation, without tools: the model, and what it said.
    ///
    /// # Errors
    /// Why there is no reply.
    #[cfg(feature = "cli")]
    pub(crate) fn try_question(&self, text: &str) -> Result<(String, String), AskError> {
        let settings = self.settings();
        let deadline = deadline_after(Instant::now(), settings.timeout);
        let model = self.model(&settings)?;
        let OpenAiSettings { system_prompt, temperature, max_tokens, stream, .. } = &*settings;
        let request = ChatRequest {
            model: &model,
            system_prompt,
            temperature: *temperature,
            max_tokens: *max_tokens,
            is_limit_of_completion: self.flags.is_limit_of_completion.load(Ordering::Relaxed),
            is_streamed: *stream,
            ..ChatRequest::default()
        };
        let turn = ChatTurn { text: text.to_owned(), ..ChatTurn::default() };
        let body = request_json(&request, &[turn]);
        let completion = self.client.ask(&body, deadline, &self.stop, &mut |_| {})?;
        Ok((model, completion.text))
    }

    fn work(&self, host: &Host) {
        for delivery in host.messages() {
            outcome::begin(host, &delivery);
            match self.reply(host, &delivery) {
                Ok(content) => {
                    self.unreachable.store(0, Ordering::Relaxed);
                    outcome::reply(host, delivery, AgentResponse { content, ..AgentResponse::default() });
                }
                Err(no_reply) => self.end(host, delivery, &no_reply),
            }
        }
    }

    /// Delivers reminders when they are due, until the host ends.
    fn remind(&self, host: &Host) {
        host.manager()
            .reminders()
            .run(|reminder, removal| self.said.say(host, reminder, removal, self.settings().history));
    }

    fn reply(&self, host: &Host, delivery: &Delivery) -> Result<String, NoReply> {
        let settings = self.settings();
        let command = settings.reset_command.as_str();
        if !command.is_empty() && delivery.message().content.trim() == command {
            delivery.remember(None).map_err(NoReply::of_store)?;
            return Ok(FORGOTTEN.to_owned());
        }
        Conversation::open(self, host, delivery)?.reply()
    }

    /// Ends a delivery without a reply.
    fn end(&self, host: &Host, delivery: Delivery, no_reply: &NoReply) {
        let NoReply { error, then } = no_reply;
        let (id, channel) = (delivery.id(), delivery.channel().to_owned());
        let delay = outcome::wait_after(delivery.attempt());
        let (is_final, notice) = match *then {
            FailureAction::Stop => return outcome::release(host, delivery, Duration::ZERO),
            FailureAction::Wait(wait) => {
                let failures = self.unreachable.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                let wait = wait.unwrap_or_else(|| outcome::wait_after(failures).min(MAX_UNAVAILABLE_WAIT));
                let tried = outcome::unavailable(host, delivery, error, wait);
                return self.log_failure(id, channel.as_str(), error, &tried);
            }
            FailureAction::TryAgain(notice) => (false, notice),
            FailureAction::GiveUp(notice) => (true, notice),
        };
        self.unreachable.store(0, Ordering::Relaxed);
        outcome::fail_with(host, delivery, FailedAttempt { error, delay, is_final, notice: Some(notice) });
    }

    /// The server could not be asked; which try it was and when the next one is, is in `tried`. An attempt that failed has its line
    /// from the mailbox, which counts attempts.
    fn log_failure(&self, id: MessageId, channel: &str, error: &str, tried: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(suppressed) = log.check(&(), Instant::now()) {
            let settings = self.settings();
            let url = without_credentials(&settings.url);
            log::error!(
                target: channel, message_id = id.0;
                "channel {channel}: agent {url} did not reply to message {id}: {error}{tried}{suppressed}"
            );
        }
    }

    /// Warns of settings that name nothing: they would show only when a model calls, or when nobody gets a reply.
    fn warn_of_unknown_names(&self, host: &Host) {
        let settings = self.settings();
        let tools = ConversationTools::new(host.tools(), settings.tools.as_deref());
        for name in tools.unknown_names() {
            log::warn!("agent.tools names {name:?}, and there is no such tool");
        }
        if let Err(error) = self.client.check_key() {
            log::warn!("agent.api_key: {error}");
        }
    }

    /// The model to ask: that of the settings, or the only one that the server has.
    fn model(&self, settings: &OpenAiSettings) -> Result<String, AskError> {
        if let Some(model) = &settings.model {
            return Ok(model.clone());
        }
        // Not held while the server is asked: two threads may both ask it once.
        let found = self.found_model.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(model) = found {
            return Ok(model);
        }
        let unknown =
            |error: String| AskError::new(AskErrorKind::Refused(ServerErrorKind::UnknownModel, None), error);
        let models = self.client.models()?;
        let [model] = models.as_slice() else {
            return Err(unknown(format!("no model is set as `model` under [agent]: {}", named(&models))));
        };
        log::info!("agent {}: the model is {model}", without_credentials(&settings.url));
        *self.found_model.lock().unwrap_or_else(PoisonError::into_inner) = Some(model.clone());
        Ok(model.clone())
    }

    /// The error about a model that is not there, with those that are.
    fn name_models(&self, error: AskError) -> AskError {
        *self.found_model.lock().unwrap_or_else(PoisonError::into_inner) = None;
        match self.client.models() {
            Ok(models) => AskError { error: format!("{}; {}", error.error, named(&models)), ..error },
            Err(_) => error,
        }
    }
}

/// Which models a server has.
fn named(models: &[String]) -> String {
    const MAX_NAMED: usize = 20;
    if models.is_empty() {
        return "the server lists no models".to_owned();
    }
    let more = models.len().saturating_sub(MAX_NAMED);
    let names = models.iter().take(MAX_NAMED).map(|name| crate::model::document::shortened(name));
    let names = names.collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the server has {}{more}", crate::model::escape::escaped(&names))
}

impl Agent for OpenAiAgent {
    fn serve(&self, host: &Host) {
        host.agent_report().begin("openai");
        self.client.connect(host.manager().outbound());
        self.warn_of_unknown_names(host);
        thread::scope(|scope| {
            if let Err(error) = spawn_scoped(scope, "tinclaw-reminders", || self.remind(host)) {
                log::error!(
                    "reminders are not delivered until the host is restarted, because their thread cannot be started: {error}"
                );
            }
            for running in 1..self.settings().concurrency {
                if let Err(error) = spawn_scoped(scope, "tinclaw-agent", || self.work(host)) {
                    log::warn!("the model is asked {running} times at once and no more: {error}");
                    break;
                }
            }
            self.work(host);
        });
    }

    fn stop(&self) {
        self.stop.set();
    }

    fn describe(&self) -> String {
        let settings = self.settings();
        let OpenAiSettings { url, model, concurrency, timeout, .. } = &*settings;
        let url = without_credentials(url);
        let model = model.as_deref().unwrap_or("the server's only model");
        format!("{model} at {url} (at most {concurrency} at a time, {} each)", HumanDuration(*timeout))
    }
}

/// Reads a stream in pieces and as a whole; both must come to the same.
#[cfg(fuzzing)]
pub(super) fn fuzz_stream(bytes: &[u8]) {
    let Some((&size, stream)) = bytes.split_first() else { return };
    let read = |size: usize| {
        let (mut reader, mut draft) = (sse::EventReader::default(), draft::Draft::default());
        for piece in stream.chunks(size) {
            let events = reader.push(piece).map_err(|_| draft::DraftError::Cut)?;
            events.iter().try_for_each(|event| draft.add(event))?;
        }
        reader.finish().map_or(Ok(()), |event| draft.add(&event))?;
        draft.finish()
    };
    let completion = read(stream.len().max(1));
    assert_eq!(read(usize::from(size).max(1)), completion, "where a stream is cut makes no difference");
    if let Ok(completion) = completion {
        assert!(completion.calls.iter().all(|call| !call.id.is_empty() && !call.name.is_empty()));
    }
    let text = String::from_utf8_lossy(stream);
    let _ = draft::Draft::of_response(&text);
    let _ = server_error::classify(400, &server_error::error_text(&text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_models_are_named_and_the_others_counted() {
        let of = |count: usize| named(&vec!["m".to_owned(); count]);
        assert_eq!(of(0), "the server lists no models");
        assert_eq!(of(20), format!("the server has {}m", "m, ".repeat(19)));
        assert_eq!(of(21), format!("the server has {}m and 1 more", "m, ".repeat(19)));
    }
}
