//! Guests' timers: when they come, and what becomes of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::ChannelName;
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::channel::state::LogKind;
use crate::channel::timers::{AfterFailure, MAX_TRIES};
use crate::event::Wakeup;
use crate::event::callback::{Callback, TimerChange};
use crate::model::clock::{millis, unix_ms};
use crate::model::deadline::deadline_after;
use crate::store::{Batch, Change, TimerRecord};

use super::core::{Router, random};

/// The wait of a timer that is due while its channel cannot run it.
const NOT_NOW: Duration = Duration::from_secs(5);

impl Router {
    /// Sets the deadlines of all of a channel's timers, after a start or an outage.
    pub(super) fn schedule_timers(&mut self, channel: &ChannelName) {
        let Some(slot) = self.channels.get(channel) else { return };
        let now_ms = unix_ms();
        for (name, due) in slot.timers.deadlines(now_ms) {
            self.scheduler.set(Wakeup::Timer(channel.clone(), name.clone()), due);
        }
    }

    /// The wall clock was set ahead, or the machine slept: timers whose time has passed are due.
    pub(super) fn clock_went_ahead(&mut self) {
        let now_ms = unix_ms();
        let due: Vec<_> = self
            .channels
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
        let runs = self
            .running
            .values()
            .any(|running| running.channel == *channel && !running.is_removed && is_it(&running.job));
        runs || self.channels.get_mut(channel).is_some_and(|slot| {
            slot.emission.held().any(|(running, _)| is_it(&running.job))
                || slot.lane(LaneKind::Timer).has(is_it)
        })
    }

    /// What a callback wants of its channel's timers, without what is over the channel's limits.
    pub(super) fn allowed_timers(
        &mut self,
        channel: &ChannelName,
        changes: Vec<TimerChange>,
    ) -> Vec<TimerChange> {
        let Some(slot) = self.channels.get_mut(channel) else { return Vec::new() };
        let wanted = changes.len();
        let allowed = slot.timers.within(&slot.setup.limits, changes);
        let dropped = wanted - allowed.len();
        if dropped > 0 {
            slot.counters.dropped += dropped as u64;
            if let Some(suppressed) = slot.may_log(LogKind::TimersDropped) {
                log::warn!(
                    target: channel.as_str(),
                    "channel {channel} set {dropped} timers over a limit (max_timers, max_timer_payload_bytes, \
                     max_timer_name_bytes or max_timer_delay_days): they are dropped{suppressed}"
                );
            }
        }
        allowed
    }

    /// Applies what a callback wants of its channel's timers.
    pub(super) fn change_timers(&mut self, channel: &ChannelName, changes: &[TimerChange], now_ms: u64) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        for change in changes {
            match change {
                TimerChange::Set { name, delay, payload } => {
                    let record = TimerRecord {
                        name: name.clone(),
                        set_ms: now_ms,
                        due_ms: now_ms.saturating_add(millis(*delay)),
                        payload: payload.clone(),
                    };
                    let at = slot.timers.set(record, now_ms);
                    self.scheduler.set(Wakeup::Timer(channel.clone(), name.clone()), at);
                }
                TimerChange::Cancel { name } => {
                    slot.timers.cancel(name);
                    self.scheduler.cancel(Wakeup::Timer(channel.clone(), name.clone()));
                }
            }
        }
    }

    /// A timer's time has come.
    pub(super) fn timer_due(&mut self, channel: &ChannelName, name: &Arc<str>) {
        if self.stopping.is_some() {
            return;
        }
        let can_run = self.is_ready(channel) && self.storage.takes_messages() && !self.mailbox.is_full();
        let Some(slot) = self.channels.get_mut(channel) else { return };
        let Some((payload, setting)) = slot.timers.get(name) else { return };
        let callback = Callback::Timer { name: name.clone(), payload };
        let purpose = Purpose::Timer { name: name.clone(), setting };
        let is_queued = can_run && self.enqueue(channel, Job::new(callback, purpose)).is_ok();
        if !is_queued {
            self.scheduler
                .set(Wakeup::Timer(channel.clone(), name.clone()), deadline_after(Instant::now(), NOT_NOW));
        }
    }

    /// `on-timer` ended well: the timer is gone, unless it was set again meanwhile.
    pub(super) fn fired_timer(&mut self, channel: &ChannelName, purpose: &Purpose, batch: &mut Batch) {
        let Purpose::Timer { name, setting } = purpose else { return };
        let Some(slot) = self.channels.get_mut(channel) else { return };
        if slot.timers.fired(name, *setting) {
            batch.changes.push(Change::CancelTimer { channel: channel.shared(), name: name.clone() });
        }
    }

    /// `on-timer` failed: it is tried again, a few times.
    pub(super) fn timer_failed(&mut self, channel: &ChannelName, name: &Arc<str>, setting: u64) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        match slot.timers.failed(name, setting, random()) {
            AfterFailure::WasSetAgain => {}
            AfterFailure::Retry(wait) => {
                let at = deadline_after(Instant::now(), wait);
                self.scheduler.set(Wakeup::Timer(channel.clone(), name.clone()), at);
            }
            AfterFailure::GiveUp => {
                if let Some(suppressed) = slot.may_log(LogKind::TimerGivenUp) {
                    log::error!(
                        target: channel.as_str(),
                        "channel {channel}: timer {name:?} failed {MAX_TRIES} times and is given up{suppressed}"
                    );
                }
                let gone = Change::CancelTimer { channel: channel.shared(), name: name.clone() };
                self.storage.commit(Batch::of(gone), &self.mailbox);
            }
        }
    }
}
