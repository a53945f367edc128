//! Log lines that foreign input can cause: so many in a while, the others counted.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Keys that are told apart at a time. Input can make up any number of them; what is beyond shares one place.
const MAX_KEYS: usize = 1024;

/// Lines a minute that say what was done for somebody: a line for each, as long as it is people who write.
pub const PROGRESS_LINES_A_MINUTE: u32 = 600;

/// Lets a bounded number of lines through in each period, for each key by itself.
#[derive(Debug)]
pub struct LogThrottle<K = ()> {
    lines: u32,
    period: Duration,
    windows: HashMap<K, Window>,
    /// For keys beyond [`MAX_KEYS`].
    others: Option<Window>,
}

#[derive(Debug)]
struct Window {
    begin: Instant,
    written: u32,
    suppressed: u64,
}

/// How many lines were left out since the last one. Shown after a line: empty, or ` (12 more like this were left out)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppressed(pub u64);

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} more like this were left out)"),
        }
    }
}

/// One line a minute.
impl<K: Clone + Eq + Hash> Default for LogThrottle<K> {
    fn default() -> Self {
        Self::new(1, Duration::from_secs(60))
    }
}

impl<K: Clone + Eq + Hash> LogThrottle<K> {
    /// At most `lines` lines of each key in each `period`.
    #[must_use]
    pub fn new(lines: u32, period: Duration) -> Self {
        Self { lines, period, windows: HashMap::new(), others: None }
    }

    /// Asks to write a line. None when it is to be left out, which is counted; else what was left out before.
    pub fn check(&mut self, key: &K, now: Instant) -> Option<Suppressed> {
        let (lines, period) = (self.lines, self.period);
        if !self.windows.contains_key(key) && self.windows.len() >= MAX_KEYS {
            self.windows.retain(|_, window| now.saturating_duration_since(window.begin) < period);
        }
        let is_full = self.windows.len() >= MAX_KEYS && !self.windows.contains_key(key);
        let fresh = || Window { begin: now, written: 0, suppressed: 0 };
        let window = if is_full {
            self.others.get_or_insert_with(fresh)
        } else {
            self.windows.entry(key.clone()).or_insert_with(fresh)
        };
        if now.saturating_duration_since(window.begin) >= period {
            (window.begin, window.written) = (now, 0);
        }
        if window.written >= lines {
            window.suppressed = window.suppressed.saturating_add(1);
            return None;
        }
        window.written += 1;
        Some(Suppressed(std::mem::take(&mut window.suppressed)))
    }

    /// What was left out and not reported yet, of all keys: for a last line when no more input comes.
    #[cfg(any(test, feature = "agent-exec"))]
    pub fn take_suppressed(&mut self) -> u64 {
        let windows = self.windows.values_mut().chain(&mut self.others);
        windows.map(|window| std::mem::take(&mut window.suppressed)).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_rate_are_counted_and_the_next_one_says_so() {
        let mut throttle = LogThrottle::new(2, Duration::from_secs(60));
        let begin = Instant::now();
        let rows = [
            (0, Some(0)),
            (0, Some(0)),
            (1, None),
            (59, None),
            (60, Some(2)),
            (61, Some(0)),
            (62, None),
            (500, Some(1)),
        ];
        for (second, expected) in rows {
            let checked = throttle.check(&(), begin + Duration::from_secs(second));
            assert_eq!(checked, expected.map(Suppressed), "second {second}");
        }
        assert_eq!(throttle.take_suppressed(), 0);
    }

    #[test]
    fn keys_do_not_take_each_others_lines() {
        let (mut throttle, now) = (LogThrottle::default(), Instant::now());
        assert_eq!(throttle.check(&"a", now), Some(Suppressed(0)));
        assert_eq!(throttle.check(&"a", now), None);
        assert_eq!(throttle.check(&"b", now), Some(Suppressed(0)));
        assert_eq!((throttle.take_suppressed(), throttle.take_suppressed()), (1, 0));
    }

    #[test]
    fn made_up_keys_take_no_more_room_than_the_limit_and_share_one_place() {
        let (mut throttle, now) = (LogThrottle::default(), Instant::now());
        let written = (0..MAX_KEYS + 100).filter(|key| throttle.check(key, now).is_some()).count();
        assert_eq!((throttle.windows.len(), written), (MAX_KEYS, MAX_KEYS + 1));
        let later = now + Duration::from_secs(60);
        assert!(throttle.check(&usize::MAX, later).is_some());
        assert_eq!(throttle.windows.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn the_count_is_shown_only_when_there_is_one() {
        assert_eq!(Suppressed(0).to_string(), "");
        assert_eq!(Suppressed(3).to_string(), " (3 more like this were left out)");
    }
}
