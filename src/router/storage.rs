//! The router's side of the store: batches on their way, and a store that fails and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;

use super::log_lines::AcceptedLog;
use super::state::Router;
use crate::channel::ChannelName;
use crate::channel::machine::{ChannelCommand, HostView};
use crate::event::completion::{Completion, Stored};
use crate::event::link::FrameAcknowledgement;
use crate::event::response::{ResponseSender, WebhookRefusal, WebhookResponse};
use crate::inbox::{Mailbox, Posted};
use crate::model::clock::unix_ms;
use crate::model::random::random;
use crate::net::channel_response::ChannelResponse;
use crate::store::{Batch, Change, DedupeId, Ids, ReplyId, StateError, StoreEvent, StoreHandle};

/// What the router knows of the store.
pub(super) struct Storage {
    store: StoreHandle,
    completed: Sender<Completion>,
    works: bool,
    /// There is room only for what lets stored messages and replies leave.
    is_low: bool,
    accepted: AcceptedLog,
}

impl Storage {
    pub fn new(store: StoreHandle, completed: Sender<Completion>) -> Self {
        Self { store, completed, works: true, is_low: false, accepted: AcceptedLog::default() }
    }

    /// Ids for what is to be stored.
    pub fn ids(&self) -> &Ids {
        self.store.ids()
    }

    /// Whether a further callback may start: what it does must find a way to the store. When it is not so, a completion
    /// comes when it may be.
    pub fn takes_work(&self) -> bool {
        self.works && self.store.has_room()
    }

    /// Whether everything that was sent has its outcome, for those who do not wait for it.
    pub fn is_idle(&self) -> bool {
        self.store.is_idle()
    }

    /// The host ends: nothing waits for another batch any more.
    pub fn stop_deferring(&self) {
        self.store.stop_deferring();
    }

    /// Whether there is nothing to wait for at the end: everything has its outcome, or the store has failed. When it is not
    /// so, a completion comes when it may be.
    pub fn has_ended_or_wakes(&self) -> bool {
        !self.works || self.store.is_idle_or_wakes()
    }

    /// Sends a batch that nobody waits for.
    pub fn commit(&self, batch: Batch, mailbox: &Mailbox) {
        self.commit_then(batch, mailbox, |_| {});
    }

    /// Sends a batch. When it is durable its messages go to the agent; `then` is told as of [`StoreHandle::commit`].
    pub fn commit_then(
        &self,
        batch: Batch,
        mailbox: &Mailbox,
        mut then: impl FnMut(Result<(), StateError>) + Send + 'static,
    ) {
        let mailbox = mailbox.clone();
        let mut messages = posted_messages(&batch);
        let (causes, accepted) = (super::log_lines::causes(&batch), self.accepted.clone());
        self.store.commit(batch, move |outcome| {
            if outcome.is_ok() {
                accepted.say(&messages, &causes);
                mailbox.post(std::mem::take(&mut messages));
            }
            then(outcome);
        });
    }

    /// Stores frames of a channel, acknowledges them when they are durable, and tells the router that further ones may be
    /// stored. While the store is down it tells at once; the frames are acknowledged when it is back.
    pub fn commit_frames(
        &self,
        channel: &ChannelName,
        batch: Batch,
        mut acknowledgements: Vec<FrameAcknowledgement>,
        mailbox: &Mailbox,
    ) {
        let (channel, completed) = (channel.clone(), self.completed.clone());
        self.commit_then(batch, mailbox, move |outcome| {
            if outcome.is_ok() {
                acknowledgements.drain(..).for_each(FrameAcknowledgement::durable);
            }
            let _ = completed.send(Completion::Stored(channel.clone(), Stored::Frames));
        });
    }

    /// Puts an attempt of a reply on record, and then reads the reply. One completion tells what came of both, after an
    /// outage if need be.
    ///
    /// `outcome` is what came of the attempt before it, if there was one. Both are one transaction, or the lane would wait
    /// for two: the store thread may take up the first before it sees the second.
    pub fn begin_reply(
        &self,
        channel: &ChannelName,
        id: ReplyId,
        attempt: u32,
        outcome: Batch,
        mailbox: &Mailbox,
    ) {
        let mut batch = outcome;
        batch.changes.push(Change::ReplyAttempt { id, attempt, at_ms: unix_ms() });
        let is_rejected = Arc::new(AtomicBool::new(false));
        let rejected = is_rejected.clone();
        self.commit_then(batch, mailbox, move |outcome| {
            if let Err(StateError::Rejected { .. }) = outcome {
                rejected.store(true, Ordering::Relaxed);
            }
        });
        let completed = self.completed.clone();
        let channel = channel.clone();
        self.store.ask_when_available(
            move |engine| engine.reply(id),
            move |record| {
                // The store thread responds in the order of the requests, so what became of the record is known.
                let stored = match is_rejected.load(Ordering::Relaxed) {
                    false => Stored::Attempt(id, record.map(Box::new)),
                    true => Stored::NoAttempt(id),
                };
                let _ = completed.send(Completion::Stored(channel, stored));
            },
        );
    }

    /// Responds to a duplicate with the stored response to the first request.
    pub fn respond_from_store(&self, id: DedupeId, responder: ResponseSender) {
        self.store.ask(
            move |engine| engine.stored_response(id),
            move |stored| {
                responder.send(match stored {
                    Ok(Some(stored)) => WebhookResponse::Channel(stored),
                    Ok(None) => WebhookResponse::Channel(Arc::new(ChannelResponse::empty_ok())),
                    Err(_) => WebhookResponse::Refused(WebhookRefusal::StoreUnavailable),
                });
            },
        );
    }
}

/// What a channel sees of the host.
pub(super) struct RouterView<'a> {
    pub storage: &'a Storage,
    pub mailbox: &'a Mailbox,
}

impl HostView for RouterView<'_> {
    fn store_works(&self) -> bool {
        self.storage.works
    }

    fn store_takes_messages(&self) -> bool {
        self.storage.works && !self.storage.is_low
    }

    fn store_has_room(&self) -> bool {
        self.storage.takes_work()
    }

    fn agent_is_busy(&self) -> bool {
        self.mailbox.is_full()
    }

    fn random(&self) -> f64 {
        random()
    }
}

/// The messages of a batch, as the mailbox keeps them in memory.
fn posted_messages(batch: &Batch) -> Vec<Posted> {
    batch
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::AddMessage(message) => Some(Posted::of(message)),
            _ => None,
        })
        .collect()
}

impl Router {
    /// The store failed or came back.
    pub(super) fn store_news(&mut self, news: StoreEvent) {
        match news {
            StoreEvent::Unavailable { reason } => self.store_failed(&reason),
            StoreEvent::Recovered => self.store_recovered(),
            // Whatever waited for it is looked at after every completion.
            StoreEvent::Room => {}
            StoreEvent::Low => self.storage.is_low = true,
            StoreEvent::Roomy => self.storage.is_low = false,
        }
    }

    /// Nothing begins any more. What still runs ends, and waits for the store with the rest.
    fn store_failed(&mut self, reason: &Arc<str>) {
        log::error!("the store is down, so nothing is accepted: {reason}");
        self.storage.works = false;
        self.command_all(|| ChannelCommand::StoreFailed);
    }

    /// The store has everything that waited for it.
    fn store_recovered(&mut self) {
        log::info!("the store is up again");
        self.storage.works = true;
        // Said again when it is so.
        self.storage.is_low = false;
        self.command_all(|| ChannelCommand::StoreRecovered);
    }
}
