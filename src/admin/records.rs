//! Records as JSON, as the API and `--json` have them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::AdminState;
use super::log_tail::LogTailLine;
use super::process::ProcessUsage;
use crate::PreparedTool;
use crate::channel::ChannelLimits;
use crate::egress::ExplainedStep;
use crate::host::{ChannelHealth, ChannelState, Health, LinkHealth, Reminder};
use crate::inbox::AgentHealth;
use crate::model::clock::{millis, time_of};
use crate::pairing::{ApprovedPairing, PendingPairing};
use crate::store::commit_time::CommitTimes;
use crate::store::{
    MessageRecord, MessageState, MessageSummary, ReplyRecord, ReplyState, ReplySummary, StoreState,
};

/// A time as RFC 3339 has it, in UTC and whole milliseconds; null when it is beyond the year 9999.
pub(crate) fn rfc3339(time: SystemTime) -> Value {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = i64::try_from(since.as_millis()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // Always with milliseconds, so that columns of times are straight.
    time.map_or(Value::Null, |time| Value::String(format!("{time:.3}")))
}

/// What is wrong with a message; nothing any more once the agent has dealt with it.
pub(crate) fn error_of_message(state: MessageState, error: Option<&str>) -> Option<&str> {
    error.filter(|_| state != MessageState::Acked)
}

/// What is wrong with a reply; nothing any more once its service has it.
pub(crate) fn error_of_reply(state: ReplyState, error: Option<&str>) -> Option<&str> {
    error.filter(|_| state != ReplyState::Delivered)
}

/// A message's state in one word.
pub(crate) fn message_state(state: MessageState) -> &'static str {
    match state {
        MessageState::Pending => "pending",
        MessageState::Acked => "acked",
        MessageState::Dropped => "dropped",
        MessageState::Dead => "dead",
    }
}

/// A reply's state in one word.
pub(crate) fn reply_state(state: ReplyState) -> &'static str {
    match state {
        ReplyState::Pending => "pending",
        ReplyState::Delivered => "delivered",
        ReplyState::Dead => "dead",
        ReplyState::Dropped => "dropped",
    }
}

/// One line of a list.
pub(crate) fn message_summary(message: &MessageSummary) -> Value {
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
        "error": error_of_message(message.state, message.error.as_deref()),
    })
}

/// All of a message but its attachments' bytes.
pub(crate) fn message(message: &MessageRecord) -> Value {
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
        "error": error_of_message(message.state, message.error.as_deref()),
        "user_id": emitted.user_id,
        "user_name": emitted.user_name,
        "thread_id": emitted.thread_id,
        "metadata_json": emitted.metadata_json,
        "attachments": attachments,
        "content": emitted.content,
    })
}

/// One line of a list.
pub(crate) fn reply_summary(reply: &ReplySummary) -> Value {
    json!({
        "id": reply.id.0,
        "channel": &*reply.channel,
        "conversation": &*reply.conversation,
        "broadcast_to": reply.broadcast_to,
        "excerpt": reply.excerpt,
        "size_bytes": reply.bytes,
        "created_at": rfc3339(reply.created_at()),
        "state": reply_state(reply.state),
        "attempts": reply.attempts,
        "next_attempt_at": reply.next_attempt_at().map(rfc3339),
        "changed_at": rfc3339(reply.changed_at()),
        "error": error_of_reply(reply.state, reply.error.as_deref()),
        "redelivery": reply.redelivery,
    })
}

/// All of a reply but its attachments' bytes.
pub(crate) fn reply(reply: &ReplyRecord) -> Value {
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
        "broadcast_to": reply.broadcast_to,
        "in_reply_to": reply.in_reply_to.map(|id| id.0),
        "state": reply_state(reply.state),
        "attempts": reply.attempts,
        "created_at": rfc3339(reply.created_at()),
        "next_attempt_at": reply.next_attempt_at().map(rfc3339),
        "changed_at": rfc3339(reply.changed_at()),
        "error": error_of_reply(reply.state, reply.error.as_deref()),
        "redelivery": reply.redelivery,
        "thread_id": body.thread_id,
        "metadata_json": body.metadata_json,
        "attachments": attachments,
        "content": body.content,
    })
}

