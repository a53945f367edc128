//! The replies of one channel that are not delivered yet: their order, their attempts, and what follows a failure. Pure
//! decisions.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::inbox::Conversations;
use crate::model::backoff::Backoff;
use crate::model::bounded;
use crate::model::clock::{Moment, remaining};
use crate::model::deadline::deadline_after;
use crate::store::{PendingReply, ReplyId};

/// How replies are retried.
/// Deserialises from the fields of `[retry]` in `tinclaw.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// The wait after the first failure; it doubles. Full jitter. Default 1 s.
    #[serde(rename = "initial_backoff_secs", deserialize_with = "bounded::secs::<_, 1, 3600>")]
    pub initial_backoff: Duration,
    /// The longest wait. Default 5 min.
    #[serde(rename = "max_backoff_secs", deserialize_with = "bounded::secs::<_, 1, 86400>")]
    pub max_backoff: Duration,
    /// For how long a reply is tried, from its first attempt on, counted while the host runs. Default 24 h.
    #[serde(rename = "max_elapsed_secs", deserialize_with = "bounded::secs::<_, 0, 2592000>")]
    pub max_elapsed: Duration,
    /// Attempts that may trap, run out of fuel or hit their deadline before the reply is given up. Default 3.
    #[serde(deserialize_with = "bounded::count::<_, _, 1, 1000>")]
    pub max_traps: u32,
    /// How long a reply that fails holds up those behind it in its conversation. After that it is retried beside them, and
    /// they are sent in their order. Default 5 min.
    #[serde(rename = "max_blocking_secs", deserialize_with = "bounded::secs::<_, 0, 86400>")]
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

/// A failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct FailedReplyAttempt {
    /// Which attempt it was, counted from 1.
    pub attempt: u32,
    /// How many attempts of this reply have trapped.
    pub traps: u32,
    /// How long ago the first attempt began.
    pub tried_for: Duration,
    /// How long the service wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The same attempt would be refused again.
    pub is_permanent: bool,
}

/// What a failed attempt leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It is tried again after this time, and holds up those behind it or does not.
    Retry {
        after: Duration,
        blocks: bool,
    },
    GiveUp,
}

impl RetryPolicy {
    /// Decides what follows a failed attempt. An upstream's wish to wait is honoured, as far as there is time left: at the end of
    /// it the reply is tried once more.
    fn next(&self, failure: FailedReplyAttempt, random: f64) -> AfterFailure {
        let FailedReplyAttempt { attempt, traps, tried_for, retry_after, is_permanent } = failure;
        let backoff = Backoff { initial: self.initial_backoff, max: self.max_backoff };
        let backoff = backoff.full_jitter(attempt, random);
        let left = self.max_elapsed.saturating_sub(tried_for);
        if is_permanent || traps >= self.max_traps || left.is_zero() || backoff > left {
            return AfterFailure::GiveUp;
        }
        let after = backoff.max(retry_after.unwrap_or_default().min(left));
        AfterFailure::Retry { after, blocks: self.blocks(tried_for) }
    }

    /// Whether a reply that has failed for so long still holds up those behind it.
    fn blocks(&self, tried_for: Duration) -> bool {
        tried_for < self.max_blocking
    }

    /// Until when a reply that has failed for so long, and blocks, holds up those behind it.
    fn blocks_until(&self, tried_for: Duration, now: Instant) -> Instant {
        deadline_after(now, self.max_blocking.saturating_sub(tried_for))
    }

