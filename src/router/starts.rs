//! `on-start`, registration, `on-shutdown`: how a channel begins and ends.

use std::time::{Duration, Instant};

use crate::channel::{ChannelName, Registration};
use crate::event::Wakeup;
use crate::event::callback::{Callback, CallbackValue};
use crate::store::Batch;

use super::backoff::Backoff;
use super::core::{Router, Stopping, random};
use super::job::{Job, Purpose};
use super::lane::LaneKind;
use super::slot::State;

/// The waits between tries of an `on-start` that fails.
const START_RETRIES: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(300) };

impl Router {
    /// Runs `on-start`, or tries it again.
    pub(super) fn start_channel(&mut self, channel: &ChannelName) {
        let Some(slot) = self.slots.get_mut(channel) else { return };
        if slot.state != State::Starting || !slot.lane(LaneKind::Inbound).is_idle() {
            return;
        }
        match (slot.setup.start_config)() {
            Ok(config_json) => {
                let job = Job::new(Callback::Start { config_json }, Purpose::Start);
                // The lane was idle, so it has room.
                let _ = self.enqueue(channel, job);
            }
            Err(reason) => self.start_failed(channel, &reason),
        }
    }

    /// `on-start` returned: the channel is ready if the host agrees with what it asked for.
    pub(super) fn started(&mut self, channel: &ChannelName, value: CallbackValue, batch: Batch) {
        let CallbackValue::Started(config) = value else {
            return self.start_failed(channel, "on-start did not return a configuration");
        };
        let Some(slot) = self.slots.get_mut(channel) else { return };
        let registration = (slot.setup.register)(&config);
        for warning in &registration.warnings {
            log::warn!(target: channel.as_str(), "{warning}");
        }
        log::info!(target: channel.as_str(), "is ready: {}", describe(&registration));
        slot.poll.interval = registration.poll.map(|poll| poll.interval);
        slot.registration = Some(registration);
        slot.start_failures = 0;
        slot.last_failure = None;
        slot.state = State::Ready;
        self.storage.commit(batch, &self.mailbox);
        self.list_all(channel);
        self.schedule_poll(channel);
        self.schedule_timers(channel);
        self.begin_due_replies(channel);
    }

    /// `on-start` failed: it is tried again, later each time.
    pub(super) fn start_failed(&mut self, channel: &ChannelName, reason: &str) {
        if self.stopping.is_some() {
            return;
        }
        let Some(slot) = self.slots.get_mut(channel) else { return };
        slot.start_failures = slot.start_failures.saturating_add(1);
        slot.last_failure = Some(reason.to_owned());
        let wait = START_RETRIES.half_jitter(slot.start_failures, random());
        log::error!(target: channel.as_str(), "cannot start, tries again in {wait:.0?}: {reason}");
        self.scheduler.set(Wakeup::Start(channel.clone()), Instant::now() + wait);
    }

    /// Takes no more work; what runs may still end.
    pub(super) fn begin_shutdown(&mut self, grace: Duration) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping::Draining);
        self.scheduler.set(Wakeup::GraceOver, Instant::now() + grace);
        let channels: Vec<_> = self.slots.keys().cloned().collect();
        for channel in channels {
            self.refuse_waiting_webhooks(&channel);
            if let Some(slot) = self.slots.get_mut(&channel) {
                for lane in LaneKind::ALL {
                    slot.lane(lane).drain().for_each(drop);
                }
                // It is not durable, so what caused it comes again after the next start.
                slot.held = None;
            }
        }
        self.runnable.clear();
        for slot in self.slots.values_mut() {
            slot.listed = [false; 3];
        }
        self.say_farewell_when_drained();
    }

    /// What still runs has had its time: it ends within one slice of fuel.
    pub(super) fn grace_is_over(&mut self) {
        if self.stopping.is_some() && !self.running.is_empty() {
            log::warn!("{} callbacks did not end in time and are stopped", self.running.len());
            self.stop.stop();
        }
    }

    /// Once nothing runs any more, every channel that had started gets its `on-shutdown`.
    pub(super) fn say_farewell_when_drained(&mut self) {
        if self.stopping != Some(Stopping::Draining) || !self.running.is_empty() {
            return;
        }
        self.stopping = Some(Stopping::Farewell);
        let channels: Vec<_> = self.slots.keys().cloned().collect();
        for channel in channels {
            let Some(slot) = self.slots.get_mut(&channel) else { continue };
            let had_started = slot.registration.is_some() && slot.state == State::Ready;
            slot.state = State::Stopping;
            if had_started {
                let _ = self.enqueue(&channel, Job::new(Callback::Shutdown, Purpose::Shutdown));
            }
        }
    }

    /// Whether the router's work is done.
    pub(super) fn is_done(&mut self) -> bool {
        self.say_farewell_when_drained();
        self.stopping == Some(Stopping::Farewell)
            && self.running.is_empty()
            && (self.runnable.is_empty() || self.stop.is_stopped())
            && self.storage.is_settled()
    }
}

/// A registration in a few words, for the log.
fn describe(registration: &Registration) -> String {
    let mut words = registration.display_name.clone();
    for endpoint in &registration.endpoints {
        words += &format!(", {} {}", endpoint.methods.join("/"), endpoint.path);
    }
    if let Some(poll) = registration.poll {
        words += &format!(", polls every {:?}", poll.interval);
    }
    words
}
