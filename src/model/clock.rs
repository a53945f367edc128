//! The two clocks of a host, and how they are used together.
//!
//! The wall clock can be set: a board without a battery boots in 1970, and the network tells it the year a minute later.
//! It names moments to people and to other hosts, and it is all that survives a restart. The monotonic clock only goes
//! forward and counts time that was really spent, but it begins again with each process. So:
//!
//! - what is shown or sent is stamped with [`unix_ms`];
//! - what lasts for a while is measured with [`Instant`], or with [`steady_ms`] where it is stored;
//! - what was stored is never believed beyond what the policy allows: see [`remaining`];
//! - [`ClockWatch`] notices when the wall clock was set.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far the clocks may part before the wall clock counts as set: more than slewing and rounding make of a minute.
const TOLERANCE: Duration = Duration::from_secs(2);

/// 2026-01-01. No clock can be right that says less, as this program is younger.
const RELEASED_MS: u64 = 1_767_225_600_000;

/// 2100-01-01. A clock that says more is wrong for all that anybody can tell.
const FAR_FUTURE_MS: u64 = 4_102_444_800_000;

/// The last moment that an HTTP date can name: 9999-12-31T23:59:59Z.
const LAST_HTTP_DATE: Duration = Duration::from_secs(253_402_300_799);

/// Now by the wall clock, in Unix milliseconds. A clock before 1970 reads as 0.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    #[cfg(test)]
    let since = since + SET_AHEAD.get();
    millis(since)
}

/// The moment of so many Unix milliseconds; the last one that an HTTP date can name, for what is beyond it.
pub(crate) fn time_of(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(unix_ms).min(LAST_HTTP_DATE)
}

/// Now by the wall clock, as a moment that an HTTP date can name, whatever the clock says.
pub(crate) fn http_now() -> SystemTime {
    UNIX_EPOCH + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST_HTTP_DATE)
}

/// Unix milliseconds that only go forward: what the wall clock said when this process began, and the time spent since.
/// Setting the wall clock does not change it.
pub(crate) fn steady_ms() -> u64 {
    static BEGIN: OnceLock<(Instant, u64)> = OnceLock::new();
    let (begin, begin_ms) = BEGIN.get_or_init(|| (Instant::now(), unix_ms()));
    begin_ms.saturating_add(millis(begin.elapsed()))
}

/// One moment, as every clock shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// By the clock that counts time really spent.
    pub now: Instant,
    /// By the wall clock: [`unix_ms`].
    pub unix_ms: u64,
    /// By the clock that nobody sets: [`steady_ms`].
    pub steady_ms: u64,
}

impl Moment {
    /// The present one.
    pub(crate) fn now() -> Self {
        Self { now: Instant::now(), unix_ms: unix_ms(), steady_ms: steady_ms() }
    }
}

/// A duration in whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long to wait for a stored moment: never longer than `longest`, whatever the clock said when it was stored.
pub(crate) fn remaining(due_ms: u64, now_ms: u64, longest: Duration) -> Duration {
    Duration::from_millis(due_ms.saturating_sub(now_ms)).min(longest)
}

/// Notices when the wall clock was set, or the machine slept.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    wall_ms: u64,
    at: Instant,
}

/// The wall clock was set by this much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockJump {
    Ahead(Duration),
    Back(Duration),
}

impl ClockWatch {
    /// Begins with what both clocks say now.
    pub(crate) fn new(now: Instant, now_ms: u64) -> Self {
        Self { wall_ms: now_ms, at: now }
    }

    /// Compares the clocks again. A jump is told once.
    pub(crate) fn look(&mut self, now: Instant, now_ms: u64) -> Option<ClockJump> {
        let expected = self.wall_ms.saturating_add(millis(now.saturating_duration_since(self.at)));
        *self = Self::new(now, now_ms);
        let apart = Duration::from_millis(now_ms.abs_diff(expected));
        match apart > TOLERANCE {
            true if now_ms > expected => Some(ClockJump::Ahead(apart)),
            true => Some(ClockJump::Back(apart)),
            false => None,
        }
    }
}

/// What to say of a wall clock that cannot be right; nothing of one that may be.
pub(crate) fn implausible(now_ms: u64) -> Option<String> {
    if now_ms < RELEASED_MS {
        Some(format!("this host's clock is at least {} behind", in_words(RELEASED_MS - now_ms)))
    } else if now_ms > FAR_FUTURE_MS {
        Some(format!("this host's clock is at least {} ahead", in_words(now_ms - RELEASED_MS)))
    } else {
        None
    }
}

/// Whether a stored moment comes from a clock that was not set yet, while it is now: how long ago it was is not known.
pub(crate) fn was_unset(stored_ms: u64, now_ms: u64) -> bool {
    stored_ms < RELEASED_MS && now_ms >= RELEASED_MS
}

