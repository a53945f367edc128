//! What an agent says of its own state, for health.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::model::log_throttle::{LogThrottle, Suppressed};

/// The state of the agent, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentHealth {
    /// What kind of agent it is (`exec`, `http` …).
    pub kind: String,
    /// When it last dealt with a message.
    pub last_success_at: Option<SystemTime>,
    /// When it failed last.
    pub last_error_at: Option<SystemTime>,
    /// How.
    pub last_error: Option<String>,
    /// How often its process was restarted.
    pub restarts: u64,
}

/// Where an agent reports its state, and health reads it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AgentReport {
    /// Written by the agent's threads, read by `health`; held for a change or a copy.
    health: Arc<Mutex<Option<AgentHealth>>>,
    /// Held for the look-up that decides whether a line is written.
    log: Arc<Mutex<Log>>,
}

/// For lines that whoever writes to the agent can cause.
#[derive(Debug)]
struct Log(LogThrottle);

impl Default for Log {
    fn default() -> Self {
        Self(LogThrottle::new(20, Duration::from_secs(60)))
    }
}

impl AgentReport {
    /// An agent of this kind begins to serve.
    pub fn begin(&self, kind: &str) {
        *self.lock() = Some(AgentHealth { kind: kind.to_owned(), ..AgentHealth::default() });
    }

    /// It has dealt with a message.
    pub fn succeeded(&self) {
        if let Some(health) = &mut *self.lock() {
            health.last_success_at = Some(SystemTime::now());
        }
    }

    /// It has failed on a message, or as a whole.
    pub fn failed(&self, error: &str) {
        if let Some(health) = &mut *self.lock() {
            health.last_error_at = Some(SystemTime::now());
            health.last_error = Some(error.to_owned());
        }
    }

    /// Its process is restarted.
    pub fn restarted(&self) {
        if let Some(health) = &mut *self.lock() {
            health.restarts += 1;
        }
    }

    /// Whether a line about a failure may be written now, and how many were left out before it.
    pub(crate) fn may_log(&self) -> Option<Suppressed> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).0.check(&(), Instant::now())
    }

    /// Its state; none when no agent reports here.
    #[must_use]
    pub fn health(&self) -> Option<AgentHealth> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<AgentHealth>> {
        // Every change is an assignment, so a poisoned lock guards whole data.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_an_agent_is_none_and_one_with_it_says_what_happened_last() {
        let report = AgentReport::default();
        report.failed("nobody hears it");
        assert_eq!(report.health(), None);
        report.begin("exec");
        report.failed("first");
        report.failed("second");
        report.restarted();
        report.succeeded();
        let health = report.health().unwrap();
        assert_eq!((health.kind.as_str(), health.restarts), ("exec", 1));
        assert_eq!(health.last_error.as_deref(), Some("second"));
        assert!(health.last_success_at.is_some() && health.last_error_at.is_some());
    }
}
