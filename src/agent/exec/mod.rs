//! A program that reads messages and writes responses as JSON lines.
//!
//! Three threads: one takes messages and writes them, one starts the process, reads what it says and starts it again when
//! it dies, one tries alone what may have killed it. A message that was in flight when the process died is tried in a process of its own, so
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

use std::collections::{HashSet, VecDeque};
use std::process::ChildStdin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::log_throttle::LogThrottle;
use crate::secrets::Secret;

use super::Agent;
use in_flight::InFlightMessages;

/// Suspects that are remembered.
const MAX_SUSPECTS: usize = 10_000;

/// How an `exec` agent is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSettings {
    /// The command, for `sh -c`.
    pub command: String,
    /// Messages that the process has at a time. Default 8.
    pub concurrency: usize,
    /// How long the process may be silent about a message before that attempt has failed. Default 10 min.
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
    suspects: HashSet<u64>,
    /// Suspects that wait to be tried alone.
    to_try: VecDeque<Delivery>,
    is_over: bool,
}

impl ProcessState {
    /// The message is tried alone next time.
    fn suspect(&mut self, id: u64) {
        if self.suspects.len() >= MAX_SUSPECTS {
            self.suspects.clear();
        }
        self.suspects.insert(id);
    }
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
            scope.spawn(|| self.supervise(host));
            scope.spawn(|| self.try_suspects(host));
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
        format!("exec: {}", self.settings.command)
    }

    fn stop_timeout(&self) -> Duration {
        // The process has 2 s after the end of its input, and 2 s after SIGTERM.
        Duration::from_secs(6)
    }
}