/// A sender that waits for approval.
pub(crate) fn pending_pairing(pairing: &PendingPairing) -> Value {
    json!({
        "channel": pairing.channel,
        "code": pairing.code,
        "external_id": pairing.external_id,
        "meta_json": pairing.meta_json,
        "expires_at": rfc3339(pairing.expires_at()),
    })
}

/// An approved sender.
pub(crate) fn approved_pairing(pairing: &ApprovedPairing) -> Value {
    json!({
        "channel": pairing.channel,
        "external_id": pairing.external_id,
        "identity": pairing.identity,
        "approved_at": rfc3339(pairing.approved_at()),
    })
}

/// A reminder that waits.
pub(crate) fn reminder(reminder: &Reminder) -> Value {
    json!({
        "id": reminder.id,
        "channel": reminder.to.channel,
        "conversation": reminder.to.conversation,
        "user_id": reminder.to.user_id,
        "due_at": rfc3339(time_of(reminder.due_ms)),
        "text": reminder.text,
    })
}

/// A tool that agents may call.
pub(crate) fn tool(tool: &PreparedTool) -> Value {
    json!({
        "name": tool.name(),
        "description": tool.description(),
        "schema": tool.schema(),
        "abi_version": tool.abi_version().to_string(),
        "diagnostics": tool.diagnostics(),
    })
}

/// Why not all messages are taken; nothing when they are: the store works, every channel that is installed and not disabled runs, and each
/// is ready or works with an error. Who may read this may know no more than these words.
pub(crate) fn reasons_not_ready(health: &Health, held: &Value) -> Vec<&'static str> {
    let works =
        |channel: &ChannelHealth| matches!(channel.state, ChannelState::Ready | ChannelState::Degraded);
    let is_left_out =
        |held: &Value| ["not_approved", "refused", "not_loaded"].iter().any(|state| held["state"] == *state);
    let held = held.as_array().map(Vec::as_slice).unwrap_or_default();
    let reasons = [
        ("store", health.store.state != StoreState::Up),
        ("channel_not_started", !health.channels.iter().all(works)),
        ("channel_not_loaded", held.iter().any(is_left_out)),
    ];
    reasons.into_iter().filter(|(_, holds)| *holds).map(|(reason, _)| reason).collect()
}

