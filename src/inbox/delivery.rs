//! One message in a reader's hands.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wit_abi::types::EmittedMessage;

use super::dead_letter::FailedAttempt;
use super::mailbox::{Mailbox, StoredMessage};
use super::queue::{DeliveryLease, Dequeued, Failed};
use crate::model::name::ChannelName;
use crate::store::{MessageId, StateError};

/// A message for the agent, until it is acknowledged or requeued.
///
/// Dropping it without either counts as a failed attempt; the message is redelivered at once. A delivery that is held
/// longer than the ack timeout (10 minutes unless configured, more with [`Delivery::extend`]) has failed too: the message
/// goes to the next reader. After the last attempt (5 unless configured) the message is a dead letter, and its
/// conversation goes on.
pub struct Delivery {
    mailbox: Mailbox,
    lease: DeliveryLease,
    attempt: u32,
    channel: ChannelName,
    conversation: Arc<str>,
    received_ms: u64,
    message: Arc<EmittedMessage>,
    is_completed: bool,
}

impl Delivery {
    pub(super) fn new(mailbox: Mailbox, taken: &Dequeued<()>, stored: StoredMessage) -> Self {
        let StoredMessage { channel, conversation, message, received_ms } = stored;
        let channel = ChannelName::of_stored(channel);
        let (id, attempt) = (taken.lease.id, taken.attempt);
        let before = match taken.outages {
            0 => String::new(),
            1 => ", could not be asked once before".to_owned(),
            tries => format!(", could not be asked {tries} times before"),
        };
        if let Some(suppressed) = mailbox.may_log_delivery(&channel.shared()) {
            log::info!(
                target: channel.as_str(), message_id = id.0;
                "channel {channel}: message {id} is delivered to the agent (attempt {attempt}{before}){suppressed}"
            );
        }
        Self {
            mailbox,
            lease: taken.lease,
            attempt: taken.attempt,
            channel,
            conversation,
            received_ms,
            message,
            is_completed: false,
        }
    }

    /// The message's number. It grows with the order of arrival and stays the same when the message is redelivered.
    pub fn id(&self) -> MessageId {
        self.lease.id
    }

    /// 1 when the message is delivered for the first time.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The name of the channel that it came through.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// Messages with the same value are one conversation and come in order.
    pub fn conversation(&self) -> &Arc<str> {
        &self.conversation
    }

    /// When it was emitted.
    pub fn received_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.received_ms)
    }

    #[cfg(any(feature = "agent-exec", feature = "agent-http"))]
    pub(crate) fn received_ms(&self) -> u64 {
        self.received_ms
    }

    /// The message itself.
    pub fn message(&self) -> &EmittedMessage {
        &self.message
    }

    /// The bytes of the attachment at `index` of [`EmittedMessage::attachments`], if the guest stored any.
    ///
    /// # Errors
    /// The store is not available at the moment.
    pub fn attachment_data(&self, index: usize) -> Result<Option<Arc<[u8]>>, StateError> {
        self.mailbox.attachment(self.lease.id, index)
    }

    /// What the agent remembers of the conversation: what it gave to [`Delivery::remember`] last.
    ///
    /// # Errors
    /// The store is not available at the moment.
    pub fn transcript(&self) -> Result<Option<String>, StateError> {
        self.mailbox.transcript(self.conversation.clone())
    }

    /// Keeps what the agent remembers of the conversation, in place of what it did before, or forgets it; returns when that
    /// is durable. The format is the agent's own. How long it is kept, and how much of all conversations, is in
    /// [`Retention`](crate::store::Retention).
    ///
    /// # Errors
    /// It was not kept.
    pub fn remember(&self, content: Option<String>) -> Result<(), StateError> {
        self.mailbox.remember(self.conversation.clone(), content.map(Arc::from))
    }

    /// The message has been dealt with and is never redelivered. Nothing is waited for: after a crash that loses an
    /// acknowledgement, the message is delivered once more.
    pub fn ack(mut self) {
        self.is_completed = true;
        self.mailbox.acknowledge(self.lease.id);
    }

    /// This attempt has failed; the message is redelivered after `delay`. Later messages of its conversation wait for it.
    pub fn nack(self, delay: Duration) {
        self.fail("it was not acknowledged", delay);
    }

    /// Like [`Delivery::nack`], with a reason for the operator, who sees it when the message becomes a dead letter: true
    /// when it did, and is not redelivered.
    pub fn fail(self, error: &str, delay: Duration) -> bool {
        self.fail_with(FailedAttempt::new(error, delay))
    }

    /// The same with more to say.
    pub(crate) fn fail_with(mut self, failure: FailedAttempt<'_>) -> bool {
        self.is_completed = true;
        self.mailbox.fail(self.lease, Some(&self.channel.shared()), failure) == Failed::DeadLetter
    }

    /// Whether a failure of this attempt makes the message a dead letter.
    pub fn is_last_attempt(&self) -> bool {
        self.mailbox.is_last_attempt(self.lease)
    }

    /// The message could not be worked on through no fault of its own, because a service is not reachable, for example. It
    /// is redelivered after `delay`, and this does not count as an attempt.
    pub fn release(mut self, delay: Duration) {
        self.is_completed = true;
        self.mailbox.release(self.lease, delay);
    }

    /// Like [`Delivery::release`], with the reason why the agent could not be asked, for the operator: it is put on record. Returns
    /// how often that was so for this message.
    pub fn release_unasked(mut self, error: &str, delay: Duration) -> u32 {
        self.is_completed = true;
        self.mailbox.release_unasked(self.lease, error, delay)
    }

    /// Gives the work on this message `time` from now, in place of what is left of the ack timeout. To be called from time
    /// to time while long work goes on. False when the time was over before: the message has gone to another reader.
    pub fn extend(&self, time: Duration) -> bool {
        self.mailbox.extend(self.lease, time)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.is_completed {
            let failure = FailedAttempt::new("the reader dropped it", Duration::ZERO);
            self.mailbox.fail(self.lease, Some(&self.channel.shared()), failure);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.lease.id)
            .field("attempt", &self.attempt)
            .field("channel", &self.channel)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}
