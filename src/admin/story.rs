//! One message's whole story as JSON, in the order in which it happened.

use serde_json::{Value, json};

use super::records::{error_of_message, error_of_reply, message_state, reply_state, rfc3339};
use crate::host::MessageTrace;
use crate::model::clock::time_of;
use crate::store::{MessageRecord, ReplyRecord, TraceKind, TraceStep, TraceSubject};

/// Stories, the newest message first.
pub(super) fn stories(stories: &[MessageTrace]) -> Value {
    json!({"traces": stories.iter().map(story).collect::<Value>()})
}

fn story(story: &MessageTrace) -> Value {
    let mut steps: Vec<(u64, Value)> = Vec::new();
    if let Some((_, of_message)) = &story.message {
        steps.extend(of_message.iter().map(|found| (found.at_ms, step(found))));
    }
    for (reply, of_reply) in &story.replies {
        steps.push((reply.created_ms, replied(reply)));
        steps.extend(of_reply.iter().map(|found| (found.at_ms, step(found))));
    }
    // What happened within one millisecond stays in its order.
    steps.sort_by_key(|(at_ms, _)| *at_ms);
    json!({
        "message": story.message.as_ref().map(|(message, _)| of_message(message)),
        "steps": steps.into_iter().map(|(_, step)| step).collect::<Value>(),
        "replies": story.replies.iter().map(|(reply, _)| of_reply(reply)).collect::<Value>(),
    })
}

fn of_message(message: &MessageRecord) -> Value {
    json!({
        "id": message.id.0,
        "channel": &*message.channel,
        "conversation": &*message.conversation,
        "user_id": message.message.user_id,
        "received_at": rfc3339(message.received_at()),
        "state": message_state(message.state),
        "attempt": message.attempt,
        "changed_at": rfc3339(message.changed_at()),
        "error": error_of_message(message.state, message.error.as_deref()),
    })
}

fn of_reply(reply: &ReplyRecord) -> Value {
    json!({
        "id": reply.id.0,
        "channel": &*reply.channel,
        "conversation": &*reply.conversation,
        "created_at": rfc3339(reply.created_at()),
        "state": reply_state(reply.state),
        "attempts": reply.attempts,
        "next_attempt_at": reply.next_attempt_at().map(rfc3339),
        "changed_at": rfc3339(reply.changed_at()),
        "error": error_of_reply(reply.state, reply.error.as_deref()),
        "redelivery": reply.redelivery,
    })
}

fn replied(reply: &ReplyRecord) -> Value {
    json!({
        "at": rfc3339(reply.created_at()), "what": "replied", "reply_id": reply.id.0,
        "message_id": reply.in_reply_to.map(|id| id.0),
    })
}

fn step(step: &TraceStep) -> Value {
    let (message, reply) = match step.subject {
        TraceSubject::Message(id) => (Some(id.0), None),
        TraceSubject::Reply(id) => (None, Some(id.0)),
    };
    let known = |number: u64| (number > 0).then_some(number);
    json!({
        "at": rfc3339(time_of(step.at_ms)),
        "what": what(step.kind),
        "message_id": message,
        "reply_id": reply,
        "attempt": known(step.attempt.into()),
        "fuel": known(step.fuel),
        "duration_us": known(step.took_us),
        "text": Some(&step.text).filter(|text| !text.is_empty()),
    })
}

fn what(kind: TraceKind) -> &'static str {
    match kind {
        TraceKind::Accepted => "accepted",
        TraceKind::Acknowledged => "acknowledged",
        TraceKind::AgentFailed => "agent_failed",
        TraceKind::AgentUnavailable => "agent_unavailable",
        TraceKind::Sent => "sent",
        TraceKind::NotSent => "not_sent",
    }
}
