//! From a message to a reply: the conversation so far, the model, its tool calls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::growing::GrowingReply;
use super::client::{AskError, AskErrorKind};
use super::draft::{ChatCompletion, Finish};
use super::failure::NoReply;
use super::reminder_turns::OpenConversation;
use super::request::{ChatRequest, Picture, request_json};
use super::server_error::ServerErrorKind;
use super::settings::OpenAiSettings;
use super::tools::{ConversationTools, MAX_RESULT_BYTES, cut, kept_arguments};
use super::turn::{ChatTurn, Round, Transcript};
use super::window::HistoryWindow;
use super::{OpenAiAgent, attached};
use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::deadline::deadline_after;
use crate::net::without_credentials;

/// Rounds of tool calls for one message.
const MAX_ROUNDS: usize = 10;
/// How often a response that did not arrive as a whole is asked for once more.
const MAX_CUT_RETRIES: u32 = 2;
/// The longest wait that a message is held for; one that has to wait longer is redelivered.
const MAX_HELD_WAIT: Duration = Duration::from_secs(60);
/// How often a rate-limited request is repeated while its message is held.
const MAX_RATE_RETRIES: u32 = 5;
/// The wait when a server does not say how long.
const DEFAULT_RATE_WAIT: Duration = Duration::from_secs(5);
/// How long a delivery lasts beyond the time for a reply: a tool call may have begun just before.
const LEASE_MARGIN: Duration = Duration::from_secs(300);
/// Bytes of a tool's result, and of its arguments, when the server says that there is too much.
const SHORT_RESULT_BYTES: usize = 1024;
/// Bytes of a reply that go to the chat.
const MAX_REPLY_BYTES: usize = 256 * 1024;

/// The work on one message.
pub(super) struct Conversation<'a> {
    agent: &'a OpenAiAgent,
    /// As they were when the work began.
    settings: Arc<OpenAiSettings>,
    host: &'a Host,
    delivery: &'a Delivery,
    deadline: Instant,
    window: HistoryWindow,
    transcript: Transcript,
    pictures: Vec<Picture>,
    /// Where the channel shows the reply while it is written.
    growing: Option<GrowingReply<'a>>,
    /// Reminders that are said meanwhile.
    open: OpenConversation<'a>,
}

impl<'a> Conversation<'a> {
    /// The conversation of this message as it is on record.
    pub fn open(agent: &'a OpenAiAgent, host: &'a Host, delivery: &'a Delivery) -> Result<Self, NoReply> {
        let open = agent.said.begin(delivery.conversation());
        let stored = delivery.transcript().map_err(NoReply::of_store)?;
        let transcript = stored.map(|json| Transcript::read(&json)).transpose().unwrap_or_else(|error| {
            log::warn!(
                "conversation {}: what was remembered cannot be read: {error}",
                delivery.conversation()
            );
            None
        });
        let mut transcript = transcript.unwrap_or_default();
        let settings = agent.settings();
        let pictures = if settings.images {
            attached::pictures(delivery).map_err(NoReply::of_store)?
        } else {
            Vec::new()
        };
        transcript.begin(new_turn(delivery, pictures.len()));
        Ok(Self {
            agent,
            host,
            delivery,
            deadline: deadline_after(Instant::now(), settings.timeout),
            window: settings.history,
            settings,
            transcript,
            pictures,
            growing: GrowingReply::of(host, delivery),
            open,
        })
    }

    /// The reply to the message. It and the tool calls before it are on record when this returns.
    pub fn reply(mut self) -> Result<String, NoReply> {
        let reply = self.find_reply();
        self.add_reminders();
        // The reply comes after what was shown of it, and so does the notice that there is none.
        if let Some(growing) = self.growing.take() {
            growing.finish();
        }
        reply
    }

