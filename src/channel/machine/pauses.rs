//! Failures in a row, and a store that is there again.

use log::Level;

use super::turn::Turn;
use super::{Channel, Phase};
use crate::channel::breaker::FAILURES_BEFORE_PAUSE;
use crate::event::arrival::Due;
use crate::model::human_duration::HumanDuration;
use crate::model::subject::without_channel;

impl Channel {
    /// A callback failed, and its guest is to blame: after a few of them in a row the channel is paused.
    pub(super) fn count_failure(&mut self, reason: &str, turn: &mut Turn<'_>) {
        if self.state != Phase::Ready {
            return;
        }
        let Some(until) = self.breaker.failed(reason, turn.at.now).map(|pause| pause.until) else { return };
        let name = self.settings.name.as_str();
        let text = format!(
            "channel {name} is paused for {} after {FAILURES_BEFORE_PAUSE} failures in a row: {}",
            HumanDuration(until.saturating_duration_since(turn.at.now)),
            without_channel(name, reason)
        );
        turn.log(Level::Error, text);
        self.state = Phase::Paused;
        turn.set(Due::Resume, until);
        self.refuse_waiting_requests(turn);
    }

    /// A pause is over: one more try.
    pub(super) fn resume(&mut self, turn: &mut Turn<'_>) {
        if self.state != Phase::Paused || !self.breaker.resume(turn.at.now) {
            return;
        }
        let name = self.settings.name.as_str();
        turn.log(Level::Info, format!("channel {name} is tried again after its pause"));
        self.state = Phase::Ready;
        self.work_again(turn);
    }

    /// The store has everything that waited for it.
    pub(super) fn store_recovered(&mut self, turn: &mut Turn<'_>) {
        self.work_again(turn);
    }

    fn work_again(&mut self, turn: &mut Turn<'_>) {
        self.mark_all(turn);
        self.schedule_poll(turn);
        self.begin_due_replies(turn);
    }
}
