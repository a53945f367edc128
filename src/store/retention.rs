//! How long completed records are kept: numbers and decisions.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use serde::Deserialize;

use crate::model::{bounded, clock};

/// What pruning keeps of what is completed. Pending messages and replies are never forgotten.
/// Deserialises from the fields of `[retention]` in `tinclaw.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// How long acknowledged and dropped messages, and delivered and dropped replies are kept: default 7 days.
    #[serde(rename = "completed_days", deserialize_with = "bounded::days::<_, 0, 36500>")]
    pub completed: Duration,
    /// How long dead letters, messages and replies, are kept: default 30 days.
    #[serde(rename = "dead_letter_days", deserialize_with = "bounded::days::<_, 0, 36500>")]
    pub dead: Duration,
    /// How many completed messages are kept, and how many completed replies (dead ones included): default 10,000 each.
    pub max_completed: u64,
    /// How many bytes of completed messages are kept, attachments included, and how many of completed replies: default
    /// 256 MiB each.
    #[serde(rename = "max_completed_mb", deserialize_with = "bounded::megabytes::<_, 0, 1048576>")]
    pub max_completed_bytes: u64,
    /// How many dedupe keys are kept for each channel: default 10,000.
    pub max_dedupe_keys: u64,
    /// How many of them are kept for each channel although they have expired: 1,000. The clock may be ahead, and be put right later.
    #[serde(skip)]
    pub max_expired_dedupe_keys: u64,
    /// How long an agent remembers a conversation in which nothing is said: default 30 days. At most 10,000 conversations and
    /// 256 MiB of them are remembered.
    #[serde(rename = "history_days", deserialize_with = "bounded::days::<_, 0, 36500>")]
    pub history: Duration,
}

/// How many dedupe keys of a channel are kept although they have expired.
const MAX_EXPIRED_KEYS: u64 = 1000;
/// How many conversations an agent remembers.
const MAX_TRANSCRIPTS: u64 = 10_000;
/// How many bytes of them.
const MAX_TRANSCRIPT_BYTES: u64 = 256 << 20;

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            completed: 7 * DAY,
            dead: 30 * DAY,
            max_completed: 10_000,
            max_completed_bytes: 256 << 20,
            max_dedupe_keys: 10_000,
            max_expired_dedupe_keys: MAX_EXPIRED_KEYS,
            history: 30 * DAY,
        }
    }
}

impl Retention {
    /// What a store in memory keeps: enough to look at what was completed last.
    pub(super) fn in_memory(&self) -> Self {
        Self {
            max_completed: self.max_completed.min(256),
            max_completed_bytes: self.max_completed_bytes.min(1 << 20),
            ..self.clone()
        }
    }

    /// The same rules for what an agent remembers of conversations.
    pub(super) fn of_transcripts(&self) -> Self {
        Self {
            completed: self.history,
            max_completed: MAX_TRANSCRIPTS,
            max_completed_bytes: MAX_TRANSCRIPT_BYTES,
            ..self.clone()
        }
    }

    /// What is kept when the disk is full: nothing that is completed but dead letters.
    pub(super) fn without_completed(&self) -> Self {
        Self { completed: Duration::ZERO, max_expired_dedupe_keys: 0, ..self.clone() }
    }
}

/// Which dedupe keys are kept: asked for each, the newest first.
pub(super) struct KeptKeys<C> {
    max: u64,
    max_expired: u64,
    /// How many are kept of each channel, and how many of them have expired.
    kept: HashMap<C, (u64, u64)>,
}

impl<C: Eq + Hash> KeptKeys<C> {
    /// Those that the store keeps.
    pub(super) fn stored(retention: &Retention) -> Self {
        let (max, max_expired) = (retention.max_dedupe_keys, retention.max_expired_dedupe_keys);
        Self { max, max_expired, kept: HashMap::new() }
    }

    /// Those that a host takes from the store when it starts.
    pub(super) fn loaded() -> Self {
        Self { max: u64::MAX, max_expired: MAX_EXPIRED_KEYS, kept: HashMap::new() }
    }

    /// Whether the next older key of a channel is kept.
    pub(super) fn keeps(&mut self, channel: C, has_expired: bool) -> bool {
        let (all, expired) = self.kept.entry(channel).or_default();
        if *all >= self.max || (has_expired && *expired >= self.max_expired) {
            return false;
        }
        *all += 1;
        *expired += u64::from(has_expired);
        true
    }
}

