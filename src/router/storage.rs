//! The router's side of the store: batches on their way, and a store that fails and comes back.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::Sender;

use crate::channel::workspace::{WorkspaceChanges, workspace_path};
use crate::event::callback::CallbackReport;
use crate::event::completion::Completion;
use crate::event::response::{ResponseSender, WebhookRefusal, WebhookResponse};
use crate::inbox::{Mailbox, Posted};
use crate::store::{
    Batch, Change, CommitError, Generation, Loaded, Receipt, ReplyId, SeenId, StoreEvent, StoreHandle,
    TimerRecord,
};

use super::core::Router;
use crate::channel::ChannelName;
use crate::channel::job::{Purpose, Running};
use crate::model::clock::{steady_ms, unix_ms};

/// Requests to the store thread that may be under way before no further callback starts. The store thread's queue is
/// longer than this, so the router waits for it only when others have filled it, and then for one commit.
const MOST_UNDER_WAY: usize = 512;

/// What the router knows of the store.
pub(super) struct Storage {
    store: StoreHandle,
    completed: Sender<Completion>,
    generation: Generation,
    works: bool,
    /// There is room only for what lets stored messages and replies leave.
    is_low: bool,
    under_way: Arc<UnderWay>,
    /// What has happened outside and could not be stored yet.
    pending_writes: Vec<Batch>,
}

impl Storage {
    pub fn new(store: StoreHandle, completed: Sender<Completion>) -> Self {
        let generation = store.generation();
        Self {
            store,
            completed,
            generation,
            works: true,
            is_low: false,
            under_way: Arc::default(),
            pending_writes: Vec::new(),
        }
    }

    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether anything can be stored.
    pub fn works(&self) -> bool {
        self.works
    }

    /// Whether new messages can be stored.
    pub fn takes_messages(&self) -> bool {
        self.works && !self.is_low
    }

    /// Whether a further callback may start: what it does must find a way to the store. When it is not so, a completion
    /// comes when it may be.
    pub fn takes_work(&self) -> bool {
        self.works && self.under_way.is_below(MOST_UNDER_WAY)
    }

    /// Whether everything that was sent has been dealt with. When it is not so, a completion comes when it may be.
    pub fn is_idle_or_wakes(&self) -> bool {
        self.under_way.is_below(1)
    }

    /// Whether everything that was sent has been dealt with, for those who do not wait for it.
    pub fn is_idle(&self) -> bool {
        self.under_way.count.load(Ordering::SeqCst) == 0
    }

    /// A request to the store has failed, and everything else that its failure says has been heard.
    pub fn failed(&mut self) {
        self.under_way.count.fetch_sub(1, Ordering::SeqCst);
    }

    /// Sends a batch, if there is anything in it; nobody waits for it. When it cannot be stored, the callback that it
    /// comes from has not happened, and what caused the callback is redelivered.
    pub fn commit(&mut self, batch: Batch, mailbox: &Mailbox) {
        if !batch.changes.is_empty() {
            self.commit_then(batch, mailbox, |_| {});
        }
    }

    /// Sends a batch that says what has already happened outside, if there is anything in it. When it cannot be stored, it
    /// becomes a pending write.
    pub fn commit_fact(&mut self, batch: Batch, mailbox: &Mailbox) {
        if batch.changes.is_empty() {
            return;
        }
        let completed = self.completed.clone();
        let fact = batch.clone();
        self.commit_then(batch, mailbox, move |receipt| {
            if let Err(CommitError::Unavailable { .. }) = receipt {
                let _ = completed.send(Completion::WritePending(fact));
            }
        });
    }

    /// Sends the pending writes of messages, if they can be stored now.
    pub fn commit_message_writes(&mut self, mailbox: &Mailbox) {
        if !self.works {
            return;
        }
        for batch in mailbox.take_pending_writes() {
            let (again, facts) = (mailbox.clone(), batch.changes.clone());
            self.commit_then(batch, mailbox, move |receipt| {
                if let Err(CommitError::Unavailable { .. }) = receipt {
                    again.enqueue_writes(facts);
                }
            });
        }
    }

    /// Sends a batch. When it is durable its messages go to the agent, and `then` is told either way.
    pub fn commit_then(
        &mut self,
        batch: Batch,
        mailbox: &Mailbox,
        then: impl FnOnce(Result<Receipt, CommitError>) + Send + 'static,
    ) {
        let request = self.begin();
        let mailbox = mailbox.clone();
        let messages = posted_messages(&batch);
        self.store.commit(self.generation, batch, move |receipt| {
            let is_stored = receipt.is_ok();
            if let Ok(receipt) = &receipt {
                mailbox.post(receipt.messages.iter().copied().zip(messages));
            }
            then(receipt);
            if is_stored {
                request.done();
            }
        });
    }

