//! Guests' timers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::ChannelName;
use crate::event::Wakeup;
use crate::event::callback::{Callback, TimerChange};
use crate::model::deadline::deadline_after;
use crate::store::{Batch, Change, ChannelKey, TimerRecord};

use super::backoff::Backoff;
use super::core::{Router, random};
use super::job::{Job, Purpose};
use crate::event::unix_ms;

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
    payload: Arc<str>,
    /// Tells a timer from another one of the same name that was set later.
    setting: u64,
    failures: u32,
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
        for TimerRecord { name, due_ms, payload } in records {
            self.set(name, due_ms, payload);
        }
    }

    fn set(&mut self, name: Arc<str>, due_ms: u64, payload: Arc<str>) {
        self.last_setting += 1;
        self.set.insert(name, Timer { due_ms, payload, setting: self.last_setting, failures: 0 });
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
            self.scheduler.set(Wakeup::Timer(channel.clone(), name.clone()), instant(timer.due_ms, now_ms));
        }
    }

    /// Applies what a callback wants of its channel's timers.
    pub(super) fn change_timers(&mut self, channel: &ChannelName, changes: &[TimerChange], now_ms: u64) {
        let Some(slot) = self.slots.get_mut(channel) else { return };
        for change in changes {
            match change {
                TimerChange::Set { name, delay, payload } => {
                    let due_ms = now_ms.saturating_add(super::seen::millis(*delay));
                    slot.timers.set(name.clone(), due_ms, payload.clone());
                    self.scheduler.set(Wakeup::Timer(channel.clone(), name.clone()), instant(due_ms, now_ms));
                }
                TimerChange::Cancel { name } => {
                    slot.timers.set.remove(name);
                    self.scheduler.cancel(Wakeup::Timer(channel.clone(), name.clone()));
                }
            }
        }
    }

    /// Sets or cancels a timer for a callback whose effects were stored late.
    pub(super) fn set_owed_timer(
        &mut self,
        channel: &ChannelKey,
        name: &Arc<str>,
        set: Option<(u64, &Arc<str>)>,
    ) {
        let slot = self.slots.iter_mut().find(|(known, _)| known.as_str() == &**channel);
        let Some((channel, slot)) = slot else { return };
        let wakeup = Wakeup::Timer(channel.clone(), name.clone());
        match set {
            Some((due_ms, payload)) => {
                slot.timers.set(name.clone(), due_ms, payload.clone());
                self.scheduler.set(wakeup, instant(due_ms, unix_ms()));
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
            batch.changes.push(Change::CancelTimer { channel: channel.as_str().into(), name: name.clone() });
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
        let gone = Change::CancelTimer { channel: channel.as_str().into(), name: name.clone() };
        self.storage.commit(Batch::of(gone), &self.mailbox);
    }
}

/// When a moment of the wall clock comes, by the clock that only goes forward.
fn instant(due_ms: u64, now_ms: u64) -> Instant {
    let wait = Duration::from_millis(due_ms.saturating_sub(now_ms));
    deadline_after(Instant::now(), wait)
}
