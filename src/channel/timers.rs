//! A channel's timers: what is set, within its limits, and what follows when one fails. Pure decisions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::capability::limits::ChannelLimits;
use crate::event::callback::TimerChange;
use crate::model::backoff::Backoff;
use crate::model::clock::{Moment, remaining};
use crate::model::deadline::deadline_after;
use crate::store::TimerRecord;

/// The waits between tries of an `on-timer` that fails.
const RETRIES: Backoff = Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(900) };

/// Tries of one timer; after the last one it is given up with an error in the log.
pub const MAX_TRIES: u32 = 10;

/// The timers of one channel.
#[derive(Debug, Default)]
pub struct Timers {
    set: HashMap<Arc<str>, Timer>,
    last_setting: u64,
}

#[derive(Debug)]
struct Timer {
    due_ms: u64,
    /// The longest that it waits, whatever the wall clock said when it was set.
    longest: Duration,
    payload: Arc<str>,
    /// Tells a timer from another one of the same name that was set later.
    setting: u64,
    /// Attempts at `on-timer` that failed. A timer that is set again begins with 0.
    failures: u32,
}

/// What a failed `on-timer` leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailedTimer {
    /// It is tried again after this time.
    Retry(Duration),
    /// It has been tried often enough.
    GiveUp,
    /// The timer is another one by now, or gone.
    WasSetAgain,
}

/// What a channel's timers may take.
#[derive(Clone, Copy, Debug)]
struct TimerLimits {
    timers: usize,
    name_bytes: usize,
    payload_bytes: usize,
    delay: Duration,
}

impl TimerLimits {
    fn of(limits: &ChannelLimits) -> Self {
        Self {
            timers: limits.timers,
            name_bytes: limits.timer_name_bytes,
            payload_bytes: limits.timer_payload_bytes,
            delay: limits.timer_delay,
        }
    }

    fn fit(&self, name: &str, delay: Duration, payload: &str) -> bool {
        name.len() <= self.name_bytes && payload.len() <= self.payload_bytes && delay <= self.delay
    }
}

impl Timers {
    /// Those that were stored.
    pub fn load(records: Vec<TimerRecord>) -> Self {
        let mut timers = Self::default();
        for record in records {
            timers.insert(record);
        }
        timers
    }

    /// Sets a timer, or sets it again. Returns when it is due.
    pub fn set(&mut self, record: TimerRecord, at: Moment) -> Instant {
        self.insert(record).instant(at)
    }

    fn insert(&mut self, record: TimerRecord) -> &Timer {
        let TimerRecord { name, set_ms, due_ms, payload } = record;
        self.last_setting += 1;
        let longest = Duration::from_millis(due_ms.saturating_sub(set_ms));
        let timer = Timer { due_ms, longest, payload, setting: self.last_setting, failures: 0 };
        self.set.entry(name).insert_entry(timer).into_mut()
    }

    /// Timers that are due, of those that have not failed yet.
    pub fn due(&self, now_ms: u64) -> Vec<Arc<str>> {
        let due = |timer: &Timer| timer.due_ms <= now_ms && timer.failures == 0;
        self.set.iter().filter(|(_, timer)| due(timer)).map(|(name, _)| name.clone()).collect()
    }

    /// The changes that keep to the limits; those that set a timer too many, or one that is too large, are left out.
    pub fn within(&self, limits: &ChannelLimits, changes: Vec<TimerChange>) -> Vec<TimerChange> {
        if changes.is_empty() {
            return changes;
        }
        self.within_limits(TimerLimits::of(limits), changes)
    }

    fn within_limits(&self, limits: TimerLimits, changes: Vec<TimerChange>) -> Vec<TimerChange> {
        let mut names: HashSet<Arc<str>> = self.set.keys().cloned().collect();
        let mut keeps_to = |change: &TimerChange| match change {
            TimerChange::Cancel { name } => {
                names.remove(name);
                true
            }
            TimerChange::Set { name, delay, payload } => {
                let fits = limits.fit(name, *delay, payload);
                let has_room = names.contains(name) || names.len() < limits.timers;
                if fits && has_room {
                    names.insert(name.clone());
                }
                fits && has_room
            }
        };
        changes.into_iter().filter(|change| keeps_to(change)).collect()
    }

