//! Replies: delivered in order within a conversation, retried, and in the end accounted for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wit_abi::types::{AgentResponse, Attachment};

use crate::channel::ChannelName;
use crate::event::Wakeup;
use crate::event::callback::{Callback, CallbackReport, CallbackValue, Effects};
use crate::inbox::Conversations;
use crate::model::deadline::deadline_after;
use crate::model::human_duration::HumanDuration;
use crate::sandbox::WasmChannelError;
use crate::store::{Batch, Change, ChannelKey, PendingReply, ReplyId, ReplyKind, ReplyRecord, ReplyState};

use super::backoff::Backoff;
use super::changes;
use super::core::{Router, random};
use super::job::{Job, Purpose, ReplyAttempt};
use crate::model::clock::{millis, remaining, unix_ms};

/// How replies are retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The wait after the first failure; it doubles. Full jitter. Default 1 s.
    pub initial_backoff: Duration,
    /// The longest wait. Default 5 min.
    pub max_backoff: Duration,
    /// For how long a reply is tried, from its first attempt on, counted while the host runs. Default 24 h.
    pub max_elapsed: Duration,
    /// Attempts that may trap, run out of fuel or hit their deadline before the reply is given up. Default 3.
    pub max_traps: u32,
    /// How long a reply that fails holds up those behind it in its conversation. After that it is retried beside them, and
    /// they are sent in their order. Default 5 min.
    pub max_blocking: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(300),
            max_elapsed: Duration::from_secs(24 * 3600),
            max_traps: 3,
            max_blocking: Duration::from_secs(300),
        }
    }
}

/// The wait of a reply that finds the store busy with other work.
const SOON: Duration = Duration::from_millis(200);

/// A failed attempt.
#[derive(Clone, Copy, Debug)]
struct Failure {
    /// Which attempt it was, counted from 1.
    attempt: u32,
    /// How many attempts of this reply have trapped.
    traps: u32,
    /// How long ago the first attempt began.
    tried_for: Duration,
    /// How long the service wants to be left alone.
    retry_after: Option<Duration>,
    /// The same attempt would be refused again.
    is_permanent: bool,
}

/// What a failed attempt leads to.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// It is tried again after this time, and holds up those behind it or does not.
    Retry {
        after: Duration,
        blocks: bool,
    },
    GiveUp,
}

impl RetryPolicy {
    /// Decides what follows a failed attempt. An upstream's wish to wait is honoured; a wish that is longer than all the
    /// time that is left ends the tries.
    fn next(&self, failure: Failure, random: f64) -> Next {
        let Failure { attempt, traps, tried_for, retry_after, is_permanent } = failure;
        let backoff = Backoff { first: self.initial_backoff, most: self.max_backoff };
        let after = backoff.full_jitter(attempt, random).max(retry_after.unwrap_or_default());
        if is_permanent || traps >= self.max_traps || tried_for.saturating_add(after) > self.max_elapsed {
            return Next::GiveUp;
        }
        Next::Retry { after, blocks: self.blocks(tried_for) }
    }

    /// Whether a reply that has failed for so long still holds up those behind it.
    fn blocks(&self, tried_for: Duration) -> bool {
        tried_for < self.max_blocking
    }

    /// How long to wait with a reply that was stored: never longer than between two attempts, and not at all before the
    /// first one.
    fn wait_of(&self, reply: &PendingReply, now_ms: u64) -> Duration {
        if reply.attempts == 0 { Duration::ZERO } else { remaining(reply.next_ms, now_ms, self.max_backoff) }
    }

    /// How long a stored reply was tried for before this process. The wall clock may have been set meanwhile, so no more
    /// is believed than its attempts can have taken.
    fn tried_before(&self, reply: &PendingReply) -> Duration {
        Duration::from_millis(reply.next_ms.saturating_sub(reply.since_ms))
            .min(self.max_backoff.saturating_mul(reply.attempts))
    }
}

/// The replies of one channel that are not delivered yet.
#[derive(Debug, Default)]
pub(super) struct Replies {
    order: Conversations<ReplyId>,
    known: HashMap<ReplyId, Known>,
    /// Taken from `order` and on their way through store, lane and worker.
    under_way: usize,
}

#[derive(Clone, Debug)]
struct Known {
    attempts: u32,
    traps: u32,
    /// How long it was tried for before this process.
    tried_before: Duration,
    /// When this process tried it first.
    first_tried: Option<Instant>,
    /// An earlier attempt may have arrived.
    redelivery: bool,
    /// Taken from the order and not yet given back.
    under_way: bool,
    /// The operator does not want it any more.
    dropped: bool,
}