/// What one round of pruning forgot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneStats {
    /// Messages.
    pub messages: u64,
    /// Replies.
    pub replies: u64,
    /// Dedupe keys.
    pub dedupe_keys: u64,
    /// Expired pairing requests.
    pub pairing: u64,
    /// Conversations of an agent.
    pub transcripts: u64,
    /// Steps of traces.
    pub steps: u64,
    /// Whether there is more to forget; call again.
    pub more: bool,
}

#[cfg(feature = "sqlite")]
impl PruneStats {
    /// Whether nothing is forgotten.
    pub(super) fn is_empty(&self) -> bool {
        let records =
            [self.messages, self.replies, self.dedupe_keys, self.pairing, self.transcripts, self.steps];
        records.iter().all(|count| *count == 0)
    }
}

/// Most records of a kind that one round of pruning forgets, so that commits do not wait long for it.
pub(super) const ROUND: usize = 2000;

/// How many of the oldest steps of traces, with these times and `count` of them in all, are to be forgotten: at most [`ROUND`],
/// and whether there are more.
pub(super) fn forgotten_steps(
    oldest: impl Iterator<Item = u64>,
    count: u64,
    max: u64,
    retention: &Retention,
    now_ms: u64,
) -> (usize, bool) {
    let keep_ms = clock::millis(retention.completed);
    let beyond = count.saturating_sub(max);
    let is_over = |(place, at_ms): &(usize, u64)| {
        (*place as u64) < beyond || keep_ms == 0 || age(*at_ms, now_ms) > keep_ms
    };
    let over = oldest.enumerate().take_while(is_over).take(ROUND + 1).count();
    (over.min(ROUND), over > ROUND)
}

/// A record that may be forgotten.
#[derive(Clone, Copy, Debug)]
pub(super) struct CompletedRecord {
    pub(super) id: u64,
    pub(super) changed_ms: u64,
    pub(super) bytes: u64,
    /// A dead letter, which is kept longer.
    pub(super) dead: bool,
}

/// Chooses from the completed records, newest first, those to be forgotten: too old, beyond the count, or beyond the bytes.
/// Oldest first, at most [`ROUND`], and whether there are more.
pub(super) fn choose(
    newest_first: Vec<CompletedRecord>,
    retention: &Retention,
    now_ms: u64,
) -> (Vec<u64>, bool) {
    let (mut count, mut bytes) = (0_u64, 0_u64);
    let mut chosen = Vec::new();
    for record in newest_first {
        let keep_ms = clock::millis(if record.dead { retention.dead } else { retention.completed });
        let too_old = keep_ms == 0 || age(record.changed_ms, now_ms) > keep_ms;
        let beyond = count >= retention.max_completed
            || bytes.saturating_add(record.bytes) > retention.max_completed_bytes;
        if too_old || beyond {
            chosen.push(record.id);
        } else {
            count += 1;
            bytes += record.bytes;
        }
    }
    let more = chosen.len() > ROUND;
    chosen.reverse();
    chosen.truncate(ROUND);
    (chosen, more)
}