    /// Puts an attempt of a reply on record, and then reads the reply. Exactly one completion tells what came of both:
    /// either may fail without the other.
    ///
    /// `outcome` is what came of the attempt before it, if there was one. Both are one transaction, or the lane would wait
    /// for two: the store thread may take up the first before it sees the second. The outcome has happened and is a pending write when
    /// it cannot be stored; the attempt is then not made.
    pub fn begin_reply(
        &mut self,
        channel: &ChannelName,
        id: ReplyId,
        attempt: u32,
        outcome: Batch,
        mailbox: &Mailbox,
    ) {
        let fact = outcome.clone();
        let mut batch = outcome;
        batch.changes.push(Change::ReplyAttempt { id, attempt, at_ms: unix_ms() });
        let is_recorded = Arc::new(AtomicBool::new(false));
        let recorded = is_recorded.clone();
        let completed = self.completed.clone();
        self.commit_then(batch, mailbox, move |receipt| {
            recorded.store(receipt.is_ok(), Ordering::Relaxed);
            if let Err(CommitError::Unavailable { .. }) = receipt
                && !fact.changes.is_empty()
            {
                let _ = completed.send(Completion::WritePending(fact));
            }
        });
        let completed = self.completed.clone();
        let channel = channel.clone();
        let request = self.begin();
        self.store.ask(
            move |engine| engine.reply(id),
            move |record| {
                // The store thread answers in the order of asking, so what became of the record is known.
                let _ = completed.send(match record {
                    Ok(record) if is_recorded.load(Ordering::Relaxed) => {
                        Completion::ReplyReady(channel, id, record.map(Box::new))
                    }
                    _ => Completion::ReplyNotReady(channel, id),
                });
                // A failure is told by the completion.
                request.done();
            },
        );
    }

    /// Answers a repeated request with the stored answer of the first.
    pub fn answer_from_store(&mut self, id: SeenId, answer: ResponseSender) {
        let request = self.begin();
        self.store.ask(
            move |engine| engine.stored_response(id),
            move |stored| {
                answer.send(match stored {
                    Ok(Some(stored)) => {
                        WebhookResponse::Guest(crate::channel::dedupe::restored_response(stored))
                    }
                    Ok(None) => WebhookResponse::Guest(crate::channel::dedupe::empty_ok()),
                    Err(_) => WebhookResponse::Refused(WebhookRefusal::StoreUnavailable),
                });
                request.done();
            },
        );
    }

    /// Counts a request to the store until what is returned is dropped, which also happens to a request that a store
    /// thread left behind.
    fn begin(&mut self) -> PendingCommit {
        self.under_way.count.fetch_add(1, Ordering::SeqCst);
        PendingCommit { under_way: self.under_way.clone(), completed: self.completed.clone(), is_done: false }
    }
}

/// Counts the requests to the store that are under way. The store thread counts down by itself, because waking the router
/// for every request would cost more than the request.
#[derive(Default)]
struct UnderWay {
    count: AtomicUsize,
    /// The router waits for fewer.
    is_awaited: AtomicBool,
}

impl UnderWay {
    fn is_below(&self, most: usize) -> bool {
        if self.count.load(Ordering::SeqCst) < most {
            return true;
        }
        // Looked at again, because the last request may have ended before anybody could know who waits.
        self.is_awaited.store(true, Ordering::SeqCst);
        self.count.load(Ordering::SeqCst) < most
    }
}

/// A request to the store.
struct PendingCommit {
    under_way: Arc<UnderWay>,
    completed: Sender<Completion>,
    is_done: bool,
}

