//! How the host was in the last hour: one sample every ten seconds, in memory.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::records::rfc3339;
use crate::model::clock::time_of;

/// Time between two samples.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Samples of an hour.
const MAX_SAMPLES: usize = 360;

/// How the host is at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HostSample {
    /// When, in Unix milliseconds.
    pub(super) at_ms: u64,
    /// Bytes of physical memory.
    pub(super) memory_bytes: u64,
    /// Bytes of the store, its log included.
    pub(super) store_bytes: u64,
    /// Messages and replies that wait.
    pub(super) waiting: u64,
    /// Transactions so far.
    pub(super) commits: u64,
    /// Microseconds that they took.
    pub(super) commit_us: u64,
    /// Messages that channels emitted so far.
    pub(super) messages: u64,
}

/// The samples of the last hour. A lock, because one thread adds and others read; held to add or to copy.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<VecDeque<HostSample>>);

impl History {
    /// Adds a sample; the oldest makes room.
    pub(super) fn add(&self, sample: HostSample) {
        let mut samples = self.lock();
        if samples.len() == MAX_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// The samples as columns. Commit times and messages are those since the sample before.
    pub(super) fn to_json(&self) -> Value {
        let samples: Vec<HostSample> = self.lock().iter().copied().collect();
        let column = |value: &dyn Fn(&HostSample) -> u64| samples.iter().map(value).collect::<Vec<u64>>();
        let since_before = |value: &dyn Fn(&HostSample) -> u64| -> Vec<u64> {
            let before = std::iter::once(None).chain(samples.iter().map(Some));
            let pairs = before.zip(&samples);
            pairs
                .map(|(before, now)| before.map_or(0, |before| value(now).saturating_sub(value(before))))
                .collect()
        };
        let commits = since_before(&|sample| sample.commits);
        let commit_us = since_before(&|sample| sample.commit_us);
        let mean_us: Vec<u64> = commits
            .iter()
            .zip(&commit_us)
            .map(|(commits, us)| us.checked_div(*commits).unwrap_or(0))
            .collect();
        json!({
            "interval_ms": u64::try_from(SAMPLE_EVERY.as_millis()).unwrap_or(u64::MAX),
            "sampled_at": samples.iter().map(|sample| rfc3339(time_of(sample.at_ms))).collect::<Value>(),
            "memory_bytes": column(&|sample| sample.memory_bytes),
            "store_bytes": column(&|sample| sample.store_bytes),
            "waiting": column(&|sample| sample.waiting),
            "commit_us": mean_us,
            "messages": since_before(&|sample| sample.messages),
        })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<HostSample>> {
        // Nothing that holds it panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let history = History::default();
        for at_ms in 0..=MAX_SAMPLES as u64 {
            history.add(HostSample { at_ms, ..HostSample::default() });
        }
        let times = history.to_json()["sampled_at"].as_array().cloned().expect("a column");
        assert_eq!((times.len(), times[0].as_str()), (MAX_SAMPLES, Some("1970-01-01T00:00:00.001Z")));
    }

    #[test]
    fn rates_are_those_since_the_sample_before() {
        let history = History::default();
        assert_eq!(history.to_json()["commit_us"], json!([]));
        for (commits, commit_us, messages) in [(10, 9_000, 7), (10, 9_000, 7), (12, 13_000, 10)] {
            history.add(HostSample { commits, commit_us, messages, waiting: 3, ..HostSample::default() });
        }
        let columns = history.to_json();
        assert_eq!(columns["commit_us"], json!([0, 0, 2000]));
        assert_eq!(columns["messages"], json!([0, 0, 3]));
        assert_eq!(columns["waiting"], json!([3, 3, 3]));
    }
}
