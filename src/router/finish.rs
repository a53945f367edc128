//! What follows from a callback's end.

use std::time::{Duration, Instant};

use crate::channel::ChannelName;
use crate::channel::workspace::{Conflict, WorkspacePath};
use crate::event::Wakeup;
use crate::event::callback::{Callback, CallbackReport, CallbackValue, Effects, Emitted};
use crate::event::completion::Ticket;
use crate::model::human_duration::HumanDuration;
use crate::model::log_throttle::Suppressed;
use crate::model::subject::{about_channel, without_channel};
use crate::sandbox::WasmChannelError;
use crate::store::{Batch, Change, ChannelKey};

use super::core::Router;
use super::waiting::HandledRequest;
use crate::channel::changes;
use crate::channel::job::{Job, Purpose, Running};
use crate::channel::lane::LaneKind;
use crate::channel::poll::Polled;
use crate::channel::state::{Channel, LogKind, State};
use crate::model::clock::{steady_ms, unix_ms};

/// How a callback ended, as far as its channel's reputation is concerned.
enum Fault {
    /// The guest's own: it counts towards a pause.
    Guest,
    /// Somebody else's: a shutdown, an upstream server, a full host.
    NotGuest,
}

impl Router {
    /// A callback has ended, or could not even begin.
    pub(super) fn callback_ended(&mut self, ticket: Ticket, report: CallbackReport) {
        let Some(running) = self.running.remove(&ticket) else { return };
        self.running_in[running.lane as usize] -= 1;
        self.runnable.memory_was_freed();
        if running.is_removed {
            return;
        }
        let Some(slot) = self.channels.get_mut(&running.channel) else { return };
        slot.note_usage(&report);
        if slot.credentials.note(&report.effects.upstream) {
            let problem = slot.credentials.problem().unwrap_or_default();
            log::error!(target: running.channel.as_str(), "channel {} is degraded: {problem}", running.channel);
        }
        match &report.result {
            Ok(_) => self.commit_or_wait(running, report),
            Err(WasmChannelError::HostMemoryExhausted { .. })
                if !report.effects.had_side_effects && !running.job.with_full_memory =>
            {
                self.run_again(running, |job| job.with_full_memory = true);
            }
            Err(_) => self.callback_failed(running, report),
        }
    }

    /// Runs a job again from the present state, before any other of its lane.
    fn run_again(&mut self, running: Running, change: impl FnOnce(&mut Job)) {
        let Running { channel, lane, mut job, .. } = running;
        change(&mut job);
        let Some(slot) = self.channels.get_mut(&channel) else { return };
        slot.lane(lane).put_back(job);
        self.mark_runnable(&channel, lane);
    }

    /// A callback succeeded: its effects are applied, unless something stands in the way.
    fn commit_or_wait(&mut self, running: Running, report: CallbackReport) {
        let now = Instant::now();
        let Some(slot) = self.channels.get(&running.channel) else { return };
        if let Some(wait) = slot.emission.waits_behind(report.effects.messages.len(), now) {
            return self.emitted_too_much(running, report, wait);
        }
        if let Err(limited) = self.try_commit(running, report) {
            let (running, report, wait) = *limited;
            self.emitted_too_much(running, report, wait);
        }
    }

    /// Commits a callback's effects, runs it again, or fails it; gives it back with the time to wait when it is over its
    /// channel's emit rate.
    fn try_commit(
        &mut self,
        running: Running,
        mut report: CallbackReport,
    ) -> Result<(), Box<(Running, CallbackReport, Duration)>> {
        let Some(slot) = self.channels.get_mut(&running.channel) else { return Ok(()) };
        let may_run_again = !report.effects.had_side_effects && !running.job.is_rerun;
        match slot.workspace.check(&report.effects.workspace) {
            Ok(()) => {}
            Err(_) if may_run_again => {
                self.run_again(running, |job| job.is_rerun = true);
                return Ok(());
            }
            Err(Conflict::Changed(_)) => {
                if let Some(suppressed) = slot.may_log(LogKind::WorkspaceConflict) {
                    log::warn!(
                        target: running.channel.as_str(),
                        "channel {}: two callbacks changed the same workspace file; the later one wins{suppressed}",
                        running.channel
                    );
                }
            }
            Err(Conflict::Full(error)) => {
                report.result = Err(WasmChannelError::WorkspaceFull {
                    channel: running.channel.to_string(),
                    callback: running.job.callback.kind(),
                    reason: error.to_string(),
                });
                self.callback_failed(running, report);
                return Ok(());
            }
        }
        if !slot.emission.may_emit() {
            slot.drop_messages(&mut report.effects);
        }
        match slot.emission.take(report.effects.messages.len(), Instant::now()) {
            Ok(()) => {
                self.commit(running, report);
                Ok(())
            }
            Err(wait) => Err(Box::new((running, report, wait))),
        }
    }

