//! What a batch can do to the store.

use std::sync::Arc;

use wit_abi::types::{AgentResponse, EmittedMessage, InboundAttachment};

use super::error::StoreError;
use super::record::{ChannelKey, DedupeId, MessageId, PairingRecord, PendingReply, ReplyId, StoredDedupeKey};
use super::trace::TraceStep;
use crate::net::channel_response::ChannelResponse;

/// Most attachments of one message or reply. The host's own limits are far lower; this is what an engine must be able
/// to number.
pub const MAX_ATTACHMENTS: usize = 256;

/// Most bytes of one batch, its texts and attachments together: 256 MiB.
pub const MAX_BATCH_BYTES: u64 = 256 << 20;

/// What one callback did, or one acknowledgement, or one command: kept as a whole or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The changes, applied in this order.
    pub changes: Vec<Change>,
}

/// A batch with its number, as an engine keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberedBatch {
    /// Its place in the row of all batches. It grows, with gaps where a batch was rejected.
    pub number: u64,
    /// What is to be kept.
    pub batch: Batch,
}

/// One change.
///
/// A change that names a message or reply which is unknown, or whose state does not allow it, does nothing: an agent may
/// acknowledge what an operator has dropped meanwhile, and what else is in the batch must not be lost by that.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// Writes a file of a channel's workspace.
    PutFile {
        /// The channel.
        channel: ChannelKey,
        /// The path within the workspace.
        path: Arc<str>,
        /// Its whole content.
        content: Arc<str>,
    },
    /// Adds a pending message.
    AddMessage(NewMessage),
    /// A pending message is delivered to the agent. A first delivery need not be told: an acknowledgement says it as well.
    MessageAttempt {
        /// Which.
        id: MessageId,
        /// How often, this time included.
        attempt: u32,
        /// When.
        at_ms: u64,
    },
    /// The agent is done with a pending message.
    MessageAcked {
        /// Which.
        id: MessageId,
        /// When.
        at_ms: u64,
    },
    /// The agent has failed on a pending message too often.
    MessageDead {
        /// Which.
        id: MessageId,
        /// When.
        at_ms: u64,
        /// What went wrong last.
        error: String,
    },
    /// An operator drops a pending or dead message.
    MessageDropped {
        /// Which.
        id: MessageId,
        /// When.
        at_ms: u64,
    },
    /// An operator has a completed message delivered again. Its attempts go on counting; those of a dead one are counted
    /// again.
    MessageRequeued {
        /// Which.
        id: MessageId,
        /// When.
        at_ms: u64,
    },
    /// Adds a pending reply.
    AddReply(NewReply),
    /// A pending reply is about to be sent. To be durable before the guest runs: when a reply has an attempt without an
    /// outcome after a crash, the upstream may have it.
    ReplyAttempt {
        /// Which.
        id: ReplyId,
        /// How often, this time included.
        attempt: u32,
        /// When.
        at_ms: u64,
    },
    /// An attempt has failed and there will be another.
    ReplyRetry {
        /// Which.
        id: ReplyId,
        /// When.
        at_ms: u64,
        /// Not before this time.
        next_ms: u64,
        /// What went wrong.
        error: String,
        /// Whether the upstream may have it all the same (a timeout, a trap after a request went out). Once said, it
        /// stays so for this reply.
        uncertain: bool,
        /// How many of its attempts have trapped so far.
        traps: u32,
    },
    /// The upstream has the reply. Accepted from every state: it is what happened.
    ReplyDelivered {
        /// Which.
        id: ReplyId,
        /// When.
        at_ms: u64,
    },
    /// A pending reply is given up.
    ReplyDead {
        /// Which.
        id: ReplyId,
        /// When.
        at_ms: u64,
        /// What went wrong last.
        error: String,
        /// Whether the upstream may have it all the same; to be said of one that was loaded as a redelivery, too.
        uncertain: bool,
    },
    /// An operator has a reply sent again, or a pending one at once. Its attempts and traps are counted from zero; one that
    /// was delivered is marked as a redelivery.
    ReplyRequeued {
        /// Which.
        id: ReplyId,
        /// When; also the earliest time of the next attempt.
        at_ms: u64,
    },
    /// An operator drops a pending or dead reply.
    ReplyDropped {
        /// Which.
        id: ReplyId,
        /// When.
        at_ms: u64,
    },
    /// Sets a timer, or sets one again that has the same name.
    SetTimer {
        /// The channel.
        channel: ChannelKey,
        /// Its name.
        name: Arc<str>,
        /// When it was set.
        set_ms: u64,
        /// When it is due.
        due_ms: u64,
        /// Handed back to the guest.
        payload: Arc<str>,
    },
    /// Removes a timer: cancelled, or run.
    CancelTimer {
        /// The channel.
        channel: ChannelKey,
        /// Its name.
        name: Arc<str>,
    },
    /// A dedupe key and its response. The last one of a channel and key counts.
    Dedupe {
        /// Its id, from [`Ids`](super::Ids).
        id: DedupeId,
        /// The channel.
        channel: ChannelKey,
        /// The key.
        key: StoredDedupeKey,
        /// When.
        at_ms: u64,
        /// When it is to be forgotten.
        expires_ms: u64,
        /// What a duplicate gets; `None` for ids of emitted messages, which have no response.
        response: Option<Arc<ChannelResponse>>,
    },
    /// Writes what an agent remembers of a conversation, in place of what it did before.
    PutTranscript {
        /// The conversation.
        conversation: Arc<str>,
        /// When.
        at_ms: u64,
        /// What it remembers, in its own format.
        content: Arc<str>,
    },
    /// Forgets what an agent remembers of a conversation.
    RemoveTranscript {
        /// The conversation.
        conversation: Arc<str>,
    },
    /// Writes a record of pairing, in place of the one with the same key.
    PutPairing(PairingRecord),
    /// Removes a record of pairing.
    RemovePairing(PairingKey),
    /// Notes what happened to a message or a reply.
    Trace(TraceStep),
}

