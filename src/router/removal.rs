//! Taking a channel out while the host runs.

use std::sync::atomic::Ordering;

use crate::channel::ChannelName;
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::event::response::WebhookRefusal;

use super::core::Router;

impl Router {
    /// Takes a channel out at once, with all that it has in memory; false when there is none of this name.
    ///
    /// What ran is ended, and nothing of it is kept: its requests get 503, and its reply is redelivered when the
    /// channel is there again. What had succeeded and waited for room in the emit rate is kept. What is durable stays.
    pub(super) fn remove_channel(&mut self, channel: &ChannelName) -> bool {
        if !self.channels.contains_key(channel) {
            return false;
        }
        self.commit_held(channel);
        self.refuse_parked(channel, &WebhookRefusal::Stopping);
        self.close_lanes(channel);
        let Some(slot) = self.channels.remove(channel) else { return false };
        slot.stop.stop();
        slot.link.iter().for_each(|link| link.close());
        for running in self.running.values_mut().filter(|running| running.channel == *channel) {
            running.is_removed = true;
            let purpose = std::mem::replace(&mut running.job.purpose, Purpose::Status);
            if let Purpose::Webhook { responder, .. } = purpose {
                responder.refuse(WebhookRefusal::Stopping);
            }
        }
        // They are counted again when the channel is added again.
        self.replies_waiting.fetch_sub(slot.outbox.len(), Ordering::Relaxed);
        self.scheduler.cancel_channel(channel.clone());
        log::info!(target: channel.as_str(), "channel {channel} is removed");
        true
    }

    /// Takes what waits for its turn out of a channel's lanes.
    fn close_lanes(&mut self, channel: &ChannelName) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        let waiting: Vec<Job> = LaneKind::ALL.iter().flat_map(|lane| slot.lane(*lane).take_all()).collect();
        for job in waiting {
            match job.purpose {
                Purpose::Webhook { responder, .. } => responder.refuse(WebhookRefusal::Stopping),
                Purpose::Reply(attempt) => self.reply_not_tried(channel, &attempt),
                _ => {}
            }
        }
    }
}
