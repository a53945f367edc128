//! The queue of messages between the store thread, which fills it, and the readers.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wit_abi::types::EmittedMessage;

use super::dead_letter::{DeadLetterNotice, FailedAttempt};
use super::queue::{
    DeliveryLease, DeliveryPolicy, Dequeued, Failed, MessageQueue, QueueLimits, WaitingMessage,
};
use crate::model::clock::{micros, unix_ms};
use crate::model::deadline::deadline_after;
use crate::model::human_duration::HumanDuration;
use crate::model::log_throttle::{LogThrottle, PROGRESS_LINES_A_MINUTE, Suppressed};
use crate::model::oneshot;
use crate::model::subject::about_channel;
use crate::store::{
    Batch, Change, ChannelKey, MessageId, MessageRecord, NewMessage, PendingMessage, StateError, StoreHandle,
    StoreState, TraceKind, TraceStep, TraceSubject,
};

/// Bytes of messages that are kept in memory until they are read; the others are read from the store.
const KEPT_BYTES: u64 = 4 * 1024 * 1024;

/// Steps of traces that wait for a batch to go with. One more is a reason for a batch.
const MAX_WAITING_STEPS: usize = 64;

/// The pause after a read of the store that failed.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(1);

/// A message that is in the store, without the data of its attachments. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct StoredMessage {
    pub channel: ChannelKey,
    pub conversation: Arc<str>,
    pub message: Arc<EmittedMessage>,
    pub received_ms: u64,
}

impl From<MessageRecord> for StoredMessage {
    fn from(record: MessageRecord) -> Self {
        let MessageRecord { channel, conversation, message, received_ms, .. } = record;
        Self { channel, conversation, message, received_ms }
    }
}

/// A message that is being stored, as the mailbox will keep it. The message itself is shared with the batch.
#[derive(Debug)]
pub(crate) struct Posted {
    id: MessageId,
    bytes: u64,
    message: StoredMessage,
}

impl Posted {
    /// What is kept of a message that goes to the store.
    pub fn of(new: &NewMessage) -> Self {
        let message = StoredMessage {
            channel: new.channel.clone(),
            conversation: new.conversation.clone(),
            message: new.message.clone(),
            received_ms: new.received_ms,
        };
        Self { id: new.id, bytes: new.bytes(), message }
    }

    /// Its id.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// The channel that it came through.
    pub fn channel(&self) -> &ChannelKey {
        &self.message.channel
    }
}

/// Messages that are durable and wait for the agent. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailbox(pub(super) Arc<MailboxInner>);

pub(super) struct MailboxInner {
    /// A lock, because the store thread fills what the agent's threads empty; it is held for bookkeeping only, never
    /// during I/O.
    state: Mutex<MailboxState>,
    /// Notified when something can be taken, or nothing will ever be again.
    changed: Condvar,
    /// Notified when something was delivered while the thread of the ack timeouts had nothing to wait for, or at the end.
    pub(super) delivered: Condvar,
    store: StoreHandle,
    notice: Box<dyn DeadLetterNotice>,
}

pub(super) struct MailboxState {
    pub(super) queue: MessageQueue<StoredMessage>,
    /// Bytes of the messages that are in memory: added when one is posted with its content, taken away when it is completed. At most
    /// [`KEPT_BYTES`]; what is beyond is read from the store when it is delivered.
    kept_bytes: u64,
    /// An agent that fails at everything makes a dead letter of every message.
    dead_letter_log: LogThrottle,
    failure_log: LogThrottle,
    /// By channel.
    delivery_log: LogThrottle<ChannelKey>,
    /// Failed attempts that are written with the next batch: they are no reason for one.
    waiting_steps: Vec<Change>,
    /// Readers that wait for `changed`, or are about to: they count up and down under the lock.
    waiting_readers: usize,
    /// The thread of the ack timeouts waits for a delivery.
    pub(super) watch_waits_for_delivery: bool,
    pub(super) is_closed: bool,
}