impl PendingCommit {
    /// The request was carried out.
    fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for PendingCommit {
    fn drop(&mut self) {
        if !self.is_done {
            // Counted down by the router, after it has heard what else the failure brought: before that, nothing may depend
            // on what the request would have stored.
            let _ = self.completed.send(Completion::StoreRequestFailed);
            return;
        }
        self.under_way.count.fetch_sub(1, Ordering::SeqCst);
        if self.under_way.is_awaited.swap(false, Ordering::SeqCst) {
            let _ = self.completed.send(Completion::StoreCaughtUp);
        }
    }
}

/// Whether a pending write was kept although the store has said that it had failed: the reply whose delivery it tells is not
/// pending any more. The rest of it, of which a second time would be one too many, was kept with that.
fn is_kept(batch: &Batch, pending: &HashSet<ReplyId>) -> bool {
    batch.changes.iter().any(|change| match change {
        Change::ReplyDelivered { id, .. } => !pending.contains(id),
        _ => false,
    })
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
            StoreEvent::Low => self.storage.is_low = true,
            StoreEvent::Roomy => self.storage.is_low = false,
        }
    }

    fn store_failed(&mut self, reason: &Arc<str>) {
        log::error!("the store is down, so nothing is accepted: {reason}");
        self.storage.works = false;
        let channels: Vec<_> = self.channels.keys().cloned().collect();
        for channel in channels {
            self.refuse_waiting_webhooks(&channel);
            // What was held back depends on a state that is void now; its cause is redelivered.
            let held = self.channels.get_mut(&channel).map(|slot| slot.emission.release_all());
            for (running, report) in held.into_iter().flatten() {
                self.lost_with_the_store(running, report);
            }
        }
    }

    /// Everything in memory goes back to what is durable. What has happened outside meanwhile is stored on top.
    fn store_recovered(&mut self, generation: Generation, mut loaded: Loaded) {
        log::info!("the store is up again");
        self.storage.generation = generation;
        self.storage.works = true;
        // Said anew when it is so.
        self.storage.is_low = false;
        let channels: Vec<_> = self.channels.keys().cloned().collect();
        for channel in &channels {
            let key: Arc<str> = channel.shared();
            if let Some(slot) = self.channels.get_mut(channel) {
                slot.reset_to(loaded.channels.remove(&key).unwrap_or_default());
                slot.seen.forget_answered();
                for seen in loaded.seen.iter().filter(|seen| seen.channel == key) {
                    slot.seen.load(seen, steady_ms());
                }
            }
            self.start_again_if_lost(channel);
            self.schedule_timers(channel);
            self.schedule_poll(channel);
        }
        // A commit that failed after its data was on the medium: nobody was told, and it is there.
        self.mailbox.load_missed(loaded.messages);
        let pending: HashSet<ReplyId> = loaded.replies.iter().map(|reply| reply.id).collect();
        for reply in loaded.replies {
            if reply.id > self.newest_reply {
                self.replies_waiting.fetch_add(1, Ordering::Relaxed);
                self.reply_stored(reply);
            }
        }
        for batch in std::mem::take(&mut self.storage.pending_writes) {
            if !is_kept(&batch, &pending) {
                self.enqueue_write(batch);
            }
        }
        self.store_message_writes();
        for channel in &channels {
            self.mark_all_runnable(channel);
            self.begin_due_replies(channel);
        }
    }

    /// Stores what has happened outside: now, or when the store works again.
    pub(super) fn enqueue_write(&mut self, batch: Batch) {
        if !self.storage.works {
            return self.storage.pending_writes.push(batch);
        }
        // Memory was put back to what is durable, which this is not yet.
        for change in &batch.changes {
            self.apply_pending_write(change);
        }
        self.storage.commit_fact(batch, &self.mailbox);
    }

    /// What readers did while nothing could be stored.
    pub(super) fn store_message_writes(&mut self) {
        self.storage.commit_message_writes(&self.mailbox);
    }

    fn apply_pending_write(&mut self, change: &Change) {
        match change {
            Change::PutFile { channel, path, content } => {
                let slot = self.channels.get_mut(&**channel);
                if let (Some(slot), Ok(path)) = (slot, workspace_path(path)) {
                    let writes = [(path, content.clone())].into();
                    slot.workspace.apply_over(&WorkspaceChanges { writes, ..WorkspaceChanges::default() });
                }
            }
            Change::SetTimer { channel, name, set_ms, due_ms, payload } => {
                let timer = TimerRecord {
                    name: name.clone(),
                    set_ms: *set_ms,
                    due_ms: *due_ms,
                    payload: payload.clone(),
                };
                self.set_pending_timer(channel, name, Some(timer));
            }
            Change::CancelTimer { channel, name } => self.set_pending_timer(channel, name, None),
            Change::Seen { channel, key, expires_ms, .. } => {
                let slot = self.channels.get_mut(&**channel);
                if let Some(slot) = slot {
                    slot.seen.remember_message(*key, *expires_ms);
                }
            }
            _ => {}
        }
    }

    /// A callback ended well, but what it depends on, or what it did, could not be stored.
    pub(super) fn lost_with_the_store(&mut self, running: Running, report: CallbackReport) {
        let Running { channel, lane, job, .. } = running;
        self.free_lane(&channel, lane);
        match job.purpose {
            Purpose::Webhook { identities, answer } => {
                self.webhook_failed(&channel, &identities, answer, WebhookRefusal::StoreUnavailable);
            }
            // The reply has been delivered: that must be known once the store works again.
            Purpose::Reply(attempt) => self.enqueue_delivery(&channel, &attempt, report),
            Purpose::Start => self.start_failed(&channel, "the store is not available"),
            Purpose::Poll | Purpose::Timer { .. } | Purpose::Status | Purpose::Shutdown => {}
        }
    }
}