/// A message to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    /// Its id, from [`Ids`](super::Ids).
    pub id: MessageId,
    /// The channel that it came through.
    pub channel: ChannelKey,
    /// The conversation within which order is kept.
    pub conversation: Arc<str>,
    /// What the guest emitted; at most [`MAX_ATTACHMENTS`] attachments.
    pub message: Arc<EmittedMessage>,
    /// The bytes of each attachment, in their order, where the guest stored them. Those at the end may be missing.
    pub attachment_data: Vec<Option<Arc<[u8]>>>,
    /// When it arrived.
    pub received_ms: u64,
}

/// A reply to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct NewReply {
    /// Its id, from [`Ids`](super::Ids).
    pub id: ReplyId,
    /// The channel that sends it.
    pub channel: ChannelKey,
    /// The conversation within which order is kept.
    pub conversation: Arc<str>,
    /// The user who gets it through `on-broadcast`; none for one that goes through `on-respond`.
    pub broadcast_to: Option<String>,
    /// What it says; at most [`MAX_ATTACHMENTS`] attachments.
    pub body: Arc<AgentResponse>,
    /// The message that it replies to.
    pub in_reply_to: Option<MessageId>,
    /// When the agent gave it; also the earliest time of its first attempt.
    pub created_ms: u64,
}

/// Names a record of pairing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PairingKey {
    /// An unknown sender's request.
    Request {
        /// The channel.
        channel: ChannelKey,
        /// Who asked.
        external_id: String,
    },
    /// Somebody approved.
    Identity {
        /// The channel.
        channel: ChannelKey,
        /// Who.
        external_id: String,
    },
    /// An entry of the allow-from list.
    #[cfg_attr(not(test), expect(dead_code, reason = "part of the stored format; nothing writes it"))]
    Allowed {
        /// The channel.
        channel: ChannelKey,
        /// The entry.
        entry: String,
    },
    /// The count of wrong codes.
    Lock {
        /// The channel.
        channel: ChannelKey,
    },
}

impl Batch {
    /// A batch of one change.
    pub fn of(change: Change) -> Self {
        Self { changes: vec![change] }
    }

    /// How much it carries: texts and attachments, and a little for each change.
    pub fn bytes(&self) -> u64 {
        self.changes.iter().map(Change::bytes).sum()
    }

    /// Says whether any engine could keep it; `index` is its place in the group, for the error.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] when it exceeds [`MAX_ATTACHMENTS`] or [`MAX_BATCH_BYTES`].
    pub fn check(&self, index: usize) -> Result<(), StoreError> {
        let reject = |reason: String| Err(StoreError::Rejected { batch: index, reason });
        for change in &self.changes {
            let attachments = match change {
                Change::AddMessage(new) => new.message.attachments.len(),
                Change::AddReply(new) => new.body.attachments.len(),
                _ => 0,
            };
            if attachments > MAX_ATTACHMENTS {
                return reject(format!("{attachments} attachments, at most {MAX_ATTACHMENTS} are kept"));
            }
        }
        let bytes = self.bytes();
        if bytes > MAX_BATCH_BYTES {
            return reject(format!("{bytes} bytes, at most {MAX_BATCH_BYTES} are kept at once"));
        }
        Ok(())
    }
}

