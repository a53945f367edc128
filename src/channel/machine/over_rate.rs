//! Callbacks that emitted more than their channel's rate allows.

use std::time::Duration;

use log::Level;

use super::turn::{Action, Turn};
use super::{Channel, ChannelLogKind};
use crate::channel::job::{Purpose, RunningJob};
use crate::event::arrival::Due;
use crate::event::callback::CallbackReport;
use crate::event::response::WebhookRefusal;
use crate::model::human_duration::HumanDuration;

impl Channel {
    /// More messages than the channel's rate allows: a client is told to come back, anything else is kept until there
    /// is room.
    pub(super) fn emitted_too_much(
        &mut self,
        running: RunningJob,
        report: CallbackReport,
        wait: Duration,
        turn: &mut Turn<'_>,
    ) {
        if let Some(suppressed) = self.may_log(ChannelLogKind::EmitRate, turn) {
            let name = &self.settings.name;
            let kind = running.job.callback.kind();
            let text = format!(
                "channel {name} emits faster than its rate limit: {kind} waits for {}{suppressed}",
                HumanDuration(wait)
            );
            turn.log(Level::Warn, text);
        }
        if let Purpose::Webhook { identities, responder } = running.job.purpose {
            self.free_lane(running.lane, turn);
            let refusal = WebhookRefusal::TooManyRequests { retry_after: wait };
            return self.request_failed(&identities, responder, refusal, turn);
        }
        if let Some(until) = self.emission.hold((running, report), wait, turn.at.now) {
            turn.set(Due::EmitRoom, until);
        }
    }

    /// The emit rate has room again, perhaps.
    pub(super) fn release_held(&mut self, turn: &mut Turn<'_>) {
        while let Some((running, report)) = self.emission.release() {
            let Err(limited) = self.try_commit(running, report, turn) else { continue };
            let (running, report, wait) = *limited;
            let until = self.emission.hold_again((running, report), wait, turn.at.now);
            turn.set(Due::EmitRoom, until);
            break;
        }
        turn.act(Action::MemoryFreed);
        self.mark_all(turn);
    }

    /// At the end there is no later moment: what was held back is committed over its rate.
    pub(super) fn commit_held(&mut self, turn: &mut Turn<'_>) {
        for (running, report) in self.emission.release_all() {
            self.commit(running, report, turn);
        }
    }
}