    fn find_reply(&mut self) -> Result<String, NoReply> {
        // The host ended after the reply was put on record, and before the message was acknowledged.
        if let Some(reply) = self.turn().and_then(|turn| turn.reply.clone()) {
            return Ok(reply);
        }
        let settings = Arc::clone(&self.settings);
        let tools = ConversationTools::new(self.host.tools(), settings.tools.as_deref());
        let functions = tools.functions();
        loop {
            let rounds = self.turn().map_or(0, |turn| turn.rounds.len());
            let must_reply = rounds >= MAX_ROUNDS;
            let completion = self.ask(&functions, must_reply)?;
            if completion.calls.is_empty() || must_reply {
                return self.end(said(completion, rounds));
            }
            let text = cut(completion.text, MAX_RESULT_BYTES);
            let calls = tools.call_all(self.host, self.delivery, completion.calls);
            if let Some(turn) = self.transcript.turns.last_mut() {
                turn.rounds.push(Round { text, calls });
            }
            self.keep()?;
        }
    }

    fn turn(&self) -> Option<&ChatTurn> {
        self.transcript.turns.last()
    }

    fn end(&mut self, reply: String) -> Result<String, NoReply> {
        if let Some(turn) = self.transcript.turns.last_mut() {
            turn.reply = Some(reply.clone());
        }
        self.keep()?;
        Ok(reply)
    }

    /// Puts reminders on record that were said since the last time. That they are not is no reason to have no reply.
    fn add_reminders(&mut self) {
        let said = self.open.take();
        if said.is_empty() {
            return;
        }
        said.into_iter().for_each(|turn| self.transcript.insert(turn));
        if let Err(error) = self.keep() {
            log::warn!(
                "conversation {}: a reminder is not remembered: {}",
                self.delivery.conversation(),
                error.error
            );
        }
    }

    /// Puts on record what the next request may take along.
    fn keep(&mut self) -> Result<(), NoReply> {
        for turn in self.open.take() {
            self.transcript.insert(turn);
        }
        let turns = self.settings.history.of(&self.transcript.turns).to_vec();
        let dead_letters = self.transcript.dead_letters.clone();
        let json = serde_json::to_string(&Transcript { turns, dead_letters }).map_err(NoReply::of_store)?;
        self.delivery.remember(Some(json)).map_err(NoReply::of_store)
    }

    /// Asks until there is a reply or a reason that asking again does not remove.
    fn ask(&mut self, functions: &[Value], must_reply: bool) -> Result<ChatCompletion, AskError> {
        let (mut cuts, mut waits, mut is_shortened) = (0, 0, false);
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if !self.delivery.extend(left.saturating_add(LEASE_MARGIN)) {
                return Err(AskError::new(AskErrorKind::Stopped, "the message has gone to another reader"));
            }
            let error = match self.ask_once(functions, must_reply) {
                Ok(completion) => return Ok(completion),
                Err(error) => error,
            };
            let AskErrorKind::Refused(kind, wait) = error.kind else {
                if error.kind == AskErrorKind::Cut && cuts < MAX_CUT_RETRIES {
                    cuts += 1;
                    continue;
                }
                return Err(error);
            };
            let flags = &self.agent.flags;
            match kind {
                ServerErrorKind::TooLong if !is_shortened => {
                    is_shortened = true;
                    self.shorten();
                }
                ServerErrorKind::MaxCompletionTokens
                    if !flags.is_limit_of_completion.swap(true, Ordering::Relaxed) => {}
                ServerErrorKind::NoTools if !flags.has_no_tools.swap(true, Ordering::Relaxed) => {
                    let url = without_credentials(&self.settings.url);
                    log::warn!("agent {url}: tools are not used: {}", error.error);
                }
                ServerErrorKind::UnknownModel => return Err(self.agent.name_models(error)),
                ServerErrorKind::RateLimited if waits < MAX_RATE_RETRIES => {
                    waits += 1;
                    let wait = wait.unwrap_or(DEFAULT_RATE_WAIT * waits);
                    if wait > MAX_HELD_WAIT || wait >= left {
                        return Err(error);
                    }
                    if !self.agent.stop.sleep(wait) {
                        return Err(AskError::new(AskErrorKind::Stopped, "the host stops"));
                    }
                }
                _ => return Err(error),
            }
        }
    }

    fn ask_once(&mut self, functions: &[Value], must_reply: bool) -> Result<ChatCompletion, AskError> {
        let (settings, flags) = (&self.settings, &self.agent.flags);
        let model = self.agent.model(settings)?;
        let has_no_tools = flags.has_no_tools.load(Ordering::Relaxed);
        let request = ChatRequest {
            model: &model,
            system_prompt: &settings.system_prompt,
            temperature: settings.temperature,
            max_tokens: settings.max_tokens,
            is_limit_of_completion: flags.is_limit_of_completion.load(Ordering::Relaxed),
            is_streamed: settings.stream,
            tools: if has_no_tools { &[] } else { functions },
            must_reply,
            pictures: &self.pictures,
        };
        let body = request_json(&request, self.window.of(&self.transcript.turns));
        let growing = &mut self.growing;
        self.agent.client.ask(&body, self.deadline, &self.agent.stop, &mut |so_far| {
            if let Some(growing) = growing {
                growing.show(|| cut(plain(&so_far()), MAX_REPLY_BYTES));
            }
        })
    }

    /// Takes less along: half of the conversation, and the beginnings of results.
    fn shorten(&mut self) {
        self.window = self.window.halved(&self.transcript.turns);
        for round in self.transcript.turns.iter_mut().flat_map(|turn| &mut turn.rounds) {
            for call in &mut round.calls {
                call.result = cut(std::mem::take(&mut call.result), SHORT_RESULT_BYTES);
                call.arguments = kept_arguments(&call.arguments, SHORT_RESULT_BYTES);
            }
        }
    }
}