/// A length of time in its largest unit.
pub(crate) fn in_words(ms: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(365 * 86_400, "year"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let seconds = ms / 1000;
    let (size, name) = UNITS.into_iter().find(|(size, _)| seconds >= *size).unwrap_or((1, "second"));
    let count = seconds / size;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
thread_local! {
    /// By how much this thread's wall clock was set ahead.
    static SET_AHEAD: std::cell::Cell<Duration> = const { std::cell::Cell::new(Duration::ZERO) };
}

/// Does something after the wall clock was set ahead. Only this thread sees it.
#[cfg(test)]
pub(crate) fn with_wall_clock_ahead<T>(by: Duration, work: impl FnOnce() -> T) -> T {
    // It begins with what the wall clock says, for all threads.
    steady_ms();
    SET_AHEAD.set(by);
    let result = work();
    SET_AHEAD.set(Duration::ZERO);
    result
}

/// Sets the wall clock of this thread ahead, until the thread ends.
#[cfg(test)]
pub(crate) fn set_wall_clock_ahead(by: Duration) {
    steady_ms();
    SET_AHEAD.set(by);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const YEAR_MS: u64 = 365 * 86_400_000;

    #[test]
    fn a_clock_that_is_set_is_noticed_once() {
        let begin = Instant::now();
        let rows: [(&str, u64, Option<ClockJump>); 6] = [
            ("a minute later", 160_000, None),
            ("just within what slewing makes", 162_000, None),
            ("one millisecond more", 162_001, Some(ClockJump::Ahead(Duration::from_millis(2001)))),
            ("as far back", 158_000, None),
            ("one millisecond further back", 157_999, Some(ClockJump::Back(Duration::from_millis(2001)))),
            ("53 years", 160_000 + 53 * YEAR_MS, Some(ClockJump::Ahead(Duration::from_millis(53 * YEAR_MS)))),
        ];
        for (case, now_ms, expected) in rows {
            let mut watch = ClockWatch::new(begin, 100_000);
            assert_eq!(watch.look(begin + SECOND * 60, now_ms), expected, "{case}");
            assert_eq!(watch.look(begin + SECOND * 61, now_ms + 1000), None, "{case}, told once");
        }
    }

    #[test]
    fn a_moment_of_a_clock_that_was_not_set_yet_is_known_once_the_clock_is_set() {
        let rows = [
            (0, RELEASED_MS, true),
            (RELEASED_MS - 1, RELEASED_MS, true),
            (RELEASED_MS, RELEASED_MS, false),
            (0, RELEASED_MS - 1, false),
        ];
        for (stored_ms, now_ms, expected) in rows {
            assert_eq!(was_unset(stored_ms, now_ms), expected, "{stored_ms} at {now_ms}");
        }
    }

    #[test]
    fn a_stored_moment_is_waited_for_no_longer_than_the_policy_says() {
        for (case, due_ms, now_ms, seconds) in [
            ("past", 5_000, 9_000, 0),
            ("now", 9_000, 9_000, 0),
            ("soon", 12_000, 9_000, 3),
            ("at the longest", 69_000, 9_000, 60),
            ("an hour away after the clock was set back", 3_609_000, 9_000, 60),
            ("the end of time", u64::MAX, 0, 60),
        ] {
            assert_eq!(remaining(due_ms, now_ms, SECOND * 60), SECOND * seconds, "{case}");
        }
    }

    #[test]
    fn a_clock_that_cannot_be_right_is_reported() {
        for (now_ms, expected) in [
            (0, Some("this host's clock is at least 56 years behind")),
            (RELEASED_MS - 1000, Some("this host's clock is at least 1 second behind")),
            (RELEASED_MS, None),
            (FAR_FUTURE_MS, None),
            (FAR_FUTURE_MS + 1, Some("this host's clock is at least 74 years ahead")),
        ] {
            assert_eq!(implausible(now_ms).as_deref(), expected, "{now_ms}");
        }
    }

    #[test]
    fn lengths_of_time_have_one_unit() {
        for (ms, expected) in [
            (0, "0 seconds"),
            (1_999, "1 second"),
            (59_999, "59 seconds"),
            (60_000, "1 minute"),
            (2 * 3_600_000, "2 hours"),
            (86_400_000, "1 day"),
            (YEAR_MS, "1 year"),
        ] {
            assert_eq!(in_words(ms), expected);
        }
    }

    #[test]
    fn steady_time_goes_forward() {
        let first = steady_ms();
        assert!(steady_ms() >= first);
        assert!(http_now() >= UNIX_EPOCH);
    }

    /// What was remembered for minutes was forgotten at once when the network told a board the year.
    #[test]
    fn steady_time_does_not_change_when_the_wall_clock_is_set() {
        let (before, set) = (steady_ms(), unix_ms());
        let ahead = Duration::from_millis(50 * YEAR_MS);
        let (steady, wall) = with_wall_clock_ahead(ahead, || (steady_ms(), unix_ms()));
        assert!(steady - before < YEAR_MS && wall - set >= 50 * YEAR_MS, "{steady} {wall}");
        let moment = with_wall_clock_ahead(ahead, Moment::now);
        assert!(moment.unix_ms - moment.steady_ms > 49 * YEAR_MS, "{moment:?}");
    }
}
