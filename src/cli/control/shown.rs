//! Records as JSON.

use serde_json::Value;
use tinclaw::store::{
    MessageRecord, MessageState, MessageSummary, ReplyKind, ReplyRecord, ReplyState, ReplySummary,
};

use crate::cli::object::object;

/// A message's state in one word.
pub fn message_state(state: MessageState) -> &'static str {
    match state {
        MessageState::Pending => "pending",
        MessageState::Acked => "acked",
        MessageState::Dropped => "dropped",
        MessageState::Dead => "dead",
    }
}

/// A reply's state in one word.
pub fn reply_state(state: ReplyState) -> &'static str {
    match state {
        ReplyState::Pending => "pending",
        ReplyState::Delivered => "delivered",
        ReplyState::Dead => "dead",
        ReplyState::Dropped => "dropped",
    }
}

/// One line of a list.
pub fn message_summary(message: &MessageSummary) -> Value {
    object!({
        "id": message.id.0,
        "channel": &*message.channel,
        "conversation": &*message.conversation,
        "user_id": message.user_id,
        "excerpt": message.excerpt,
        "bytes": message.bytes,
        "received_ms": message.received_ms,
        "state": message_state(message.state),
        "attempt": message.attempt,
        "changed_ms": message.changed_ms,
        "error": message.error,
    })
}

/// All of a message but its attachments' bytes.
pub fn message(message: &MessageRecord) -> Value {
    let body = &message.body;
    let attachments: Value = message
        .attachments
        .iter()
        .map(|file| {
            object!({
                "id": file.meta.id,
                "mime_type": file.meta.mime_type,
                "filename": file.meta.filename,
                "size_bytes": file.meta.size_bytes,
                "stored_bytes": file.stored_bytes,
                "source_url": file.meta.source_url,
                "extracted_text": file.meta.extracted_text,
            })
        })
        .collect();
    object!({
        "id": message.id.0,
        "channel": &*message.channel,
        "conversation": &*message.conversation,
        "state": message_state(message.state),
        "attempt": message.attempt,
        "received_ms": message.received_ms,
        "changed_ms": message.changed_ms,
        "error": message.error,
        "user_id": body.user_id,
        "user_name": body.user_name,
        "thread_id": body.thread_id,
        "metadata_json": body.metadata_json,
        "attachments": attachments,
        "content": body.content,
    })
}

fn broadcast_to(kind: &ReplyKind) -> Option<&str> {
    match kind {
        ReplyKind::Respond => None,
        ReplyKind::Broadcast { user_id } => Some(user_id),
    }
}

/// One line of a list.
pub fn reply_summary(reply: &ReplySummary) -> Value {
    object!({
        "id": reply.id.0,
        "channel": &*reply.channel,
        "conversation": &*reply.conversation,
        "broadcast_to": broadcast_to(&reply.kind),
        "excerpt": reply.excerpt,
        "bytes": reply.bytes,
        "created_ms": reply.created_ms,
        "state": reply_state(reply.state),
        "attempts": reply.attempts,
        "next_ms": reply.next_ms,
        "changed_ms": reply.changed_ms,
        "error": reply.error,
        "redelivery": reply.redelivery,
    })
}

/// All of a reply but its attachments' bytes.
pub fn reply(reply: &ReplyRecord) -> Value {
    let body = &reply.body;
    let attachments: Value = body
        .attachments
        .iter()
        .map(|file| object!({"filename": file.filename, "mime_type": file.mime_type, "bytes": file.data.len()}))
        .collect();
    object!({
        "id": reply.id.0,
        "channel": &*reply.channel,
        "conversation": &*reply.conversation,
        "broadcast_to": broadcast_to(&reply.kind),
        "answers": reply.answers.map(|id| id.0),
        "state": reply_state(reply.state),
        "attempts": reply.attempts,
        "created_ms": reply.created_ms,
        "next_ms": reply.next_ms,
        "changed_ms": reply.changed_ms,
        "error": reply.error,
        "redelivery": reply.redelivery,
        "thread_id": body.thread_id,
        "metadata_json": body.metadata_json,
        "attachments": attachments,
        "content": body.content,
    })
}
