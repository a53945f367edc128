//! What the person is told whose message became a dead letter.

use crate::store::{MessageId, NewReply, PendingReply};

use super::mailbox::StoredMessage;

/// Whoever knows how replies reach people. It is called by the reader whose delivery failed, and on the store thread.
pub(crate) trait DeadLetterNotice: Send + Sync {
    /// The reply that tells the person; none when they are not to be told.
    fn reply_to(&self, id: MessageId, message: &StoredMessage) -> Option<NewReply>;

    /// That reply is durable, together with the end of the message. Must not wait.
    fn stored(&self, reply: PendingReply);
}
