//! Guests' timers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::{ChannelLimits, ChannelName};
use crate::event::Wakeup;
use crate::event::callback::{Callback, TimerChange};
use crate::model::deadline::deadline_after;
use crate::store::{Batch, Change, ChannelKey, TimerRecord};

use super::backoff::Backoff;
use super::core::{Router, random};
use super::job::{Job, Purpose};
use super::lane::LaneKind;
use crate::model::clock::{millis, remaining, unix_ms};

/// The waits between tries of an `on-timer` that fails.
const RETRIES: Backoff = Backoff { first: Duration::from_secs(5), most: Duration::from_secs(900) };

/// Tries of one timer; after the last one it is given up with an error in the log.
const MOST_TRIES: u32 = 10;

/// The wait of a timer that is due while its channel cannot run it.
const NOT_NOW: Duration = Duration::from_secs(5);

/// The timers of one channel.
#[derive(Debug, Default)]
pub(super) struct Timers {
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
    failures: u32,
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
    pub fn load(records: Vec<TimerRecord>) -> Self {
        let mut timers = Self::default();
        timers.reset_to(records);
        timers
    }

    /// Forgets all and takes these. Settings go on counting: a callback that still runs knows one of those before.
    pub fn reset_to(&mut self, records: Vec<TimerRecord>) {
        self.set.clear();
        for record in records {
            self.set(record);
        }
    }

    fn set(&mut self, record: TimerRecord) {
        let TimerRecord { name, set_ms, due_ms, payload } = record;
        self.last_setting += 1;
        let longest = Duration::from_millis(due_ms.saturating_sub(set_ms));
        self.set.insert(name, Timer { due_ms, longest, payload, setting: self.last_setting, failures: 0 });
    }

    /// Timers that are due, of those that have not failed yet.
    fn due(&self, now_ms: u64) -> Vec<Arc<str>> {
        let due = |timer: &Timer| timer.due_ms <= now_ms && timer.failures == 0;
        self.set.iter().filter(|(_, timer)| due(timer)).map(|(name, _)| name.clone()).collect()
    }

    /// The changes that keep to the limits; those that set a timer too many, or one that is too large, are left out.
    fn within(&self, limits: &TimerLimits, changes: Vec<TimerChange>) -> Vec<TimerChange> {
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

    fn is_still(&self, name: &str, setting: u64) -> bool {
        self.set.get(name).is_some_and(|timer| timer.setting == setting)
    }
}

impl Router {
    /// Sets the deadlines of all of a channel's timers, after a start or an outage.
    pub(super) fn schedule_timers(&mut self, channel: &ChannelName) {
        let Some(slot) = self.slots.get(channel) else { return };
        let now_ms = unix_ms();
        for (name, timer) in &slot.timers.set {
            self.scheduler.set(Wakeup::Timer(channel.clone(), name.clone()), timer.instant(now_ms));
        }
    }

    /// The wall clock was set ahead, or the machine slept: timers whose time has passed are due.
    pub(super) fn clock_went_ahead(&mut self) {
        let now_ms = unix_ms();
        let due: Vec<_> = self
            .slots
            .iter()
            .flat_map(|(channel, slot)| {
                slot.timers.due(now_ms).into_iter().map(|name| (channel.clone(), name))
            })
            .collect();
        for (channel, name) in due {
            if !self.is_timer_under_way(&channel, &name) {
                self.scheduler.set(Wakeup::Timer(channel, name), Instant::now());
            }
        }
    }

    /// Whether `on-timer` runs for it, or waits for its turn.
    fn is_timer_under_way(&mut self, channel: &ChannelName, name: &Arc<str>) -> bool {
        let is_it = |job: &Job| matches!(&job.purpose, Purpose::Timer { name: known, .. } if known == name);
        let runs = self.running.values().any(|running| running.channel == *channel && is_it(&running.job));
        runs || self.slots.get_mut(channel).is_some_and(|slot| {
            slot.held.iter().any(|(running, _)| is_it(&running.job)) || slot.lane(LaneKind::Timer).has(is_it)
        })
    }

    /// What a callback wants of its channel's timers, without what is over the channel's limits.
    pub(super) fn allowed_timers(
        &mut self,
        channel: &ChannelName,
        changes: Vec<TimerChange>,
    ) -> Vec<TimerChange> {
        if changes.is_empty() {
            return changes;
        }
        let Some(slot) = self.slots.get_mut(channel) else { return Vec::new() };
        let wanted = changes.len();
        let allowed = slot.timers.within(&TimerLimits::of(&slot.setup.limits), changes);
        let dropped = wanted - allowed.len();
        if dropped > 0 {
            slot.counters.dropped += dropped as u64;
            log::warn!(
                target: channel.as_str(),
                "channel {channel} set {dropped} timers over a limit (max_timers, max_timer_payload_bytes, \
                 max_timer_name_bytes or max_timer_delay_days): they are dropped"
            );
        }
        allowed
    }