    /// Forgets a timer.
    pub fn cancel(&mut self, name: &str) {
        self.set.remove(name);
    }

    /// When each timer is due.
    pub fn deadlines(&self, at: Moment) -> impl Iterator<Item = (&Arc<str>, Instant)> {
        self.set.iter().map(move |(name, timer)| (name, timer.instant(at)))
    }

    /// The payload of a timer, and which setting of its name it is.
    pub fn get(&self, name: &str) -> Option<(Arc<str>, u64)> {
        self.set.get(name).map(|timer| (timer.payload.clone(), timer.setting))
    }

    /// `on-timer` ended well. True when the timer is gone; one that was set again meanwhile is another one and stays.
    pub fn fired(&mut self, name: &str, setting: u64) -> bool {
        self.is_still(name, setting) && self.set.remove(name).is_some()
    }

    /// `on-timer` failed.
    pub fn failed(&mut self, name: &str, setting: u64, random: f64) -> AfterFailedTimer {
        let timer = self.set.get_mut(name).filter(|timer| timer.setting == setting);
        let Some(timer) = timer else { return AfterFailedTimer::WasSetAgain };
        timer.failures += 1;
        if timer.failures < MAX_TRIES {
            return AfterFailedTimer::Retry(RETRIES.half_jitter(timer.failures, random));
        }
        self.set.remove(name);
        AfterFailedTimer::GiveUp
    }

    fn is_still(&self, name: &str, setting: u64) -> bool {
        self.set.get(name).is_some_and(|timer| timer.setting == setting)
    }
}

