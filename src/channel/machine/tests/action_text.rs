//! Actions as short texts, for tables: without log lines and steps of traces, which have tests of their own.

use std::time::Instant;

use crate::channel::machine::{Action, PendingResponse};
use crate::event::response::WebhookResponse;
use crate::store::{Batch, Change};

pub fn shown(actions: &[Action], now: Instant) -> Vec<String> {
    let is_shown = |action: &&Action| !matches!(action, Action::Log(_));
    actions.iter().filter(is_shown).map(|action| action_as_text(action, now)).collect()
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
        Action::Respond(_, WebhookResponse::Channel(response)) => format!("respond {}", response.status),
        Action::Respond(_, WebhookResponse::Refused(refusal)) => format!("respond {}", refusal.code()),
        Action::RespondFromStore(_, id) => format!("respond from store {}", id.0),
        Action::AwaitResponse => "await response".into(),
        Action::RequestQueued(_) => "queued".into(),
        Action::Set(due, at) => format!("set {due:?} in {:?}", at.saturating_duration_since(now)),
        Action::Cancel(due) => format!("cancel {due:?}"),
        Action::Register(_) => "register".into(),
        Action::Switch(_) => "switch".into(),
        Action::DropVersion(reason) => format!("drop version: {reason}"),
        Action::OpenLink => "open link".into(),
        Action::RepliesGone(count) => format!("{count} replies gone"),
        Action::Log(line) => format!("{} {}", line.level, line.text),
    }
}

fn changes(batch: &Batch) -> String {
    let is_shown = |change: &&Change| !matches!(change, Change::Trace(_));
    let changes: Vec<String> = batch.changes.iter().filter(is_shown).map(change_as_text).collect();
    format!("[{}]", changes.join(", "))
}

fn change_as_text(change: &Change) -> String {
    match change {
        Change::PutFile { path, content, .. } => format!("{path}={content}"),
        Change::AddMessage(message) => format!("message {}", message.message.content),
        Change::Dedupe { .. } => "dedupe".into(),
        Change::SetTimer { name, .. } => format!("timer {name}"),
        Change::CancelTimer { name, .. } => format!("no timer {name}"),
        Change::ReplyRetry { id, uncertain: false, .. } => format!("retry {id}"),
        Change::ReplyRetry { id, uncertain: true, .. } => format!("retry uncertain {id}"),
        Change::ReplyDelivered { id, .. } => format!("delivered {id}"),
        Change::ReplyDead { id, .. } => format!("dead {id}"),
        other => format!("{other:?}"),
    }
}
