//! A process for one message: what was in flight when the agent died is tried alone, beside the agent.

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::child::{self, Pipes};
use super::in_flight::{InFlightMessages, lease};
use super::lines::Process;
use super::{ExecAgent, Suspicion};
use crate::agent::outcome::{self, Recipient};
use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::human_duration::HumanDuration;
use crate::model::scoped_thread::{NoThread, spawn_scoped};

/// A trial begins when the agent has run for so long: a program that dies whatever it is asked has died again by then.
const PROVEN_AFTER: Duration = Duration::from_secs(1);
/// The pause after a trial that says nothing, because the agent itself does not run.
const PAUSE: Duration = Duration::from_secs(5);
/// How often a trial looks whether the agent is to stop.
const GLANCE: Duration = Duration::from_millis(100);

/// The one message that a process has.
struct Trial<'a> {
    agent: &'a ExecAgent,
    /// The reader of lines takes the message out, the thread of the trial looks for its timeout; held for a look-up only.
    open: Mutex<InFlightMessages>,
    /// Held while a line is acted upon: meanwhile the message may be neither here nor dealt with.
    acting: Mutex<()>,
}

impl Trial<'_> {
    fn open(&self) -> MutexGuard<'_, InFlightMessages> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acting(&self) -> MutexGuard<'_, ()> {
        self.acting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_dealt_with(&self, id: u64) -> bool {
        let _acting = self.acting();
        !self.open().contains(id)
    }
}

impl Process for Trial<'_> {
    fn take(&self, id: u64) -> Option<Delivery> {
        self.open().remove(id)
    }

    fn only_one(&self) -> Option<u64> {
        self.open().only_one()
    }

    fn put(&self, id: u64, delivery: Delivery) {
        let timeout = self.agent.settings.timeout;
        delivery.extend(lease(timeout));
        self.open().insert(id, delivery, Instant::now(), timeout);
    }

    fn touch(&self, id: u64) -> Option<Recipient> {
        let timeout = self.agent.settings.timeout;
        let mut open = self.open();
        let delivery = open.touch(id, Instant::now(), timeout)?;
        delivery.extend(lease(timeout));
        Some(Recipient::of(delivery))
    }
}

/// How a trial ended before the message was dealt with.
enum TrialEnd {
    Died(String),
    TimedOut,
    Stopped,
    /// A thread for it is missing, so nothing is known about the message.
    NotRun(NoThread),
}

impl ExecAgent {
    /// Tries suspects, one after the other, until the end.
    pub(super) fn try_suspects(&self, host: &Host, may_have_failed: bool) {
        while let Some((delivery, process)) = self.next_suspect(may_have_failed) {
            if let Some((delivery, line)) = self.line_of(host, delivery) {
                self.try_alone(host, delivery, &line, process);
            }
        }
        for delivery in self.state().to_try.drain(..) {
            delivery.release(Duration::ZERO);
        }
    }

    /// The next suspect, once the agent runs, and which process that is.
    fn next_suspect(&self, may_have_failed: bool) -> Option<(Delivery, u64)> {
        let mut state = self.state();
        loop {
            if state.is_over {
                return None;
            }
            let runs_for = state.alive_since.map(|since| since.elapsed());
            let wait = match runs_for {
                _ if state.to_try.is_empty() => None,
                None => None,
                Some(time) if time < PROVEN_AFTER => Some(PROVEN_AFTER - time),
                Some(_) => match state.next_to_try(may_have_failed) {
                    Some(delivery) => return Some((delivery, state.process)),
                    None => None,
                },
            };
            state = match self.changed.wait_timeout(state, wait.unwrap_or(Duration::from_secs(3600))) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    fn try_alone(&self, host: &Host, delivery: Delivery, line: &str, main: u64) {
        let id = delivery.id().0;
        self.warn_of_failure(&format!("message {id} is tried in a process of its own"));
        outcome::begin(host, &delivery);
        let trial = Trial { agent: self, open: Mutex::default(), acting: Mutex::default() };
        trial.put(id, delivery);
        let outcome = match child::start(&self.settings) {
            Ok((running, pipes)) => self.run_trial(host, &trial, id, running, pipes, line),
            Err(error) => TrialEnd::Died(format!("it cannot be started: {error}")),
        };
        // None when the message was dealt with, well or not.
        let Some(delivery) = trial.take(id) else { return };
        let (error, is_proof) = match outcome {
            TrialEnd::Stopped => return outcome::release(host, delivery, Duration::ZERO),
            TrialEnd::NotRun(error) => {
                self.warn_of_failure(&format!("message {id} is tried again later: {error}"));
                return outcome::release(host, delivery, PAUSE);
            }
            TrialEnd::TimedOut => {
                (format!("no response within {}", HumanDuration(self.settings.timeout)), true)
            }
            TrialEnd::Died(status) => {
                let state = self.state();
                let agent_runs = state.process == main && state.alive_since.is_some();
                (format!("the agent ended ({status}) while it had only this message"), agent_runs)
            }
        };
        if is_proof {
            self.state().suspects.insert(id, Suspicion::FailedAlone);
            outcome::fail(host, delivery, &error, None);
        } else {
            // The agent itself does not run: its death says nothing about the message.
            self.warn_of_failure(&format!("the agent failed on message {id}: {error}"));
            outcome::release(host, delivery, PAUSE);
        }
    }

    /// Runs a process until it has dealt with the message, has died, or its time is over.
    fn run_trial(
        &self,
        host: &Host,
        trial: &Trial<'_>,
        id: u64,
        running: child::AgentProcess,
        pipes: Pipes,
        line: &str,
    ) -> TrialEnd {
        let Pipes { mut input, output, errors } = pipes;
        let (finish, finished) = bounded::<()>(0);
        let (ended, ends) = bounded::<()>(0);
        thread::scope(|scope| {
            let log_errors = || self.log_errors(child::error_lines(errors));
            let write_line = move || {
                let _ = input.write_all(line.as_bytes()).and_then(|()| input.flush());
                // The input stays open until the message is dealt with.
                let _ = finished.recv();
            };
            let read_lines = move || {
                for line in child::output_lines(output) {
                    let _acting = trial.acting();
                    self.take_line(host, trial, &line);
                }
                drop(ended);
            };
            let started = spawn_scoped(scope, "tinclaw-trial-errors", log_errors)
                .and_then(|_| spawn_scoped(scope, "tinclaw-trial-input", write_line))
                .and_then(|_| spawn_scoped(scope, "tinclaw-trial-lines", read_lines));
            if let Err(error) = started {
                drop(finish);
                running.end();
                return TrialEnd::NotRun(error);
            }
            let outcome = loop {
                if trial.is_dealt_with(id) {
                    break None;
                }
                if self.state().is_over {
                    break Some(TrialEnd::Stopped);
                }
                if trial.open().next_expiry().is_some_and(|until| until <= Instant::now()) {
                    break Some(TrialEnd::TimedOut);
                }
                if ends.recv_timeout(GLANCE) == Err(RecvTimeoutError::Disconnected) {
                    break None;
                }
            };
            drop(finish);
            let status = running.end();
            outcome.unwrap_or_else(|| {
                TrialEnd::Died(status.map_or_else(|| "an unknown status".to_owned(), |s| s.to_string()))
            })
        })
    }
}