    /// How long to wait with a reply that was stored: never longer than between two attempts, nor than it was tried for with
    /// that wait, and not at all before the first attempt.
    fn wait_of(&self, reply: &PendingReply, now_ms: u64) -> Duration {
        let longest = self.tried_before(reply).min(self.max_backoff);
        if reply.attempts == 0 { Duration::ZERO } else { remaining(reply.next_ms, now_ms, longest) }
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
pub struct Outbox {
    order: Conversations<ReplyId>,
    known: HashMap<ReplyId, KnownReply>,
    /// Those that have failed and wait for their next attempt, by the time until which they hold up others.
    blocking: BTreeSet<(Instant, ReplyId)>,
    /// Taken from `order` and on their way through store, lane and worker.
    under_way: usize,
}

#[derive(Debug)]
struct KnownReply {
    attempts: u32,
    traps: u32,
    /// How long it was tried for before this process.
    tried_before: Duration,
    /// When this process tried it first.
    first_tried: Option<Instant>,
    /// Until when it holds up those behind it; none before its first failure and when it holds up nobody.
    blocks_until: Option<Instant>,
    /// An earlier attempt may have arrived.
    redelivery: bool,
    /// Taken from the order and not yet returned to it.
    under_way: bool,
    /// The operator does not want it any more.
    dropped: bool,
}

impl KnownReply {
    /// How long it was tried for, by the clock that counts time really spent.
    fn tried_for(&self, now: Instant) -> Duration {
        let since = self.first_tried.map_or(Duration::ZERO, |first| now.saturating_duration_since(first));
        self.tried_before.saturating_add(since)
    }
}

/// An attempt that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which one, counted from 1.
    pub number: u32,
    /// An earlier one may have arrived.
    pub redelivery: bool,
    /// The operator does not want the reply any more.
    pub is_dropped: bool,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug)]
pub struct AttemptFailed {
    /// Which attempt it was.
    pub number: u32,
    /// The guest trapped, looped or hung.
    pub is_trap: bool,
    /// The service may have the reply all the same.
    pub is_uncertain: bool,
    /// How long the service wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The same attempt would be refused again.
    pub is_permanent: bool,
}

/// What a failed attempt leads to, and what is to be put on record of it.
#[derive(Debug)]
pub struct AfterFailedAttempt {
    /// What follows.
    pub next: AfterFailure,
    /// How many attempts have trapped by now.
    pub traps: u32,
    /// For how long it has been tried.
    pub tried_for: Duration,
    /// With this failure it no longer holds up those behind it.
    pub stepped_aside: bool,
}

