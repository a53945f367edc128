//! One message in a reader's hands.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wit_abi::types::{EmittedMessage, InboundAttachment};

use crate::store::{AttachmentMeta, CommitError, MessageBody, MessageId};

use super::mailbox::{Letter, Mailbox};

/// A message for the agent, until it is acknowledged or given back.
///
/// Dropping it without either gives it back at once. A delivery that is held longer than the visibility timeout (10
/// minutes unless configured) is handed out again, to whoever asks next.
pub struct Delivery {
    mailbox: Mailbox,
    id: MessageId,
    attempt: u32,
    channel: Arc<str>,
    conversation: Arc<str>,
    received_ms: u64,
    message: EmittedMessage,
    is_settled: bool,
}

impl Delivery {
    pub(super) fn new(mailbox: Mailbox, id: MessageId, attempt: u32, letter: Arc<Letter>) -> Self {
        let letter = Arc::unwrap_or_clone(letter);
        Self {
            mailbox,
            id,
            attempt,
            channel: letter.channel,
            conversation: letter.conversation,
            received_ms: letter.received_ms,
            message: message_of(letter.body, letter.attachments),
            is_settled: false,
        }
    }

    /// The message's number. It grows with the order of arrival and stays the same when the message comes again.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// 1 when the message comes for the first time.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The name of the channel that it came through.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Messages with the same value are one conversation and come in order.
    pub fn conversation(&self) -> &Arc<str> {
        &self.conversation
    }

    /// When it was emitted, in Unix milliseconds.
    pub fn received_ms(&self) -> u64 {
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
    pub fn attachment_data(&self, index: usize) -> Result<Option<Arc<[u8]>>, CommitError> {
        self.mailbox.attachment(self.id, index)
    }

    /// The message has been dealt with and never comes again. Nothing is waited for: an acknowledgement that is lost
    /// in a crash makes the message come once more.
    pub fn ack(mut self) {
        self.is_settled = true;
        self.mailbox.acknowledge(self.id);
    }

    /// Gives the message back, to come again after `delay`. Later messages of its conversation wait for it.
    pub fn nack(mut self, delay: Duration) {
        self.is_settled = true;
        self.mailbox.give_back(self.id, self.attempt, delay);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.is_settled {
            self.mailbox.give_back(self.id, self.attempt, Duration::ZERO);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.id)
            .field("attempt", &self.attempt)
            .field("channel", &self.channel)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

fn message_of(body: MessageBody, attachments: Vec<AttachmentMeta>) -> EmittedMessage {
    let MessageBody { user_id, user_name, content, thread_id, metadata_json } = body;
    let attachments = attachments
        .into_iter()
        .map(|meta| InboundAttachment {
            id: meta.id,
            mime_type: meta.mime_type,
            filename: meta.filename,
            size_bytes: meta.size_bytes,
            source_url: meta.source_url,
            storage_key: meta.storage_key,
            extracted_text: meta.extracted_text,
            extras_json: meta.extras_json,
        })
        .collect();
    EmittedMessage { user_id, user_name, content, thread_id, metadata_json, attachments }
}
