//! Replies on their way: put on record, sent, and in the end accounted for.

use std::sync::Arc;
use std::time::Duration;

use wit_abi::types::{AgentResponse, Attachment};

use crate::channel::changes;
use crate::channel::job::{Job, Purpose, ReplyAttempt};
use crate::channel::outbox::{AfterFailure, AttemptFailed, Next};
use crate::event::arrival::Due;
use crate::event::callback::{Callback, CallbackValue, Effects};
use crate::event::guest_failure::GuestFailure;
use crate::model::clock::millis;
use crate::model::human_duration::HumanDuration;
use crate::model::subject::without_channel;
use crate::sandbox::WasmChannelError;
use crate::store::{Batch, Change, PendingReply, ReplyId, ReplyKind, ReplyRecord, ReplyState};

use super::turn::{Action, Turn};
use super::{Channel, LogKind};

/// The wait of a reply that finds the store busy with other work.
const SOON: Duration = Duration::from_millis(200);

/// The wait of a reply whose attempt the store has rejected.
const AFTER_REJECTION: Duration = Duration::from_secs(1);

impl Channel {
    /// A reply is durable.
    pub(super) fn deliver(&mut self, reply: &PendingReply, turn: &mut Turn<'_>) {
        // One that was dropped and is wanted again while it is still under way has been counted all the time.
        if !self.outbox.add(reply, &self.settings.retry, turn.at) {
            turn.act(Action::RepliesGone(1));
        }
        self.begin_due_replies(turn);
    }

    /// Puts as many due replies on their way as the lane can take.
    pub(super) fn begin_due_replies(&mut self, turn: &mut Turn<'_>) {
        self.store_and_begin(Batch::default(), turn);
    }

    /// The same when an attempt has ended. What came of it goes on record with the first attempt that begins, or by itself
    /// when there is none.
    fn store_and_begin(&mut self, mut outcome: Batch, turn: &mut Turn<'_>) {
        if self.is_ending || !self.is_ready() || !turn.host.store_works() {
            return turn.store(outcome);
        }
        if !turn.host.store_has_room() {
            turn.set_after(Due::Replies, SOON);
            return turn.store(outcome);
        }
        let width = self.settings.limits.outbound_concurrency;
        while let Some((id, attempt)) = self.outbox.begin(width, turn.at.now) {
            turn.act(Action::BeginAttempt { id, attempt, outcome: std::mem::take(&mut outcome) });
        }
        if let Some(due) = self.outbox.next_due(width) {
            turn.set(Due::Replies, due);
        }
        turn.store(outcome);
    }

    /// The attempt is on record, and here is the reply.
    pub(super) fn reply_ready(&mut self, id: ReplyId, record: Option<Box<ReplyRecord>>, turn: &mut Turn<'_>) {
        let Some(begun) = self.outbox.attempt(id) else { return };
        let is_wanted = |record: &ReplyRecord| record.state == ReplyState::Pending && !begun.is_dropped;
        let Some(record) = record.filter(|record| is_wanted(record)) else {
            return self.reply_is_over(id, Batch::default(), turn);
        };
        self.response_is_on_its_way(&record.body.metadata_json, turn);
        let attempt = ReplyAttempt { id, attempt: begun.number };
        if self.is_ending {
            return self.reply_not_tried(&attempt, turn);
        }
        self.warn_of_attachments(&record);
        let callback = callback_for(*record, begun.redelivery);
        // The lane takes every reply.
        let _ = self.enqueue(Job::new(callback, Purpose::Reply(attempt), turn.at.now), turn);
    }

    /// Replies of a guest that is built for an older ABI have no attachments.
    fn warn_of_attachments(&self, record: &ReplyRecord) {
        let Some(abi) = &self.settings.abi_without_attachments else { return };
        if !record.body.attachments.is_empty() {
            let name = &self.settings.name;
            log::warn!(
                target: name.as_str(),
                "channel {name}: reply {} is sent without its attachments: the guest is built for {abi}",
                record.id
            );
        }
    }

