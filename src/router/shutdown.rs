//! The end of the router: callbacks are let end, `on-shutdown` runs, and what does not end in time is left behind.

use std::time::{Duration, Instant};

use super::dispatch::RunningCallback;
use super::hosted::HostedChannel;
use super::state::Router;
use crate::channel::machine::ChannelCommand;
use crate::event::callback::{CallbackKind, CallbackReport};
use crate::event::{ShutdownPhase, Wakeup};
use crate::model::deadline::deadline_after;
use crate::sandbox::{StopFlag, WasmChannelError};

/// A guest that is stopped notices after one slice of fuel, which takes milliseconds.
const TIME_TO_STOP: Duration = Duration::from_millis(500);

impl Router {
    /// Takes no more work; what runs may still end.
    pub(super) fn begin_shutdown(&mut self, grace: Duration) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(ShutdownPhase::Draining);
        self.grace = grace;
        // Acknowledgements would keep the end waiting for two seconds.
        self.storage.stop_deferring();
        let now = Instant::now();
        self.scheduler.set(Wakeup::WebhookGraceOver, deadline_after(now, self.config.webhook_grace));
        self.scheduler.set(Wakeup::GraceOver(ShutdownPhase::Draining), deadline_after(now, grace));
        self.channels.values().for_each(HostedChannel::close_link);
        self.command_all(|| ChannelCommand::Drain);
        self.runnable.clear();
        self.start_on_shutdown();
    }

    /// Webhooks have had their time: each is responded to with 503, and its guest learns nothing of a response that did not come.
    pub(super) fn webhook_grace_is_over(&mut self) {
        let is_webhook = |running: &&RunningCallback| running.kind == CallbackKind::HttpRequest;
        let count = self.running.values().filter(is_webhook).count();
        if count > 0 {
            log::warn!("{count} webhooks did not end in time and are stopped");
        }
        // In this order, so that no guest is told that its request has failed.
        self.stop_webhooks.stop();
        (self.end_webhook_requests)();
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
            self.stop_webhooks.stop();
            self.scheduler.set(Wakeup::GraceOver(phase), deadline_after(Instant::now(), TIME_TO_STOP));
            return;
        }
        let left: Vec<_> = self
            .running
            .iter()
            .map(|(ticket, running)| (*ticket, running.channel.to_string(), running.kind))
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
        self.command_all(|| ChannelCommand::Shutdown);
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
