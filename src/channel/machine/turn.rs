//! What a channel's machine gets and returns: the moment, a view of the host, and actions.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;
use wit_abi::types::{ChannelConfig, StatusUpdate};

use super::MachineSettings;
use crate::channel::lane::LaneKind;
use crate::event::arrival::{Due, RequestIdentity};
use crate::event::link::FrameAcknowledgement;
use crate::event::response::{ResponseSender, WebhookRefusal, WebhookResponse};
use crate::model::clock::Moment;
use crate::model::deadline::deadline_after;
use crate::net::channel_response::ChannelResponse;
use crate::store::{Batch, DedupeId, PendingReply, ReplyId};

/// What the host has to do for a channel, in this order.
#[derive(Debug)]
pub enum Action {
    /// A lane may have something to start. Said once until it is looked at.
    Runnable(LaneKind),
    /// Callbacks that had ended and kept their memory have released it.
    MemoryFreed,
    /// Stores a batch that nobody waits for. It has at least one change.
    Store(Batch),
    /// Stores a batch, which may be empty, and responds when it and all batches before it are durable.
    StoreThenRespond(Batch, PendingResponse),
    /// Stores frames, and acknowledges them when they are durable.
    StoreFrames(Batch, Vec<FrameAcknowledgement>),
    /// Puts the next attempt of a reply on record, in one transaction with what came of the one before, and reads the reply.
    BeginAttempt { id: ReplyId, attempt: u32, outcome: Batch },
    /// Responds to a request.
    Respond(ResponseSender, WebhookResponse),
    /// Responds to a duplicate with the stored response to the first request.
    RespondFromStore(ResponseSender, DedupeId),
    /// A duplicate waits for a response, which the channel must be told of.
    AwaitResponse,
    /// A request waits in its lane since this moment.
    RequestQueued(Instant),
    /// Sets a deadline, or sets it again.
    Set(Due, Instant),
    /// Forgets a deadline.
    Cancel(Due),
    /// Gives the channel what it may have of what `on-start` returned.
    Register(ChannelConfig),
    /// Puts the version that was tried in the place of the one that runs, and gives it what it may have of what its `on-start`
    /// returned.
    Switch(ChannelConfig),
    /// Drops the version that was tried, for this reason.
    DropVersion(String),
    /// Opens the websocket, if it is not open.
    OpenLink,
    /// So many replies need not be delivered any more.
    RepliesGone(usize),
    /// Writes a line to the log.
    Log(ChannelLogLine),
}

/// A line for the log, about the channel whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelLogLine {
    pub level: Level,
    /// The reply that it is about, if it is about one.
    pub reply: Option<ReplyId>,
    pub text: String,
}

/// The response to a request, until what its callback did is durable.
#[derive(Debug)]
pub struct PendingResponse {
    pub identities: Vec<RequestIdentity>,
    /// Where they are kept, in their order.
    pub stored: Vec<DedupeId>,
    pub response: Arc<ChannelResponse>,
    pub responder: ResponseSender,
}

/// What the host, an operator or the agent wants of a channel.
#[derive(Debug)]
pub enum ChannelCommand {
    /// `on-start` is to run: the channel was added.
    Start,
    /// The agent says what it does.
    Status(Arc<StatusUpdate>),
    /// A reply is durable and is to be delivered.
    Deliver(PendingReply),
    /// A reply is not to be tried any more. The store knows already.
    DropReply(ReplyId),
    /// The wall clock was set ahead, or the machine slept.
    ClockAhead,
    /// Nothing can be stored.
    StoreFailed,
    /// The store has everything that waited for it.
    StoreRecovered,
    /// The host stops: nothing begins any more, and what runs may end.
    Drain,
    /// Nothing runs any more: `on-shutdown` is next.
    Shutdown,
    /// The channel is taken out at once.
    Remove,
    /// Another version with these settings is tried.
    Try(Box<MachineSettings>),
}

/// What a channel looks up about its host when it has to decide.
pub trait HostView {
    /// Whether anything can be stored.
    fn store_works(&self) -> bool;

    /// Whether new messages can be stored.
    fn store_takes_messages(&self) -> bool;

    /// Whether more may be sent to the store.
    fn store_has_room(&self) -> bool;

    /// Whether so much waits for the agent that no new message should be taken.
    fn agent_is_busy(&self) -> bool;

    /// A number between 0 and 1, for jitter.
    fn random(&self) -> f64;

    /// Whether messages have a way to the agent.
    fn takes_messages(&self) -> bool {
        self.store_takes_messages() && !self.agent_is_busy()
    }
}

/// One step of a channel: when it happens, in which host, and what follows.
pub struct Turn<'a> {
    pub at: Moment,
    pub host: &'a dyn HostView,
    actions: &'a mut Vec<Action>,
}

impl<'a> Turn<'a> {
    /// A turn whose actions are added to `actions`.
    pub fn new(at: Moment, host: &'a dyn HostView, actions: &'a mut Vec<Action>) -> Self {
        Self { at, host, actions }
    }

    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Stores a batch, if there is anything in it.
    pub fn store(&mut self, batch: Batch) {
        if !batch.changes.is_empty() {
            self.act(Action::Store(batch));
        }
    }

    /// Says something in the log.
    pub fn log(&mut self, level: Level, text: impl Into<String>) {
        self.act(Action::Log(ChannelLogLine { level, reply: None, text: text.into() }));
    }

    /// Says something about a reply in the log.
    pub fn log_reply(&mut self, level: Level, id: ReplyId, text: impl Into<String>) {
        self.act(Action::Log(ChannelLogLine { level, reply: Some(id), text: text.into() }));
    }

    pub fn respond(&mut self, responder: ResponseSender, response: WebhookResponse) {
        self.act(Action::Respond(responder, response));
    }

    pub fn refuse(&mut self, responder: ResponseSender, refusal: WebhookRefusal) {
        self.respond(responder, WebhookResponse::Refused(refusal));
    }

    pub fn set(&mut self, due: Due, at: Instant) {
        self.act(Action::Set(due, at));
    }

    pub fn set_after(&mut self, due: Due, wait: Duration) {
        self.set(due, self.after(wait));
    }

    /// The moment when so much time has passed.
    pub fn after(&self, wait: Duration) -> Instant {
        deadline_after(self.at.now, wait)
    }
}

impl fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("at", &self.at).field("actions", &self.actions).finish_non_exhaustive()
    }
}
