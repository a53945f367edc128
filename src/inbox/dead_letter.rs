//! What the sender is told when a message became a dead letter.

use std::time::Duration;

use super::mailbox::StoredMessage;
use crate::store::{MessageId, NewReply, PendingReply};

/// Whoever knows how replies reach people. It is called by the reader whose delivery failed, and on the store thread.
pub(crate) trait DeadLetterNotice: Send + Sync {
    /// The reply that tells the sender, with `text` in place of the configured sentence; none when they are not to be told.
    fn reply_to(&self, id: MessageId, message: &StoredMessage, text: Option<&str>) -> Option<NewReply>;

    /// That reply is durable, together with the end of the message. Must not wait.
    fn stored(&self, reply: PendingReply);
}

/// How an attempt at a message failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailedAttempt<'a> {
    /// What happened, for the operator.
    pub error: &'a str,
    /// When the message may be redelivered.
    pub delay: Duration,
    /// Trying again would not help: the message becomes a dead letter at once.
    pub is_final: bool,
    /// What the sender is told when the message becomes a dead letter, in place of the configured sentence.
    pub notice: Option<&'a str>,
}

impl<'a> FailedAttempt<'a> {
    /// One after which the message is tried again.
    pub fn new(error: &'a str, delay: Duration) -> Self {
        Self { error, delay, is_final: false, notice: None }
    }
}
