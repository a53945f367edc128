//! How a channel ends: with its host, or by itself.

use super::turn::{Action, Turn};
use super::{Channel, Phase};
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::event::callback::Callback;
use crate::event::response::WebhookRefusal;

impl Channel {
    /// Takes no more work; what runs may still end.
    pub(super) fn drain(&mut self, turn: &mut Turn<'_>) {
        self.is_ending = true;
        self.refuse_waiting_requests(turn);
        self.commit_held(turn);
        self.close_lanes(turn);
    }

    /// Nothing runs any more: a channel that had started gets its `on-shutdown`.
    pub(super) fn shut_down(&mut self, turn: &mut Turn<'_>) {
        let had_started = self.registration.is_some() && self.is_ready();
        self.state = Phase::Stopping;
        if had_started {
            let job = Job::new(Callback::Shutdown, Purpose::Shutdown, turn.at.now);
            // Nothing waits any more.
            let _ = self.enqueue(job, turn);
        }
    }

    /// The channel is taken out with all that it has in memory.
    ///
    /// What runs is ended, and nothing of it is kept: its requests get 503, and its reply is redelivered when the
    /// channel is there again. What had succeeded and waited for room in the emit rate is kept. What is durable stays.
    pub(super) fn remove(&mut self, turn: &mut Turn<'_>) {
        self.is_ending = true;
        self.commit_held(turn);
        self.refuse_parked(&WebhookRefusal::Stopping, turn);
        self.close_lanes(turn);
        for running in std::mem::take(&mut self.running) {
            self.refuse_job(running.job, WebhookRefusal::Stopping, turn);
        }
        // They are counted again when the channel is added again.
        turn.act(Action::RepliesGone(self.outbox.len()));
    }

    /// Takes what waits for its turn out of the lanes.
    fn close_lanes(&mut self, turn: &mut Turn<'_>) {
        for lane in LaneKind::ALL {
            for job in self.lane(lane).take_all() {
                match &job.purpose {
                    Purpose::Reply(attempt) => self.reply_not_tried(attempt, turn),
                    _ => self.refuse_job(job, WebhookRefusal::Stopping, turn),
                }
            }
        }
        self.is_marked = [false; LaneKind::COUNT];
    }
}
