//! Guests' timers: when they come, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::turn::{Action, Turn};
use super::{Channel, ChannelLogKind};
use crate::channel::changes;
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::channel::timers::{AfterFailedTimer, MAX_TRIES};
use crate::event::arrival::Due;
use crate::event::callback::{Callback, TimerChange};
use crate::model::clock::millis;
use crate::store::{Batch, Change, TimerRecord};

/// The wait of a timer that is due while its channel cannot run it.
const NOT_NOW: Duration = Duration::from_secs(5);

impl Channel {
    /// Sets the deadlines of all timers, after a start.
    pub(super) fn schedule_timers(&mut self, turn: &mut Turn<'_>) {
        for (name, due) in self.timers.deadlines(turn.at) {
            turn.set(Due::Timer(name.clone()), due);
        }
    }

    /// Timers whose time has passed meanwhile are due.
    pub(super) fn clock_went_ahead(&mut self, turn: &mut Turn<'_>) {
        for name in self.timers.due(turn.at.unix_ms) {
            if !self.is_timer_under_way(&name) {
                turn.set(Due::Timer(name), turn.at.now);
            }
        }
    }

    /// Whether `on-timer` runs for it, or waits for its turn.
    fn is_timer_under_way(&mut self, name: &Arc<str>) -> bool {
        let is_it = |job: &Job| matches!(&job.purpose, Purpose::Timer { name: known, .. } if known == name);
        self.running.iter().any(|running| is_it(&running.job))
            || self.emission.held().any(|(running, _)| is_it(&running.job))
            || self.lane(LaneKind::Timer).has(is_it)
    }

    /// What a callback wants of its channel's timers, without what is over the channel's limits.
    fn allowed_timers(&mut self, changes: Vec<TimerChange>, turn: &mut Turn<'_>) -> Vec<TimerChange> {
        let wanted = changes.len();
        let allowed = self.timers.within(&self.settings.limits, changes);
        let dropped = wanted - allowed.len();
        if dropped > 0 {
            self.counters.dropped += dropped as u64;
            if let Some(suppressed) = self.may_log(ChannelLogKind::TimersDropped, turn) {
                let name = &self.settings.name;
                let text = format!(
                    "channel {name} set {dropped} timers over a limit (max_timers, max_timer_payload_bytes, \
                     max_timer_name_bytes or max_timer_delay_days): they are dropped{suppressed}"
                );
                turn.log(Level::Warn, text);
            }
        }
        allowed
    }

    /// Applies what a callback wants of its channel's timers.
    pub(super) fn change_timers(
        &mut self,
        changes: Vec<TimerChange>,
        batch: &mut Batch,
        turn: &mut Turn<'_>,
    ) {
        for change in self.allowed_timers(changes, turn) {
            batch.changes.push(changes::timer(&self.settings.name.shared(), &change, turn.at.unix_ms));
            match change {
                TimerChange::Set { name, delay, payload } => {
                    let due_ms = turn.at.unix_ms.saturating_add(millis(delay));
                    let record = TimerRecord { name: name.clone(), set_ms: turn.at.unix_ms, due_ms, payload };
                    let due = self.timers.set(record, turn.at);
                    turn.set(Due::Timer(name), due);
                }
                TimerChange::Cancel { name } => {
                    self.timers.cancel(&name);
                    turn.act(Action::Cancel(Due::Timer(name)));
                }
            }
        }
    }

    /// A timer's time has come.
    pub(super) fn timer_due(&mut self, name: &Arc<str>, turn: &mut Turn<'_>) {
        if self.is_ending {
            return;
        }
        let Some((payload, setting)) = self.timers.get(name) else { return };
        let callback = Callback::Timer { name: name.clone(), payload };
        let job = Job::new(callback, Purpose::Timer { name: name.clone(), setting }, turn.at.now);
        let can_run = self.is_ready() && turn.host.takes_messages();
        if !(can_run && self.enqueue(job, turn).is_ok()) {
            turn.set_after(Due::Timer(name.clone()), NOT_NOW);
        }
    }

    /// `on-timer` ended well: the timer is gone, unless it was set again meanwhile.
    pub(super) fn timer_fired(&mut self, purpose: &Purpose, batch: &mut Batch) {
        if let Purpose::Timer { name, setting } = purpose
            && self.timers.fired(name, *setting)
        {
            batch.changes.push(self.without_timer(name));
        }
    }

    /// `on-timer` failed: it is tried again, a few times.
    pub(super) fn timer_failed(&mut self, name: &Arc<str>, setting: u64, turn: &mut Turn<'_>) {
        match self.timers.failed(name, setting, turn.host.random()) {
            AfterFailedTimer::WasSetAgain => {}
            AfterFailedTimer::Retry(wait) => turn.set_after(Due::Timer(name.clone()), wait),
            AfterFailedTimer::GiveUp => {
                if let Some(suppressed) = self.may_log(ChannelLogKind::TimerGivenUp, turn) {
                    let channel = &self.settings.name;
                    let text = format!(
                        "channel {channel}: timer {name:?} failed {MAX_TRIES} times and is given up{suppressed}"
                    );
                    turn.log(Level::Error, text);
                }
                turn.store(Batch::of(self.without_timer(name)));
            }
        }
    }

    fn without_timer(&self, name: &Arc<str>) -> Change {
        Change::CancelTimer { channel: self.settings.name.shared(), name: name.clone() }
    }
}
