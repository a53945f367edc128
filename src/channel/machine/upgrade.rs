//! Another version of the channel: tried beside this one, then put in its place, or dropped.
//!
//! Its `on-start` runs in a lane of its own while everything else goes on. When that has succeeded, what it did is kept and the
//! next callback of every lane is the new version's; callbacks of the old one that still run end as they would have. What waits
//! (requests, replies, timers, frames, duplicates) belongs to the channel and not to a version, so it stays.

use log::Level;

use super::turn::{Action, Turn};
use super::{Channel, MachineSettings, Phase, workspace_limits};
use crate::channel::Registration;
use crate::channel::breaker::Breaker;
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::channel::workspace::WorkspaceLimits;
use crate::event::arrival::Due;
use crate::event::callback::{Callback, CallbackValue};
use crate::model::rate_limit::ChannelEmitRateLimiter;
use crate::model::subject::without_channel;

impl Channel {
    /// Runs the `on-start` of another version, which has these settings.
    pub(super) fn try_version(&mut self, settings: MachineSettings, turn: &mut Turn<'_>) {
        let (of_this, of_other) =
            (workspace_limits(&self.settings.limits), workspace_limits(&settings.limits));
        self.workspace.set_limits(larger(of_this, of_other));
        self.candidate = Some(Box::new(settings));
        self.run_on_start(Purpose::Trial, turn);
    }

    fn run_on_start(&mut self, purpose: Purpose, turn: &mut Turn<'_>) {
        // The worker puts in the configuration.
        let job = Job::new(Callback::Start { config_json: "".into() }, purpose, turn.at.now);
        // The host tries one version at a time, and a channel that is put right again needs one place more.
        let _ = self.enqueue(job, turn);
    }

    /// The `on-start` of the other version returned, and what it did is kept.
    pub(super) fn trial_returned(&mut self, value: CallbackValue, turn: &mut Turn<'_>) {
        match value {
            _ if self.is_ending => self.trial_failed("the host is shutting down", false, turn),
            CallbackValue::Started(config) => turn.act(Action::Switch(config)),
            _ => self.trial_failed("on-start did not return a configuration", true, turn),
        }
    }

    /// The other version cannot start: this one stays. When requests of the other one have left the host, `on-start` of this one
    /// registers again what it needs at its service.
    pub(super) fn trial_failed(&mut self, reason: &str, has_sent: bool, turn: &mut Turn<'_>) {
        self.candidate = None;
        self.workspace.set_limits(workspace_limits(&self.settings.limits));
        let name = self.settings.name.as_str();
        let reason = without_channel(name, reason).to_owned();
        let text =
            format!("channel {name}: the new version cannot start, and the present one stays: {reason}");
        turn.log(Level::Error, text);
        if has_sent && !self.is_ending && self.registration.is_some() {
            self.run_on_start(Purpose::Restore, turn);
        }
        self.refused_version = Some(reason.clone());
        turn.act(Action::DropVersion(reason));
    }

    /// This version's `on-start` ran once more.
    pub(super) fn restored(&mut self, value: CallbackValue, turn: &mut Turn<'_>) {
        if let CallbackValue::Started(config) = value
            && self.is_ready()
        {
            turn.act(Action::Register(config));
        }
    }

    /// The host has put the other version in this one's place ([`Action::Switch`]), with what it may have of what its `on-start`
    /// asked for.
    pub fn switched(&mut self, registration: Registration, turn: &mut Turn<'_>) {
        let Some(settings) = self.candidate.take() else { return };
        self.take_settings(*settings);
        let name = &self.settings.name;
        turn.log(Level::Info, format!("channel {name} goes on with its new version"));
        self.refused_version = None;
        if self.state == Phase::Starting {
            // Its own start is not needed any more.
            self.lane(LaneKind::Inbound).retain(|job| !matches!(job.purpose, Purpose::Start));
            turn.act(Action::Cancel(Due::Start));
        }
        if self.breaker.pause().is_some() {
            turn.act(Action::Cancel(Due::Resume));
        }
        self.breaker = Breaker::default();
        self.registered(registration, turn);
    }

    fn take_settings(&mut self, settings: MachineSettings) {
        let (old, new) = (self.settings.limits, settings.limits);
        self.lane(LaneKind::Inbound).set_concurrency(new.inbound_concurrency);
        self.lane(LaneKind::Outbound).set_concurrency(new.outbound_concurrency);
        self.workspace.set_limits(workspace_limits(&new));
        // The same rate goes on: it counts the messages of both versions.
        if (old.messages_per_minute, old.messages_per_hour)
            != (new.messages_per_minute, new.messages_per_hour)
        {
            let rate = ChannelEmitRateLimiter::new(new.messages_per_minute, new.messages_per_hour);
            self.emission.set_rate(rate);
        }
        self.expected_memory = self.expected_memory.max(settings.initial_memory).min(new.memory_bytes);
        // A new websocket begins with what is held of the old one.
        self.socket_waits_until = None;
        self.settings = settings;
    }

    /// The memory that the `on-start` of another version may have: its own, before anything is known about it.
    pub(super) fn trial_wants(&self, with_full_memory: bool) -> usize {
        let settings = self.candidate.as_deref().unwrap_or(&self.settings);
        if with_full_memory { settings.limits.memory_bytes } else { settings.initial_memory }
    }
}

/// Both versions have room while one of them is tried.
fn larger(a: WorkspaceLimits, b: WorkspaceLimits) -> WorkspaceLimits {
    WorkspaceLimits {
        file_bytes: a.file_bytes.max(b.file_bytes),
        total_bytes: a.total_bytes.max(b.total_bytes),
        files: a.files.max(b.files),
        names: a.names,
    }
}