impl Outbox {
    /// Takes in a reply that is in the store. False when it was here already: then an operator wants it to be tried at
    /// once, and its attempts are counted from zero.
    pub fn add(&mut self, reply: &PendingReply, policy: &RetryPolicy, at: Moment) -> bool {
        if let Some(known) = self.known.get_mut(&reply.id) {
            if let Some(until) = known.blocks_until.take() {
                self.blocking.remove(&(until, reply.id));
            }
            (known.dropped, known.attempts, known.traps) = (false, 0, 0);
            (known.tried_before, known.first_tried) = (Duration::ZERO, None);
            if !known.under_way {
                self.order.make_due(reply.id, at.now);
            }
            return false;
        }
        let tried_before = policy.tried_before(reply);
        let (has_failed, blocks) = (reply.attempts > 0, policy.blocks(tried_before));
        let blocks_until = (has_failed && blocks).then(|| policy.blocks_until(tried_before, at.now));
        let known = KnownReply {
            attempts: reply.attempts,
            traps: reply.traps,
            tried_before,
            first_tried: None,
            blocks_until,
            redelivery: reply.redelivery,
            under_way: false,
            dropped: false,
        };
        self.known.insert(reply.id, known);
        self.blocking.extend(blocks_until.map(|until| (until, reply.id)));
        let due = deadline_after(at.now, policy.wait_of(reply, at.unix_ms));
        self.order.push(reply.id, reply.conversation.clone(), due);
        if has_failed && !blocks {
            self.order.step_aside(reply.id);
        }
        true
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether a reply is here.
    pub fn has(&self, id: ReplyId) -> bool {
        self.known.contains_key(&id)
    }

    /// Takes the next reply that is due, when fewer than `width` are under way. Returns it with the number of its attempt.
    pub fn begin(&mut self, width: usize, now: Instant) -> Option<(ReplyId, u32)> {
        while self.under_way < width {
            let id = self.order.take_due(now)?;
            let Some(known) = self.known.get_mut(&id) else { continue };
            known.attempts += 1;
            known.first_tried.get_or_insert(now);
            known.under_way = true;
            self.under_way += 1;
            if let Some(until) = known.blocks_until {
                self.blocking.remove(&(until, id));
            }
            return Some((id, known.attempts));
        }
        None
    }

    /// When the next one can begin, or may hold up others no longer, if there is room for one.
    pub fn next_due(&self, width: usize) -> Option<Instant> {
        if self.under_way >= width {
            return None;
        }
        let released = self.blocking.first().map(|(until, _)| *until);
        self.order.next_due().into_iter().chain(released).min()
    }

    /// A reply that waits for its next attempt and has failed for so long that it holds up those behind it no longer, and
    /// for how long it was tried. Each is returned once.
    pub fn step_aside(&mut self, now: Instant) -> Option<(ReplyId, Duration)> {
        while self.blocking.first().is_some_and(|(until, _)| *until <= now) {
            let (_, id) = self.blocking.pop_first()?;
            let Some(known) = self.known.get_mut(&id) else { continue };
            known.blocks_until = None;
            if self.order.step_aside(id) {
                return Some((id, known.tried_for(now)));
            }
        }
        None
    }

    /// The attempt that has begun.
    pub fn attempt(&self, id: ReplyId) -> Option<Attempt> {
        self.known.get(&id).map(|known| Attempt {
            number: known.attempts,
            redelivery: known.redelivery,
            is_dropped: known.dropped,
        })
    }

    /// How many attempts of a reply have trapped.
    pub fn traps(&self, id: ReplyId) -> u32 {
        self.known.get(&id).map_or(0, |known| known.traps)
    }

    /// The attempt that has begun is not made.
    pub fn not_made(&mut self, id: ReplyId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.attempts = known.attempts.saturating_sub(1);
        }
    }

    /// An attempt failed.
    pub fn failed(
        &mut self,
        id: ReplyId,
        failed: AttemptFailed,
        policy: &RetryPolicy,
        now: Instant,
        random: f64,
    ) -> Option<AfterFailedAttempt> {
        let known = self.known.get_mut(&id)?;
        known.traps += u32::from(failed.is_trap);
        known.redelivery |= failed.is_uncertain;
        let (traps, tried_for) = (known.traps, known.tried_for(now));
        let failure = FailedReplyAttempt {
            attempt: failed.number,
            traps,
            tried_for,
            retry_after: failed.retry_after,
            is_permanent: failed.is_permanent,
        };
        let next = policy.next(failure, random);
        let blocks = match next {
            AfterFailure::Retry { blocks, .. } => Some(blocks),
            AfterFailure::GiveUp => None,
        };
        known.blocks_until = (blocks == Some(true)).then(|| policy.blocks_until(tried_for, now));
        let stepped_aside = blocks == Some(false) && self.order.step_aside(id);
        Some(AfterFailedAttempt { next, traps, tried_for, stepped_aside })
    }

    /// An attempt has ended and the reply is tried again at `due`. False when nobody wants it any more: then it is over.
    pub fn retry_at(&mut self, id: ReplyId, due: Instant) -> bool {
        let Some(known) = self.known.get_mut(&id).filter(|known| !known.dropped) else { return false };
        if std::mem::take(&mut known.under_way) {
            self.under_way -= 1;
        }
        self.blocking.extend(known.blocks_until.map(|until| (until, id)));
        self.order.requeue(id, due)
    }

    /// Forgets a reply, which may be under way; false when it was not here.
    pub fn finish(&mut self, id: ReplyId) -> bool {
        if let Some(known) = self.known.remove(&id) {
            self.under_way -= usize::from(known.under_way);
            if let Some(until) = known.blocks_until {
                self.blocking.remove(&(until, id));
            }
        }
        self.order.finish(id)
    }

