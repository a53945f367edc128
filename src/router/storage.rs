//! The router's side of the store: batches on their way, and a store that fails and comes back.

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::event::answer::{AnswerSlot, HttpAnswer, Refusal};
use crate::event::callback::CallbackReport;
use crate::event::completion::Completion;
use crate::services::workspace::{WorkspaceChanges, workspace_path};
use crate::store::{
    Batch, Change, CommitError, Generation, Loaded, Receipt, ReplyId, SeenId, StoreEvent, StoreHandle,
};
use crate::stream::{Mailbox, Posted};

use super::core::Router;
use super::job::{Purpose, Running};
use crate::event::unix_ms;

/// Requests to the store thread that may be under way before no further callback starts. The store thread's queue is
/// longer than this, so the router waits for it only when others have filled it, and then for one commit.
const MOST_UNDER_WAY: usize = 512;

/// What the router knows of the store.
pub(super) struct Storage {
    store: StoreHandle,
    completed: Sender<Completion>,
    generation: Generation,
    works: bool,
    under_way: usize,
    /// What has happened outside and could not be stored yet.
    owed: Vec<Batch>,
}

impl Storage {
    pub fn new(store: StoreHandle, completed: Sender<Completion>) -> Self {
        let generation = store.generation();
        Self { store, completed, generation, works: true, under_way: 0, owed: Vec::new() }
    }

    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether anything can be stored.
    pub fn works(&self) -> bool {
        self.works
    }

    /// Whether a further callback may start: what it does must find a way to the store.
    pub fn takes_work(&self) -> bool {
        self.works && self.under_way < MOST_UNDER_WAY
    }

    /// Whether everything that was sent has been dealt with.
    pub fn is_settled(&self) -> bool {
        self.under_way == 0
    }

    /// The store thread has dealt with a request.
    pub fn settled(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Sends a batch, if there is anything in it; nobody waits for it. When it cannot be stored, the callback that it
    /// comes from has not happened, and what caused the callback comes again.
    pub fn commit(&mut self, batch: Batch, mailbox: &Mailbox) {
        if !batch.changes.is_empty() {
            self.commit_then(batch, mailbox, |_| {});
        }
    }

    /// Sends a batch that says what has already happened outside. When it cannot be stored, it is owed.
    pub fn commit_fact(&mut self, batch: Batch, mailbox: &Mailbox) {
        let completed = self.completed.clone();
        let fact = batch.clone();
        self.commit_then(batch, mailbox, move |receipt| {
            if let Err(CommitError::Unavailable { .. }) = receipt {
                let _ = completed.send(Completion::Owed(fact));
            }
        });
    }

    /// Sends a batch. When it is durable its messages go to the agent, and `then` is told either way.
    pub fn commit_then(
        &mut self,
        batch: Batch,
        mailbox: &Mailbox,
        then: impl FnOnce(Result<Receipt, CommitError>) + Send + 'static,
    ) {
        self.under_way += 1;
        let completed = self.completed.clone();
        let mailbox = mailbox.clone();
        let messages = posted_messages(&batch);
        self.store.commit(self.generation, batch, move |receipt| {
            if let Ok(receipt) = &receipt {
                mailbox.post(receipt.messages.iter().copied().zip(messages));
            }
            then(receipt);
            let _ = completed.send(Completion::Settled);
        });
    }

    /// Puts an attempt of a reply on record, and then reads the reply.
    pub fn begin_reply(&mut self, id: ReplyId, attempt: u32) {
        self.under_way += 2;
        let batch = Batch::of(Change::ReplyAttempt { id, attempt, at_ms: unix_ms() });
        let completed = self.completed.clone();
        self.store.commit(self.generation, batch, move |receipt| {
            if receipt.is_err() {
                let _ = completed.send(Completion::ReplyNotReady(id));
            }
            let _ = completed.send(Completion::Settled);
        });
        let completed = self.completed.clone();
        self.store.ask(
            move |engine| engine.reply(id),
            move |record| {
                if let Ok(record) = record {
                    let _ = completed.send(Completion::ReplyReady(id, record.map(Box::new)));
                }
                let _ = completed.send(Completion::Settled);
            },
        );
    }

    /// Answers a repeated request with the stored answer of the first.
    pub fn answer_from_store(&mut self, id: SeenId, answer: AnswerSlot) {
        self.under_way += 1;
        let completed = self.completed.clone();
        self.store.ask(
            move |engine| engine.seen_answer(id),
            move |stored| {
                answer.send(match stored {
                    Ok(Some(stored)) => HttpAnswer::Guest(super::seen::restored_answer(stored)),
                    Ok(None) => HttpAnswer::Guest(super::seen::empty_ok()),
                    Err(_) => HttpAnswer::Refused(Refusal::StoreUnavailable),
                });
                let _ = completed.send(Completion::Settled);
            },
        );
    }

    /// Keeps a batch until the store works again.
    pub fn owe(&mut self, batch: Batch) {
        if self.works {
            let completed = self.completed.clone();
            self.under_way += 1;
            let again = batch.clone();
            self.store.commit(self.generation, batch, move |receipt| {
                if let Err(CommitError::Unavailable { .. }) = receipt {
                    let _ = completed.send(Completion::Owed(again));
                }
                let _ = completed.send(Completion::Settled);
            });
        } else {
            self.owed.push(batch);
        }
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
            StoreEvent::Recovered { generation, loaded } => self.store_recovered(generation, *loaded),
        }
    }