    /// Applies what a callback wants of its channel's timers.
    pub(super) fn change_timers(&mut self, channel: &ChannelName, changes: &[TimerChange], now_ms: u64) {
        let Some(slot) = self.slots.get_mut(channel) else { return };
        for change in changes {
            match change {
                TimerChange::Set { name, delay, payload } => {
                    slot.timers.set(TimerRecord {
                        name: name.clone(),
                        set_ms: now_ms,
                        due_ms: now_ms.saturating_add(millis(*delay)),
                        payload: payload.clone(),
                    });
                    let at = deadline_after(Instant::now(), *delay);
                    self.scheduler.set(Wakeup::Timer(channel.clone(), name.clone()), at);
                }
                TimerChange::Cancel { name } => {
                    slot.timers.set.remove(name);
                    self.scheduler.cancel(Wakeup::Timer(channel.clone(), name.clone()));
                }
            }
        }
    }

    /// Sets or cancels a timer for a callback whose effects were stored late.
    pub(super) fn set_owed_timer(&mut self, channel: &ChannelKey, name: &Arc<str>, set: Option<TimerRecord>) {
        let Some(slot) = self.slots.get_mut(&**channel) else { return };
        let channel = slot.setup.name.clone();
        let wakeup = Wakeup::Timer(channel.clone(), name.clone());
        match set {
            Some(record) => {
                slot.timers.set(record);
                if let Some(timer) = slot.timers.set.get(name) {
                    self.scheduler.set(wakeup, timer.instant(unix_ms()));
                }
            }
            None => {
                slot.timers.set.remove(name);
                self.scheduler.cancel(wakeup);
            }
        }
    }

    /// A timer's time has come.
    pub(super) fn timer_due(&mut self, channel: &ChannelName, name: &Arc<str>) {
        if self.stopping.is_some() {
            return;
        }
        let can_run = self.is_ready(channel) && self.storage.works() && !self.mailbox.is_full();
        let Some(slot) = self.slots.get_mut(channel) else { return };
        let Some(timer) = slot.timers.set.get(name) else { return };
        let callback = Callback::Timer { name: name.clone(), payload: timer.payload.clone() };
        let purpose = Purpose::Timer { name: name.clone(), setting: timer.setting };
        let is_queued = can_run && self.enqueue(channel, Job::new(callback, purpose)).is_ok();
        if !is_queued {
            self.scheduler
                .set(Wakeup::Timer(channel.clone(), name.clone()), deadline_after(Instant::now(), NOT_NOW));
        }
    }

    /// `on-timer` ended well: the timer is gone, unless it was set again meanwhile.
    pub(super) fn fired_timer(&mut self, channel: &ChannelName, purpose: &Purpose, batch: &mut Batch) {
        let Purpose::Timer { name, setting } = purpose else { return };
        let Some(slot) = self.slots.get_mut(channel) else { return };
        if slot.timers.is_still(name, *setting) {
            slot.timers.set.remove(name);
            batch.changes.push(Change::CancelTimer { channel: channel.shared(), name: name.clone() });
        }
    }

    /// `on-timer` failed: it is tried again, a few times.
    pub(super) fn timer_failed(&mut self, channel: &ChannelName, name: &Arc<str>, setting: u64) {
        let Some(slot) = self.slots.get_mut(channel) else { return };
        if !slot.timers.is_still(name, setting) {
            return;
        }
        let Some(timer) = slot.timers.set.get_mut(name) else { return };
        timer.failures += 1;
        if timer.failures < MOST_TRIES {
            let wait = RETRIES.half_jitter(timer.failures, random());
            self.scheduler
                .set(Wakeup::Timer(channel.clone(), name.clone()), deadline_after(Instant::now(), wait));
            return;
        }
        log::error!(target: channel.as_str(), "timer {name:?} failed {MOST_TRIES} times and is given up");
        slot.timers.set.remove(name);
        let gone = Change::CancelTimer { channel: channel.shared(), name: name.clone() };
        self.storage.commit(Batch::of(gone), &self.mailbox);
    }
}

impl Timer {
    /// When it is due, by the clock that only goes forward.
    fn instant(&self, now_ms: u64) -> Instant {
        deadline_after(Instant::now(), remaining(self.due_ms, now_ms, self.longest))
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
            timers.set(TimerRecord { name: "t".into(), set_ms, due_ms, payload: "".into() });
            let timer = &timers.set["t"];
            assert_eq!(remaining(timer.due_ms, now_ms, timer.longest).as_secs(), seconds, "{case}");
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
        timers.set(TimerRecord { name: "a".into(), set_ms: 0, due_ms: 0, payload: "".into() });
        for (case, changes, kept) in [
            ("the last place", vec![set("b", 1, "")], 1),
            ("one too many", vec![set("b", 1, ""), set("c", 1, "")], 1),
            ("a name that is there", vec![set("b", 1, ""), set("a", 1, "")], 2),
            ("a place made free", vec![cancel("a"), set("b", 1, ""), set("c", 1, "")], 3),
            ("a place made free too late", vec![set("b", 1, ""), set("c", 1, ""), cancel("a")], 2),
            ("the longest name", vec![set("name", 1, "")], 1),
            ("a name one byte longer", vec![set("names", 1, "")], 0),
            ("the largest payload", vec![set("b", 1, "abc")], 1),
            ("a payload one byte larger", vec![set("b", 1, "abcd")], 0),
            ("the longest delay", vec![set("b", 10, "")], 1),
            ("a delay one second longer", vec![set("b", 11, "")], 0),
        ] {
            assert_eq!(timers.within(&LIMITS, changes).len(), kept, "{case}");
        }
    }
}
