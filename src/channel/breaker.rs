//! Pausing a channel that keeps failing: pure decisions.

use std::time::{Duration, Instant};

use crate::model::backoff::Backoff;
use crate::model::deadline::deadline_after;

/// How many callbacks in a row may fail before the channel is paused.
pub const FAILURES_BEFORE_PAUSE: u32 = 5;

/// The first pause, and the longest one.
pub const PAUSES: Backoff = Backoff { initial: Duration::from_secs(30), max: Duration::from_secs(3600) };

/// Counts a channel's failures and says when it is paused.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Callbacks in a row that failed; 0 after one that succeeded.
    failures: u32,
    /// Pauses since a callback last succeeded.
    pauses: u32,
    paused: Option<Pause>,
}

/// A pause of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it is tried again.
    pub until: Instant,
    /// The last failure.
    pub reason: String,
}

impl Breaker {
    /// A callback succeeded: earlier failures no longer count.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A callback failed. Returns the pause when this failure begins one.
    ///
    /// After a pause one try is enough to begin the next, longer one: the channel has not worked since.
    pub fn failed(&mut self, reason: &str, now: Instant) -> Option<&Pause> {
        self.failures = self.failures.saturating_add(1);
        let allowed = if self.pauses == 0 { FAILURES_BEFORE_PAUSE } else { 1 };
        if self.failures < allowed || self.paused.is_some() {
            return None;
        }
        self.pauses += 1;
        let until = deadline_after(now, PAUSES.delay(self.pauses));
        Some(self.paused.insert(Pause { until, reason: reason.to_owned() }))
    }

    /// Ends a pause whose time has come.
    pub fn resume(&mut self, now: Instant) -> bool {
        let over = self.paused.as_ref().is_some_and(|pause| pause.until <= now);
        if over {
            self.paused = None;
        }
        over
    }

    /// The pause that is on.
    pub fn pause(&self) -> Option<&Pause> {
        self.paused.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_failure_in_a_row_pauses_and_the_fourth_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            assert_eq!(breaker.failed("trap", now), None);
        }
        let pause = breaker.failed("trap", now).cloned();
        assert_eq!(pause, Some(Pause { until: now + Duration::from_secs(30), reason: "trap".into() }));
    }

    #[test]
    fn pauses_grow_from_30_seconds_to_an_hour() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker.failed("trap", now);
        }
        for seconds in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
            let until = breaker.failed("trap", now).expect("a pause begins").until;
            assert_eq!(until - now, Duration::from_secs(seconds));
            assert!(!breaker.resume(until - Duration::from_millis(1)));
            assert!(breaker.resume(until));
            now = until;
        }
    }

    #[test]
    fn a_success_resets_the_count() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker.failed("trap", now);
        }
        breaker.succeeded();
        assert_eq!(breaker.failed("trap", now), None);
        assert_eq!(breaker.failures, 1);
    }

    #[test]
    fn failures_of_callbacks_that_were_already_running_do_not_lengthen_the_pause() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            breaker.failed("trap", now);
        }
        let until = breaker.pause().expect("paused").until;
        assert_eq!(breaker.failed("late", now), None);
        assert_eq!(breaker.pause().expect("still paused").until, until);
    }

    #[test]
    fn without_a_pause_there_is_nothing_to_resume() {
        let mut breaker = Breaker::default();
        assert!(!breaker.resume(Instant::now()));
        assert!(breaker.failed("once", Instant::now()).is_none());
        assert!(!breaker.resume(Instant::now()));
    }
}
