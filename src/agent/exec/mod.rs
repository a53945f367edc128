//! A program that reads messages and writes responses as JSON lines.
//!
//! One thread takes messages and writes them, one starts the process, reads what it says and starts it again when
//! it dies, and up to four try alone what may have killed it. A message that was in flight when the process died is tried in a process of its own, so
//! that no message costs other people more than one restart.
//!
//! | file | job |
//! |---|---|
//! | `child` | the process: started, fed, ended |
//! | `in_flight` | messages that a process has: pure but for the deliveries |
//! | `line` | what a program says in one line: pure |
//! | `lines` | doing what it says |
//! | `main_process` | the program of the agent: fed, supervised, replaced |
//! | `trial` | a process for one message |

mod child;
mod in_flight;
mod line;
#[cfg(fuzzing)]
pub(super) use line::parse_line;
mod lines;
mod main_process;
mod trial;

use std::collections::{HashMap, VecDeque};
use std::process::ChildStdin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use in_flight::InFlightMessages;
use serde::Deserialize;

use super::Agent;
use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::bounded;
use crate::model::log_throttle::LogThrottle;
use crate::model::scoped_thread::spawn_scoped;
use crate::net::without_credentials;
use crate::secrets::Secret;

/// Suspects that are tried at a time, each in a process of its own.
const MAX_TRIALS: usize = 4;
/// Suspects that are remembered.
const MAX_SUSPECTS: usize = 10_000;

/// How an `exec` agent is run.
/// Deserialises from the fields of `[agent]` in `tinclaw.toml`; the command is part of `kind` there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default = "ExecSettings::without_command", deny_unknown_fields)]
pub struct ExecSettings {
    /// The command, for `sh -c`.
    #[serde(skip)]
    pub command: String,
    /// Messages that the process has at a time. Default 8.
    #[serde(deserialize_with = "bounded::count::<_, _, 1, 1024>")]
    pub concurrency: usize,
    /// How long the process may be silent about a message before that attempt has failed. Default 10 min.
    #[serde(rename = "timeout_secs", deserialize_with = "bounded::secs::<_, 1, 3600>")]
    pub timeout: Duration,
    /// Variables of the host's environment that the process gets besides `PATH`, `HOME`, `LANG` and `TZ`.
    pub env: Vec<String>,
}

impl ExecSettings {
    /// The defaults for this command.
    #[must_use]
    pub fn new(command: &str) -> Self {
        Self {
            command: command.to_owned(),
            concurrency: 8,
            timeout: Duration::from_secs(600),
            env: Vec::new(),
        }
    }

    fn without_command() -> Self {
        Self::new("")
    }
}

/// The `exec` agent: one long-lived process that reads and writes JSON lines.
pub struct ExecAgent {
    settings: ExecSettings,
    /// The lock is held for look-ups only, never while something is written or stored.
    state: Mutex<ProcessState>,
    /// Wakes all threads: a place among the open messages, a process, a suspect, the end.
    changed: Condvar,
    /// Any of the threads may cause a line; held for the look-up that decides whether it is written.
    log: Mutex<Throttles>,
    /// The values of the variables that the configuration names: they are left out of what is quoted.
    secrets: Vec<Secret>,
}

/// What the threads share.
#[derive(Default)]
struct ProcessState {
    /// Messages that the process has and has not replied to.
    open: InFlightMessages,
    /// Where messages are written. Taken out while something is written to it.
    input: Option<ChildStdin>,
    /// Counts processes, so that an input that was taken out does not come back to another one.
    process: u64,
    /// Since when the process runs, as long as it writes and so can reply.
    alive_since: Option<Instant>,
    /// Whether this process has dealt with a message.
    has_responded: bool,
    /// When the process last said anything.
    last_line: Option<Instant>,
    /// Messages that were in flight when a process died, or that it did not reply to in time.
    suspects: HashMap<u64, Suspicion>,
    /// Suspects that wait to be tried alone.
    to_try: VecDeque<Delivery>,
    is_over: bool,
}

impl ProcessState {
    /// The message is tried alone next time.
    fn suspect(&mut self, id: u64) {
        if self.suspects.len() >= MAX_SUSPECTS && !self.suspects.contains_key(&id) {
            self.suspects.clear();
        }
        self.suspects.entry(id).or_insert(Suspicion::Possible);
    }

