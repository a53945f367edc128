//! When a channel is polled next: pure decisions.

use std::time::Duration;

use crate::model::backoff::Backoff;

/// The longest wait between polls that fail.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// A poll that took this long has waited for its service to have something (long polling): the next one follows at once,
/// or the channel would be deaf until its next tick.
const LONG_POLL: Duration = Duration::from_secs(10);

/// The wait after a poll that emitted: there may be more to fetch.
const CATCH_UP_WAIT: Duration = Duration::from_secs(1);

/// Polls in a row that follow one that emitted without waiting for the interval. A guest that emits at every poll must not
/// be polled every second for ever.
const MAX_CATCH_UPS: u32 = 20;

/// When a channel polls.
#[derive(Debug, Default)]
pub struct PollState {
    /// How often it polls; none when it does not.
    pub interval: Option<Duration>,
    /// Polls in a row that failed; 0 after one that succeeded.
    failures: u32,
    /// A tick came while the one before was still being worked on.
    pub missed: bool,
    /// Polls in a row that came before their time because the one before had emitted; 0 after any other.
    catch_ups: u32,
}

/// A poll that ended well.
#[derive(Clone, Copy, Debug)]
pub struct Polled {
    /// How long it ran.
    pub took: Duration,
    /// It emitted a message.
    pub emitted: bool,
}

impl PollState {
    /// A poll ended well. Returns the wait until the next one when it comes before the next tick.
    pub fn succeeded(&mut self, polled: Polled) -> Option<Duration> {
        let interval = self.interval?;
        self.failures = 0;
        if std::mem::take(&mut self.missed) || polled.took >= LONG_POLL {
            return Some(Duration::ZERO);
        }
        if !polled.emitted || self.catch_ups >= MAX_CATCH_UPS {
            self.catch_ups = 0;
            return None;
        }
        self.catch_ups += 1;
        Some(CATCH_UP_WAIT.min(interval))
    }

    /// A poll failed. Returns the wait until the next one, which is never shorter than the interval.
    pub fn failed(&mut self, random: f64) -> Option<Duration> {
        let interval = self.interval?;
        (self.missed, self.catch_ups) = (false, 0);
        self.failures = self.failures.saturating_add(1);
        let backoff = Backoff { initial: interval, max: MAX_RETRY_INTERVAL.max(interval) };
        Some(interval.max(backoff.half_jitter(self.failures.saturating_add(1), random)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn every_30_s() -> PollState {
        PollState { interval: Some(SECOND * 30), ..PollState::default() }
    }

    #[test]
    fn the_next_poll_after_one_that_succeeded() {
        for (case, took, emitted, missed, expected) in [
            ("nothing new", SECOND, false, false, None),
            ("a message", SECOND, true, false, Some(SECOND)),
            ("a tick was missed", SECOND, false, true, Some(Duration::ZERO)),
            ("just short of a long poll", LONG_POLL - Duration::from_millis(1), false, false, None),
            ("a long poll", LONG_POLL, false, false, Some(Duration::ZERO)),
            ("a long poll that missed a tick and emitted", SECOND * 35, true, true, Some(Duration::ZERO)),
        ] {
            let mut poll = PollState { missed, ..every_30_s() };
            assert_eq!(poll.succeeded(Polled { took, emitted }), expected, "{case}");
            assert!(!poll.missed, "{case}: a missed tick is made up for once");
        }
    }

    #[test]
    fn a_guest_that_always_emits_is_polled_again_at_once_twenty_times_and_then_waits_for_its_tick() {
        let mut poll = every_30_s();
        let emitted = Polled { took: SECOND, emitted: true };
        for turn in 0..MAX_CATCH_UPS {
            assert!(poll.succeeded(emitted).is_some(), "{turn}");
        }
        assert_eq!(poll.succeeded(emitted), None);
        assert!(poll.succeeded(emitted).is_some(), "after its tick it may catch up again");
    }

    #[test]
    fn a_success_forgets_failures_and_a_failure_forgets_missed_ticks_and_catch_ups() {
        let (quiet, emitted) =
            (Polled { took: SECOND, emitted: false }, Polled { took: SECOND, emitted: true });
        let mut poll = every_30_s();
        for _ in 0..5 {
            let _ = poll.failed(1.0);
        }
        assert_eq!(poll.succeeded(quiet), None);
        assert_eq!(poll.failed(1.0), Some(SECOND * 60), "the first failure again");
        let mut poll = PollState { missed: true, ..every_30_s() };
        poll.failed(0.0);
        assert_eq!(poll.succeeded(quiet), None, "the missed tick was made up for by the failed poll");
        for _ in 0..MAX_CATCH_UPS {
            let _ = poll.succeeded(emitted);
        }
        poll.failed(0.0);
        assert_eq!(poll.succeeded(emitted), Some(SECOND), "the catch-ups are counted from zero");
    }

    #[test]
    fn a_poll_that_fails_comes_later_each_time_but_never_earlier_than_usual() {
        for (failures, random, seconds) in
            [(1, 0.0, 30), (1, 1.0, 60), (3, 1.0, 240), (40, 1.0, 900), (40, 0.0, 450)]
        {
            let mut poll = every_30_s();
            let wait = (0..failures).map(|_| poll.failed(random)).last().flatten();
            assert_eq!(wait, Some(SECOND * seconds), "{failures} failures");
        }
    }
}