impl Known {
    /// How long it was tried for, by the clock that counts time really spent.
    fn tried_for(&self, now: Instant) -> Duration {
        let since = self.first_tried.map_or(Duration::ZERO, |first| now.saturating_duration_since(first));
        self.tried_before.saturating_add(since)
    }
}

impl Replies {
    /// Takes in a reply that is in the store. False when it was here already: then an operator wants it to be tried at
    /// once, and its attempts are counted anew.
    pub fn add(&mut self, reply: &PendingReply, policy: &RetryPolicy, now: Instant) -> bool {
        if let Some(known) = self.known.get_mut(&reply.id) {
            (known.dropped, known.attempts, known.traps) = (false, 0, 0);
            (known.tried_before, known.first_tried) = (Duration::ZERO, None);
            if !known.under_way {
                self.order.make_due(reply.id, now);
            }
            return false;
        }
        let known = Known {
            attempts: reply.attempts,
            traps: reply.traps,
            tried_before: policy.tried_before(reply),
            first_tried: None,
            redelivery: reply.redelivery,
            under_way: false,
            dropped: false,
        };
        self.known.insert(reply.id, known);
        let due = deadline_after(now, policy.wait_of(reply, unix_ms()));
        self.order.push(reply.id, reply.conversation.clone(), due);
        if reply.attempts > 0 && !policy.blocks(policy.tried_before(reply)) {
            self.order.step_aside(reply.id);
        }
        true
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether a reply is here and nobody has dropped it.
    fn wants(&self, id: ReplyId) -> bool {
        self.known.get(&id).is_some_and(|known| !known.dropped)
    }

    /// Forgets a reply; false when it was not here.
    fn finish(&mut self, id: ReplyId) -> bool {
        self.known.remove(&id);
        self.order.finish(id)
    }
}

impl Router {
    /// A reply is durable.
    pub(super) fn reply_stored(&mut self, reply: PendingReply) {
        self.newest_reply = self.newest_reply.max(reply.id);
        if let Some(slot) = self.slots.get_mut(&*reply.channel) {
            // One that was dropped and is wanted again while it is still under way has been counted all the time.
            if !slot.replies.add(&reply, &self.config.retry, Instant::now()) {
                self.replies_waiting.fetch_sub(1, Ordering::Relaxed);
            }
            let name = slot.setup.name.clone();
            self.begin_due_replies(&name);
        } else {
            let before = self.stored_replies.len();
            self.stored_replies.retain(|stored| stored.id != reply.id);
            if self.stored_replies.len() < before {
                self.replies_waiting.fetch_sub(1, Ordering::Relaxed);
            }
            self.stored_replies.push(reply);
        }
    }

    /// Puts as many due replies on their way as the lane can take.
    pub(super) fn begin_due_replies(&mut self, channel: &ChannelName) {
        self.settle_and_begin(channel, Batch::default());
    }

    /// The same when an attempt has ended, with what came of it.
    fn settle_and_begin(&mut self, channel: &ChannelName, outcome: Batch) {
        let rest = self.begin_due_replies_after(channel, outcome);
        self.storage.commit_fact(rest, &self.mailbox);
    }

    /// Has `outcome` go on record with the first attempt that begins; gives it back when there is none.
    fn begin_due_replies_after(&mut self, channel: &ChannelName, mut outcome: Batch) -> Batch {
        if self.stopping.is_some() || !self.is_ready(channel) || !self.storage.works() {
            return outcome;
        }
        if !self.storage.takes_work() {
            self.scheduler.set(Wakeup::Replies(channel.clone()), deadline_after(Instant::now(), SOON));
            return outcome;
        }
        let Some(slot) = self.slots.get_mut(channel) else { return outcome };
        let width = slot.setup.limits.outbound_concurrency;
        let now = Instant::now();
        while slot.replies.under_way < width {
            let Some(id) = slot.replies.order.take_due(now) else { break };
            let Some(known) = slot.replies.known.get_mut(&id) else { continue };
            known.attempts += 1;
            known.first_tried.get_or_insert(now);
            known.under_way = true;
            slot.replies.under_way += 1;
            self.storage.begin_reply(id, known.attempts, std::mem::take(&mut outcome), &self.mailbox);
        }
        if slot.replies.under_way < width
            && let Some(due) = slot.replies.order.next_due()
        {
            self.scheduler.set(Wakeup::Replies(channel.clone()), due);
        }
        outcome
    }