    /// More messages than the channel's rate allows: a client is told to come back, anything else is kept until there
    /// is room.
    fn emitted_too_much(&mut self, running: Running, report: CallbackReport, wait: Duration) {
        let channel = running.channel.clone();
        if let Some(suppressed) = self.may_log(&channel, LogKind::EmitRate) {
            log::warn!(
                target: channel.as_str(),
                "channel {channel} emits faster than its rate limit: {} waits for {}{suppressed}",
                running.job.callback.kind(),
                HumanDuration(wait)
            );
        }
        if let Purpose::Webhook { identities, responder } = running.job.purpose {
            self.free_lane(&channel, running.lane);
            let refusal = crate::event::response::WebhookRefusal::TooManyRequests { retry_after: wait };
            return self.webhook_failed(&channel, &identities, responder, refusal);
        }
        let Some(slot) = self.channels.get_mut(&channel) else { return };
        if let Some(until) = slot.emission.hold((running, report), wait, Instant::now()) {
            self.scheduler.set(Wakeup::EmitRoom(channel), until);
        }
    }

    /// The emit rate has room again, perhaps.
    pub(super) fn release_held(&mut self, channel: &ChannelName) {
        while let Some((running, report)) =
            self.channels.get_mut(channel).and_then(|slot| slot.emission.release())
        {
            let Err(limited) = self.try_commit(running, report) else { continue };
            let (running, report, wait) = *limited;
            let Some(slot) = self.channels.get_mut(channel) else { return };
            let until = slot.emission.hold_again((running, report), wait, Instant::now());
            self.scheduler.set(Wakeup::EmitRoom(channel.clone()), until);
            break;
        }
        self.runnable.memory_was_freed();
        self.mark_all_runnable(channel);
    }

    /// At shutdown there is no later moment: what was held back is committed over its rate.
    pub(super) fn commit_held(&mut self, channel: &ChannelName) {
        let held = self.channels.get_mut(channel).map(|slot| slot.emission.release_all());
        for (running, report) in held.into_iter().flatten() {
            self.commit(running, report);
        }
    }

    /// Applies a callback's effects in memory, sends them to the store, and lets the lane go on.
    fn commit(&mut self, running: Running, report: CallbackReport) {
        let Running { channel, lane, job, workspace_version, .. } = running;
        let Ok(mut value) = report.result else { return };
        let key: ChannelKey = channel.shared();
        let now_ms = unix_ms();
        let polled = Polled { took: report.usage.elapsed, emitted: !report.effects.messages.is_empty() };
        let Some(slot) = self.channels.get_mut(&channel) else { return };
        slot.counters.succeeded += 1;
        // What ends well in another lane does not end a pause: only its time does.
        if !matches!(job.purpose, Purpose::Start) && slot.state != State::Paused {
            slot.breaker.succeeded();
        }
        let is_outdated = slot.workspace.version() != workspace_version;
        let mut batch = Batch::default();
        self.fired_timer(&channel, &job.purpose, &mut batch);
        self.apply_effects(&channel, &key, report.effects, now_ms, &mut batch);
        self.free_lane(&channel, lane);
        match job.purpose {
            Purpose::Webhook { identities, responder } => {
                let Callback::HttpRequest(request) = job.callback else { return };
                let since = job.waiting_since;
                let handled = HandledRequest { request, identities, responder, since, is_outdated };
                match self.wait_if_asked(&channel, handled, &mut value) {
                    Some(HandledRequest { identities, responder, .. }) => {
                        self.webhook_succeeded(&channel, identities, responder, value, batch);
                    }
                    None => self.storage.commit(batch, &self.mailbox),
                }
            }
            Purpose::Start => self.started(&channel, value, batch),
            Purpose::Shutdown | Purpose::Status | Purpose::Timer { .. } => {
                self.storage.commit(batch, &self.mailbox)
            }
            Purpose::Poll => {
                self.storage.commit(batch, &self.mailbox);
                self.polled(&channel, polled);
            }
            Purpose::Reply(attempt) => self.reply_delivered(&channel, &attempt, &value, batch),
        }
    }

