//! Polls: one at a time, late ticks skipped, slower while they fail.

use std::time::{Duration, Instant};

use crate::channel::ChannelName;
use crate::event::Wakeup;
use crate::event::callback::Callback;
use crate::model::deadline::deadline_after;
use crate::store::{Batch, Change};

use super::backoff::Backoff;
use super::core::{Router, random};
use super::job::{Job, Purpose};
use super::lane::LaneKind;
use super::slot::PollState;
use crate::model::clock::{millis, unix_ms};

/// The longest wait between polls that fail.
const LONGEST_RETRY: Duration = Duration::from_secs(15 * 60);

/// A poll that changed nothing is put on record when the last record is this old: a record for each would wear out
/// the flash memory of a small machine, and a restart that polls a few minutes early does no harm.
const RECORD_EVERY: Duration = Duration::from_secs(300);

impl Router {
    /// Sets the time of the next poll, after a start, a pause or an outage.
    pub(super) fn schedule_poll(&mut self, channel: &ChannelName) {
        let Some(slot) = self.slots.get_mut(channel) else { return };
        if let Some(wait) = first_wait(&slot.poll, unix_ms()) {
            self.scheduler.set(Wakeup::Poll(channel.clone()), deadline_after(Instant::now(), wait));
        }
    }

    /// It is time to poll. The next time is set at once, so that polls keep their rhythm; a poll that is still running
    /// or waiting then makes this one skip.
    pub(super) fn poll_due(&mut self, channel: &ChannelName) {
        if self.stopping.is_some() {
            return;
        }
        let takes_messages = self.storage.works() && !self.mailbox.is_full();
        let is_ready = self.is_ready(channel);
        let Some(slot) = self.slots.get_mut(channel) else { return };
        let Some(interval) = slot.poll.interval else { return };
        let next = deadline_after(Instant::now(), interval);
        let is_free = slot.held.is_empty()
            && !slot.lane(LaneKind::Poll).has(|job| matches!(job.purpose, Purpose::Poll));
        self.scheduler.set(Wakeup::Poll(channel.clone()), next);
        if is_ready && is_free && takes_messages && !self.is_polling(channel) {
            // When the lane is full of timers the poll is skipped like any late tick.
            let _ = self.enqueue(channel, Job::new(Callback::Poll, Purpose::Poll));
        }
    }

    fn is_polling(&self, channel: &ChannelName) -> bool {
        self.running
            .values()
            .any(|running| running.channel == *channel && matches!(running.job.purpose, Purpose::Poll))
    }

    /// A poll ended well.
    pub(super) fn polled(&mut self, channel: &ChannelName, mut batch: Batch) {
        let Some(slot) = self.slots.get_mut(channel) else { return };
        slot.poll.failures = 0;
        let now_ms = unix_ms();
        if !batch.changes.is_empty() || is_worth_a_record(slot.poll.last_ms, now_ms) {
            slot.poll.last_ms = Some(now_ms);
            batch.changes.push(Change::PollRan { channel: channel.as_str().into(), at_ms: now_ms });
        }
        self.storage.commit(batch, &self.mailbox);
    }

    /// A poll failed: the next one comes later, and not at the same moment as everybody else's.
    pub(super) fn poll_failed(&mut self, channel: &ChannelName) {
        let Some(slot) = self.slots.get_mut(channel) else { return };
        slot.poll.failures = slot.poll.failures.saturating_add(1);
        if let Some(wait) = retry_wait(&slot.poll, random()) {
            self.scheduler.set(Wakeup::Poll(channel.clone()), deadline_after(Instant::now(), wait));
        }
    }
}

fn is_worth_a_record(last_ms: Option<u64>, now_ms: u64) -> bool {
    last_ms.is_none_or(|last| now_ms.abs_diff(last) >= millis(RECORD_EVERY))
}

/// The wait until the first poll: at once for a channel that never polled, else what is left of its interval. A clock
/// that was set back does not make anybody wait longer than one interval.
fn first_wait(poll: &PollState, now_ms: u64) -> Option<Duration> {
    let interval = poll.interval?;
    let Some(last_ms) = poll.last_ms else { return Some(Duration::ZERO) };
    let since = now_ms.checked_sub(last_ms).map(Duration::from_millis);
    Some(since.map_or(interval, |since| interval.saturating_sub(since)))
}

/// The wait after a failure: never shorter than the interval.
fn retry_wait(poll: &PollState, random: f64) -> Option<Duration> {
    let interval = poll.interval?;
    let backoff = Backoff { first: interval, most: LONGEST_RETRY.max(interval) };
    Some(interval.max(backoff.half_jitter(poll.failures.saturating_add(1), random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(last_ms: Option<u64>, failures: u32) -> PollState {
        PollState { interval: Some(Duration::from_secs(30)), failures, last_ms }
    }

    #[test]
    fn the_first_poll_waits_for_what_is_left_of_the_interval() {
        for (last_ms, seconds, case) in [
            (None, 0, "never polled"),
            (Some(90_000), 20, "polled 10 s ago"),
            (Some(0), 0, "polled long ago"),
            (Some(100_000), 30, "polled just now"),
            (Some(900_000), 30, "the clock was set back"),
        ] {
            assert_eq!(first_wait(&poll(last_ms, 0), 100_000), Some(Duration::from_secs(seconds)), "{case}");
        }
    }

    #[test]
    fn a_poll_that_fails_comes_later_each_time_but_never_earlier_than_usual() {
        let secs = Duration::from_secs;
        for (failures, random, expected) in [
            (1, 0.0, secs(30)),
            (1, 1.0, secs(60)),
            (3, 1.0, secs(240)),
            (40, 1.0, secs(900)),
            (40, 0.0, secs(450)),
        ] {
            assert_eq!(retry_wait(&poll(None, failures), random), Some(expected), "{failures} failures");
        }
    }

    #[test]
    fn an_uneventful_poll_is_recorded_every_five_minutes() {
        assert!(is_worth_a_record(None, 0));
        assert!(!is_worth_a_record(Some(0), 299_999));
        assert!(is_worth_a_record(Some(0), 300_000));
        assert!(is_worth_a_record(Some(u64::MAX), 0), "the clock was set back");
    }
}
