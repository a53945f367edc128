//! The program of the agent: fed, supervised, restarted.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use super::ExecAgent;
use super::child::{self, AgentProcess, Pipes};
use super::in_flight::lease;
use crate::agent::message::message_json;
use crate::agent::outcome;
use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::human_duration::HumanDuration;
use crate::model::scoped_thread::spawn_scoped;

/// The wait before a program that died is restarted; it doubles.
const INITIAL_BACKOFF: Duration = Duration::from_millis(500);
/// The longest such wait.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// A program that ran for so long, or has replied to a message, begins again with the first wait.
const GOOD_RUN: Duration = Duration::from_secs(60);
/// The pause after a message could not be read from the store.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(2);

/// Why the supervisor turns to a process.
enum SupervisorEvent {
    /// It writes no more, or the agent is to stop.
    Ended,
    /// It has not said anything for the whole time of a message.
    Stuck,
}

impl ExecAgent {
    /// Takes messages and writes them, until there are no more. A message is taken only when a process can have it, so
    /// that no time of its delivery passes while it waits.
    pub(super) fn feed(&self, host: &Host) {
        while self.wait_for_place() {
            let Ok(delivery) = host.messages().recv() else { break };
            if self.state().suspects.contains_key(&delivery.id().0) {
                // Others may be tried before it.
                delivery.extend(lease(self.settings.timeout).saturating_mul(8));
                self.state().to_try.push_back(delivery);
                self.changed.notify_all();
            } else if let Some((delivery, line)) = self.line_of(host, delivery) {
                self.deliver(host, delivery, &line);
            }
        }
        super::Agent::stop(self);
    }

    /// Whether a process has a free place; false at the end.
    fn wait_for_place(&self) -> bool {
        let concurrency = self.settings.concurrency;
        let state = self.wait_while(self.state(), |state| {
            !state.is_over && (state.input.is_none() || state.open.len() >= concurrency)
        });
        !state.is_over
    }

    /// The line of a message. One that cannot be read from the store is redelivered: the agent never saw it.
    pub(super) fn line_of(&self, host: &Host, delivery: Delivery) -> Option<(Delivery, String)> {
        let line = message_json(&delivery, |index| delivery.attachment_data(index));
        match line {
            Ok(mut line) => {
                line.push('\n');
                Some((delivery, line))
            }
            Err(error) => {
                self.warn_of_failure(&format!("message {} is delivered later: {error}", delivery.id()));
                outcome::release(host, delivery, UNREADABLE_PAUSE);
                None
            }
        }
    }

    fn deliver(&self, host: &Host, delivery: Delivery, line: &str) {
        let id = delivery.id().0;
        delivery.extend(lease(self.settings.timeout));
        let mut state = self.state();
        let Some(mut input) = state.input.take() else {
            drop(state);
            // The process has ended since: it never saw the message.
            return outcome::release(host, delivery, Duration::ZERO);
        };
        let process = state.process;
        outcome::begin(host, &delivery);
        // Recorded as in flight before it is written: the response may be quick.
        state.open.insert(id, delivery, Instant::now(), self.settings.timeout);
        drop(state);
        // Its time runs from here on: a process that does not read may never take all of the line.
        self.changed.notify_all();
        let written = input.write_all(line.as_bytes()).and_then(|()| input.flush());
        let mut state = self.state();
        if state.process == process && written.is_ok() && !state.is_over {
            state.input = Some(input);
        }
        // A process that no longer reads is found dead by whoever reads its output, who requeues its messages.
        self.changed.notify_all();
    }

    /// Runs the process again and again.
    pub(super) fn supervise(&self, host: &Host) {
        let mut wait = INITIAL_BACKOFF;
        while !self.state().is_over {
            let since = Instant::now();
            match child::start(&self.settings) {
                Ok((running, pipes)) => self.attend(host, running, pipes),
                Err(error) => {
                    host.agent_report().failed(&format!("it cannot be started: {error}"));
                    log::error!("the agent cannot be started: {error}");
                }
            }
            let mut state = self.state();
            if state.has_responded || since.elapsed() >= GOOD_RUN {
                wait = INITIAL_BACKOFF;
            }
            state.has_responded = false;
            if !state.is_over {
                host.agent_report().restarted();
                drop(state);
                self.warn_of_failure(&format!("the agent is restarted in {}", HumanDuration(wait)));
                let state = self.state();
                let _ = self.changed.wait_timeout_while(state, wait, |state| !state.is_over);
            }
            wait = (wait * 2).min(MAX_BACKOFF);
        }
    }