    /// The attempt is on record, and here is the reply.
    pub(super) fn reply_ready(&mut self, id: ReplyId, record: Option<Box<ReplyRecord>>) {
        let Some((channel, known)) = self.find_reply(id) else { return };
        let Some(record) = record.filter(|record| record.state == ReplyState::Pending && !known.dropped)
        else {
            return self.reply_is_over(&channel, id, Batch::default());
        };
        // The answer is on its way: nobody needs to see that the agent thinks any more.
        self.end_thinking(&channel, &record.body.metadata_json.as_str().into());
        self.drop_thinking(&channel, &record.body.metadata_json);
        let attempt = ReplyAttempt { id, attempt: known.attempts };
        if self.stopping.is_some() {
            return self.reply_not_tried(&attempt);
        }
        let job = Job::new(callback_for(*record, known.redelivery), Purpose::Reply(attempt));
        // The lane takes every reply, and the channel is there.
        let _ = self.enqueue(&channel, job);
    }

    /// The host stops before the attempt that is on record was made. Without this the next start would take it for one
    /// whose outcome is unknown.
    pub(super) fn reply_not_tried(&mut self, attempt: &ReplyAttempt) {
        let at_ms = unix_ms();
        let error = "the host was stopped before it was tried".to_owned();
        let traps = self.find_reply(attempt.id).map_or(0, |(_, known)| known.traps);
        let change =
            Change::ReplyRetry { id: attempt.id, at_ms, next_ms: at_ms, error, uncertain: false, traps };
        self.storage.commit(Batch::of(change), &self.mailbox);
    }

    /// The attempt could not be recorded, so it is not made.
    pub(super) fn reply_not_ready(&mut self, id: ReplyId) {
        let Some((channel, _)) = self.find_reply(id) else { return };
        if let Some(known) = self.slots.get_mut(&channel).and_then(|slot| slot.replies.known.get_mut(&id)) {
            known.attempts = known.attempts.saturating_sub(1);
        }
        self.reply_waits(&channel, id, Duration::from_secs(1), Batch::default());
    }

    fn find_reply(&self, id: ReplyId) -> Option<(ChannelName, Known)> {
        self.slots
            .iter()
            .find_map(|(name, slot)| slot.replies.known.get(&id).map(|known| (name.clone(), known.clone())))
    }

    /// It is tried again after `wait`; `outcome` is what came of the attempt that was made, if one was.
    fn reply_waits(&mut self, channel: &ChannelName, id: ReplyId, wait: Duration, outcome: Batch) {
        let slot = self.slots.get_mut(channel);
        let Some(slot) = slot.filter(|slot| slot.replies.wants(id)) else {
            return self.reply_is_over(channel, id, outcome);
        };
        if let Some(known) = slot.replies.known.get_mut(&id) {
            known.under_way = false;
        }
        slot.replies.under_way = slot.replies.under_way.saturating_sub(1);
        slot.replies.order.give_back(id, deadline_after(Instant::now(), wait));
        self.settle_and_begin(channel, outcome);
    }

