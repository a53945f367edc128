//! What follows from a callback's end.

use std::time::Duration;

use log::Level;

use super::parked::HandledRequest;
use super::served::Served;
use super::turn::Turn;
use super::{Channel, ChannelLogKind, Phase};
use crate::channel::job::{Job, Purpose, RunningJob};
use crate::channel::poll::Polled;
use crate::channel::workspace::Conflict;
use crate::event::callback::{Callback, CallbackReport};
use crate::event::completion::Ticket;
use crate::event::response::WebhookRefusal;
use crate::model::subject::about_channel;
use crate::sandbox::WasmChannelError;
use crate::store::Batch;

/// A callback that succeeded and is over its channel's emit rate, with the time to wait.
pub(super) type Limited = Box<(RunningJob, CallbackReport, Duration)>;

impl Channel {
    /// A callback has ended, or could not even begin.
    pub fn finished(&mut self, ticket: Ticket, report: CallbackReport, turn: &mut Turn<'_>) {
        let Some(running) = self.take_running(ticket) else { return };
        self.note_usage(&report);
        self.activity.note(&report, turn.at.unix_ms);
        if self.credentials.note(&report.effects.upstream) {
            let problem = self.credentials.problem().unwrap_or_default();
            let name = &self.settings.name;
            turn.log(Level::Error, format!("channel {name} is degraded: {problem}"));
        }
        match &report.result {
            Ok(_) => self.commit_or_wait(running, report, turn),
            Err(WasmChannelError::HostMemoryExhausted { .. })
                if !report.effects.had_side_effects && !running.job.with_full_memory =>
            {
                self.run_again(running, |job| job.with_full_memory = true, turn);
            }
            Err(_) => self.callback_failed(running, &report, turn),
        }
    }

    /// A callback succeeded: its effects are applied, unless something stands in the way.
    fn commit_or_wait(&mut self, running: RunningJob, report: CallbackReport, turn: &mut Turn<'_>) {
        if let Some(wait) = self.emission.waits_behind(report.effects.messages.len(), turn.at.now) {
            return self.emitted_too_much(running, report, wait, turn);
        }
        if let Err(limited) = self.try_commit(running, report, turn) {
            let (running, report, wait) = *limited;
            self.emitted_too_much(running, report, wait, turn);
        }
    }

    /// Commits a callback's effects, runs it again, or fails it; returns it with the time to wait when it is over its
    /// channel's emit rate.
    pub(super) fn try_commit(
        &mut self,
        running: RunningJob,
        mut report: CallbackReport,
        turn: &mut Turn<'_>,
    ) -> Result<(), Limited> {
        let may_run_again = !report.effects.had_side_effects && !running.job.is_rerun;
        match self.workspace.check(&report.effects.workspace) {
            Ok(()) => {}
            Err(_) if may_run_again => {
                self.run_again(running, |job| job.is_rerun = true, turn);
                return Ok(());
            }
            Err(Conflict::Changed(_)) => self.warn_of_conflict(turn),
            Err(Conflict::Full(error)) => {
                report.result = Err(WasmChannelError::WorkspaceFull {
                    channel: self.settings.name.to_string(),
                    callback: running.job.callback.kind(),
                    reason: error.to_string(),
                });
                self.callback_failed(running, &report, turn);
                return Ok(());
            }
        }
        if !self.emission.may_emit() {
            self.drop_messages(&mut report.effects, turn);
        }
        match self.emission.take(report.effects.messages.len(), turn.at.now) {
            Ok(()) => {
                self.commit(running, report, turn);
                Ok(())
            }
            Err(wait) => Err(Box::new((running, report, wait))),
        }
    }

    fn warn_of_conflict(&mut self, turn: &mut Turn<'_>) {
        if let Some(suppressed) = self.may_log(ChannelLogKind::WorkspaceConflict, turn) {
            let name = &self.settings.name;
            let text = format!(
                "channel {name}: two callbacks changed the same workspace file; the later one wins{suppressed}"
            );
            turn.log(Level::Warn, text);
        }
    }