    fn apply_effects(
        &mut self,
        channel: &ChannelName,
        key: &ChannelKey,
        effects: Effects,
        now_ms: u64,
        batch: &mut Batch,
    ) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        let written = slot.workspace.apply_over(&effects.workspace);
        let has_changed = !written.is_empty();
        for (path, content) in written {
            batch.changes.push(Change::PutFile { channel: key.clone(), path: path.as_str().into(), content });
        }
        if has_changed {
            self.workspace_changed(channel);
        }
        self.add_messages(channel, key, effects.messages, now_ms, batch);
        let timers = self.allowed_timers(channel, effects.timers);
        for change in &timers {
            batch.changes.push(changes::timer(key, change, now_ms));
        }
        self.change_timers(channel, &timers, now_ms);
    }

    /// Messages that carry an id of their own, as far as the capability file says so, are taken once.
    pub(super) fn add_messages(
        &mut self,
        channel: &ChannelName,
        key: &ChannelKey,
        messages: Vec<Emitted>,
        now_ms: u64,
        batch: &mut Batch,
    ) {
        let ids = self.storage.ids();
        let Some(slot) = self.channels.get_mut(channel) else { return };
        slot.counters.emitted += messages.len() as u64;
        for emitted in messages {
            if slot.setup.message_id_from_metadata
                && let Some(id) = changes::own_id(&emitted.message)
            {
                if !slot.seen.is_first_message(id, steady_ms()) {
                    slot.counters.dropped += 1;
                    log::debug!(target: channel.as_str(), "channel {channel} emitted a message again; it is dropped");
                    continue;
                }
                batch.changes.push(changes::dedupe_message(ids.dedupe_key(), key, id, steady_ms()));
            }
            batch.changes.push(Change::AddMessage(changes::add_message(ids.message(), key, emitted, now_ms)));
        }
    }

    /// A callback failed: nothing of it is kept.
    fn callback_failed(&mut self, running: Running, report: CallbackReport) {
        let Err(error) = &report.result else { return };
        let Running { channel, lane, job, .. } = running;
        if let Some(suppressed) = self.may_log(&channel, LogKind::CallbackFailed) {
            let error = error.to_string();
            let text = about_channel(channel.as_str(), &error);
            log::warn!(target: channel.as_str(), "{text}{suppressed}");
        }
        self.free_lane(&channel, lane);
        if let Some(slot) = self.channels.get_mut(&channel) {
            slot.counters.failed += 1;
            slot.last_failure = Some(error.to_string());
        }
        let is_start = matches!(job.purpose, Purpose::Start);
        match job.purpose {
            Purpose::Start => self.start_failed(&channel, &error.to_string()),
            Purpose::Webhook { identities, responder } => {
                self.webhook_failed(&channel, &identities, responder, refusal_for(error));
            }
            Purpose::Poll => self.poll_failed(&channel),
            Purpose::Timer { name, setting } => self.timer_failed(&channel, &name, setting),
            Purpose::Reply(attempt) => {
                let progress = self.keep_progress(&channel, &report.effects);
                self.reply_failed(&channel, &attempt, error, &report.effects, progress);
            }
            Purpose::Status | Purpose::Shutdown => {}
        }
        if !is_start && matches!(fault_of(error), Fault::Guest) {
            self.count_failure(&channel, &error.to_string());
        }
    }

    /// Applies what a failed attempt wrote about how far it came. When there is no room for that, the next attempt begins
    /// anew.
    fn keep_progress(&mut self, channel: &ChannelName, effects: &Effects) -> Vec<Change> {
        let Some(slot) = self.channels.get_mut(channel) else { return Vec::new() };
        if let Err(Conflict::Full(_)) = slot.workspace.check(&effects.workspace) {
            return Vec::new();
        }
        let key: ChannelKey = channel.shared();
        let written = slot.workspace.apply_over(&effects.workspace);
        if !written.is_empty() {
            self.workspace_changed(channel);
        }
        let put = |(path, content): (WorkspacePath, _)| Change::PutFile {
            channel: key.clone(),
            path: path.as_str().into(),
            content,
        };
        written.into_iter().map(put).collect()
    }

    /// See [`Channel::may_log`].
    pub(super) fn may_log(&mut self, channel: &ChannelName, kind: LogKind) -> Option<Suppressed> {
        self.channels.get_mut(channel)?.may_log(kind)
    }

    fn count_failure(&mut self, channel: &ChannelName, reason: &str) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        if slot.state != State::Ready {
            return;
        }
        let Some(pause) = slot.breaker.failed(reason, Instant::now()) else { return };
        let until = pause.until;
        log::error!(
            target: channel.as_str(),
            "channel {channel} is paused for {} after {} failures in a row: {reason}",
            HumanDuration(until.saturating_duration_since(Instant::now())),
            crate::channel::breaker::FAILURES_BEFORE_PAUSE,
            reason = without_channel(channel.as_str(), reason)
        );
        slot.state = State::Paused;
        self.scheduler.set(Wakeup::Resume(channel.clone()), until);
        self.refuse_waiting_webhooks(channel);
    }

    /// A pause is over: one more try.
    pub(super) fn resume(&mut self, channel: &ChannelName) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        if slot.state != State::Paused || !slot.breaker.resume(Instant::now()) {
            return;
        }
        log::info!(target: channel.as_str(), "channel {channel} is tried again after its pause");
        slot.state = State::Ready;
        self.mark_all_runnable(channel);
        self.schedule_poll(channel);
        self.begin_due_replies(channel);
    }

    /// A callback's place in its lane is free again.
    pub(super) fn free_lane(&mut self, channel: &ChannelName, lane: LaneKind) {
        if let Some(slot) = self.channels.get_mut(channel) {
            slot.lane(lane).finished();
        }
        self.mark_runnable(channel, lane);
        if lane == LaneKind::Outbound {
            self.begin_due_replies(channel);
        }
    }

    pub(super) fn mark_all_runnable(&mut self, channel: &ChannelName) {
        for lane in LaneKind::ALL {
            self.mark_runnable(channel, lane);
        }
    }
}