impl MailboxState {
    /// What the agent did with the last delivery of a message.
    fn step_of(&self, id: MessageId, kind: TraceKind, text: &str) -> Option<Change> {
        let (attempt, delivered) = self.queue.last_delivery(id)?;
        let step = TraceStep::new(TraceSubject::Message(id), kind, unix_ms(), text);
        Some(Change::Trace(TraceStep { attempt, took_us: micros(delivered.elapsed()), ..step }))
    }
}

/// Whether this try to ask the agent leaves a step: the first three do, and then each that is twice as many. An outage of days would
/// push out what is known of other messages.
fn is_recorded(tries: u32) -> bool {
    tries > 0 && (tries <= 3 || tries.is_power_of_two())
}

/// Why nothing could be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nothing {
    TimedOut,
    Closed,
}

impl Mailbox {
    /// Asks to say that a message of this channel is delivered: None when it is to be left out.
    pub(super) fn may_log_delivery(&self, channel: &ChannelKey) -> Option<Suppressed> {
        self.lock().delivery_log.check(channel, Instant::now())
    }

    pub fn new(
        store: StoreHandle,
        limits: QueueLimits,
        policy: DeliveryPolicy,
        notice: Box<dyn DeadLetterNotice>,
    ) -> Self {
        let state = MailboxState {
            queue: MessageQueue::new(limits, policy),
            kept_bytes: 0,
            dead_letter_log: LogThrottle::new(20, Duration::from_secs(60)),
            failure_log: LogThrottle::new(20, Duration::from_secs(60)),
            delivery_log: LogThrottle::new(PROGRESS_LINES_A_MINUTE, Duration::from_secs(60)),
            waiting_steps: Vec::new(),
            waiting_readers: 0,
            watch_waits_for_delivery: false,
            is_closed: false,
        };
        let (state, changed, delivered) = (Mutex::new(state), Condvar::new(), Condvar::new());
        Self(Arc::new(MailboxInner { state, changed, delivered, store, notice }))
    }

    /// Takes in messages that are durable now.
    pub fn post(&self, messages: Vec<Posted>) {
        if messages.is_empty() {
            return;
        }
        let mut state = self.lock();
        let now = Instant::now();
        for Posted { id, bytes, message } in messages {
            let (conversation, received_ms) = (message.conversation.clone(), message.received_ms);
            let body = (state.kept_bytes + bytes <= KEPT_BYTES).then_some(message);
            if body.is_some() {
                state.kept_bytes += bytes;
            }
            state.queue.push(WaitingMessage { id, conversation, bytes, attempt: 0, received_ms, body }, now);
        }
        self.unlock_and_wake(state);
    }

    /// Takes in what waits in the store after a restart. Each message may have been delivered once, which is not on record.
    pub fn load_after_restart(&self, messages: Vec<PendingMessage>) {
        self.load(messages.into_iter().map(|mut message| {
            message.attempt = message.attempt.max(1);
            message
        }));
    }

    /// Takes in what waits in the store, such as a message that an operator sends again.
    pub fn load(&self, messages: impl IntoIterator<Item = PendingMessage>) {
        let mut state = self.lock();
        let now = Instant::now();
        for message in messages {
            let PendingMessage { id, conversation, bytes, attempt, received_ms, .. } = message;
            state
                .queue
                .push(WaitingMessage { id, conversation, bytes, attempt, received_ms, body: None }, now);
        }
        self.unlock_and_wake(state);
    }

    /// Whether so much waits that no new message should be accepted.
    pub fn is_full(&self) -> bool {
        self.lock().queue.is_full()
    }