fn new_turn(delivery: &Delivery, pictures: usize) -> ChatTurn {
    let message = delivery.message();
    ChatTurn {
        message: delivery.id().0,
        user_id: message.user_id.clone(),
        user_name: message.user_name.clone(),
        text: attached::with_names(message, pictures > 0),
        ..ChatTurn::default()
    }
}

/// Text without characters that do something to a screen, and without space around it.
pub(super) fn plain(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    text.trim().to_owned()
}

/// What the chat gets of the last response. It is text and nothing else: a model decides about no thread and no file.
fn said(completion: ChatCompletion, rounds: usize) -> String {
    let ChatCompletion { text, finish, .. } = completion;
    let text = cut(plain(&text), MAX_REPLY_BYTES);
    match (text.is_empty(), finish) {
        (true, Finish::Filtered) => "The language model's server held its reply back.".to_owned(),
        (true, Finish::Length) => "The language model reached its limit before it replied.".to_owned(),
        (true, Finish::Stop) => {
            format!("The language model came to no reply after {rounds} rounds of tool calls.")
        }
        (false, Finish::Length) => {
            format!("{text}\n\n[The reply ends here: it reached the limit of its length.]")
        }
        (false, Finish::Filtered) => {
            format!("{text}\n\n[The reply ends here: the language model's server held the rest back.]")
        }
        (false, Finish::Stop) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_cut_past_its_limit() {
        let said =
            |bytes: usize| said(ChatCompletion { text: "x".repeat(bytes), ..ChatCompletion::default() }, 0);
        assert_eq!(said(MAX_REPLY_BYTES).len(), MAX_REPLY_BYTES);
        assert!(said(MAX_REPLY_BYTES + 1).ends_with("[cut: this is the beginning of 262145 bytes]"));
    }

    #[test]
    fn a_reply_is_plain_text_that_says_when_it_is_not_whole() {
        let completion = |text: &str, finish| ChatCompletion {
            text: text.to_owned(),
            finish,
            ..ChatCompletion::default()
        };
        let cut_off = "hi\n\n[The reply ends here: it reached the limit of its length.]";
        let held_back = "hi\n\n[The reply ends here: the language model's server held the rest back.]";
        for (text, finish, expected) in [
            (" hi\r\n\tthere\u{1b}[2J\0 ", Finish::Stop, "hi\n\tthere[2J"),
            ("hi", Finish::Length, cut_off),
            ("hi", Finish::Filtered, held_back),
            ("", Finish::Filtered, "The language model's server held its reply back."),
            ("", Finish::Length, "The language model reached its limit before it replied."),
            ("", Finish::Stop, "The language model came to no reply after 10 rounds of tool calls."),
        ] {
            assert_eq!(said(completion(text, finish), MAX_ROUNDS), expected, "{text:?} {finish:?}");
        }
    }
}
