//! Lines that repeat: the first is written, equal ones of the same channel within a minute are counted, and the count is written
//! when the minute is over. No clock, no I/O.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use log::Level;

/// How long equal lines are counted for one line that says how many there were.
const PERIOD: Duration = Duration::from_secs(60);
/// Lines that are told apart at a time. What is beyond is written as it comes.
const MAX_LINES: usize = 256;

/// A line, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepeatedLine {
    /// How much it matters.
    pub level: Level,
    /// The channel, or the part of the program.
    pub target: String,
    /// What it says.
    pub text: String,
}

/// What has been written lately.
#[derive(Debug, Default)]
pub struct Repeats(HashMap<RepeatedLine, RepeatWindow>);

#[derive(Debug)]
struct RepeatWindow {
    begin: Instant,
    /// Equal lines that were not written.
    count: u64,
}

impl Repeats {
    /// Whether a line is to be written. Only warnings and errors are counted instead: every message leaves its lines.
    pub fn is_new(&mut self, line: &RepeatedLine, now: Instant) -> bool {
        if line.level > Level::Warn {
            return true;
        }
        if let Some(window) = self.0.get_mut(line) {
            window.count = window.count.saturating_add(1);
            return false;
        }
        if self.0.len() < MAX_LINES {
            self.0.insert(line.clone(), RepeatWindow { begin: now, count: 0 });
        }
        true
    }

    /// Lines whose minute is over, with how many were not written. Those that go on begin another minute.
    pub fn over(&mut self, now: Instant) -> Vec<(RepeatedLine, u64)> {
        let mut found = Vec::new();
        self.0.retain(|line, window| {
            if now.saturating_duration_since(window.begin) < PERIOD {
                return true;
            }
            if window.count == 0 {
                return false;
            }
            found.push((line.clone(), std::mem::take(&mut window.count)));
            window.begin = now;
            true
        });
        found
    }

    /// All that were not written, for the end of the program.
    pub fn take(&mut self) -> Vec<(RepeatedLine, u64)> {
        self.0
            .drain()
            .filter(|(_, window)| window.count > 0)
            .map(|(line, window)| (line, window.count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, target: &str, text: &str) -> RepeatedLine {
        RepeatedLine { level, target: target.to_owned(), text: text.to_owned() }
    }

    /// 30 equal lines of a guest were 30 lines, 30 refused requests 20 lines and no count, and an error that came every 30 s was
    /// written every 30 s.
    #[test]
    fn equal_warnings_are_one_line_and_a_count_each_minute() {
        let (mut repeats, begin) = (Repeats::default(), Instant::now());
        let warning = line(Level::Warn, "echo", "the same again");
        let written = (0..30).filter(|_| repeats.is_new(&warning, begin)).count();
        assert_eq!(written, 1);
        assert!(repeats.is_new(&line(Level::Warn, "other", "the same again"), begin));
        assert!(repeats.is_new(&line(Level::Error, "echo", "the same again"), begin));
        assert_eq!(repeats.over(begin + Duration::from_secs(59)), []);
        assert_eq!(repeats.over(begin + PERIOD), [(warning.clone(), 29)]);
        // It goes on: the next minute has one line as well.
        assert!(!repeats.is_new(&warning, begin + PERIOD));
        assert_eq!(repeats.over(begin + 2 * PERIOD), [(warning.clone(), 1)]);
        assert_eq!(repeats.over(begin + 3 * PERIOD), []);
        assert!(repeats.is_new(&warning, begin + 3 * PERIOD), "it was over");
        assert!(!repeats.is_new(&warning, begin + 3 * PERIOD));
        assert_eq!(repeats.take(), [(warning, 1)]);
    }

    #[test]
    fn lines_about_messages_are_never_suppressed_as_repeats() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let info = line(Level::Info, "echo", "hello");
        assert!((0..30).all(|_| repeats.is_new(&info, now)));
    }

    #[test]
    fn lines_beyond_the_limit_are_written_as_they_come() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let lines: Vec<_> = (0..=MAX_LINES).map(|n| line(Level::Warn, "a", &n.to_string())).collect();
        assert!(lines.iter().all(|line| repeats.is_new(line, now)));
        assert!(!repeats.is_new(&lines[MAX_LINES - 1], now));
        assert!(repeats.is_new(&lines[MAX_LINES], now));
    }
}
