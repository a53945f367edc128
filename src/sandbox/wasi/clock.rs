//! The two clocks.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use crate::model::deadline::deadline_after;

/// What both clocks say they can tell apart, in nanoseconds.
pub(super) const RESOLUTION_NANOS: u64 = 1_000;

/// Nanoseconds of the monotonic clock, which begins when it is first asked.
pub(in crate::sandbox) fn monotonic_nanos() -> u64 {
    // Within the process the clock never goes back, also not from one instance to the next.
    nanos(Instant::now().saturating_duration_since(beginning()))
}

/// The moment at which the monotonic clock shows `nanos`.
pub(super) fn instant_at(nanos: u64) -> Instant {
    deadline_after(beginning(), Duration::from_nanos(nanos))
}

/// Time since the Unix epoch; a clock that is set before it shows the epoch.
pub(in crate::sandbox) fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// As 64 bits of nanoseconds, which last until the year 2554.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn beginning() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    *BEGINNING.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_and_its_instants_agree() {
        let before = Instant::now();
        let at = instant_at(monotonic_nanos());
        assert!(at >= before && at <= Instant::now());
    }

    #[test]
    fn far_away_times_are_handled_without_a_panic() {
        let _ = instant_at(u64::MAX);
        assert_eq!(nanos(Duration::MAX), u64::MAX);
    }
}
