//! Records as JSON.

use crate::host::{ChannelHealth, Health, LinkHealth};
use crate::inbox::AgentHealth;
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
        "received_at": rfc3339(message.received_at()),
        "state": message_state(message.state),
        "attempt": message.attempt,
        "changed_at": rfc3339(message.changed_at()),
        "error": message.error,
    })
}

/// All of a message but its attachments' bytes.
pub fn message(message: &MessageRecord) -> Value {
    let emitted = &message.message;
    let attachments: Value = emitted
        .attachments
        .iter()
        .zip(&message.stored_bytes)
        .map(|(file, stored_bytes)| {
            json!({
                "id": file.id,
                "mime_type": file.mime_type,
                "filename": file.filename,
                "size_bytes": file.size_bytes,
                "stored_bytes": stored_bytes,
                "source_url": file.source_url,
                "extracted_text": file.extracted_text,
            })
        })
        .collect();
    json!({
        "id": message.id.0,
        "channel": &*message.channel,
        "conversation": &*message.conversation,
        "state": message_state(message.state),
        "attempt": message.attempt,
        "received_at": rfc3339(message.received_at()),
        "changed_at": rfc3339(message.changed_at()),
        "error": message.error,
        "user_id": emitted.user_id,
        "user_name": emitted.user_name,
        "thread_id": emitted.thread_id,
        "metadata_json": emitted.metadata_json,
        "attachments": attachments,
        "content": emitted.content,
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
    json!({
        "id": reply.id.0,
        "channel": &*reply.channel,
        "conversation": &*reply.conversation,
        "broadcast_to": broadcast_to(&reply.kind),
        "excerpt": reply.excerpt,
        "size_bytes": reply.bytes,
        "created_at": rfc3339(reply.created_at()),
        "state": reply_state(reply.state),
        "attempts": reply.attempts,
        "next_attempt_at": reply.next_attempt_at().map(rfc3339),
        "changed_at": rfc3339(reply.changed_at()),
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
        "in_reply_to": reply.in_reply_to.map(|id| id.0),
        "state": reply_state(reply.state),
        "attempts": reply.attempts,
        "created_at": rfc3339(reply.created_at()),
        "next_attempt_at": reply.next_attempt_at().map(rfc3339),
        "changed_at": rfc3339(reply.changed_at()),
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
        "expires_at": rfc3339(pairing.expires_at()),
    })
}

/// An approved sender.
pub fn approved_pairing(pairing: &ApprovedPairing) -> Value {
    json!({
        "channel": pairing.channel,
        "external_id": pairing.external_id,
        "identity": pairing.identity,
        "approved_at": rfc3339(pairing.approved_at()),
    })
}

/// The status of everything.
pub fn health(health: &Health) -> Value {
    let store = &health.store;
    json!({
        "channels": health.channels.iter().map(channel).collect::<Value>(),
        "store": {
            "state": store.state,
            "reason": store.reason.as_deref(),
            "changed_at": rfc3339(store.changed_at),
            "commits": store.commits,
            "groups": store.groups,
            "outages": store.outages,
            "usage": store.usage,
        },
        "agent": health.agent.as_ref().map(agent),
        "messages_waiting": health.messages_waiting,
        "messages_in_flight": health.messages_in_flight,
        "oldest_message_at": health.oldest_message_at.map(rfc3339),
        "unrouted_requests": health.unrouted_requests,
    })
}

fn channel(channel: &ChannelHealth) -> Value {
    json!({
        "name": channel.name.as_str(),
        "display_name": channel.display_name,
        "state": channel.state,
        "problems": channel.problems,
        "missing_secrets": channel.missing_secrets,
        "paths": channel.paths,
        "link": channel.link.as_ref().map(link),
        "poll_interval_ms": channel.poll_interval.map(millis),
        "requests_parked": channel.requests_parked,
        "waiting": channel.waiting,
        "replies_pending": channel.replies_pending,
        "succeeded": channel.succeeded,
        "failed": channel.failed,
        "emitted": channel.emitted,
        "dropped": channel.dropped,
        "last_message_at": channel.last_message_at.map(rfc3339),
        "last_request_at": channel.last_request_at.map(rfc3339),
        "last_poll_at": channel.last_poll_at.map(rfc3339),
        "last_error_at": channel.last_error_at.map(rfc3339),
        "last_error": channel.last_error,
    })
}

fn link(link: &LinkHealth) -> Value {
    json!({
        "host": link.host,
        "state": link.state,
        "changed_at": rfc3339(link.since),
        "reason": link.reason,
        "connections": link.connections,
        "frames_received": link.frames_received,
        "frames_sent": link.frames_sent,
    })
}

fn agent(agent: &AgentHealth) -> Value {
    json!({
        "kind": agent.kind,
        "last_success_at": agent.last_success_at.map(rfc3339),
        "last_error_at": agent.last_error_at.map(rfc3339),
        "last_error": agent.last_error,
        "restarts": agent.restarts,
    })
}
