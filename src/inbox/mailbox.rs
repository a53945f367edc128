//! The queue of messages between the store thread, which fills it, and the readers.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::event::completion::Completion;
use crate::model::clock::unix_ms;
use crate::model::deadline::deadline_after;
use crate::store::{
    AttachmentMeta, Batch, Change, ChannelKey, CommitError, MessageBody, MessageId, MessageRecord,
    NewMessage, PendingMessage, StoreHandle,
};

use super::owed::Owed;
use super::queue::{HandedOut, MessageQueue, QueueLimits, Waiting};

/// Bytes of messages that are kept in memory until they are read; the others are read from the store.
const KEPT_BYTES: u64 = 4 * 1024 * 1024;

/// A message without the data of its attachments.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub channel: ChannelKey,
    pub conversation: Arc<str>,
    pub body: MessageBody,
    pub attachments: Vec<AttachmentMeta>,
    pub received_ms: u64,
}

impl From<MessageRecord> for Letter {
    fn from(record: MessageRecord) -> Self {
        Self {
            channel: record.channel,
            conversation: record.conversation,
            body: record.body,
            attachments: record.attachments.into_iter().map(|attachment| attachment.meta).collect(),
            received_ms: record.received_ms,
        }
    }
}

/// A message that is being stored, as the mailbox will keep it.
#[derive(Debug)]
pub(crate) struct Posted {
    conversation: Arc<str>,
    bytes: u64,
    letter: Arc<Letter>,
}

impl Posted {
    /// What is kept of a message that goes to the store.
    pub fn of(message: &NewMessage) -> Self {
        Self {
            conversation: message.conversation.clone(),
            bytes: message.bytes(),
            letter: Arc::new(Letter {
                channel: message.channel.clone(),
                conversation: message.conversation.clone(),
                body: message.body.clone(),
                attachments: message.attachments.iter().map(|attachment| attachment.meta.clone()).collect(),
                received_ms: message.received_ms,
            }),
        }
    }
}

/// Messages that are durable and wait for the agent. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailbox(Arc<Shared>);

struct Shared {
    /// A lock, because the store thread fills what the agent's threads empty; it is held for bookkeeping only, never
    /// during I/O.
    state: Mutex<State>,
    /// Told when something can be taken, or nothing will ever be again.
    changed: Condvar,
    store: StoreHandle,
    /// To the router, which says when what is owed can be stored.
    completed: Sender<Completion>,
}

struct State {
    queue: MessageQueue<Arc<Letter>>,
    kept_bytes: u64,
    /// The newest message that was ever here: ids grow, so one that is newer was stored without anybody being told.
    newest: MessageId,
    owed: Owed,
    is_closed: bool,
}

/// Why nothing could be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nothing {
    TimedOut,
    Closed,
}