    /// The host stops before the attempt that is on record was made. Without this the next start would take it for one
    /// whose outcome is unknown.
    pub(super) fn reply_not_tried(&self, attempt: &ReplyAttempt, turn: &mut Turn<'_>) {
        turn.store(Batch::of(Change::ReplyRetry {
            id: attempt.id,
            at_ms: turn.at.unix_ms,
            next_ms: turn.at.unix_ms,
            error: "the host was stopped before it was tried".to_owned(),
            uncertain: false,
            traps: self.outbox.traps(attempt.id),
        }));
    }

    /// The store has rejected the record of the attempt, so it is not made.
    pub(super) fn reply_not_ready(&mut self, id: ReplyId, turn: &mut Turn<'_>) {
        if self.outbox.has(id) {
            self.outbox.not_made(id);
            self.reply_waits(id, AFTER_REJECTION, Batch::default(), turn);
        }
    }

    /// It is tried again after `wait`; `outcome` is what came of the attempt that was made, if one was.
    fn reply_waits(&mut self, id: ReplyId, wait: Duration, outcome: Batch, turn: &mut Turn<'_>) {
        if self.outbox.retry_at(id, turn.after(wait)) {
            self.store_and_begin(outcome, turn);
        } else {
            self.reply_is_over(id, outcome, turn);
        }
    }

    fn reply_is_over(&mut self, id: ReplyId, outcome: Batch, turn: &mut Turn<'_>) {
        if self.outbox.finish(id) {
            turn.act(Action::RepliesGone(1));
        }
        self.store_and_begin(outcome, turn);
    }

    /// `on-respond` or `on-broadcast` succeeded.
    pub(super) fn reply_delivered(
        &mut self,
        attempt: &ReplyAttempt,
        value: &CallbackValue,
        mut batch: Batch,
        turn: &mut Turn<'_>,
    ) {
        if matches!(value, CallbackValue::NotExported) {
            let reason = "the guest does not export this callback";
            return self.give_up(attempt.id, reason, false, batch, turn);
        }
        batch.changes.push(Change::ReplyDelivered { id: attempt.id, at_ms: turn.at.unix_ms });
        self.reply_is_over(attempt.id, batch, turn);
    }

    /// An attempt failed. `progress`: what it wrote to its workspace and wants to know at the next one.
    pub(super) fn reply_failed(
        &mut self,
        attempt: &ReplyAttempt,
        error: &WasmChannelError,
        effects: &Effects,
        progress: Batch,
        turn: &mut Turn<'_>,
    ) {
        let is_response = matches!(error, WasmChannelError::GuestError { .. });
        let said = said_by_guest(error);
        let refused = effects.upstream.refused.as_deref().filter(|_| is_response && said.is_none());
        let uncertain = !is_response && effects.had_side_effects;
        let failed = AttemptFailed {
            number: attempt.attempt,
            is_trap: is_trap(error),
            is_uncertain: uncertain,
            retry_after: effects.retry_after.max(said.and_then(GuestFailure::retry_after)),
            is_permanent: refused.is_some() || said.is_some_and(GuestFailure::is_permanent),
        };
        let retry = &self.settings.retry;
        let after = self.outbox.failed(attempt.id, failed, retry, turn.at.now, turn.host.random());
        let Some(AfterFailure { next, traps, tried_for, stepped_aside }) = after else { return };
        let Next::Retry { after: wait, .. } = next else {
            return self.give_up(attempt.id, &with_words(error, refused), uncertain, progress, turn);
        };
        if stepped_aside {
            self.warn_of_stepping_aside(attempt.id, tried_for, error, turn);
        }
        let mut batch = Batch::of(Change::ReplyRetry {
            id: attempt.id,
            at_ms: turn.at.unix_ms,
            next_ms: turn.at.unix_ms.saturating_add(millis(wait)),
            error: error.to_string(),
            uncertain,
            traps,
        });
        batch.changes.extend(progress.changes);
        self.reply_waits(attempt.id, wait, batch, turn);
    }

