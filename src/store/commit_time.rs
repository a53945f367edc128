//! How long durable transactions take.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the classes of times, in milliseconds; one more class has what takes longer.
pub(crate) const BOUNDS_MS: [u64; 11] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000];

/// Counts transactions by their time. Counted up by the store thread, read by any; each number stands for itself.
#[derive(Debug, Default)]
pub(super) struct CommitClock {
    classes: [AtomicU64; BOUNDS_MS.len() + 1],
    total_us: AtomicU64,
    last_us: AtomicU64,
    max_us: AtomicU64,
}

/// Times of transactions since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommitTimes {
    /// Transactions in each class of [`BOUNDS_MS`], the last one without a bound.
    pub(crate) classes: [u64; BOUNDS_MS.len() + 1],
    /// All of them together.
    pub(crate) total: Duration,
    /// The last one.
    pub(crate) last: Duration,
    /// The longest.
    pub(crate) max: Duration,
}

impl CommitClock {
    /// A transaction has become durable.
    pub(super) fn note(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let class = BOUNDS_MS.iter().position(|bound| us <= bound * 1000).unwrap_or(BOUNDS_MS.len());
        self.classes[class].fetch_add(1, Relaxed);
        self.total_us.fetch_add(us, Relaxed);
        self.last_us.store(us, Relaxed);
        self.max_us.fetch_max(us, Relaxed);
    }

    /// The times so far.
    pub(super) fn times(&self) -> CommitTimes {
        let time = |us: &AtomicU64| Duration::from_micros(us.load(Relaxed));
        CommitTimes {
            classes: std::array::from_fn(|class| self.classes[class].load(Relaxed)),
            total: time(&self.total_us),
            last: time(&self.last_us),
            max: time(&self.max_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_class_whose_bound_it_does_not_pass() {
        let clock = CommitClock::default();
        for ms in [1, 2, 3, 6000] {
            clock.note(Duration::from_millis(ms));
        }
        clock.note(Duration::from_micros(1001));
        let times = clock.times();
        assert_eq!(times.classes[..3], [1, 2, 1]);
        assert_eq!(times.classes[BOUNDS_MS.len()], 1);
        assert_eq!((times.last, times.max), (Duration::from_micros(1001), Duration::from_secs(6)));
        assert_eq!(times.total, Duration::from_micros(6_007_001));
    }
}