    /// Messages that wait or are in flight.
    pub fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    /// Messages that are delivered and not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.lock().queue.in_flight()
    }

    /// When the oldest message that waits or is in flight was emitted, in Unix milliseconds.
    pub fn oldest_ms(&self) -> Option<u64> {
        self.lock().queue.oldest_ms()
    }

    /// Nothing is delivered any more; readers that wait are told.
    pub fn close(&self) {
        self.write_waiting_steps();
        self.lock().is_closed = true;
        self.0.changed.notify_all();
        self.0.delivered.notify_all();
    }

    /// Delivers the next message, waiting for one until `until`.
    pub(super) fn take(&self, until: Option<Instant>) -> Result<(Dequeued<()>, StoredMessage), Nothing> {
        loop {
            let Dequeued { lease, attempt, outages, body } = self.take_entry(until)?;
            let taken = Dequeued { lease, attempt, outages, body: None };
            let message = match body {
                Some(message) => Some(message),
                None => self.read(lease),
            };
            if let Some(message) = message {
                // A first delivery is not put on record: it would cost a write to flash memory for each message. While the
                // store is down a delivery is no attempt, and there may be any number of them.
                if attempt > 1 && !self.is_store_down() {
                    self.write_soon(Change::MessageAttempt { id: lease.id, attempt, at_ms: unix_ms() });
                }
                return Ok((taken, message));
            }
        }
    }

    fn take_entry(&self, until: Option<Instant>) -> Result<Dequeued<StoredMessage>, Nothing> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return Err(Nothing::Closed);
            }
            let now = Instant::now();
            let had_expired;
            (state, had_expired) = self.fail_expired(state, now);
            if had_expired {
                continue;
            }
            if let Some(taken) = state.queue.take(now) {
                self.note_delivery(&mut state);
                return Ok(taken);
            }
            if until.is_some_and(|until| until <= now) {
                return Err(Nothing::TimedOut);
            }
            let wake = [until, state.queue.next_due()].into_iter().flatten().min();
            state.waiting_readers += 1;
            state = match wake {
                Some(wake) => {
                    let wait = wake.saturating_duration_since(now);
                    self.0.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.waiting_readers -= 1;
        }
    }

    /// Reads a message that is not kept in memory. None when it cannot be had now, or is gone. A store that cannot be read
    /// is no failure of the agent, which never saw the message.
    fn read(&self, lease: DeliveryLease) -> Option<StoredMessage> {
        match self.0.store.query(move |engine| engine.message(lease.id)) {
            Ok(Some(record)) => Some(record.into()),
            Ok(None) => {
                self.forget(lease.id);
                None
            }
            Err(_) => {
                self.release(lease, UNREADABLE_PAUSE);
                None
            }
        }
    }

    /// The agent has dealt with a message.
    pub(super) fn acknowledge(&self, id: MessageId) {
        let step = self.lock().step_of(id, TraceKind::Acknowledged, "");
        if self.forget(id) {
            let acked = Change::MessageAcked { id, at_ms: unix_ms() };
            self.write_all_soon([acked].into_iter().chain(step));
        }
    }

    /// Whether a failure of this delivery makes the message a dead letter.
    pub(super) fn is_last_attempt(&self, lease: DeliveryLease) -> bool {
        !self.is_store_down() && self.lock().queue.is_last_attempt(lease)
    }

    /// A delivery has failed: the message is redelivered after `delay`, or becomes a dead letter. Once the host stops, it
    /// stays as it is in the store.
    ///
    /// While nothing can be stored no response can be, whatever the agent does: that is not an attempt of the agent.
    ///
    /// One line of the log says so, which names the channel: `channel`, or that of the message where it is in memory.
    pub(super) fn fail(
        &self,
        lease: DeliveryLease,
        channel: Option<&ChannelKey>,
        failure: FailedAttempt<'_>,
    ) -> Failed {
        let FailedAttempt { error, delay, is_final, notice } = failure;
        if self.is_store_down() {
            self.release(lease, delay);
            return Failed::Requeued;
        }
        let Ok(stored) = self.read_before_end(lease, is_final) else {
            // Without the message nobody could be told of its end.
            self.release(lease, delay.max(UNREADABLE_PAUSE));
            return Failed::Requeued;
        };
        let now = Instant::now();
        let mut state = self.lock();
        if state.is_closed {
            return Failed::Stale;
        }
        let (step, last) =
            (state.step_of(lease.id, TraceKind::AgentFailed, error), state.queue.last_delivery(lease.id));
        let kept = state.queue.kept(lease.id).unwrap_or(0);
        let body = state.queue.body(lease.id).or(stored);
        let channel = channel.cloned().or_else(|| body.as_ref().map(|body| body.channel.clone()));
        let failed = match is_final {
            true => state.queue.give_up(lease),
            false => state.queue.fail(lease, deadline_after(now, delay)),
        };
        if failed != Failed::Stale {
            state.waiting_steps.extend(step);
        }
        if failed != Failed::DeadLetter {
            let line = (failed == Failed::Requeued).then(|| state.failure_log.check(&(), now)).flatten();
            let has_many_steps = state.waiting_steps.len() > MAX_WAITING_STEPS;
            self.unlock_and_wake(state);
            if has_many_steps {
                self.write_waiting_steps();
            }
            if let Some(suppressed) = line {
                let (id, attempt) = (lease.id, last.map_or(1, |(attempt, _)| attempt));
                let next = HumanDuration(delay);
                let text = format!(
                    "message {id} failed (attempt {attempt}), next attempt in {next}: {error}{suppressed}"
                );
                log_about(log::Level::Warn, channel.as_deref(), id, &text);
            }
            return failed;
        }
        state.kept_bytes = state.kept_bytes.saturating_sub(kept);
        let line = state.dead_letter_log.check(&(), now);
        drop(state);
        if let Some(suppressed) = line {
            let attempt = last.map_or(1, |(attempt, _)| attempt);
            let text =
                format!("message {} is a dead letter (attempt {attempt}): {error}{suppressed}", lease.id);
            log_about(log::Level::Error, channel.as_deref(), lease.id, &text);
        }
        self.store_dead_letter(lease.id, body, error, notice);
        self.0.changed.notify_all();
        failed
    }

    /// Reads a message that is about to be a dead letter and is not kept in memory.
    fn read_before_end(
        &self,
        lease: DeliveryLease,
        is_final: bool,
    ) -> Result<Option<StoredMessage>, StateError> {
        let is_needed = {
            let state = self.lock();
            (is_final || state.queue.is_last_attempt(lease)) && state.queue.body(lease.id).is_none()
        };
        if !is_needed {
            return Ok(None);
        }
        let record = self.0.store.query(move |engine| engine.message(lease.id))?;
        Ok(record.map(StoredMessage::from))
    }

    fn is_store_down(&self) -> bool {
        self.0.store.health().state == StoreState::Down
    }

    /// Stores the end of a message, and in the same transaction what the sender is told.
    fn store_dead_letter(
        &self,
        id: MessageId,
        body: Option<StoredMessage>,
        error: &str,
        notice: Option<&str>,
    ) {
        let end = Change::MessageDead { id, at_ms: unix_ms(), error: error.to_owned() };
        let reply = body.and_then(|message| self.0.notice.reply_to(id, &message, notice));
        let Some(reply) = reply else { return self.write_soon(end) };
        self.write_waiting_steps();
        let (mailbox, mut pending) = (self.clone(), Some(reply.pending()));
        let batch = Batch { changes: vec![end, Change::AddReply(reply)] };
        self.0.store.commit(batch, move |outcome| {
            if let Some(pending) = pending.take_if(|_| outcome.is_ok()) {
                mailbox.0.notice.stored(pending);
            }
        });
    }

    /// Ends a delivery that does not count as an attempt; the message is redelivered after `delay`.
    pub(super) fn release(&self, lease: DeliveryLease, delay: Duration) {
        let due = deadline_after(Instant::now(), delay);
        self.lock().queue.release(lease, due);
        self.0.changed.notify_all();
    }

    /// The same because the agent could not be asked, which is put on record. Returns how often that was.
    pub(super) fn release_unasked(&self, lease: DeliveryLease, error: &str, delay: Duration) -> u32 {
        let due = deadline_after(Instant::now(), delay);
        let mut state = self.lock();
        let step = state.step_of(lease.id, TraceKind::AgentUnavailable, error);
        let tries = state.queue.release_unasked(lease, due);
        if let Some(Change::Trace(step)) = step.filter(|_| is_recorded(tries)) {
            state.waiting_steps.push(Change::Trace(TraceStep { attempt: tries, ..step }));
        }
        let has_many_steps = state.waiting_steps.len() > MAX_WAITING_STEPS;
        drop(state);
        self.0.changed.notify_all();
        if has_many_steps {
            self.write_waiting_steps();
        }
        tries
    }

    /// Gives a delivery this much time from now. False when it is no longer this reader's.
    pub(super) fn extend(&self, lease: DeliveryLease, time: Duration) -> bool {
        let until = deadline_after(Instant::now(), time);
        // Readers wait until the earliest expiry that they know of; waking them too early does no harm.
        self.lock().queue.extend(lease, until)
    }

    /// Removes a message that is completed in the store already. False when it was not here.
    pub fn forget(&self, id: MessageId) -> bool {
        let mut state = self.lock();
        let kept = state.queue.kept(id).map(|bytes| state.kept_bytes.saturating_sub(bytes));
        if let Some(kept) = kept {
            state.kept_bytes = kept;
        }
        let was_here = state.queue.acknowledge(id);
        // The next message of the conversation may have waited for this one.
        self.unlock_and_wake(state);
        was_here
    }

    /// What the agent remembers of a conversation.
    pub(super) fn transcript(&self, conversation: Arc<str>) -> Result<Option<String>, StateError> {
        self.0.store.query(move |engine| engine.transcript(&conversation))
    }

    /// Keeps what the agent remembers of a conversation, or forgets it; returns when that is durable.
    pub(super) fn remember(
        &self,
        conversation: Arc<str>,
        content: Option<Arc<str>>,
    ) -> Result<(), StateError> {
        let change = match content {
            Some(content) => Change::PutTranscript { conversation, at_ms: unix_ms(), content },
            None => Change::RemoveTranscript { conversation },
        };
        let (sender, stored) = oneshot::channel();
        let mut sender = Some(sender);
        self.0.store.try_commit(Batch::of(change), move |outcome| {
            if let Some(sender) = sender.take() {
                sender.send(outcome);
            }
        });
        stored.wait().unwrap_or(Err(StateError::Stopped))
    }

    pub(super) fn attachment(&self, id: MessageId, index: usize) -> Result<Option<Arc<[u8]>>, StateError> {
        self.0.store.query(move |engine| engine.attachment(id, index))
    }

    /// Stores a change that nobody waits for. A host that ends before it is stored redelivers the message once more, which
    /// at-least-once allows.
    fn write_soon(&self, change: Change) {
        self.write_all_soon([change]);
    }

    fn write_all_soon(&self, changes: impl IntoIterator<Item = Change>) {
        let mut batch = Batch { changes: changes.into_iter().collect() };
        batch.changes.append(&mut self.lock().waiting_steps);
        self.0.store.commit_soon(batch);
    }

    /// Writes the steps that wait for a batch, for somebody who wants to see them, or because there are many.
    pub fn write_waiting_steps(&self) {
        let changes = std::mem::take(&mut self.lock().waiting_steps);
        if !changes.is_empty() {
            self.0.store.commit_soon(Batch { changes });
        }
    }

    /// Something may be taken now. Waking costs a call of the system, also where nobody waits.
    fn unlock_and_wake(&self, state: MutexGuard<'_, MailboxState>) {
        let somebody_waits = state.waiting_readers > 0;
        drop(state);
        if somebody_waits {
            self.0.changed.notify_all();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, MailboxState> {
        // The queue's own methods do not panic, so a poisoned lock still guards a sound queue.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
/// Writes a line about a message to the log, with its channel when that is known.
fn log_about(level: log::Level, channel: Option<&str>, id: MessageId, text: &str) {
    match channel {
        Some(channel) => {
            log::log!(target: channel, level, message_id = id.0; "{}", about_channel(channel, text));
        }
        None => log::log!(level, message_id = id.0; "{text}"),
    }
}