impl Timer {
    /// When it is due, by the clock that only goes forward.
    fn instant(&self, at: Moment) -> Instant {
        deadline_after(at.now, remaining(self.due_ms, at.unix_ms, self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A host was restarted with its clock an hour behind: every timer waited for an hour more.
    #[test]
    fn a_timer_waits_no_longer_than_it_was_set_for_whatever_the_clock_says() {
        let hour = 3_600_000;
        for (case, set_ms, now_ms, seconds) in [
            ("restarted half-way", 10 * hour, 10 * hour + 30_000, 30),
            ("the clock was set back by an hour", 10 * hour, 9 * hour, 60),
            ("the clock begins in 1970", 10 * hour, 0, 60),
            ("the clock was set ahead", 10 * hour, 11 * hour, 0),
            ("set by a release that did not say when", 0, 10 * hour, 60),
        ] {
            let mut timers = Timers::default();
            let due_ms = 10 * hour + 60_000;
            timers.insert(TimerRecord { name: "t".into(), set_ms, due_ms, payload: "".into() });
            let at = Moment { unix_ms: now_ms, ..Moment::now() };
            let due: Vec<_> = timers.deadlines(at).map(|(_, due)| due).collect();
            assert_eq!(due, [at.now + Duration::from_secs(seconds)], "{case}");
            assert_eq!(timers.due(now_ms).len(), usize::from(seconds == 0), "{case}");
        }
    }

    const LIMITS: TimerLimits =
        TimerLimits { timers: 2, name_bytes: 4, payload_bytes: 3, delay: Duration::from_secs(10) };

    fn set(name: &str, seconds: u64, payload: &str) -> TimerChange {
        TimerChange::Set { name: name.into(), delay: Duration::from_secs(seconds), payload: payload.into() }
    }

    fn cancel(name: &str) -> TimerChange {
        TimerChange::Cancel { name: name.into() }
    }

    /// Timers were unbounded: a guest that set a new one in each callback filled the memory, the scheduler and the store.
    #[test]
    fn timers_are_kept_up_to_each_limit_and_not_one_past_it() {
        let mut timers = Timers::default();
        timers.insert(TimerRecord { name: "a".into(), set_ms: 0, due_ms: 0, payload: "".into() });
        for (case, changes, kept) in [
            ("the last place", vec![set("b", 1, "")], 1),
            ("one too many", vec![set("b", 1, ""), set("c", 1, "")], 1),
            ("a name that is there", vec![set("b", 1, ""), set("a", 1, "")], 2),
            ("a place made free", vec![cancel("a"), set("b", 1, ""), set("c", 1, "")], 3),
            ("a place made free too late", vec![set("b", 1, ""), set("c", 1, ""), cancel("a")], 2),
            ("one that does not fit takes no place", vec![set("b", 1, "abcd"), set("c", 1, "")], 1),
            ("the longest name", vec![set("name", 1, "")], 1),
            ("a name one byte longer", vec![set("names", 1, "")], 0),
            ("the largest payload", vec![set("b", 1, "abc")], 1),
            ("a payload one byte larger", vec![set("b", 1, "abcd")], 0),
            ("the longest delay", vec![set("b", 10, "")], 1),
            ("a delay one second longer", vec![set("b", 11, "")], 0),
        ] {
            assert_eq!(timers.within_limits(LIMITS, changes).len(), kept, "{case}");
        }
    }

    #[test]
    fn a_timer_is_there_from_when_it_is_loaded_until_it_has_run_or_is_cancelled() {
        let record =
            |name: &str| TimerRecord { name: name.into(), set_ms: 0, due_ms: 5, payload: "p".into() };
        let mut timers = Timers::load(vec![record("a"), record("b")]);
        assert!(timers.due(4).is_empty());
        assert_eq!(timers.due(5).len(), 2, "at its moment");
        let (payload, setting) = timers.get("a").expect("it is set");
        assert_eq!(&*payload, "p");
        assert!(!timers.fired("a", setting + 1), "it was not that one");
        assert!(timers.fired("a", setting) && !timers.fired("a", setting));
        timers.cancel("b");
        assert!(timers.get("b").is_none() && timers.due(5).is_empty());
    }

    #[test]
    fn changes_are_held_against_the_limits_of_the_channel() {
        let mut timers = Timers::default();
        for name in ["a", "b"] {
            timers.insert(TimerRecord { name: name.into(), set_ms: 0, due_ms: 0, payload: "".into() });
        }
        // A name that is there has room, and still has to fit.
        assert_eq!(timers.within_limits(LIMITS, vec![set("a", 1, "abcd")]), []);
        let limits = ChannelLimits { timers: 2, ..ChannelLimits::default() };
        assert_eq!(timers.within(&limits, vec![set("c", 1, ""), set("a", 1, "")]), [set("a", 1, "")]);
        assert_eq!(timers.within(&limits, Vec::new()), []);
    }

    #[test]
    fn a_timer_is_tried_ten_times_and_one_that_was_set_again_is_another_one() {
        let record = || TimerRecord { name: "t".into(), set_ms: 0, due_ms: 0, payload: "".into() };
        let mut timers = Timers::default();
        timers.insert(record());
        let (_, first) = timers.get("t").expect("it is set");
        for _ in 1..MAX_TRIES {
            assert!(matches!(timers.failed("t", first, 1.0), AfterFailedTimer::Retry(_)));
        }
        timers.insert(record());
        assert_eq!(timers.failed("t", first, 1.0), AfterFailedTimer::WasSetAgain);
        assert!(!timers.fired("t", first));
        let (_, second) = timers.get("t").expect("it is set again");
        for _ in 1..MAX_TRIES {
            assert!(matches!(timers.failed("t", second, 1.0), AfterFailedTimer::Retry(_)));
        }
        assert_eq!(timers.failed("t", second, 1.0), AfterFailedTimer::GiveUp);
        assert!(timers.get("t").is_none());
    }
}