    fn store_failed(&mut self, reason: &Arc<str>) {
        log::error!("nothing can be stored, so nothing is accepted: {reason}");
        self.storage.works = false;
        let channels: Vec<_> = self.slots.keys().cloned().collect();
        for channel in channels {
            self.refuse_waiting_webhooks(&channel);
            // What was held back rests on a state that is void now; its cause comes again.
            let held = self.slots.get_mut(&channel).and_then(|slot| slot.held.take());
            if let Some(held) = held {
                let (running, report) = *held;
                self.lost_with_the_store(running, report);
            }
        }
    }

    /// Everything in memory goes back to what is durable. What has happened outside meanwhile is stored on top.
    fn store_recovered(&mut self, generation: Generation, mut loaded: Loaded) {
        log::info!("the store works again");
        self.storage.generation = generation;
        self.storage.works = true;
        let channels: Vec<_> = self.slots.keys().cloned().collect();
        for channel in &channels {
            let key: Arc<str> = Arc::from(channel.as_str());
            if let Some(slot) = self.slots.get_mut(channel) {
                slot.reset_to(loaded.channels.remove(&key).unwrap_or_default());
                slot.seen.forget_all();
                for seen in loaded.seen.iter().filter(|seen| seen.channel == key) {
                    slot.seen.load(seen);
                }
            }
            self.schedule_timers(channel);
            self.schedule_poll(channel);
        }
        for batch in std::mem::take(&mut self.storage.owed) {
            self.apply_owed_files(&batch);
            self.storage.owe(batch);
        }
        for channel in &channels {
            self.list_all(channel);
            self.begin_due_replies(channel);
        }
    }

    fn apply_owed_files(&mut self, batch: &Batch) {
        for change in &batch.changes {
            let Change::PutFile { channel, path, content } = change else { continue };
            let slot = self.slots.values_mut().find(|slot| slot.setup.name.as_str() == &**channel);
            if let (Some(slot), Ok(path)) = (slot, workspace_path(path)) {
                let writes = [(path, content.clone())].into();
                slot.workspace.apply_over(&WorkspaceChanges { writes, ..WorkspaceChanges::default() });
            }
        }
    }

    /// A callback ended well, but what it rests on, or what it did, could not be stored.
    pub(super) fn lost_with_the_store(&mut self, running: Running, report: CallbackReport) {
        let Running { channel, lane, job, .. } = running;
        self.free_lane(&channel, lane);
        match job.purpose {
            Purpose::Webhook { identities, answer } => {
                self.webhook_failed(&channel, &identities, answer, Refusal::StoreUnavailable);
            }
            // The reply has been delivered: that must be known once the store works again.
            Purpose::Reply(attempt) => self.owe_delivery(&channel, &attempt, report),
            Purpose::Start => self.start_failed(&channel, "the store is not available"),
            Purpose::Poll | Purpose::Timer { .. } | Purpose::Status | Purpose::Shutdown => {}
        }
    }
}
