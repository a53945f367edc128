//! The last lines of the log, for the page.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::Level;

use crate::model::clock::unix_ms;
use crate::model::escape::escaped;

/// Lines that are kept.
const MAX_LINES: usize = 1_000;
/// Bytes of all of them.
const MAX_BYTES: usize = 256 * 1024;
/// The longest part of a line that is kept, in characters.
const MAX_LINE_CHARS: usize = 2_000;

/// The lines of this process: its logger is one for all hosts too. A lock, because any thread logs; held to add a line or to
/// copy some.
static LINES: Mutex<LogTail> = Mutex::new(LogTail::new());

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogTailLine {
    /// Grows by 1 with each line.
    pub(crate) number: u64,
    /// When, in Unix milliseconds.
    pub(crate) at_ms: u64,
    /// How severe.
    pub(crate) level: Level,
    /// Who wrote it: a channel, or a module.
    pub(crate) target: String,
    /// What it says, escaped.
    pub(crate) text: String,
}

struct LogTail {
    lines: VecDeque<LogTailLine>,
    bytes: usize,
    last: u64,
}

/// Which lines are wanted.
#[derive(Clone, Debug)]
pub(crate) struct LogQuery {
    /// Only those after this number.
    pub(crate) after: u64,
    /// Only those that are as severe as this.
    pub(crate) level: Level,
    /// Only those whose target or text has this, in any case.
    pub(crate) text: String,
    /// The newest so many of them.
    pub(crate) limit: usize,
}

/// Keeps a line that goes to the log. The oldest ones make room.
pub(crate) fn keep_log_line(level: Level, target: &str, text: &str) {
    let text: String = escaped(text).chars().take(MAX_LINE_CHARS).collect();
    lines().push(level, target.to_owned(), text);
}

/// The lines that are wanted, the oldest first.
pub(super) fn log_lines(query: &LogQuery) -> Vec<LogTailLine> {
    lines().find(query)
}

/// The number of the last line.
pub(super) fn last_log_line() -> u64 {
    lines().last
}

fn lines() -> MutexGuard<'static, LogTail> {
    // Nothing that holds it panics half-way.
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogTail {
    const fn new() -> Self {
        Self { lines: VecDeque::new(), bytes: 0, last: 0 }
    }

    fn push(&mut self, level: Level, target: String, text: String) {
        self.last += 1;
        self.bytes += target.len() + text.len();
        self.lines.push_back(LogTailLine { number: self.last, at_ms: unix_ms(), level, target, text });
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.target.len() + oldest.text.len();
        }
    }

    fn find(&self, query: &LogQuery) -> Vec<LogTailLine> {
        let wanted = query.text.to_lowercase();
        let matches = |line: &&LogTailLine| {
            let has_text =
                || line.text.to_lowercase().contains(&wanted) || line.target.to_lowercase().contains(&wanted);
            line.number > query.after && line.level <= query.level && has_text()
        };
        let mut found: Vec<LogTailLine> =
            self.lines.iter().rev().filter(matches).take(query.limit).cloned().collect();
        found.reverse();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> LogQuery {
        LogQuery { after: 0, level: Level::Trace, text: text.to_owned(), limit: 10 }
    }

    fn numbers(tail: &LogTail, query: &LogQuery) -> Vec<u64> {
        tail.find(query).into_iter().map(|line| line.number).collect()
    }

    #[test]
    fn lines_are_found_by_number_level_and_text() {
        let mut tail = LogTail::new();
        tail.push(Level::Info, "slack".into(), "Hello".into());
        tail.push(Level::Warn, "tinclaw".into(), "slow".into());
        tail.push(Level::Error, "slack".into(), "broken".into());
        assert_eq!(numbers(&tail, &query("")), [1, 2, 3]);
        assert_eq!(numbers(&tail, &query("SLACK")), [1, 3]);
        assert_eq!(numbers(&tail, &query("hello")), [1]);
        assert_eq!(numbers(&tail, &LogQuery { level: Level::Warn, ..query("") }), [2, 3]);
        assert_eq!(numbers(&tail, &LogQuery { after: 2, ..query("") }), [3]);
        assert_eq!(numbers(&tail, &LogQuery { limit: 2, ..query("") }), [2, 3], "the newest ones");
    }

    #[test]
    fn a_line_is_kept_up_to_its_limit() {
        let kept = |chars: usize| {
            keep_log_line(Level::Info, "the test of long lines", &"ä".repeat(chars));
            let found = log_lines(&LogQuery { limit: 1, ..query("the test of long lines") });
            found[0].text.chars().count()
        };
        assert_eq!(kept(MAX_LINE_CHARS), MAX_LINE_CHARS);
        assert_eq!(kept(MAX_LINE_CHARS + 1), MAX_LINE_CHARS);
    }

    #[test]
    fn as_many_lines_and_bytes_are_kept_as_the_limits_say() {
        let mut tail = LogTail::new();
        for _ in 0..=MAX_LINES {
            tail.push(Level::Info, String::new(), "x".into());
        }
        assert_eq!((tail.lines.len(), tail.lines[0].number), (MAX_LINES, 2));
        let mut tail = LogTail::new();
        for _ in 0..5 {
            tail.push(Level::Info, String::new(), "x".repeat(MAX_BYTES / 4));
        }
        assert_eq!((tail.lines.len(), tail.bytes), (4, MAX_BYTES));
    }
}
