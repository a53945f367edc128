//! `on-start`, and what it registered.

use std::time::Duration;

use log::Level;

use super::turn::{Action, Turn};
use super::{Channel, Phase};
use crate::channel::Registration;
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::event::arrival::Due;
use crate::event::callback::{Callback, CallbackValue};
use crate::model::backoff::Backoff;
use crate::model::human_duration::HumanDuration;
use crate::model::subject::about_channel;

/// The waits between tries of an `on-start` that fails.
pub(super) const START_RETRIES: Backoff =
    Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(300) };

impl Channel {
    /// Runs `on-start`, or tries it again.
    pub(super) fn start(&mut self, turn: &mut Turn<'_>) {
        if self.state != Phase::Starting {
            return;
        }
        for text in std::mem::take(&mut self.unusable_files) {
            turn.log(Level::Error, text);
        }
        if !self.lane(LaneKind::Inbound).is_idle() {
            // A request from before still runs, or this start is tried already.
            return turn.set_after(Due::Start, START_RETRIES.initial);
        }
        // The worker puts in the configuration.
        let job = Job::new(Callback::Start { config_json: "".into() }, Purpose::Start, turn.at.now);
        // The lane was idle, so it has room.
        let _ = self.enqueue(job, turn);
    }

    /// `on-start` returned. What it asks for is registered before the channel takes work.
    pub(super) fn start_returned(&mut self, value: CallbackValue, turn: &mut Turn<'_>) {
        match value {
            // Another version has started meanwhile.
            _ if self.state != Phase::Starting => {}
            CallbackValue::Started(config) => turn.act(Action::Register(config)),
            _ => self.start_failed("on-start did not return a configuration", turn),
        }
    }

    /// The channel has what it may have of what `on-start` asked for ([`Action::Register`]): it is ready.
    pub fn registered(&mut self, registration: Registration, turn: &mut Turn<'_>) {
        let name = &self.settings.name;
        for warning in &registration.warnings {
            turn.log(Level::Warn, format!("channel {name}: {warning}"));
        }
        turn.log(Level::Info, format!("channel {name} is ready: {}", describe(&registration)));
        self.poll.interval = registration.poll.map(|poll| poll.interval);
        let is_first = self.registration.replace(registration).is_none();
        self.start_failures = 0;
        self.last_failure = None;
        self.state = Phase::Ready;
        self.mark_all(turn);
        self.schedule_poll(turn);
        self.open_link(turn);
        self.poll_for_frames(turn);
        if is_first {
            self.schedule_timers(turn);
        }
        self.begin_due_replies(turn);
    }

    /// `on-start` failed: it is tried again, later each time.
    pub(super) fn start_failed(&mut self, reason: &str, turn: &mut Turn<'_>) {
        if self.is_ending || self.state != Phase::Starting {
            return;
        }
        self.start_failures = self.start_failures.saturating_add(1);
        self.last_failure = Some(reason.to_owned());
        let wait = START_RETRIES.half_jitter(self.start_failures, turn.host.random());
        let name = self.settings.name.as_str();
        turn.log(
            Level::Error,
            format!("{}; on-start is tried again in {}", about_channel(name, reason), HumanDuration(wait)),
        );
        turn.set_after(Due::Start, wait);
    }
}

/// A registration in a few words, for the log.
fn describe(registration: &Registration) -> String {
    let mut words = registration.display_name.clone();
    for endpoint in &registration.endpoints {
        words += &format!(", {} {}", endpoint.methods.join("/"), endpoint.path);
    }
    if let Some(poll) = registration.poll {
        words += &format!(", polls every {}", HumanDuration(poll.interval));
    }
    words
}