/// The status of everything.
pub(crate) fn health(health: &Health) -> Value {
    let store = &health.store;
    json!({
        "channels": health.channels.iter().map(channel).collect::<Value>(),
        "store": {
            "state": store.state,
            "reason": store.reason.as_deref(),
            "changed_at": rfc3339(store.changed_at),
            "commits": store.commits,
            "transactions": store.groups,
            "outages": store.outages,
            "usage": store.usage,
            "commit_us": commit_us(&store.commit_times),
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
        "diagnostics": channel.problems,
        "missing_secrets": channel.missing_secrets,
        "paths": channel.paths,
        "link": channel.link.as_ref().map(link),
        "poll_interval_ms": channel.poll_interval.map(millis),
        "requests_waiting": channel.requests_parked,
        "waiting": {
            "inbound": channel.inbound_waiting,
            "poll": channel.polls_waiting,
            "outbound": channel.outbound_waiting,
        },
        "replies_pending": channel.replies_pending,
        "succeeded": channel.succeeded,
        "failed": channel.failed,
        "emitted": channel.emitted,
        "dropped": channel.dropped,
        "budget": budget(channel),
        "last_message_at": channel.last_message_at.map(rfc3339),
        "last_request_at": channel.last_request_at.map(rfc3339),
        "last_poll_at": channel.last_poll_at.map(rfc3339),
        "last_error_at": channel.last_error_at.map(rfc3339),
        "last_error": channel.last_error,
        "recovered_at": channel.recovered_at.map(rfc3339),
    })
}

/// What the channel's callbacks used, and what one of them may use.
fn budget(channel: &ChannelHealth) -> Value {
    let (totals, limits) = (&channel.callbacks, &channel.limits);
    json!({
        "fuel": totals.fuel,
        "max_fuel": totals.max_fuel,
        "fuel_limit": limits.fuel,
        "duration_us": micros(totals.elapsed),
        "max_duration_us": micros(totals.max_elapsed),
        "timeout_ms": millis(limits.callback_timeout),
        "max_memory_bytes": totals.max_memory,
        "memory_limit_bytes": limits.memory_bytes,
        "http_calls": totals.http_calls,
        "max_http_calls": totals.max_http_calls,
        "http_calls_limit": limits.http_calls,
        "sent_bytes": totals.sent_bytes,
        "max_sent_bytes": totals.max_sent_bytes,
        "sent_bytes_limit": u64::from(limits.http_calls).saturating_mul(limits.http_request_bytes),
        "stored_bytes": totals.stored_bytes,
        "max_stored_bytes": totals.max_stored_bytes,
        "stored_bytes_limit": stored_bytes_limit(limits),
        "dropped_log_lines": totals.dropped_log_lines,
    })
}

/// What one callback may have stored: messages with their files, the workspace, timers.
fn stored_bytes_limit(limits: &ChannelLimits) -> u64 {
    let bytes = |bytes: usize| bytes as u64;
    let message = bytes(limits.message_bytes).saturating_add(bytes(limits.metadata_bytes));
    let messages = message.saturating_mul(bytes(limits.messages_per_callback));
    let timers = bytes(limits.timers).saturating_mul(bytes(limits.timer_payload_bytes));
    [bytes(limits.attachment_bytes_per_callback), limits.workspace_bytes, timers]
        .into_iter()
        .fold(messages, u64::saturating_add)
}

/// Checks of a request, in their order.
pub(crate) fn explained(steps: &[ExplainedStep]) -> Value {
    let checks = steps.iter().map(|step| {
        let (state, message) = match &step.outcome {
            Some(Ok(found)) => ("ok", Some(found)),
            Some(Err(reason)) => ("refused", Some(reason)),
            None => ("skipped", None),
        };
        json!({"code": step.code, "state": state, "message": message, "help": null})
    });
    let is_refused = steps.iter().any(|step| matches!(step.outcome, Some(Err(_))));
    json!({"allowed": !is_refused, "checks": checks.collect::<Value>()})
}

fn commit_us(times: &CommitTimes) -> Value {
    let count: u64 = times.classes.iter().sum();
    json!({
        "last": micros(times.last),
        "mean": micros(times.total).checked_div(count).unwrap_or(0),
        "max": micros(times.max),
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The process, beside its channels.
pub(crate) fn host(state: &AdminState) -> Value {
    let usage = ProcessUsage::read();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": rfc3339(state.started_at),
        "uptime_secs": state.uptime().as_secs(),
        "memory_bytes": usage.memory_bytes,
        "disk_written_bytes": usage.disk_written_bytes,
    })
}

/// A line of the log.
pub(crate) fn log_line(line: &LogTailLine) -> Value {
    json!({
        "number": line.number,
        "logged_at": rfc3339(time_of(line.at_ms)),
        "level": line.level.as_str().to_lowercase(),
        "target": line.target,
        "text": line.text,
    })
}

fn link(link: &LinkHealth) -> Value {
    json!({
        "host": link.host,
        "state": link.state,
        "changed_at": rfc3339(link.changed_at),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A delivered reply kept the error of an earlier attempt: red under a green "delivered".
    #[test]
    fn completed_records_show_no_error() {
        let error = Some("503");
        for (state, shown) in
            [(ReplyState::Pending, error), (ReplyState::Dead, error), (ReplyState::Delivered, None)]
        {
            assert_eq!(error_of_reply(state, error), shown, "{state:?}");
        }
        for (state, shown) in [(MessageState::Dead, error), (MessageState::Acked, None)] {
            assert_eq!(error_of_message(state, error), shown, "{state:?}");
        }
    }

    /// 390 ms were `.39`, so columns of times were crooked.
    #[test]
    fn times_have_milliseconds_always() {
        for (ms, shown) in [(0, "1970-01-01T00:00:00.000Z"), (1_390, "1970-01-01T00:00:01.390Z")] {
            assert_eq!(rfc3339(UNIX_EPOCH + std::time::Duration::from_millis(ms)), shown);
        }
    }
}
