//! Replies on their way: put on record, sent, and in the end accounted for.

use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::served::Served;
use super::turn::{Action, Turn};
use super::{Channel, ChannelLogKind};
use crate::channel::changes;
use crate::channel::job::{Job, Purpose, ReplyAttempt};
use crate::channel::outbox::{AfterFailedAttempt, AfterFailure, AttemptFailed};
use crate::event::arrival::Due;
use crate::event::callback::{Callback, CallbackValue, Effects};
use crate::event::guest_failure::GuestFailure;
use crate::model::clock::millis;
use crate::model::human_duration::HumanDuration;
use crate::model::subject::without_channel;
use crate::sandbox::WasmChannelError;
use crate::store::{Batch, Change, PendingReply, ReplyId, ReplyRecord, ReplyState, TraceKind};

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
        while let Some((id, tried_for)) = self.outbox.step_aside(turn.at.now) {
            self.warn_of_stepping_aside(id, tried_for, None, turn);
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
        self.warn_of_attachments(&record, turn);
        let callback = callback_for(*record, begun.redelivery);
        // The lane takes every reply.
        let _ = self.enqueue(Job::new(callback, Purpose::Reply(attempt), turn.at.now), turn);
    }

    /// Replies of a guest that is built for an older ABI have no attachments.
    fn warn_of_attachments(&self, record: &ReplyRecord, turn: &mut Turn<'_>) {
        let Some(abi) = &self.settings.abi_without_attachments else { return };
        if !record.body.attachments.is_empty() {
            let name = &self.settings.name;
            let text = format!(
                "channel {name}: reply {} is sent without its attachments: the guest is built for {abi}",
                record.id
            );
            turn.log_reply(Level::Warn, record.id, text);
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
        served: &Served,
        mut batch: Batch,
        turn: &mut Turn<'_>,
    ) {
        if matches!(value, CallbackValue::NotExported) {
            let reason = "the guest does not export this callback";
            return self.give_up(attempt, reason, false, served, batch, turn);
        }
        let response = served.response.as_deref().unwrap_or_default();
        let at_ms = turn.at.unix_ms;
        batch.changes.push(Change::ReplyDelivered { id: attempt.id, at_ms });
        batch.changes.push(served.attempt(attempt, TraceKind::Sent, at_ms, response));
        self.say_delivered(attempt, served, turn);
        self.reply_is_over(attempt.id, batch, turn);
    }

    fn say_delivered(&mut self, attempt: &ReplyAttempt, served: &Served, turn: &mut Turn<'_>) {
        let Some(suppressed) = self.delivered_log.check(&(), turn.at.now) else { return };
        let (name, ReplyAttempt { id, attempt }) = (&self.settings.name, attempt);
        let words = served.response.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
        let took = HumanDuration(served.took);
        let text = format!(
            "channel {name}: reply {id} was delivered in {took} (attempt {attempt}){words}{suppressed}"
        );
        turn.log_reply(Level::Info, *id, text);
    }

    /// An attempt failed. `progress`: what it wrote to its workspace and wants to know at the next one.
    pub(super) fn reply_failed(
        &mut self,
        attempt: &ReplyAttempt,
        error: &WasmChannelError,
        effects: &Effects,
        served: &Served,
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
        let Some(AfterFailedAttempt { next, traps, tried_for, stepped_aside }) = after else { return };
        let AfterFailure::Retry { after: wait, .. } = next else {
            return self.give_up(attempt, &with_words(error, refused), uncertain, served, progress, turn);
        };
        self.warn_of_failure(attempt, wait, error, turn);
        if stepped_aside {
            self.warn_of_stepping_aside(attempt.id, tried_for, Some(error), turn);
        }
        let mut batch = Batch::of(Change::ReplyRetry {
            id: attempt.id,
            at_ms: turn.at.unix_ms,
            next_ms: turn.at.unix_ms.saturating_add(millis(wait)),
            error: error.to_string(),
            uncertain,
            traps,
        });
        let why = error.to_string();
        batch.changes.push(served.attempt(attempt, TraceKind::NotSent, turn.at.unix_ms, &why));
        batch.changes.extend(progress.changes);
        self.reply_waits(attempt.id, wait, batch, turn);
    }

    fn warn_of_failure(
        &mut self,
        attempt: &ReplyAttempt,
        wait: Duration,
        error: &WasmChannelError,
        turn: &mut Turn<'_>,
    ) {
        if let Some(suppressed) = self.may_log(ChannelLogKind::ReplyFailed, turn) {
            let (name, ReplyAttempt { id, attempt }) = (&self.settings.name, attempt);
            let text = format!(
                "channel {name}: reply {id} failed (attempt {attempt}), next attempt in {}: {}{suppressed}",
                HumanDuration(wait),
                without_channel(name.as_str(), &error.to_string())
            );
            turn.log_reply(Level::Warn, *id, text);
        }
    }

    fn warn_of_stepping_aside(
        &mut self,
        id: ReplyId,
        tried_for: Duration,
        error: Option<&WasmChannelError>,
        turn: &mut Turn<'_>,
    ) {
        if let Some(suppressed) = self.may_log(ChannelLogKind::ReplyStepsAside, turn) {
            let name = &self.settings.name;
            let why = error
                .map(|error| format!(": {}", without_channel(name.as_str(), &error.to_string())))
                .unwrap_or_default();
            let text = format!(
                "channel {name}: reply {id} has failed for {} and no longer holds up its conversation{why}{suppressed}",
                HumanDuration(tried_for)
            );
            turn.log_reply(Level::Warn, id, text);
        }
    }

    /// A reply becomes a dead letter, in one transaction with what its callback left.
    fn give_up(
        &mut self,
        attempt: &ReplyAttempt,
        reason: &str,
        uncertain: bool,
        served: &Served,
        mut batch: Batch,
        turn: &mut Turn<'_>,
    ) {
        let id = attempt.id;
        if let Some(suppressed) = self.may_log(ChannelLogKind::ReplyGivenUp, turn) {
            let name = &self.settings.name;
            let text = format!(
                "channel {name}: reply {id} is given up after attempt {} and kept as a dead letter: {}{suppressed}",
                attempt.attempt,
                without_channel(name.as_str(), reason)
            );
            turn.log_reply(Level::Error, id, text);
        }
        let error = reason.to_owned();
        let at_ms = turn.at.unix_ms;
        batch.changes.push(Change::ReplyDead { id, at_ms, error, uncertain });
        batch.changes.push(served.attempt(attempt, TraceKind::NotSent, at_ms, reason));
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
    let mut response = record.body;
    if redelivery || record.redelivery {
        let metadata_json = changes::mark_redelivery(&response.metadata_json);
        Arc::make_mut(&mut response).metadata_json = metadata_json;
    }
    match record.broadcast_to {
        None => Callback::Respond(response),
        Some(user_id) => Callback::Broadcast { user_id: user_id.into(), response },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_errors_and_host_failures_are_not_counted_as_traps() {
        let (channel, callback) = ("echo".to_owned(), crate::event::callback::CallbackKind::Respond);
        let named = || channel.clone();
        for (error, expected) in [
            (WasmChannelError::GuestError { channel: named(), callback, message: "no".into() }, false),
            (WasmChannelError::Stopped { channel: named(), callback }, false),
            (
                WasmChannelError::HostMemoryExhausted { channel: named(), callback, wanted: 1, budget: 1 },
                false,
            ),
            (WasmChannelError::HostFailure { channel: named(), callback, reason: "a bug".into() }, false),
            (WasmChannelError::OutOfFuel { channel: named(), callback, limit: 1 }, true),
            (
                WasmChannelError::DeadlineExceeded { channel: named(), callback, elapsed: Duration::ZERO },
                true,
            ),
        ] {
            assert_eq!(is_trap(&error), expected, "{error:?}");
        }
    }

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