impl Channel {
    /// The messages of a channel whose capability file allows none. The rest of the callback counts.
    fn drop_messages(&mut self, effects: &mut Effects) {
        let count = effects.messages.len();
        if count == 0 {
            return;
        }
        effects.messages.clear();
        self.counters.dropped += count as u64;
        let channel = &self.setup.name;
        if let Some(suppressed) = self.log.check(&LogKind::MessagesDropped, Instant::now()) {
            log::warn!(
                target: channel.as_str(),
                "channel {channel} emitted {count} messages and may emit none: emit_rate_limit is 0{suppressed}"
            );
        }
    }

    /// Remembers what a callback needed, so that the next one is given it from the start. A smaller need lowers the
    /// expectation slowly: guests alternate between small and large requests.
    fn note_usage(&mut self, report: &CallbackReport) {
        let peak = report.usage.peak_memory.max(self.setup.module.initial_memory_bytes());
        self.expected_memory = peak.max(self.expected_memory - self.expected_memory.saturating_sub(peak) / 8);
        let dropped = report.effects.dropped;
        self.counters.dropped += u64::from(dropped.messages)
            + u64::from(dropped.attachments)
            + u64::from(dropped.unused_attachment_data)
            + u64::from(dropped.log_lines);
    }
}

fn fault_of(error: &WasmChannelError) -> Fault {
    match error {
        WasmChannelError::Stopped { .. }
        | WasmChannelError::HostMemoryExhausted { .. }
        | WasmChannelError::HostFailure { .. }
        | WasmChannelError::GuestError { .. } => Fault::NotGuest,
        _ => Fault::Guest,
    }
}

fn refusal_for(error: &WasmChannelError) -> crate::event::response::WebhookRefusal {
    use crate::event::response::WebhookRefusal;
    match error {
        WasmChannelError::Stopped { .. } => WebhookRefusal::Stopping,
        WasmChannelError::HostMemoryExhausted { .. } => WebhookRefusal::Busy,
        _ => WebhookRefusal::CallbackFailed,
    }
}

/// Whether a value says that nothing was run.
pub(super) fn was_not_exported(value: &CallbackValue) -> bool {
    matches!(value, CallbackValue::NotExported)
}
