//! Actions as short texts, for tables.

use std::time::Instant;

use crate::channel::machine::{Action, PendingResponse};
use crate::event::response::WebhookResponse;
use crate::store::{Batch, Change};

pub fn shown(actions: &[Action], now: Instant) -> Vec<String> {
    actions.iter().map(|action| action_as_text(action, now)).collect()
}

fn action_as_text(action: &Action, now: Instant) -> String {
    match action {
        Action::Runnable(lane) => format!("runnable {}", format!("{lane:?}").to_lowercase()),
        Action::MemoryFreed => "memory freed".into(),
        Action::Store(batch) => format!("store {}", changes(batch)),
        Action::StoreThenRespond(batch, PendingResponse { response, .. }) => {
            format!("store {}, then respond {}", changes(batch), response.status)
        }
        Action::StoreFrames(batch, frames) => {
            format!("store {}, then acknowledge {}", changes(batch), frames.len())
        }
        Action::BeginAttempt { id, attempt, outcome } => {
            format!("attempt {attempt} of reply {id} after {}", changes(outcome))
        }
        Action::Respond(_, WebhookResponse::Guest(response)) => format!("respond {}", response.status),
        Action::Respond(_, WebhookResponse::Refused(refusal)) => format!("respond {}", refusal.code()),
        Action::RespondFromStore(_, id) => format!("respond from store {}", id.0),
        Action::AwaitResponse => "await response".into(),
        Action::RequestQueued(_) => "queued".into(),
        Action::Set(due, at) => format!("set {due:?} in {:?}", at.saturating_duration_since(now)),
        Action::Cancel(due) => format!("cancel {due:?}"),
        Action::Register(_) => "register".into(),
        Action::OpenLink => "open link".into(),
        Action::RepliesGone(count) => format!("{count} replies gone"),
    }
}

fn changes(batch: &Batch) -> String {
    let changes: Vec<String> = batch.changes.iter().map(change_as_text).collect();
    format!("[{}]", changes.join(", "))
}

fn change_as_text(change: &Change) -> String {
    match change {
        Change::PutFile { path, content, .. } => format!("{path}={content}"),
        Change::AddMessage(message) => format!("message {}", message.message.content),
        Change::Dedupe { .. } => "seen".into(),
        Change::SetTimer { name, .. } => format!("timer {name}"),
        Change::CancelTimer { name, .. } => format!("no timer {name}"),
        Change::ReplyRetry { id, uncertain: false, .. } => format!("retry {id}"),
        Change::ReplyRetry { id, uncertain: true, .. } => format!("retry uncertain {id}"),
        Change::ReplyDelivered { id, .. } => format!("delivered {id}"),
        Change::ReplyDead { id, .. } => format!("dead {id}"),
        other => format!("{other:?}"),
    }
}