    fn reply_is_over(&mut self, channel: &ChannelName, id: ReplyId, outcome: Batch) {
        if let Some(slot) = self.slots.get_mut(channel) {
            slot.replies.under_way = slot.replies.under_way.saturating_sub(1);
            if slot.replies.finish(id) {
                self.replies_waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.settle_and_begin(channel, outcome);
    }

    /// `on-respond` or `on-broadcast` succeeded.
    pub(super) fn reply_delivered(
        &mut self,
        channel: &ChannelName,
        attempt: &ReplyAttempt,
        value: &CallbackValue,
        mut batch: Batch,
    ) {
        if super::finish::was_not_exported(value) {
            return self.give_up(channel, attempt.id, "the guest does not export this callback", false);
        }
        batch.changes.push(Change::ReplyDelivered { id: attempt.id, at_ms: unix_ms() });
        self.reply_is_over(channel, attempt.id, batch);
    }

    /// The reply went out, but the store has failed meanwhile: that it went out is owed, with what the callback wrote.
    pub(super) fn owe_delivery(
        &mut self,
        channel: &ChannelName,
        attempt: &ReplyAttempt,
        report: CallbackReport,
    ) {
        let key: ChannelKey = channel.shared();
        let now_ms = unix_ms();
        let mut batch = Batch::default();
        for (path, content) in report.effects.workspace.writes {
            let path = path.as_str().into();
            batch.changes.push(Change::PutFile { channel: key.clone(), path, content });
        }
        self.add_messages(channel, &key, report.effects.messages, now_ms, &mut batch);
        batch.changes.extend(report.effects.timers.iter().map(|change| changes::timer(&key, change, now_ms)));
        batch.changes.push(Change::ReplyDelivered { id: attempt.id, at_ms: now_ms });
        self.owe(batch);
        self.reply_is_over(channel, attempt.id, Batch::default());
    }

    /// An attempt failed.
    pub(super) fn reply_failed(
        &mut self,
        channel: &ChannelName,
        attempt: &ReplyAttempt,
        error: &WasmChannelError,
        effects: &Effects,
    ) {
        let policy = self.config.retry;
        let now_ms = unix_ms();
        let Some(slot) = self.slots.get_mut(channel) else { return };
        let Some(known) = slot.replies.known.get_mut(&attempt.id) else { return };
        let is_answer = matches!(error, WasmChannelError::GuestError { .. });
        let refused = effects.upstream.refused.as_deref().filter(|_| is_answer);
        let uncertain = !is_answer && effects.had_side_effects;
        known.traps += u32::from(is_trap(error));
        known.redelivery |= uncertain;
        let tried_for = known.tried_for(Instant::now());
        let traps = known.traps;
        let failure = Failure {
            attempt: attempt.attempt,
            traps,
            tried_for,
            retry_after: effects.retry_after,
            is_permanent: refused.is_some(),
        };
        match policy.next(failure, random()) {
            Next::GiveUp => self.give_up(channel, attempt.id, &with_words(error, refused), uncertain),
            Next::Retry { after: wait, blocks } => {
                let change = Change::ReplyRetry {
                    id: attempt.id,
                    at_ms: now_ms,
                    next_ms: now_ms.saturating_add(millis(wait)),
                    error: error.to_string(),
                    uncertain,
                    traps,
                };
                if !blocks && slot.replies.order.step_aside(attempt.id) {
                    log::warn!(
                        target: channel.as_str(),
                        "channel {channel}: reply {} has failed for {} and no longer holds up its conversation: {error}",
                        attempt.id,
                        HumanDuration(tried_for)
                    );
                }
                self.reply_waits(channel, attempt.id, wait, Batch::of(change));
            }
        }
    }

    fn give_up(&mut self, channel: &ChannelName, id: ReplyId, reason: &str, uncertain: bool) {
        log::error!(target: channel.as_str(), "reply {id} is given up and kept as a dead letter: {reason}");
        let change = Change::ReplyDead { id, at_ms: unix_ms(), error: reason.to_owned(), uncertain };
        self.reply_is_over(channel, id, Batch::of(change));
    }

    /// The operator does not want a reply to be tried any more. The store knows already.
    pub(super) fn drop_reply(&mut self, id: ReplyId) {
        let Some((channel, _)) = self.find_reply(id) else { return };
        let Some(slot) = self.slots.get_mut(&channel) else { return };
        // One that is under way is dropped when it comes back: its conversation must not go on before that.
        match slot.replies.known.get_mut(&id) {
            Some(known) if known.under_way => known.dropped = true,
            _ => {
                if slot.replies.finish(id) {
                    self.replies_waiting.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        self.begin_due_replies(&channel);
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

    const SECOND: Duration = Duration::from_secs(1);

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn failure(attempt: u32) -> Failure {
        Failure { attempt, traps: 0, tried_for: SECOND, retry_after: None, is_permanent: false }
    }

    fn retry(seconds: u32) -> Next {
        Next::Retry { after: SECOND * seconds, blocks: true }
    }

    #[test]
    fn what_follows_a_failed_attempt() {
        let policy = RetryPolicy::default();
        let late = |tried_for| Failure { tried_for, ..failure(1) };
        let asked = |attempt, seconds| Failure { retry_after: Some(SECOND * seconds), ..failure(attempt) };
        let beside = |seconds| Next::Retry { after: SECOND * seconds, blocks: false };
        for (case, failure, expected) in [
            ("the first failure", failure(1), retry(1)),
            ("the third failure", failure(3), retry(4)),
            ("a very late failure", failure(30), retry(300)),
            ("upstream asks for a minute", asked(1, 60), retry(60)),
            ("upstream asks for less", asked(3, 1), retry(4)),
            ("two traps", Failure { traps: 2, ..failure(2) }, retry(2)),
            ("three traps", Failure { traps: 3, ..failure(3) }, Next::GiveUp),
            ("just below five minutes", late(SECOND * 300 - Duration::from_millis(1)), retry(1)),
            ("five minutes", late(SECOND * 300), beside(1)),
            ("just within a day", late(DAY - SECOND), beside(1)),
            ("just over a day", late(DAY), Next::GiveUp),
            (
                "upstream asks for two days",
                Failure { retry_after: Some(DAY * 2), ..failure(1) },
                Next::GiveUp,
            ),
            ("refused for good", Failure { is_permanent: true, ..failure(1) }, Next::GiveUp),
        ] {
            assert_eq!(policy.next(failure, 1.0), expected, "{case}");
        }
    }

    fn stored(attempts: u32, since_ms: u64, next_ms: u64) -> PendingReply {
        PendingReply {
            id: ReplyId(1),
            channel: "a".into(),
            conversation: "c".into(),
            bytes: 1,
            attempts,
            since_ms,
            next_ms,
            redelivery: false,
            traps: 0,
        }
    }

    // After a restart with the clock an hour behind, a reply waited an hour and held up its conversation.
    #[test]
    fn a_stored_reply_waits_no_longer_than_between_two_attempts() {
        let policy = RetryPolicy::default();
        let hour = 3_600_000;
        for (case, attempts, next_ms, now_ms, wait) in [
            ("never tried, stored while the clock was ahead", 0, 2 * hour, hour, Duration::ZERO),
            ("due", 1, hour, hour, Duration::ZERO),
            ("in two seconds", 2, hour + 2_000, hour, SECOND * 2),
            ("the clock was set back by an hour", 2, 2 * hour, hour, policy.max_backoff),
        ] {
            assert_eq!(policy.wait_of(&stored(attempts, 0, next_ms), now_ms), wait, "{case}");
        }
    }

    // A reply that was made in 1972, a minute before the network told the time, was a dead letter after one failure.
    #[test]
    fn the_time_that_a_reply_was_tried_for_is_time_really_spent() {
        let policy = RetryPolicy::default();
        let decades = 53 * 365 * 86_400_000;
        for (case, attempts, since_ms, next_ms, before) in [
            ("never tried", 0, 0, decades, Duration::ZERO),
            ("tried for a minute", 4, 1_000, 61_000, SECOND * 60),
            ("the clock was set between two attempts", 3, 1_000, decades, policy.max_backoff * 3),
            ("the clock was set back between two attempts", 3, decades, 1_000, Duration::ZERO),
        ] {
            assert_eq!(policy.tried_before(&stored(attempts, since_ms, next_ms)), before, "{case}");
        }
        let begin = Instant::now();
        let mut replies = Replies::default();
        replies.add(&stored(3, 1_000, decades), &policy, begin);
        let known = replies.known.get_mut(&ReplyId(1)).unwrap();
        known.first_tried = Some(begin);
        assert_eq!(known.tried_for(begin + SECOND), policy.max_backoff * 3 + SECOND);
    }

    // "it waits already", said the command, and it waited for an hour.
    #[test]
    fn a_reply_that_waits_is_due_at_once_when_an_operator_sends_it_again() {
        let (policy, now) = (RetryPolicy::default(), Instant::now());
        let mut replies = Replies::default();
        let waits = stored(5, 0, u64::MAX);
        assert!(replies.add(&waits, &policy, now));
        assert_eq!(replies.order.take_due(now), None);
        assert!(!replies.add(&stored(0, 0, 0), &policy, now));
        assert_eq!(replies.order.take_due(now), Some(ReplyId(1)));
        assert_eq!(replies.known[&ReplyId(1)].attempts, 0);
    }

    #[test]
    fn jitter_never_undercuts_what_upstream_asked_for() {
        let failure = Failure { retry_after: Some(SECOND * 7), ..failure(9) };
        assert_eq!(RetryPolicy::default().next(failure, 0.0), retry(7));
    }

    #[test]
    fn a_dead_letter_has_the_words_of_the_service_once() {
        let error = |message: &str| WasmChannelError::GuestError {
            channel: "echo".into(),
            callback: crate::event::callback::CallbackKind::Respond,
            message: message.into(),
        };
        let words = Some("api.example answered 400: chat not found");
        assert!(
            with_words(&error("not sent"), words)
                .ends_with("not sent (api.example answered 400: chat not found)")
        );
        assert!(
            with_words(&error("api.example answered 400: chat not found"), words).ends_with("chat not found")
        );
        assert!(with_words(&error("not sent"), None).ends_with("not sent"));
    }
}
