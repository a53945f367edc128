//! What the agent in the child has seen, in a file outside of the store: what is written there survives a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// One delivery, as the agent wrote it down before it did anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which start of the host.
    pub run: u64,
    /// The conversation, as the test names it.
    pub conversation: String,
    /// The place within the conversation: the provider's id is both together.
    pub number: u64,
    /// The host's id of the message.
    pub message: u64,
}

impl Line {
    pub fn provider_id(&self) -> String {
        format!("{}:{}", self.conversation, self.number)
    }
}

pub fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("the agent's log")
}

/// Written with one call, so that no line is half.
pub fn write(mut file: &File, line: &Line) {
    let text = format!("{} {} {} {}\n", line.run, line.conversation, line.number, line.message);
    file.write_all(text.as_bytes()).expect("the agent's log takes a line");
}

pub fn read(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).expect("the agent's log");
    text.lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse().expect("a number");
            Line { run: number(0), conversation: words[1].to_owned(), number: number(2), message: number(3) }
        })
        .collect()
}

/// The messages that were made of each provider's id.
pub fn messages_by_provider_id(lines: &[Line]) -> BTreeMap<String, BTreeSet<u64>> {
    let mut messages: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for line in lines {
        messages.entry(line.provider_id()).or_default().insert(line.message);
    }
    messages
}

/// Fails unless every conversation was in order: its numbers appear for the first time in ascending order without a gap,
/// and while one host runs, no message comes after a later one. A restart may begin again with what was not acknowledged.
pub fn check_order(lines: &[Line]) {
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    let mut last: BTreeMap<(u64, &str), (u64, u64)> = BTreeMap::new();
    for line in lines {
        let next = next.entry(&line.conversation).or_default();
        assert!(line.number <= *next, "{line:?} came before number {next}");
        *next = (*next).max(line.number + 1);
        let place = (line.message, line.number);
        if let Some(last) = last.insert((line.run, &line.conversation), place) {
            assert!(last.0 <= place.0 && last.1 <= place.1, "{line:?} came after {last:?}");
        }
    }
}