    fn warn_of_stepping_aside(
        &mut self,
        id: ReplyId,
        tried_for: Duration,
        error: &WasmChannelError,
        turn: &Turn<'_>,
    ) {
        if let Some(suppressed) = self.may_log(LogKind::ReplyStepsAside, turn) {
            let name = &self.settings.name;
            log::warn!(
                target: name.as_str(),
                "channel {name}: reply {id} has failed for {} and no longer holds up its conversation: {}{suppressed}",
                HumanDuration(tried_for),
                without_channel(name.as_str(), &error.to_string())
            );
        }
    }

    /// A reply becomes a dead letter, in one transaction with what its callback left.
    fn give_up(&mut self, id: ReplyId, reason: &str, uncertain: bool, mut batch: Batch, turn: &mut Turn<'_>) {
        if let Some(suppressed) = self.may_log(LogKind::ReplyGivenUp, turn) {
            let name = &self.settings.name;
            log::error!(
                target: name.as_str(),
                "channel {name}: reply {id} is given up and kept as a dead letter: {}{suppressed}",
                without_channel(name.as_str(), reason)
            );
        }
        let error = reason.to_owned();
        batch.changes.push(Change::ReplyDead { id, at_ms: turn.at.unix_ms, error, uncertain });
        self.reply_is_over(id, batch, turn);
    }

    /// The operator does not want a reply to be tried any more. The store knows already.
    pub(super) fn drop_reply(&mut self, id: ReplyId, turn: &mut Turn<'_>) {
        if self.outbox.drop(id) {
            turn.act(Action::RepliesGone(1));
        }
        self.begin_due_replies(turn);
    }
}
/// What the guest says about its failure.
fn said_by_guest(error: &WasmChannelError) -> Option<GuestFailure> {
    match error {
        WasmChannelError::GuestError { message, .. } => GuestFailure::read(message),
        _ => None,
    }
}

/// The error of an attempt with the words of the service that refused it, unless the guest has quoted them.
fn with_words(error: &WasmChannelError, refused: Option<&str>) -> String {
    let error = error.to_string();
    match refused {
        Some(words) if !error.contains(words) => format!("{error} ({words})"),
        _ => error,
    }
}

/// Traps, loops and hangs count towards giving up early; an upstream that is away does not.
fn is_trap(error: &WasmChannelError) -> bool {
    !matches!(
        error,
        WasmChannelError::GuestError { .. }
            | WasmChannelError::Stopped { .. }
            | WasmChannelError::HostMemoryExhausted { .. }
            | WasmChannelError::HostFailure { .. }
    )
}

fn callback_for(record: ReplyRecord, redelivery: bool) -> Callback {
    let body = record.body;
    let redelivery = redelivery || record.redelivery;
    let response = AgentResponse {
        message_id: body.message_id,
        content: body.content,
        thread_id: body.thread_id,
        metadata_json: if redelivery {
            changes::mark_redelivery(&body.metadata_json)
        } else {
            body.metadata_json
        },
        attachments: body
            .attachments
            .into_iter()
            .map(|file| Attachment {
                filename: file.filename,
                mime_type: file.mime_type,
                data: file.data.to_vec(),
            })
            .collect(),
    };
    match record.kind {
        ReplyKind::Respond => Callback::Respond(Arc::new(response)),
        ReplyKind::Broadcast { user_id } => {
            Callback::Broadcast { user_id: user_id.into(), response: Arc::new(response) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_has_the_words_of_the_service_once() {
        let error = |message: &str| WasmChannelError::GuestError {
            channel: "echo".into(),
            callback: crate::event::callback::CallbackKind::Respond,
            message: message.into(),
        };
        let words = Some("api.example responded with 400: chat not found");
        assert!(
            with_words(&error("not sent"), words)
                .ends_with("not sent (api.example responded with 400: chat not found)")
        );
        assert!(
            with_words(&error("api.example responded with 400: chat not found"), words)
                .ends_with("chat not found")
        );
        assert!(with_words(&error("not sent"), None).ends_with("not sent"));
    }
}