    /// From the start of a process to its end.
    fn attend(&self, host: &Host, running: AgentProcess, pipes: Pipes) {
        let Pipes { input, output, errors } = pipes;
        {
            let mut state = self.state();
            state.process += 1;
            state.alive_since = Some(Instant::now());
            state.last_line = None;
            // Otherwise the end of its input, here and now, tells the process to end.
            state.input = (!state.is_over).then_some(input);
            self.changed.notify_all();
        }
        thread::scope(|scope| {
            let log_errors = || self.log_errors(child::error_lines(errors));
            let read_lines = || {
                for line in child::output_lines(output) {
                    self.state().last_line = Some(Instant::now());
                    self.take_line(host, self, &line);
                }
                // It writes no more, so it cannot reply: no more is written to it either.
                let mut state = self.state();
                state.input = None;
                state.alive_since = None;
                self.changed.notify_all();
            };
            let readers = spawn_scoped(scope, "tinclaw-agent-errors", log_errors)
                .and_then(|_| spawn_scoped(scope, "tinclaw-agent-lines", read_lines));
            if let Err(error) = readers {
                host.agent_report().failed(&error.to_string());
                self.warn_of_failure(&error.to_string());
                return self.part(host, running);
            }
            match self.watch(host) {
                SupervisorEvent::Ended => self.part(host, running),
                SupervisorEvent::Stuck => self.replace(host, running),
            }
        });
        self.log_suppressed();
    }

    /// Waits for the end of the process; meanwhile fails the messages that it does not reply to in time.
    fn watch(&self, host: &Host) -> SupervisorEvent {
        let mut state = self.state();
        loop {
            if state.alive_since.is_none() || state.is_over {
                return SupervisorEvent::Ended;
            }
            let now = Instant::now();
            if let Some((id, delivery, silent_since)) = state.open.remove_expired(now) {
                state.suspect(id);
                let is_alone = state.open.len() == 0;
                let is_stuck = state.last_line.is_none_or(|last| last < silent_since);
                drop(state);
                let error = format!("no response within {}", HumanDuration(self.settings.timeout));
                // A message that failed alone has a line of its own, with its attempt and the next one.
                if !is_alone {
                    self.warn_of_failure(&format!("the agent did not reply to message {id}: {error}"));
                }
                self.fail_if_alone(host, delivery, &error, is_alone, None);
                self.changed.notify_all();
                if is_stuck {
                    return SupervisorEvent::Stuck;
                }
                state = self.state();
                continue;
            }
            let wait = state.open.next_expiry().map(|until| until.saturating_duration_since(now));
            // A message that is put in flight meanwhile wakes this thread.
            let wait = wait.unwrap_or(Duration::from_secs(3600));
            state = match self.changed.wait_timeout(state, wait) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Ends a process that has ended its output, and requeues what it has not replied to: one of these messages may have
    /// killed it, so each is tried alone.
    fn part(&self, host: &Host, running: AgentProcess) {
        self.close_input();
        let status = running.end();
        let open = self.take_open();
        let is_over = self.state().is_over;
        let status = status.map_or_else(|| "an unknown status".to_owned(), |status| status.to_string());
        if !is_over {
            let text = match open.len() {
                1 => format!("the agent ended ({status}) with 1 message in flight"),
                in_flight => format!("the agent ended ({status}) with {in_flight} messages in flight"),
            };
            host.agent_report().failed(&text);
            self.warn_of_failure(&text);
        }
        let is_alone = open.len() == 1;
        for (id, delivery) in open {
            if is_over {
                outcome::release(host, delivery, Duration::ZERO);
            } else {
                self.state().suspect(id);
                let error = format!("the agent ended ({status}) while it had this message");
                self.fail_if_alone(host, delivery, &error, is_alone, Some(Duration::ZERO));
            }
        }
        self.changed.notify_all();
    }

    /// Only what the process had alone has failed. Of several messages any may be the cause, and each is tried alone.
    fn fail_if_alone(
        &self,
        host: &Host,
        delivery: Delivery,
        error: &str,
        is_alone: bool,
        delay: Option<Duration>,
    ) {
        if is_alone {
            outcome::fail(host, delivery, error, delay);
        } else {
            outcome::release(host, delivery, Duration::ZERO);
        }
    }

    /// Ends a process that is stuck at one message. It is no failure of the others.
    fn replace(&self, host: &Host, running: AgentProcess) {
        let timeout = HumanDuration(self.settings.timeout);
        let text = format!("the agent has said nothing for {timeout}: its process is replaced");
        host.agent_report().failed(&text);
        self.warn_of_failure(&text);
        self.close_input();
        running.end();
        for (_, delivery) in self.take_open() {
            outcome::release(host, delivery, Duration::ZERO);
        }
        self.changed.notify_all();
    }

    /// The end of its input tells a process to end.
    fn close_input(&self) {
        let mut state = self.state();
        state.input = None;
        // An input that is being written to is not put back.
        state.process += 1;
    }

    fn take_open(&self) -> Vec<(u64, Delivery)> {
        self.state().open.drain()
    }
}
