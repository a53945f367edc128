//! How long to wait before something is tried again: pure arithmetic, the randomness comes from outside.

use std::time::Duration;

/// Exponential backoff: `initial`, doubling, never more than `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait after the `failures`-th failure in a row (counted from 1), without jitter.
    pub fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }

    /// Full jitter: anything between nothing and the delay. `random` is in `0.0..1.0`.
    pub fn full_jitter(&self, failures: u32, random: f64) -> Duration {
        self.delay(failures).mul_f64(random.clamp(0.0, 1.0))
    }

    /// Half jitter: at least half of the delay, for work that must not come back at once.
    pub fn half_jitter(&self, failures: u32, random: f64) -> Duration {
        let delay = self.delay(failures);
        delay / 2 + (delay / 2).mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(300) };

    #[test]
    fn the_wait_doubles_until_its_ceiling() {
        for (failures, seconds) in [(0, 1), (1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (u32::MAX, 300)] {
            assert_eq!(BACKOFF.delay(failures), Duration::from_secs(seconds), "{failures} failures");
        }
    }

    #[test]
    fn jitter_stays_between_its_bounds() {
        assert_eq!(BACKOFF.full_jitter(3, 0.0), Duration::ZERO);
        assert_eq!(BACKOFF.full_jitter(3, 1.0), Duration::from_secs(4));
        assert_eq!(BACKOFF.half_jitter(3, 0.0), Duration::from_secs(2));
        assert_eq!(BACKOFF.half_jitter(3, 1.0), Duration::from_secs(4));
    }
}
