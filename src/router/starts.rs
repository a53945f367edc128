//! `on-start`, registration, `on-shutdown`: how a channel begins and ends.

use std::time::{Duration, Instant};

use crate::channel::{ChannelName, Registration};
use crate::event::callback::{Callback, CallbackReport, CallbackValue};
use crate::event::{ShutdownPhase, Wakeup};
use crate::model::deadline::deadline_after;
use crate::model::human_duration::HumanDuration;
use crate::model::subject::about_channel;
use crate::sandbox::{StopFlag, WasmChannelError};
use crate::store::Batch;

use super::core::{Router, random};
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::channel::state::State;
use crate::model::backoff::Backoff;

/// The waits between tries of an `on-start` that fails.
const START_RETRIES: Backoff = Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(300) };

/// A guest that is stopped notices after one slice of fuel, which takes milliseconds.
const TIME_TO_STOP: Duration = Duration::from_millis(500);

impl Router {
    /// Runs `on-start`, or tries it again.
    pub(super) fn start_channel(&mut self, channel: &ChannelName) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        if slot.state != State::Starting {
            return;
        }
        if !slot.lane(LaneKind::Inbound).is_idle() {
            // A request from before still runs, or this start is tried already.
            self.scheduler
                .set(Wakeup::Start(channel.clone()), deadline_after(Instant::now(), START_RETRIES.initial));
            return;
        }
        // The worker puts in the configuration.
        let job = Job::new(Callback::Start { config_json: "".into() }, Purpose::Start);
        // The lane was idle, so it has room.
        let _ = self.enqueue(channel, job);
    }

    /// `on-start` returned: the channel is ready if the host agrees with what it asked for.
    pub(super) fn started(&mut self, channel: &ChannelName, value: CallbackValue, batch: Batch) {
        let CallbackValue::Started(config) = value else {
            return self.start_failed(channel, "on-start did not return a configuration");
        };
        let Some(slot) = self.channels.get_mut(channel) else { return };
        let registration = (slot.setup.register)(&config);
        for warning in &registration.warnings {
            log::warn!(target: channel.as_str(), "channel {channel}: {warning}");
        }
        log::info!(target: channel.as_str(), "channel {channel} is ready: {}", describe(&registration));
        slot.poll.interval = registration.poll.map(|poll| poll.interval);
        slot.registration = Some(registration);
        slot.start_failures = 0;
        slot.last_failure = None;
        slot.state = State::Ready;
        self.storage.commit(batch, &self.mailbox);
        self.mark_all_runnable(channel);
        self.schedule_poll(channel);
        self.open_link(channel);
        self.poll_for_frames(channel);
        self.schedule_timers(channel);
        self.begin_due_replies(channel);
    }

    /// `on-start` failed: it is tried again, later each time.
    pub(super) fn start_failed(&mut self, channel: &ChannelName, reason: &str) {
        if self.stopping.is_some() {
            return;
        }
        let Some(slot) = self.channels.get_mut(channel) else { return };
        slot.start_failures = slot.start_failures.saturating_add(1);
        slot.last_failure = Some(reason.to_owned());
        let wait = START_RETRIES.half_jitter(slot.start_failures, random());
        log::error!(
            target: channel.as_str(),
            "{}; on-start is tried again in {}",
            about_channel(channel.as_str(), reason),
            HumanDuration(wait)
        );
        self.scheduler.set(Wakeup::Start(channel.clone()), deadline_after(Instant::now(), wait));
    }

    /// Takes no more work; what runs may still end.
    pub(super) fn begin_shutdown(&mut self, grace: Duration) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(ShutdownPhase::Draining);
        self.grace = grace;
        self.scheduler.set(Wakeup::GraceOver(ShutdownPhase::Draining), deadline_after(Instant::now(), grace));
        let channels: Vec<_> = self.channels.keys().cloned().collect();
        for channel in channels {
            self.refuse_waiting_webhooks(&channel);
            self.commit_held(&channel);
            let Some(slot) = self.channels.get_mut(&channel) else { continue };
            slot.link.iter().for_each(|link| link.close());
            let waiting: Vec<Job> =
                LaneKind::ALL.iter().flat_map(|lane| slot.lane(*lane).take_all()).collect();
            for job in waiting {
                if let Purpose::Reply(attempt) = job.purpose {
                    self.reply_not_tried(&channel, &attempt);
                }
            }
        }
        self.runnable.clear();
        for slot in self.channels.values_mut() {
            slot.is_marked = [false; LaneKind::COUNT];
        }
        self.start_on_shutdown();
    }

    /// What still runs has had its time: it ends within one slice of fuel, unless it waits for a response from outside.
    /// Nothing of a callback that does not even end then is kept, and nobody waits for it.
    pub(super) fn grace_is_over(&mut self, phase: ShutdownPhase) {
        if self.stopping != Some(phase) {
            return;
        }
        if !self.stop.is_stopped() {
            log::warn!("{} callbacks did not end in time and are stopped", self.running.len());
            self.stop.stop();
            self.scheduler.set(Wakeup::GraceOver(phase), deadline_after(Instant::now(), TIME_TO_STOP));
            return;
        }
        let left: Vec<_> = self
            .running
            .iter()
            .map(|(ticket, running)| (*ticket, running.channel.to_string(), running.job.callback.kind()))
            .collect();
        self.abandoned += left.len();
        for (ticket, channel, callback) in left {
            let mut report =
                CallbackReport::failed(callback, WasmChannelError::Stopped { channel, callback });
            // Whether anything went out is not known.
            report.effects.had_side_effects = true;
            self.callback_ended(ticket, report);
        }
    }

    /// Once nothing runs any more, every channel that had started gets its `on-shutdown`.
    pub(super) fn start_on_shutdown(&mut self) {
        if self.stopping != Some(ShutdownPhase::Draining) || !self.running.is_empty() {
            return;
        }
        self.stopping = Some(ShutdownPhase::OnShutdown);
        self.stop = StopFlag::default();
        let phase = Wakeup::GraceOver(ShutdownPhase::OnShutdown);
        self.scheduler.set(phase, deadline_after(Instant::now(), self.grace));
        let channels: Vec<_> = self.channels.keys().cloned().collect();
        for channel in channels {
            let Some(slot) = self.channels.get_mut(&channel) else { continue };
            let had_started = slot.registration.is_some() && slot.state == State::Ready;
            slot.state = State::Stopping;
            if had_started {
                let _ = self.enqueue(&channel, Job::new(Callback::Shutdown, Purpose::Shutdown));
            }
        }
        // No event may follow before the end of the grace.
        self.start_what_can_start();
    }

    /// Whether the router's work is done.
    pub(super) fn is_done(&mut self) -> bool {
        self.take_responded();
        self.start_on_shutdown();
        self.stopping == Some(ShutdownPhase::OnShutdown)
            && self.running.is_empty()
            && (self.runnable.is_empty() || self.stop.is_stopped())
            && self.storage.has_ended_or_wakes()
            // What a request to the store brought was sent before the request ended, and may still be unheard.
            && self.completions.is_empty()
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
