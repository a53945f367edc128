//! Doing what a program says.

use std::time::Instant;

use wit_abi::types::AgentResponse;

use super::child::Line;
use super::in_flight::lease;
use super::line::{AgentLine, BadLine, id_within, parse_line};
use super::{ExecAgent, IgnoredLine};
use crate::agent::outcome::{self, Recipient};
use crate::agent::quote::{quote, redacted};
use crate::agent::response::ResponseError;
use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::escape::escaped;

/// The process that said something, or that is tried alone.
pub(super) trait Process {
    /// Takes a message that it has.
    fn take(&self, id: u64) -> Option<Delivery>;
    /// The message that it has, when it is one alone.
    fn only_one(&self) -> Option<u64>;
    /// It has not dealt with the message yet.
    fn put(&self, id: u64, delivery: Delivery);
    /// Who wrote a message that it has; the time for it begins again.
    fn touch(&self, id: u64) -> Option<Recipient>;
}

impl ExecAgent {
    /// Reads a line and does what it says.
    pub(super) fn take_line(&self, host: &Host, process: &dyn Process, line: &Line) {
        match line {
            Line::Whole(line) if line.trim().is_empty() => {}
            Line::Whole(line) => match parse_line(line) {
                Ok(said) => self.act(host, process, said),
                Err(bad) => self.refuse(host, process, bad, line),
            },
            Line::TooLong(line) => self.refuse(host, process, too_long(line), line),
        }
    }

    /// Quotes a line that is not understood. The process will not reply again to a message that it thinks it has replied to,
    /// so that attempt has failed.
    fn refuse(&self, host: &Host, process: &dyn Process, bad: BadLine, line: &str) {
        let BadLine { error, id, is_final, is_torn } = bad;
        let about = id.map(|id| format!(" about message {id}")).unwrap_or_default();
        let quoted = quote(line, &self.secrets);
        if let Some(suppressed) = self.log().ignored_lines.check(&IgnoredLine::NotUnderstood, Instant::now())
        {
            log::warn!("a line of the agent{about} is ignored: {error}: {quoted}{suppressed}");
        }
        let meant = match id {
            Some(id) => Some(id).filter(|_| is_final || is_torn),
            // A process that has one message speaks of that; of one among several it would be a guess.
            None if is_torn => process.only_one(),
            None => None,
        };
        if let Some(delivery) = meant.and_then(|id| process.take(id)) {
            outcome::fail(
                host,
                delivery,
                &format!("its response is not understood: {error}: {quoted}"),
                None,
            );
        }
    }

    fn act(&self, host: &Host, process: &dyn Process, said: AgentLine) {
        match said {
            AgentLine::Reply { id, response, done } => {
                if let Some(delivery) = self.known(process, id) {
                    self.reply(host, process, delivery, response, done);
                }
            }
            AgentLine::Done { id } => {
                if let Some(delivery) = self.known(process, id) {
                    self.complete(host, delivery);
                }
            }
            AgentLine::Nack { id, delay } => {
                if let Some(delivery) = self.known(process, id) {
                    outcome::fail(host, delivery, "the agent refused it (nack)", delay);
                }
            }
            AgentLine::Status { id, status, message } => match process.touch(id) {
                Some(recipient) => recipient.show(host, status, &message),
                None => self.warn_of_unknown(id),
            },
            AgentLine::Broadcast { channel, user_id, response } => {
                let sent = channel.parse().map_err(|_| format!("there is no channel {channel:?}")).and_then(
                    |name| host.broadcast(&name, &user_id, response).map_err(|error| error.to_string()),
                );
                if let Err(error) = sent {
                    self.warn_of_failure(&format!("a broadcast of the agent was not kept: {error}"));
                }
            }
        }
    }

    fn reply(
        &self,
        host: &Host,
        process: &dyn Process,
        delivery: Delivery,
        response: Option<AgentResponse>,
        done: bool,
    ) {
        let kept = response.map_or(Ok(()), |response| outcome::keep(host, &delivery, response));
        match kept {
            Err(not_kept) => not_kept.end(host, delivery),
            Ok(()) if done => self.complete(host, delivery),
            Ok(()) => process.put(delivery.id().0, delivery),
        }
    }

    fn complete(&self, host: &Host, delivery: Delivery) {
        let mut state = self.state();
        state.suspects.remove(&delivery.id().0);
        state.has_responded = true;
        drop(state);
        outcome::complete(host, delivery);
    }

    fn known(&self, process: &dyn Process, id: u64) -> Option<Delivery> {
        let delivery = process.take(id);
        if delivery.is_none() {
            self.warn_of_unknown(id);
        }
        delivery
    }

    fn warn_of_unknown(&self, id: u64) {
        if let Some(suppressed) = self.log().ignored_lines.check(&IgnoredLine::UnknownMessage, Instant::now())
        {
            log::warn!("agent referenced message {id}, which is unknown or already acknowledged{suppressed}");
        }
    }

    /// Standard error goes to the log.
    pub(super) fn log_errors(&self, lines: impl Iterator<Item = Line>) {
        for line in lines {
            let (Line::Whole(line) | Line::TooLong(line)) = line;
            if let Some(suppressed) = self.log().errors.check(&(), Instant::now()) {
                log::info!(target: "agent", "{}{suppressed}", escaped(&redacted(&line, &self.secrets)));
            }
        }
    }

    /// What was left out and no later line has reported.
    pub(super) fn log_suppressed(&self) {
        let (ignored, errors) = {
            let mut throttles = self.log();
            (throttles.ignored_lines.take_suppressed(), throttles.errors.take_suppressed())
        };
        if ignored > 0 {
            log::warn!("{ignored} more lines of the agent were ignored");
        }
        if errors > 0 {
            log::warn!("{errors} more lines of the agent's standard error were left out");
        }
    }
}

/// The main process: its messages are in flight.
impl Process for ExecAgent {
    fn take(&self, id: u64) -> Option<Delivery> {
        let delivery = self.state().open.remove(id);
        self.changed.notify_all();
        delivery
    }

    fn only_one(&self) -> Option<u64> {
        self.state().open.only_one()
    }

    fn put(&self, id: u64, delivery: Delivery) {
        delivery.extend(lease(self.settings.timeout));
        self.state().open.insert(id, delivery, Instant::now(), self.settings.timeout);
    }

    fn touch(&self, id: u64) -> Option<Recipient> {
        let timeout = self.settings.timeout;
        let mut state = self.state();
        let delivery = state.open.touch(id, Instant::now(), timeout)?;
        delivery.extend(lease(timeout));
        Some(Recipient::of(delivery))
    }
}

/// A line that was not kept as a whole: what it says about its message is in its beginning.
fn too_long(beginning: &str) -> BadLine {
    BadLine {
        error: ResponseError::TooLong,
        id: id_within(beginning),
        is_final: beginning.contains("\"reply\""),
        is_torn: false,
    }
}
