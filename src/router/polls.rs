//! Polls: one at a time, none missed, slower while they fail.

use std::time::Instant;

use crate::channel::ChannelName;
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::channel::poll::Polled;
use crate::event::Wakeup;
use crate::event::callback::Callback;
use crate::model::deadline::deadline_after;

use super::core::{Router, random};

impl Router {
    /// The first poll after a start, a pause or an outage comes at once.
    pub(super) fn schedule_poll(&mut self, channel: &ChannelName) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        slot.poll.missed = false;
        if slot.poll.interval.is_some() {
            self.scheduler.set(Wakeup::Poll(channel.clone()), Instant::now());
        }
    }

    /// It is time to poll. The next time is set at once, so that polls keep their rhythm; a tick that finds the one before
    /// still running is made up for when that has ended.
    pub(super) fn poll_due(&mut self, channel: &ChannelName) {
        if self.stopping.is_some() {
            return;
        }
        let takes_messages = self.storage.takes_messages() && !self.mailbox.is_full();
        let is_ready = self.is_ready(channel);
        let Some(slot) = self.channels.get_mut(channel) else { return };
        let Some(interval) = slot.poll.interval else { return };
        self.scheduler.set(Wakeup::Poll(channel.clone()), deadline_after(Instant::now(), interval));
        if !slot.lane(LaneKind::Poll).is_idle() {
            slot.poll.missed = true;
        } else if is_ready && takes_messages {
            // The lane is idle, so it has room.
            let _ = self.enqueue(channel, Job::new(Callback::Poll, Purpose::Poll));
        }
    }

    /// A poll ended well, and its place in the lane is free again.
    pub(super) fn polled(&mut self, channel: &ChannelName, polled: Polled) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        if let Some(wait) = slot.poll.succeeded(polled) {
            self.scheduler.set(Wakeup::Poll(channel.clone()), deadline_after(Instant::now(), wait));
        }
        self.polled_frames(channel, true);
    }

    /// A poll failed: the next one comes later, and not at the same moment as everybody else's.
    pub(super) fn poll_failed(&mut self, channel: &ChannelName) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        if let Some(wait) = slot.poll.failed(random()) {
            self.scheduler.set(Wakeup::Poll(channel.clone()), deadline_after(Instant::now(), wait));
        }
        self.polled_frames(channel, false);
    }
}