    /// The suspect to try next: those that failed alone come after all others. `may_have_failed` is whether it may be one of these.
    fn next_to_try(&mut self, may_have_failed: bool) -> Option<Delivery> {
        let has_failed =
            |delivery: &Delivery| self.suspects.get(&delivery.id().0) == Some(&Suspicion::FailedAlone);
        let other = self.to_try.iter().position(|delivery| !has_failed(delivery));
        let at = other.or((may_have_failed && !self.to_try.is_empty()).then_some(0))?;
        self.to_try.remove(at)
    }
}

/// How much is known about a suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspicion {
    /// It was in flight when a process died or was stuck.
    Possible,
    /// So did a process that had nothing else.
    FailedAlone,
}

/// Why a line of the program is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum IgnoredLine {
    NotUnderstood,
    UnknownMessage,
}

/// For log lines that the program, or whoever writes to it, can cause without end.
struct Throttles {
    /// Lines that are ignored, by reason.
    ignored_lines: LogThrottle<IgnoredLine>,
    /// Standard error.
    errors: LogThrottle,
    /// Deaths, time-outs and failed attempts.
    failures: LogThrottle,
}

impl ExecAgent {
    /// An agent that runs a program.
    #[must_use]
    pub fn new(settings: ExecSettings) -> Self {
        let minute = Duration::from_secs(60);
        let log = Throttles {
            ignored_lines: LogThrottle::default(),
            errors: LogThrottle::new(600, minute),
            failures: LogThrottle::new(20, minute),
        };
        let secrets = settings.env.iter().filter_map(|name| std::env::var(name).ok());
        let secrets = secrets.map(|value| Secret::from(value.as_str())).collect();
        Self { settings, state: Mutex::default(), changed: Condvar::new(), log: Mutex::new(log), secrets }
    }

    fn state(&self) -> MutexGuard<'_, ProcessState> {
        // Every change under the lock is one statement, so a poisoned state is in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Throttles> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, ProcessState>,
        busy: impl Fn(&ProcessState) -> bool,
    ) -> MutexGuard<'a, ProcessState> {
        self.changed.wait_while(state, |state| busy(state)).unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs a failure, within the limit.
    fn warn_of_failure(&self, text: &str) {
        if let Some(suppressed) = self.log().failures.check(&(), Instant::now()) {
            log::warn!("{text}{suppressed}");
        }
    }
}

impl Agent for ExecAgent {
    fn serve(&self, host: &Host) {
        host.agent_report().begin("exec");
        thread::scope(|scope| {
            // With several, one is kept for suspects that have not failed alone, so that hanging ones hold nobody else up.
            let trials = self.settings.concurrency.clamp(1, MAX_TRIALS);
            let started = (0..trials)
                .try_for_each(|at| {
                    let may_have_failed = at > 0 || trials == 1;
                    let work = move || self.try_suspects(host, may_have_failed);
                    spawn_scoped(scope, "tinclaw-agent-suspects", work).map(drop)
                })
                .and_then(|()| spawn_scoped(scope, "tinclaw-agent-process", || self.supervise(host)));
            if let Err(error) = started {
                host.agent_report().failed(&error.to_string());
                log::error!("the agent is not run: {error}");
                self.stop();
                return;
            }
            self.feed(host);
        });
    }

    fn stop(&self) {
        let mut state = self.state();
        state.is_over = true;
        // The end of its input tells the process to end.
        state.input = None;
        self.changed.notify_all();
    }

    fn describe(&self) -> String {
        format!("exec: {}", without_credentials(&self.settings.command))
    }

    fn stop_timeout(&self) -> Duration {
        // The process has 2 s after the end of its input, and 2 s after SIGTERM.
        Duration::from_secs(6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_suspects_are_remembered_and_one_more_makes_room() {
        let mut state = ProcessState::default();
        (0..MAX_SUSPECTS as u64).for_each(|id| state.suspect(id));
        assert_eq!(state.suspects.len(), MAX_SUSPECTS);
        state.suspect(MAX_SUSPECTS as u64);
        assert_eq!(state.suspects, HashMap::from([(MAX_SUSPECTS as u64, Suspicion::Possible)]));
    }
}
