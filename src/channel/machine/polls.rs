//! Polls: one at a time, none missed, slower while they fail.

use super::Channel;
use super::turn::Turn;
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::channel::poll::Polled;
use crate::event::arrival::Due;
use crate::event::callback::Callback;

impl Channel {
    /// The first poll after a start, a pause or an outage comes at once.
    pub(super) fn schedule_poll(&mut self, turn: &mut Turn<'_>) {
        self.poll.missed = false;
        if self.poll.interval.is_some() {
            turn.set(Due::Poll, turn.at.now);
        }
    }

    /// It is time to poll. The next time is set at once, so that polls keep their rhythm; a tick that finds the one before
    /// still running is made up for when that has ended.
    pub(super) fn poll_due(&mut self, turn: &mut Turn<'_>) {
        let Some(interval) = self.poll.interval.filter(|_| !self.is_ending) else { return };
        turn.set_after(Due::Poll, interval);
        if !self.lane(LaneKind::Poll).is_idle() {
            self.poll.missed = true;
        } else if self.is_ready() && turn.host.takes_messages() {
            self.enqueue_poll(turn);
        }
    }

    /// Queues a poll. The lane has to be idle, so it has room.
    pub(super) fn enqueue_poll(&mut self, turn: &mut Turn<'_>) {
        let _ = self.enqueue(Job::new(Callback::Poll, Purpose::Poll, turn.at.now), turn);
    }

    /// A poll ended well, and its place in the lane is free again.
    pub(super) fn polled(&mut self, polled: Polled, turn: &mut Turn<'_>) {
        if let Some(wait) = self.poll.succeeded(polled) {
            turn.set_after(Due::Poll, wait);
        }
        self.polled_frames(true, turn);
    }

    /// A poll failed: the next one comes later, and not at the same moment as everybody else's.
    pub(super) fn poll_failed(&mut self, turn: &mut Turn<'_>) {
        if let Some(wait) = self.poll.failed(turn.host.random()) {
            turn.set_after(Due::Poll, wait);
        }
        self.polled_frames(false, turn);
    }
}
