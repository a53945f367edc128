//! Records as JSON.

use std::time::SystemTime;

use crate::host::Health;
use crate::model::clock::millis;
use crate::pairing::{ApprovedPairing, PendingPairing};
use crate::store::{
    MessageRecord, MessageState, MessageSummary, ReplyKind, ReplyRecord, ReplyState, ReplySummary,
};
use serde_json::{Value, json};

use crate::cli::output::rfc3339;

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
    json!({
        "id": message.id.0,
        "channel": &*message.channel,
        "conversation": &*message.conversation,
        "user_id": message.user_id,
        "excerpt": message.excerpt,
        "size_bytes": message.bytes,
        "received_at": rfc3339(message.received_ms),
        "state": message_state(message.state),
        "attempt": message.attempt,
        "changed_at": rfc3339(message.changed_ms),
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
            json!({
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
    json!({
        "id": message.id.0,
        "channel": &*message.channel,
        "conversation": &*message.conversation,
        "state": message_state(message.state),
        "attempt": message.attempt,
        "received_at": rfc3339(message.received_ms),
        "changed_at": rfc3339(message.changed_ms),
        "error": message.error,
        "user_id": body.user_id,
        "user_name": body.user_name,
        "thread_id": body.thread_id,
        "metadata_json": body.metadata_json,
        "attachments": attachments,
        "content": body.content,
    })
}

/// When a reply is tried next, if it will be.
fn next_attempt(state: ReplyState, next_ms: u64) -> Option<Value> {
    (state == ReplyState::Pending).then(|| rfc3339(next_ms))
}

fn broadcast_to(kind: &ReplyKind) -> Option<&str> {
    match kind {
        ReplyKind::Respond => None,
        ReplyKind::Broadcast { user_id } => Some(user_id),
    }
}

/// One line of a list.
pub fn reply_summary(reply: &ReplySummary) -> Value {
    json!({
        "id": reply.id.0,
        "channel": &*reply.channel,
        "conversation": &*reply.conversation,
        "broadcast_to": broadcast_to(&reply.kind),
        "excerpt": reply.excerpt,
        "size_bytes": reply.bytes,
        "created_at": rfc3339(reply.created_ms),
        "state": reply_state(reply.state),
        "attempts": reply.attempts,
        "next_attempt_at": next_attempt(reply.state, reply.next_ms),
        "changed_at": rfc3339(reply.changed_ms),
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
        .map(|file| json!({"filename": file.filename, "mime_type": file.mime_type, "size_bytes": file.data.len()}))
        .collect();
    json!({
        "id": reply.id.0,
        "channel": &*reply.channel,
        "conversation": &*reply.conversation,
        "broadcast_to": broadcast_to(&reply.kind),
        "answers": reply.answers.map(|id| id.0),
        "state": reply_state(reply.state),
        "attempts": reply.attempts,
        "created_at": rfc3339(reply.created_ms),
        "next_attempt_at": next_attempt(reply.state, reply.next_ms),
        "changed_at": rfc3339(reply.changed_ms),
        "error": reply.error,
        "redelivery": reply.redelivery,
        "thread_id": body.thread_id,
        "metadata_json": body.metadata_json,
        "attachments": attachments,
        "content": body.content,
    })
}

/// A sender that waits for approval.
pub fn pending_pairing(pairing: &PendingPairing) -> Value {
    json!({
        "channel": pairing.channel,
        "code": pairing.code,
        "external_id": pairing.external_id,
        "meta_json": pairing.meta_json,
        "expires_at": rfc3339(pairing.expires_ms),
    })
}

/// An approved sender.
pub fn approved_pairing(pairing: &ApprovedPairing) -> Value {
    json!({
        "channel": pairing.channel,
        "external_id": pairing.external_id,
        "identity": pairing.identity,
        "approved_at": rfc3339(pairing.approved_ms),
    })
}

/// The status of everything.
pub fn health(health: &Health) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(health)?;
    let store = &mut value["store"];
    store["since"] = rfc3339(health.store.since_ms);
    if let Some(fields) = store.as_object_mut() {
        fields.shift_remove("since_ms");
    }
    rename_time(&mut value, "oldest_message_ms", "oldest_message_at");
    rename_time(&mut value["agent"], "last_success_ms", "last_success_at");
    rename_time(&mut value["agent"], "last_error_ms", "last_error_at");
    let channels = value["channels"].as_array_mut().into_iter().flatten();
    for (channel, status) in channels.zip(&health.channels) {
        channel["poll_interval_ms"] =
            status.poll_interval.and_then(|interval| u64::try_from(interval.as_millis()).ok()).into();
        if let Some(fields) = channel.as_object_mut() {
            fields.shift_remove("poll_interval");
        }
        if let Some(link) = &status.link {
            let since = link.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            channel["link"]["since"] = rfc3339(millis(since));
        }
    }
    Ok(value)
}

/// Replaces a time in Unix milliseconds by one in RFC 3339.
fn rename_time(value: &mut Value, from: &str, to: &str) {
    if let Some(fields) = value.as_object_mut()
        && let Some(time) = fields.shift_remove(from)
    {
        fields.insert(to.to_owned(), time.as_u64().map_or(Value::Null, rfc3339));
    }
}
