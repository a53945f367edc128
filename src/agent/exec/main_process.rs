//! The program of the agent: fed, supervised, restarted.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::human_duration::HumanDuration;

use super::ExecAgent;
use super::child::{self, Pipes, Running};
use super::desk::lease;
use crate::agent::message::message_json;
use crate::agent::outcome;

/// The wait before a program that died is restarted; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A program that ran for so long, or has answered a message, begins again with the first wait.
const GOOD_RUN: Duration = Duration::from_secs(60);
/// The pause after a message could not be read from the store.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(2);

/// Why the supervisor turns to a process.
enum Turn {
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
            if self.desk().suspects.contains(&delivery.id().0) {
                // Others may be tried before it.
                delivery.extend(lease(self.settings.timeout).saturating_mul(8));
                self.desk().to_try.push_back(delivery);
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
        let desk = self.wait_while(self.desk(), |desk| {
            !desk.is_over && (desk.input.is_none() || desk.open.len() >= concurrency)
        });
        !desk.is_over
    }

    /// The line of a message. One that cannot be read from the store is redelivered: the agent never saw it.
    pub(super) fn line_of(&self, host: &Host, delivery: Delivery) -> Option<(Delivery, String)> {
        let line = message_json(&delivery, |index| {
            delivery.attachment_data(index).map_err(|error| error.to_string())
        });
        match line {
            Ok(mut line) => {
                line.push('\n');
                Some((delivery, line))
            }
            Err(error) => {
                self.warn_of_failure(&format!("message {} cannot be read: {error}", delivery.id()));
                outcome::release(host, delivery, UNREADABLE_PAUSE);
                None
            }
        }
    }

    fn deliver(&self, host: &Host, delivery: Delivery, line: &str) {
        let id = delivery.id().0;
        delivery.extend(lease(self.settings.timeout));
        let mut desk = self.desk();
        let Some(mut input) = desk.input.take() else {
            drop(desk);
            // The process has ended since: it never saw the message.
            return outcome::release(host, delivery, Duration::ZERO);
        };
        let process = desk.process;
        outcome::begin(host, &delivery);
        // On the desk before it is written: the response may be quick.
        desk.open.insert(id, delivery, Instant::now(), self.settings.timeout);
        drop(desk);
        let written = input.write_all(line.as_bytes()).and_then(|()| input.flush());
        let mut desk = self.desk();
        if desk.process == process && written.is_ok() && !desk.is_over {
            desk.input = Some(input);
        }
        // A process that no longer reads is found dead by whoever reads its output, who requeues its messages.
        self.changed.notify_all();
    }

    /// Runs the process again and again.
    pub(super) fn supervise(&self, host: &Host) {
        let mut wait = FIRST_WAIT;
        while !self.desk().is_over {
            let since = Instant::now();
            match child::start(&self.settings) {
                Ok((running, pipes)) => self.attend(host, running, pipes),
                Err(error) => {
                    host.agent_report().failed(&format!("it cannot be started: {error}"));
                    log::error!("the agent cannot be started: {error}");
                }
            }
            let mut desk = self.desk();
            if desk.has_answered || since.elapsed() >= GOOD_RUN {
                wait = FIRST_WAIT;
            }
            desk.has_answered = false;
            if !desk.is_over {
                host.agent_report().restarted();
                drop(desk);
                self.warn_of_failure(&format!("the agent is restarted in {}", HumanDuration(wait)));
                let desk = self.desk();
                let _ = self.changed.wait_timeout_while(desk, wait, |desk| !desk.is_over);
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// From the start of a process to its end.
    fn attend(&self, host: &Host, running: Running, pipes: Pipes) {
        let Pipes { input, output, errors } = pipes;
        {
            let mut desk = self.desk();
            desk.process += 1;
            desk.alive_since = Some(Instant::now());
            desk.last_line = None;
            // Otherwise the end of its input, here and now, tells the process to end.
            desk.input = (!desk.is_over).then_some(input);
            self.changed.notify_all();
        }
        thread::scope(|scope| {
            scope.spawn(|| self.log_errors(child::error_lines(errors)));
            scope.spawn(|| {
                for line in child::output_lines(output) {
                    self.desk().last_line = Some(Instant::now());
                    self.take_line(host, self, &line);
                }
                // It writes no more, so it cannot answer: no more is written to it either.
                let mut desk = self.desk();
                desk.input = None;
                desk.alive_since = None;
                self.changed.notify_all();
            });
            match self.watch(host) {
                Turn::Ended => self.part(host, running),
                Turn::Stuck => self.replace(host, running),
            }
        });
        self.log_suppressed();
    }

    /// Waits for the end of the process; meanwhile fails the messages that it does not answer in time.
    fn watch(&self, host: &Host) -> Turn {
        let mut desk = self.desk();
        loop {
            if desk.alive_since.is_none() || desk.is_over {
                return Turn::Ended;
            }
            let now = Instant::now();
            if let Some((id, delivery, silent_since)) = desk.open.remove_expired(now) {
                desk.suspect(id);
                let is_stuck = desk.last_line.is_none_or(|last| last < silent_since);
                drop(desk);
                let error = format!("no response within {}", HumanDuration(self.settings.timeout));
                self.warn_of_failure(&format!("the agent did not answer message {id}: {error}"));
                outcome::fail(host, delivery, &error, None);
                self.changed.notify_all();
                if is_stuck {
                    return Turn::Stuck;
                }
                desk = self.desk();
                continue;
            }
            let wait = desk.open.next_expiry().map(|until| until.saturating_duration_since(now));
            // A message that is delivered meanwhile wakes this thread.
            let wait = wait.unwrap_or(Duration::from_secs(3600));
            desk = match self.changed.wait_timeout(desk, wait) {
                Ok((desk, _)) => desk,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Ends a process that has ended its output, and requeues what it has not answered: one of these messages may have
    /// killed it, so each is tried alone.
    fn part(&self, host: &Host, running: Running) {
        self.close_input();
        let status = running.end();
        let open = self.take_open();
        let is_over = self.desk().is_over;
        let status = status.map_or_else(|| "an unknown status".to_owned(), |status| status.to_string());
        if !is_over {
            let text = match open.len() {
                1 => format!("the agent ended ({status}) with 1 message in flight"),
                in_flight => format!("the agent ended ({status}) with {in_flight} messages in flight"),
            };
            host.agent_report().failed(&text);
            self.warn_of_failure(&text);
        }
        for (id, delivery) in open {
            if is_over {
                outcome::release(host, delivery, Duration::ZERO);
            } else {
                self.desk().suspect(id);
                let error = format!("the agent ended ({status}) while it had this message");
                outcome::fail(host, delivery, &error, Some(Duration::ZERO));
            }
        }
        self.changed.notify_all();
    }

    /// Ends a process that is stuck at one message. It is no failure of the others.
    fn replace(&self, host: &Host, running: Running) {
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
        let mut desk = self.desk();
        desk.input = None;
        // An input that is being written to is not put back.
        desk.process += 1;
    }

    fn take_open(&self) -> Vec<(u64, Delivery)> {
        self.desk().open.drain()
    }
}