/// How old a record is. One that was stamped before the host knew the time is of an unknown age, which counts as none: it
/// goes when newer ones take its place.
fn age(changed_ms: u64, now_ms: u64) -> u64 {
    let unknown = clock::implausible(changed_ms).is_some() && clock::implausible(now_ms).is_none();
    if unknown { 0 } else { now_ms.saturating_sub(changed_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(id: u64, changed_ms: u64, bytes: u64, dead: bool) -> CompletedRecord {
        CompletedRecord { id, changed_ms, bytes, dead }
    }

    #[test]
    fn ten_thousand_conversations_are_remembered_and_not_one_more() {
        let retention = Retention { max_completed: 1, ..Retention::default() }.of_transcripts();
        let forgotten = |count: u64, bytes: u64| {
            let newest_first = (1..=count).rev().map(|id| completed(id, 1_000, bytes, false));
            choose(newest_first.collect(), &retention, 1_000).0
        };
        assert_eq!(forgotten(10_000, 1), [0; 0]);
        assert_eq!(forgotten(10_001, 1), [1]);
        assert_eq!(forgotten(2, 128 << 20), [0; 0]);
        assert_eq!(forgotten(2, (128 << 20) + 1), [1]);
        let month_ms = 30 * 24 * 60 * 60 * 1_000;
        let at = |now_ms| choose(vec![completed(1, 0, 1, false)], &retention, now_ms).0;
        assert_eq!((at(month_ms), at(month_ms + 1)), (vec![], vec![1]));
    }

    #[test]
    fn forgets_by_age_count_and_bytes() {
        let retention = Retention {
            completed: Duration::from_millis(100),
            dead: Duration::from_millis(200),
            max_completed: 3,
            max_completed_bytes: 50,
            max_dedupe_keys: 1,
            ..Retention::default()
        };
        let rows: [(&str, Vec<CompletedRecord>, Vec<u64>); 7] = [
            ("nothing", vec![], vec![]),
            ("exactly as old as kept", vec![completed(1, 900, 1, false)], vec![]),
            ("one millisecond older", vec![completed(1, 899, 1, false)], vec![1]),
            ("a dead letter at its age", vec![completed(1, 800, 1, true)], vec![]),
            ("a dead letter past its age", vec![completed(1, 799, 1, true)], vec![1]),
            (
                "one beyond the count",
                (1..=4).rev().map(|id| completed(id, 1000, 1, false)).collect(),
                vec![1],
            ),
            (
                "bytes at the limit and past it",
                vec![completed(2, 1000, 50, false), completed(1, 1000, 1, false)],
                vec![1],
            ),
        ];
        for (name, records, expected) in rows {
            assert_eq!(choose(records, &retention, 1000), (expected, false), "{name}");
        }
    }

    // A board boots in 1970. When it heard of the year, every dead letter of the last minutes was 56 years old.
    #[test]
    fn records_from_before_the_clock_was_set_are_not_pruned() {
        let (then, now) = (90_000, 1_800_000_000_000);
        let day = 86_400_000;
        for (case, changed_ms, now_ms, is_forgotten) in [
            ("stamped in 1970, seen today", then, now, false),
            ("stamped in 1970, seen in 1970", then, then + 8 * day, true),
            ("stamped today", now, now + 8 * day, true),
        ] {
            let (ids, _) = choose(vec![completed(1, changed_ms, 1, false)], &Retention::default(), now_ms);
            assert_eq!(!ids.is_empty(), is_forgotten, "{case}");
        }
    }

    #[test]
    fn steps_of_traces_are_forgotten_by_age_and_count_oldest_first() {
        let retention = Retention { completed: Duration::from_millis(100), ..Retention::default() };
        let none = Retention { completed: Duration::ZERO, ..Retention::default() };
        for (case, times, max, retention, expected) in [
            ("none", vec![], 3, &retention, 0),
            ("as many as may be, as old as may be", vec![900, 900, 900], 3, &retention, 0),
            ("one more", vec![900, 900, 900, 900], 3, &retention, 1),
            ("one is too old", vec![899, 900], 3, &retention, 1),
            ("behind a clock that was ahead", vec![5_000, 1], 3, &retention, 0),
            ("the disk is full", vec![1_000, 1_000], 3, &none, 2),
        ] {
            let count = times.len() as u64;
            let found = forgotten_steps(times.into_iter(), count, max, retention, 1_000);
            assert_eq!(found, (expected, false), "{case}");
        }
        let many = vec![1; ROUND + 1];
        assert_eq!(forgotten_steps(many.into_iter(), ROUND as u64 + 1, 0, &retention, 1), (ROUND, true));
    }

    #[test]
    fn a_clock_that_was_set_back_forgets_nothing() {
        assert_eq!(choose(vec![completed(1, 5_000, 1, false)], &Retention::default(), 0), (vec![], false));
    }

    #[test]
    fn a_round_is_bounded_and_begins_with_the_oldest() {
        let records = |count: u64| (1..=count).rev().map(|id| completed(id, 0, 1, false)).collect();
        let now = clock::millis(Retention::default().completed) + 1;
        let (ids, more) = choose(records(ROUND as u64), &Retention::default(), now);
        assert_eq!((ids.len(), more), (ROUND, false));
        let (ids, more) = choose(records(ROUND as u64 + 1), &Retention::default(), now);
        assert_eq!((ids.first(), ids.len(), more), (Some(&1), ROUND, true));
    }
}