    /// The operator does not want a reply any more. True when it is forgotten at once; one that is under way is dropped when
    /// its attempt has ended, because its conversation must not go on before that.
    pub fn drop(&mut self, id: ReplyId) -> bool {
        match self.known.get_mut(&id) {
            Some(known) if known.under_way => {
                known.dropped = true;
                false
            }
            _ => self.finish(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn failure(attempt: u32) -> FailedReplyAttempt {
        FailedReplyAttempt { attempt, traps: 0, tried_for: SECOND, retry_after: None, is_permanent: false }
    }

    fn retry(seconds: u32) -> AfterFailure {
        AfterFailure::Retry { after: SECOND * seconds, blocks: true }
    }

    #[test]
    fn a_failed_attempt_is_retried_or_becomes_a_dead_letter() {
        let policy = RetryPolicy::default();
        let late = |tried_for| FailedReplyAttempt { tried_for, ..failure(1) };
        let asked =
            |attempt, seconds| FailedReplyAttempt { retry_after: Some(SECOND * seconds), ..failure(attempt) };
        let beside = |seconds| AfterFailure::Retry { after: SECOND * seconds, blocks: false };
        for (case, failure, expected) in [
            ("the first failure", failure(1), retry(1)),
            ("the third failure", failure(3), retry(4)),
            ("a very late failure", failure(30), retry(300)),
            ("upstream asks for a minute", asked(1, 60), retry(60)),
            ("upstream asks for less", asked(3, 1), retry(4)),
            ("two traps", FailedReplyAttempt { traps: 2, ..failure(2) }, retry(2)),
            ("three traps", FailedReplyAttempt { traps: 3, ..failure(3) }, AfterFailure::GiveUp),
            ("just below five minutes", late(SECOND * 300 - Duration::from_millis(1)), retry(1)),
            ("five minutes", late(SECOND * 300), beside(1)),
            ("just within a day", late(DAY - SECOND), beside(1)),
            ("just over a day", late(DAY), AfterFailure::GiveUp),
            ("upstream asks for a day", asked(1, 86_400), retry(86_399)),
            ("upstream asks for two days", asked(1, 2 * 86_400), retry(86_399)),
            (
                "it does so when a day is over",
                FailedReplyAttempt { retry_after: Some(DAY), ..late(DAY) },
                AfterFailure::GiveUp,
            ),
            (
                "refused for good",
                FailedReplyAttempt { is_permanent: true, ..failure(1) },
                AfterFailure::GiveUp,
            ),
        ] {
            assert_eq!(policy.next(failure, 1.0), expected, "{case}");
        }
    }

    fn at(now: Instant) -> Moment {
        Moment { now, ..Moment::now() }
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

    // After a restart with the clock an hour behind, a reply waited an hour and held up its conversation; then still five
    // minutes, where its next attempt had been due in seconds.
    #[test]
    fn a_stored_reply_waits_no_longer_than_between_two_attempts() {
        let policy = RetryPolicy::default();
        let hour = 3_600_000;
        for (case, attempts, since_ms, next_ms, now_ms, wait) in [
            ("never tried, stored while the clock was ahead", 0, 0, 2 * hour, hour, Duration::ZERO),
            ("due", 1, 0, hour, hour, Duration::ZERO),
            ("in two seconds", 2, 0, hour + 2_000, hour, SECOND * 2),
            ("the clock was set back by an hour", 2, 0, 2 * hour, hour, policy.max_backoff),
            ("the same, after the first seconds", 2, 2 * hour - 2_500, 2 * hour, hour, SECOND * 5 / 2),
            ("the clock was set back between two attempts", 2, 2 * hour, hour + 9_000, hour, Duration::ZERO),
        ] {
            assert_eq!(policy.wait_of(&stored(attempts, since_ms, next_ms), now_ms), wait, "{case}");
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
        let mut outbox = Outbox::default();
        outbox.add(&stored(3, 1_000, decades), &policy, at(begin));
        let known = outbox.known.get_mut(&ReplyId(1)).unwrap();
        known.first_tried = Some(begin);
        assert_eq!(known.tried_for(begin + SECOND), policy.max_backoff * 3 + SECOND);
    }

    // "it waits already", said the command, and it waited for an hour.
    #[test]
    fn a_reply_that_waits_is_due_at_once_when_an_operator_sends_it_again() {
        let (policy, now) = (RetryPolicy::default(), Instant::now());
        let mut outbox = Outbox::default();
        let waits = stored(5, 0, u64::MAX);
        assert!(outbox.add(&waits, &policy, at(now)));
        assert_eq!(outbox.order.take_due(now), None);
        assert!(!outbox.add(&stored(0, 0, 0), &policy, at(now)));
        assert_eq!(outbox.order.take_due(now), Some(ReplyId(1)));
        assert_eq!(outbox.known[&ReplyId(1)].attempts, 0);
    }

    #[test]
    fn a_reply_that_an_operator_sends_again_has_all_its_traps_and_all_its_time_again() {
        let (policy, begin) = (RetryPolicy::default(), Instant::now());
        let mut outbox = Outbox::default();
        outbox.add(&PendingReply { traps: 2, ..stored(9, 0, 600_000) }, &policy, at(begin));
        let now = begin + DAY;
        outbox.begin(1, now);
        assert_eq!(outbox.traps(ReplyId(1)), 2);
        outbox.add(&stored(0, 0, 0), &policy, at(now));
        let after = outbox.failed(ReplyId(1), failed(1), &policy, now, 1.0).unwrap();
        assert_eq!((after.traps, after.tried_for), (0, Duration::ZERO));
    }

    #[test]
    fn a_stored_reply_that_had_failed_for_five_minutes_holds_up_nobody() {
        let (policy, now) = (RetryPolicy::default(), Instant::now());
        for (case, attempts, tried_ms, first) in [
            ("never tried", 0, 300_000, 1),
            ("tried once, for five minutes", 1, 300_000, 2),
            ("tried for less", 1, 299_999, 1),
        ] {
            let mut outbox = Outbox::default();
            outbox.add(&stored(attempts, 0, tried_ms), &policy, at(now));
            outbox.add(&reply(2), &policy, at(now));
            // The one that was tried is due again after a wait.
            outbox.order.make_due(ReplyId(1), now + SECOND);
            let begun = outbox.begin(1, now).map_or(1, |(id, _)| id.0);
            assert_eq!(begun, first, "{case}");
        }
    }

    #[test]
    fn a_reply_that_was_never_tried_keeps_its_place_even_when_none_may_hold_up_others() {
        let (policy, now) =
            (RetryPolicy { max_blocking: Duration::ZERO, ..RetryPolicy::default() }, Instant::now());
        let mut outbox = Outbox::default();
        outbox.add(&reply(1), &policy, at(now));
        outbox.add(&reply(2), &policy, at(now));
        assert_eq!(outbox.begin(2, now), Some((ReplyId(1), 1)));
        assert_eq!(outbox.begin(2, now), None, "the second one waits for the first");
    }

    #[test]
    fn an_attempt_that_is_not_made_does_not_count() {
        let (policy, now) = (RetryPolicy::default(), Instant::now());
        let mut outbox = Outbox::default();
        outbox.add(&stored(3, 0, 0), &policy, at(now));
        assert_eq!(outbox.begin(1, now), Some((ReplyId(1), 4)));
        outbox.not_made(ReplyId(1));
        assert!(outbox.retry_at(ReplyId(1), now));
        assert_eq!(outbox.begin(1, now), Some((ReplyId(1), 4)));
    }

    #[test]
    fn traps_are_counted_and_uncertain_replies_stay_uncertain() {
        let (policy, now) = (RetryPolicy::default(), Instant::now());
        let mut outbox = Outbox::default();
        assert_eq!(outbox.traps(ReplyId(1)), 0, "it is not known");
        outbox.add(&stored(0, 0, 0), &policy, at(now));
        for (number, is_trap, is_uncertain, traps, redelivery) in [
            (1, false, false, 0, false),
            (2, true, false, 1, false),
            (3, false, true, 1, true),
            (4, true, false, 2, true),
        ] {
            outbox.begin(1, now);
            let attempt = AttemptFailed { is_trap, is_uncertain, ..failed(number) };
            let after = outbox.failed(ReplyId(1), attempt, &policy, now, 0.0).unwrap();
            assert!(outbox.retry_at(ReplyId(1), now));
            assert_eq!((after.traps, outbox.traps(ReplyId(1))), (traps, traps), "attempt {number}");
            assert_eq!(outbox.attempt(ReplyId(1)).unwrap().redelivery, redelivery, "attempt {number}");
        }
    }

    #[test]
    fn jitter_never_undercuts_what_upstream_asked_for() {
        let failure = FailedReplyAttempt { retry_after: Some(SECOND * 7), ..failure(9) };
        assert_eq!(RetryPolicy::default().next(failure, 0.0), retry(7));
    }

    fn reply(id: u64) -> PendingReply {
        PendingReply { id: ReplyId(id), ..stored(0, 0, 0) }
    }

    fn failed(number: u32) -> AttemptFailed {
        AttemptFailed { number, is_trap: false, is_uncertain: false, retry_after: None, is_permanent: false }
    }

    #[test]
    fn replies_of_one_conversation_are_sent_one_after_the_other() {
        let (now, policy) = (Instant::now(), RetryPolicy::default());
        let mut outbox = Outbox::default();
        assert!(outbox.add(&reply(1), &policy, at(now)) && outbox.add(&reply(2), &policy, at(now)));
        assert!(!outbox.add(&reply(1), &policy, at(now)), "it is here already");
        assert!(outbox.has(ReplyId(1)) && !outbox.has(ReplyId(3)));
        assert_eq!(outbox.begin(4, now), Some((ReplyId(1), 1)));
        assert_eq!((outbox.begin(4, now), outbox.next_due(4)), (None, None));
        let after = outbox.failed(ReplyId(1), failed(1), &policy, now, 1.0).unwrap();
        assert_eq!(after.next, retry(1));
        assert!(outbox.retry_at(ReplyId(1), now + SECOND));
        assert_eq!((outbox.begin(4, now), outbox.next_due(4)), (None, Some(now + SECOND)));
        assert_eq!(outbox.begin(4, now + SECOND), Some((ReplyId(1), 2)));
        assert!(outbox.finish(ReplyId(1)));
        assert_eq!(outbox.begin(1, now + SECOND), Some((ReplyId(2), 1)));
        assert_eq!((outbox.len(), outbox.under_way), (1, 1));
    }

    #[test]
    fn no_more_are_under_way_than_the_lane_is_wide() {
        let (now, policy) = (Instant::now(), RetryPolicy::default());
        let mut outbox = Outbox::default();
        for id in 1..=3 {
            let conversation = id.to_string().into();
            outbox.add(&PendingReply { conversation, ..reply(id) }, &policy, at(now));
        }
        assert!(outbox.begin(2, now).is_some() && outbox.begin(2, now).is_some());
        assert_eq!((outbox.begin(2, now), outbox.next_due(2)), (None, None));
        assert!(outbox.begin(3, now).is_some());
    }

    #[test]
    fn a_reply_that_is_dropped_while_it_is_under_way_goes_when_its_attempt_has_ended() {
        let (now, policy) = (Instant::now(), RetryPolicy::default());
        let mut outbox = Outbox::default();
        outbox.add(&reply(1), &policy, at(now));
        outbox.add(&reply(2), &policy, at(now));
        outbox.begin(4, now);
        assert!(outbox.drop(ReplyId(2)), "it waited");
        assert!(!outbox.drop(ReplyId(1)));
        assert!(outbox.attempt(ReplyId(1)).unwrap().is_dropped);
        assert!(!outbox.retry_at(ReplyId(1), now), "nobody wants it");
        assert!(outbox.finish(ReplyId(1)) && !outbox.finish(ReplyId(1)));
        assert_eq!((outbox.len(), outbox.under_way), (0, 0));
    }

    #[test]
    fn a_reply_steps_aside_when_it_has_failed_for_five_minutes() {
        let (now, policy) = (Instant::now(), RetryPolicy::default());
        let mut outbox = Outbox::default();
        outbox.add(&reply(1), &policy, at(now));
        outbox.add(&reply(2), &policy, at(now));
        outbox.begin(4, now);
        let late = now + SECOND * 300;
        let after = outbox.failed(ReplyId(1), failed(9), &policy, late, 1.0).unwrap();
        assert!(after.stepped_aside && outbox.retry_at(ReplyId(1), late + SECOND));
        assert_eq!(outbox.begin(4, late), Some((ReplyId(2), 1)));
    }

    // A service asked for an hour, and nothing was sent to that conversation for an hour: the end of the five minutes was
    // looked at only when an attempt failed.
    #[test]
    fn a_reply_that_waits_for_its_next_attempt_steps_aside_after_five_minutes() {
        let (now, policy) = (Instant::now(), RetryPolicy::default());
        let mut outbox = Outbox::default();
        outbox.add(&reply(1), &policy, at(now));
        outbox.add(&reply(2), &policy, at(now));
        outbox.begin(4, now);
        let hour = Some(SECOND * 3600);
        let failed = AttemptFailed { retry_after: hour, ..failed(1) };
        assert!(!outbox.failed(ReplyId(1), failed, &policy, now + SECOND, 1.0).unwrap().stepped_aside);
        assert!(outbox.retry_at(ReplyId(1), now + SECOND * 3601));
        let until = now + policy.max_blocking;
        assert_eq!((outbox.step_aside(until - SECOND), outbox.begin(4, until - SECOND)), (None, None));
        assert_eq!(outbox.next_due(4), Some(until));
        assert_eq!(outbox.step_aside(until), Some((ReplyId(1), policy.max_blocking)));
        assert_eq!(outbox.begin(4, until), Some((ReplyId(2), 1)));
        assert_eq!((outbox.step_aside(until), outbox.next_due(4)), (None, Some(now + SECOND * 3601)));
        assert!(outbox.finish(ReplyId(1)) && outbox.finish(ReplyId(2)));
    }

    #[test]
    fn a_stored_reply_that_has_failed_steps_aside_when_its_five_minutes_are_over() {
        let (now, policy) = (Instant::now(), RetryPolicy::default());
        let mut outbox = Outbox::default();
        outbox.add(&stored(1, 0, 100_000), &policy, at(now));
        outbox.add(&reply(2), &policy, at(now));
        outbox.order.make_due(ReplyId(1), now + SECOND * 3600);
        assert_eq!(outbox.next_due(4), Some(now + SECOND * 200));
        assert_eq!(outbox.step_aside(now + SECOND * 200), Some((ReplyId(1), SECOND * 100)));
        assert_eq!(outbox.begin(4, now + SECOND * 200), Some((ReplyId(2), 1)));
    }

    #[test]
    fn a_reply_that_is_under_way_or_over_or_sent_again_by_an_operator_does_not_step_aside() {
        let (now, policy) = (Instant::now(), RetryPolicy::default());
        let late = now + SECOND * 600;
        for case in ["under way", "over", "sent again"] {
            let mut outbox = Outbox::default();
            outbox.add(&stored(1, 0, 0), &policy, at(now));
            match case {
                "under way" => assert_eq!(outbox.begin(1, now), Some((ReplyId(1), 2))),
                "over" => assert!(outbox.finish(ReplyId(1))),
                _ => assert!(!outbox.add(&stored(0, 0, 0), &policy, at(now))),
            }
            assert_eq!(outbox.step_aside(late), None, "{case}");
            assert!(outbox.blocking.is_empty(), "{case}");
        }
    }
}