    /// Applies a callback's effects in memory, has them stored, and lets the lane go on.
    pub(super) fn commit(&mut self, running: RunningJob, report: CallbackReport, turn: &mut Turn<'_>) {
        let RunningJob { lane, job, workspace_version, .. } = running;
        let served = Served::of(&job, &report, &self.settings.guest);
        let Ok(mut value) = report.result else { return };
        let polled = Polled { took: report.usage.elapsed, emitted: !report.effects.messages.is_empty() };
        self.counters.succeeded += 1;
        // What ends well in another lane does not end a pause: only its time does.
        if job.purpose.shows_that_guest_works() && self.state != Phase::Paused {
            self.breaker.succeeded();
        }
        let is_outdated = self.workspace.version() != workspace_version;
        let mut batch = Batch::default();
        self.timer_fired(&job.purpose, &mut batch);
        self.apply_effects(report.effects, &served, &mut batch, turn);
        self.free_lane(lane, turn);
        match job.purpose {
            Purpose::Webhook { identities, responder } => {
                let Callback::HttpRequest(request) = job.callback else { return };
                let since = job.waiting_since;
                let handled = HandledRequest { request, identities, responder, since, is_outdated };
                match self.wait_if_asked(handled, &mut value, turn) {
                    Some(HandledRequest { identities, responder, .. }) => {
                        self.request_succeeded(identities, responder, value, batch, turn);
                    }
                    None => turn.store(batch),
                }
            }
            Purpose::Start => {
                turn.store(batch);
                self.start_returned(value, turn);
            }
            Purpose::Trial => {
                turn.store(batch);
                self.trial_returned(value, turn);
            }
            Purpose::Restore => {
                turn.store(batch);
                self.restored(value, turn);
            }
            Purpose::Shutdown | Purpose::Status | Purpose::Timer { .. } => turn.store(batch),
            Purpose::Socket { acknowledgement, .. } => self.socket_called(acknowledgement, batch, turn),
            Purpose::Poll => {
                turn.store(batch);
                self.polled(polled, turn);
            }
            Purpose::Reply(attempt) => self.reply_delivered(&attempt, &value, &served, batch, turn),
        }
    }

    /// A callback failed: nothing of it is kept.
    fn callback_failed(&mut self, running: RunningJob, report: &CallbackReport, turn: &mut Turn<'_>) {
        let Err(error) = &report.result else { return };
        let RunningJob { lane, job, .. } = running;
        let text = error.to_string();
        // What becomes of a reply or another version is said with its attempt.
        if !matches!(job.purpose, Purpose::Reply(_) | Purpose::Trial)
            && let Some(suppressed) = self.may_log(ChannelLogKind::CallbackFailed, turn)
        {
            let name = self.settings.name.as_str();
            turn.log(Level::Warn, format!("{}{suppressed}", about_channel(name, &text)));
        }
        self.free_lane(lane, turn);
        self.counters.failed += 1;
        if !matches!(job.purpose, Purpose::Trial) {
            self.last_failure = Some(text.clone());
        }
        let counts = is_guests_fault(error) && job.purpose.shows_that_guest_works();
        self.job_failed(job, error, &text, report, turn);
        if counts {
            self.count_failure(&text, turn);
        }
    }

    fn job_failed(
        &mut self,
        job: Job,
        error: &WasmChannelError,
        text: &str,
        report: &CallbackReport,
        turn: &mut Turn<'_>,
    ) {
        let served = Served::of(&job, report, &self.settings.guest);
        match job.purpose {
            Purpose::Start => self.start_failed(text, turn),
            Purpose::Trial => self.trial_failed(text, report.effects.had_side_effects, turn),
            Purpose::Webhook { identities, responder } => {
                self.request_failed(&identities, responder, refusal_for(error), turn);
            }
            Purpose::Poll => self.poll_failed(turn),
            Purpose::Timer { name, setting } => self.timer_failed(&name, setting, turn),
            Purpose::Reply(attempt) => {
                let progress = self.keep_progress(&report.effects, turn);
                self.reply_failed(&attempt, error, &report.effects, &served, progress, turn);
            }
            Purpose::Socket { acknowledgement, tries } => {
                self.socket_failed(&job.callback, acknowledgement, tries, turn);
            }
            Purpose::Status | Purpose::Shutdown | Purpose::Restore => {}
        }
    }

    /// Remembers what a callback needed, so that the next one is given it from the start. A smaller need lowers the
    /// expectation slowly: guests alternate between small and large requests.
    fn note_usage(&mut self, report: &CallbackReport) {
        self.counters.callbacks.note(report);
        let peak = report.usage.peak_memory.max(self.settings.initial_memory);
        self.expected_memory = peak.max(self.expected_memory - self.expected_memory.saturating_sub(peak) / 8);
        let dropped = report.effects.dropped;
        self.counters.dropped += u64::from(dropped.messages)
            + u64::from(dropped.attachments)
            + u64::from(dropped.unused_attachment_data)
            + u64::from(dropped.log_lines);
    }
}

/// Whether a failure counts towards a pause. Those of others do not: a shutdown, an upstream server, a full host.
fn is_guests_fault(error: &WasmChannelError) -> bool {
    !matches!(
        error,
        WasmChannelError::Stopped { .. }
            | WasmChannelError::HostMemoryExhausted { .. }
            | WasmChannelError::HostFailure { .. }
            | WasmChannelError::GuestError { .. }
    )
}

fn refusal_for(error: &WasmChannelError) -> WebhookRefusal {
    match error {
        WasmChannelError::Stopped { .. } => WebhookRefusal::Stopping,
        WasmChannelError::HostMemoryExhausted { .. } => WebhookRefusal::Busy,
        _ => WebhookRefusal::CallbackFailed,
    }
}
