//! Carrying out what a channel's turn leads to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wit_abi::types::ChannelConfig;

use super::responded::RespondedSender;
use super::state::Router;
use crate::channel::ChannelName;
use crate::channel::machine::{Action, PendingResponse};
use crate::event::Wakeup;
use crate::event::arrival::{RequestIdentity, UpgradeError};
use crate::event::completion::RespondedRequest;
use crate::event::response::{ResponseSender, WebhookRefusal, WebhookResponse};
use crate::model::deadline::deadline_after;
use crate::net::channel_response::ChannelResponse;
use crate::store::{Batch, DedupeId, StateError};

/// Queues are looked at no more often than this.
const BETWEEN_LOOKS_AT_QUEUES: Duration = Duration::from_millis(100);

impl Router {
    pub(super) fn carry_out(&mut self, channel: &ChannelName, action: Action) {
        match action {
            Action::Runnable(lane) => self.runnable.push(channel.clone(), lane),
            Action::MemoryFreed => self.runnable.memory_was_freed(),
            Action::Store(batch) => self.storage.commit(batch, &self.mailbox),
            Action::StoreThenRespond(batch, pending) => self.store_then_respond(channel, batch, pending),
            Action::StoreFrames(batch, acknowledgements) => {
                self.storage.commit_frames(channel, batch, acknowledgements, &self.mailbox);
            }
            Action::BeginAttempt { id, attempt, outcome } => {
                self.storage.begin_reply(channel, id, attempt, outcome, &self.mailbox);
            }
            Action::Respond(responder, response) => responder.send(response),
            Action::RespondFromStore(responder, id) => self.storage.respond_from_store(id, responder),
            Action::AwaitResponse => self.await_response(),
            Action::RequestQueued(received) => self.request_queued(received),
            Action::Set(due, at) => self.scheduler.set(Wakeup::Channel(channel.clone(), due), at),
            Action::Cancel(due) => self.scheduler.cancel(Wakeup::Channel(channel.clone(), due)),
            Action::Register(config) => self.register(channel, &config),
            Action::Switch(config) => self.switch(channel, &config),
            Action::DropVersion(reason) => self.drop_version(channel, reason),
            Action::OpenLink => self.open_link(channel),
            Action::RepliesGone(count) => self.replies_are_gone(count),
            Action::Log(line) => super::log_lines::write(channel, &line),
        }
    }

    /// Without changes of its own a response may still depend on an earlier callback's, which are in memory only: a guest that
    /// recognises a duplicate by its workspace says 200 for the first one as well.
    fn store_then_respond(&self, channel: &ChannelName, batch: Batch, pending: PendingResponse) {
        let PendingResponse { identities, stored, response, responder } = pending;
        if batch.changes.is_empty() && self.storage.is_idle() {
            return responder.send(WebhookResponse::Channel(response));
        }
        let mut unsent = UnsentResponse {
            channel: channel.clone(),
            identities,
            stored,
            response,
            responder: Some(responder),
            responded: self.responded.sender(),
        };
        self.storage.commit_then(batch, &self.mailbox, move |outcome| unsent.stored(outcome));
    }

    /// A duplicate waits for the response to the first. That may have been given just now.
    fn await_response(&mut self) {
        self.responded.wake_at_next();
        self.take_responded();
    }

    /// Notes the responses to requests since the last time.
    pub(super) fn take_responded(&mut self) {
        while let Some(request) = self.responded.take() {
            self.turn(&request.channel, |channel, turn| channel.responded(&request, turn));
        }
    }

    /// One deadline for all queues, set again when it passes: one for each request would wake the scheduler for each.
    fn request_queued(&mut self, received: Instant) {
        if !self.watches_queues {
            self.watches_queues = true;
            self.scheduler.set(Wakeup::QueueTimeout, deadline_after(received, self.config.queue_timeout));
        }
    }

    /// Looks at the queues again at this moment; never when nothing waits.
    pub(super) fn watch_queues(&mut self, next: Option<Instant>) {
        self.watches_queues = next.is_some();
        if let Some(next) = next {
            let soonest = deadline_after(Instant::now(), BETWEEN_LOOKS_AT_QUEUES);
            self.scheduler.set(Wakeup::QueueTimeout, next.max(soonest));
        }
    }

    /// Publishes what `on-start` may have of what it asked for.
    fn register(&mut self, name: &ChannelName, config: &ChannelConfig) {
        let Some(registration) = self.channels.get(name).map(|hosted| (hosted.version.register)(config))
        else {
            return;
        };
        self.turn(name, |channel, turn| channel.registered(registration, turn));
    }

    /// Puts the version that was tried in the place of the one that runs. Whoever waits for it is told when all of it is done.
    fn switch(&mut self, name: &ChannelName, config: &ChannelConfig) {
        let Some(hosted) = self.channels.get_mut(name) else { return };
        let Some((version, done)) = hosted.trial.take() else { return };
        let registration = (version.register)(config);
        hosted.switch_to(version);
        self.turn(name, |channel, turn| channel.switched(registration, turn));
        done.send(Ok(()));
    }

    fn drop_version(&mut self, name: &ChannelName, reason: String) {
        let trial = self.channels.get_mut(name).and_then(|hosted| hosted.trial.take());
        if let Some((_, done)) = trial {
            done.send(Err(UpgradeError::CannotStart { channel: name.clone(), reason }));
        }
    }

    fn open_link(&mut self, name: &ChannelName) {
        let Some(Err(error)) = self.channels.get_mut(name).map(|hosted| hosted.open_link()) else { return };
        log::error!(
            target: name.as_str(),
            "channel {name}: its websocket cannot be opened, because the system has no thread or socket left: {error}; it is \
             tried again"
        );
        self.turn(name, |channel, turn| channel.link_not_opened(turn));
    }
}

/// A response that leaves when what its callback did is durable.
struct UnsentResponse {
    channel: ChannelName,
    identities: Vec<RequestIdentity>,
    stored: Vec<DedupeId>,
    response: Arc<ChannelResponse>,
    /// None once the client has been told to come back.
    responder: Option<ResponseSender>,
    responded: RespondedSender,
}

impl UnsentResponse {
    /// The store has the batch, has failed, or will never have it. After a failure the client is told to come back, although
    /// the batch will be kept: at-least-once allows that, and an id of the provider's makes it once.
    fn stored(&mut self, outcome: Result<(), StateError>) {
        let is_delayed = matches!(outcome, Err(StateError::Unavailable { .. }));
        let response = match outcome {
            Ok(()) => WebhookResponse::Channel(Arc::clone(&self.response)),
            Err(_) => WebhookResponse::Refused(WebhookRefusal::StoreUnavailable),
        };
        if !self.identities.is_empty() {
            self.responded.send(RespondedRequest {
                channel: self.channel.clone(),
                identities: self.identities.clone(),
                stored: self.stored.clone(),
                is_delayed,
                response: response.clone(),
            });
        }
        if let Some(responder) = self.responder.take() {
            responder.send(response);
        }
    }
}