impl Mailbox {
    pub fn new(
        store: StoreHandle,
        completed: Sender<Completion>,
        limits: QueueLimits,
        visibility: Duration,
        in_order: bool,
    ) -> Self {
        let queue = MessageQueue::new(limits, visibility, in_order);
        let state =
            State { queue, kept_bytes: 0, newest: MessageId(0), owed: Owed::default(), is_closed: false };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), store, completed }))
    }

    /// Takes in messages that are durable now.
    pub fn post(&self, messages: impl Iterator<Item = (MessageId, Posted)>) {
        let mut messages = messages.peekable();
        if messages.peek().is_none() {
            return;
        }
        let mut state = self.lock();
        let now = Instant::now();
        for (id, Posted { conversation, bytes, letter }) in messages {
            let body = (state.kept_bytes + bytes <= KEPT_BYTES).then_some(letter);
            if body.is_some() {
                state.kept_bytes += bytes;
            }
            state.newest = state.newest.max(id);
            state.queue.push(Waiting { id, conversation, bytes, attempt: 0, body }, now);
        }
        drop(state);
        self.0.changed.notify_all();
    }

    /// Takes in what waits in the store: after a restart, or when an operator sends a message again.
    pub fn load(&self, messages: impl IntoIterator<Item = PendingMessage>) {
        let mut state = self.lock();
        let now = Instant::now();
        for message in messages {
            let PendingMessage { id, conversation, bytes, attempt, .. } = message;
            state.newest = state.newest.max(id);
            state.queue.push(Waiting { id, conversation, bytes, attempt, body: None }, now);
        }
        drop(state);
        self.0.changed.notify_all();
    }

    /// After an outage: takes in what the store kept although it said that it had not. What was here before is left as it
    /// is, be it acknowledged meanwhile.
    pub fn load_missed(&self, messages: Vec<PendingMessage>) {
        let newest = self.lock().newest;
        self.load(messages.into_iter().filter(|message| message.id > newest));
    }

    /// Whether so much waits that no new message should be accepted.
    pub fn is_full(&self) -> bool {
        self.lock().queue.is_full()
    }

    /// Messages that wait or are handed out.
    pub fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    /// Messages that are handed out.
    pub fn handed_out(&self) -> usize {
        self.lock().queue.handed_out()
    }

    /// Nothing is handed out any more; readers that wait are told.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.0.changed.notify_all();
    }

    /// Hands out the next message, waiting for one until `until`.
    pub(super) fn take(&self, until: Option<Instant>) -> Result<(HandedOut<()>, Arc<Letter>), Nothing> {
        loop {
            let HandedOut { id, attempt, body } = self.take_entry(until)?;
            let out = HandedOut { id, attempt, body: None };
            let letter = match body {
                Some(letter) => Some(letter),
                None => self.read(id, attempt),
            };
            if let Some(letter) = letter {
                self.tell_store(Change::MessageAttempt { id, attempt, at_ms: unix_ms() });
                return Ok((out, letter));
            }
        }
    }

    fn take_entry(&self, until: Option<Instant>) -> Result<HandedOut<Arc<Letter>>, Nothing> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return Err(Nothing::Closed);
            }
            let now = Instant::now();
            if let Some(out) = state.queue.take(now) {
                return Ok(out);
            }
            if until.is_some_and(|until| until <= now) {
                return Err(Nothing::TimedOut);
            }
            let wake = [until, state.queue.next_due()].into_iter().flatten().min();
            state = match wake {
                Some(wake) => {
                    let wait = wake.saturating_duration_since(now);
                    self.0.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Reads a message that is not kept in memory. None when it cannot be had now, or is gone.
    fn read(&self, id: MessageId, attempt: u32) -> Option<Arc<Letter>> {
        match self.0.store.query(move |engine| engine.message(id)) {
            Ok(Some(record)) => Some(Arc::new(record.into())),
            Ok(None) => {
                self.forget(id);
                None
            }
            Err(_) => {
                let later = deadline_after(Instant::now(), Duration::from_secs(1));
                self.lock().queue.give_back(id, attempt, later);
                None
            }
        }
    }

    /// The agent has dealt with a message.
    pub(super) fn acknowledge(&self, id: MessageId) {
        if self.forget(id) {
            self.tell_store(Change::MessageAcked { id, at_ms: unix_ms() });
        }
    }

    /// The agent, or nobody, has dealt with a message: it can be handed out again after `delay`.
    pub(super) fn give_back(&self, id: MessageId, attempt: u32, delay: Duration) {
        let due = deadline_after(Instant::now(), delay);
        self.lock().queue.give_back(id, attempt, due);
        self.0.changed.notify_all();
    }

    /// Removes a message that the store has settled already. False when it was not here.
    pub fn forget(&self, id: MessageId) -> bool {
        let mut state = self.lock();
        let kept = state.queue.kept(id).map(|bytes| state.kept_bytes.saturating_sub(bytes));
        if let Some(kept) = kept {
            state.kept_bytes = kept;
        }
        let was_here = state.queue.acknowledge(id);
        drop(state);
        // The next message of the conversation may have waited for this one.
        self.0.changed.notify_all();
        was_here
    }

    pub(super) fn attachment(&self, id: MessageId, index: usize) -> Result<Option<Arc<[u8]>>, CommitError> {
        self.0.store.query(move |engine| engine.attachment(id, index))
    }

    /// Stores a fact that nobody waits for. One that cannot be stored now is kept until the store works again; a host
    /// that ends before that hands the message out once more, which at-least-once allows.
    fn tell_store(&self, change: Change) {
        let mailbox = self.clone();
        let again = change.clone();
        self.0.store.commit_soon(self.0.store.generation(), Batch::of(change), move |receipt| {
            if let Err(CommitError::Unavailable { .. }) = receipt {
                mailbox.owe([again]);
            }
        });
    }

    /// Keeps facts that could not be stored, and has the router ask for them. It is told once however many there are:
    /// the store thread, which may be the caller, must never wait for it.
    pub fn owe(&self, changes: impl IntoIterator<Item = Change>) {
        let mut state = self.lock();
        for change in changes {
            state.owed.add(change);
        }
        let is_news = !std::mem::replace(&mut state.owed.is_told, true);
        drop(state);
        if is_news {
            let _ = self.0.completed.send(Completion::MessagesOwed);
        }
    }

    /// What is owed, to be stored now.
    pub fn take_owed(&self) -> Vec<Batch> {
        self.lock().owed.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The queue's own methods do not panic, so a poisoned lock still guards a sound queue.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