impl Change {
    /// What a change costs whatever it carries: keys, times, the row around it.
    const OVERHEAD: u64 = 64;

    pub(super) fn bytes(&self) -> u64 {
        let carried = match self {
            Self::PutFile { path, content, .. } => path.len() + content.len(),
            Self::PutTranscript { conversation, content, .. } => conversation.len() + content.len(),
            Self::SetTimer { name, payload, .. } => name.len() + payload.len(),
            Self::ReplyRetry { error, .. }
            | Self::ReplyDead { error, .. }
            | Self::MessageDead { error, .. } => error.len(),
            Self::Dedupe { response: Some(response), .. } => response.bytes(),
            Self::PutPairing(PairingRecord::Request(request)) => request.meta_json.len(),
            Self::Trace(step) => step.text.len(),
            Self::AddMessage(new) => return Self::OVERHEAD + new.bytes(),
            Self::AddReply(new) => return Self::OVERHEAD + new.bytes(),
            _ => 0,
        };
        Self::OVERHEAD + carried as u64
    }
}

impl NewMessage {
    /// What the message counts as wherever bytes of messages are counted: text, metadata and stored attachments.
    pub fn bytes(&self) -> u64 {
        let message = &*self.message;
        let texts = self.conversation.len()
            + message.user_id.len()
            + message.content.len()
            + message.metadata_json.len();
        let data = self.attachment_data.iter().flatten();
        texts as u64
            + length(&message.user_name)
            + length(&message.thread_id)
            + message.attachments.iter().map(bytes_of_attachment).sum::<u64>()
            + data.map(|data| data.len() as u64).sum::<u64>()
    }

    /// Its attachments, each with its bytes.
    pub(super) fn attachments(&self) -> impl Iterator<Item = (&InboundAttachment, Option<&Arc<[u8]>>)> {
        let data = self.attachment_data.iter().map(Option::as_ref).chain(std::iter::repeat(None));
        self.message.attachments.iter().zip(data)
    }
}

/// What is known about an attachment, without its bytes.
fn bytes_of_attachment(attachment: &InboundAttachment) -> u64 {
    (attachment.id.len() + attachment.mime_type.len() + attachment.extras_json.len()) as u64
        + length(&attachment.filename)
        + length(&attachment.source_url)
        + length(&attachment.storage_key)
        + length(&attachment.extracted_text)
}

impl NewReply {
    /// What the reply counts as wherever bytes of replies are counted: text, metadata and attachments.
    pub fn bytes(&self) -> u64 {
        let body = &self.body;
        let attachments =
            body.attachments.iter().map(|file| file.filename.len() + file.mime_type.len() + file.data.len());
        (self.conversation.len() + body.message_id.len() + body.content.len() + body.metadata_json.len())
            as u64
            + length(&body.thread_id)
            + attachments.sum::<usize>() as u64
    }

    /// The reply once it is stored, before its first attempt.
    pub(crate) fn pending(&self) -> PendingReply {
        PendingReply {
            id: self.id,
            channel: self.channel.clone(),
            conversation: self.conversation.clone(),
            bytes: self.bytes(),
            attempts: 0,
            since_ms: self.created_ms,
            next_ms: self.created_ms,
            redelivery: false,
            traps: 0,
        }
    }
}

fn length(text: &Option<String>) -> u64 {
    text.as_ref().map_or(0, |text| text.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(count: u64, content: &Arc<str>) -> Batch {
        let file = || Change::PutFile { channel: "a".into(), path: "".into(), content: Arc::clone(content) };
        Batch { changes: (0..count).map(|_| file()).collect() }
    }

    #[test]
    fn a_batch_may_have_the_most_bytes_and_not_one_more() {
        // The same text over and over: a batch of 256 MiB that takes one.
        let content: Arc<str> = "x".repeat((1 << 20) - Change::OVERHEAD as usize).into();
        let most = files(256, &content);
        assert_eq!(most.bytes(), MAX_BATCH_BYTES);
        assert_eq!(most.check(0), Ok(()));
        let mut more = most;
        more.changes.push(Change::CancelTimer { channel: "a".into(), name: "".into() });
        assert!(matches!(more.check(7), Err(StoreError::Rejected { batch: 7, .. })));
    }
}
