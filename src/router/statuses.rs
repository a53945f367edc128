//! What the agent is doing, told to the guest; `thinking` is repeated until it is over.

use std::sync::Arc;
use std::time::Instant;

use wit_abi::types::{StatusType, StatusUpdate};

use crate::channel::ChannelName;
use crate::event::Wakeup;
use crate::event::callback::Callback;

use super::core::Router;
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;

impl Router {
    /// The agent says what it does. The conversation is what the metadata says: agents pass on a message's own.
    pub(super) fn status(&mut self, channel: &ChannelName, update: Arc<StatusUpdate>) {
        let conversation: Arc<str> = update.metadata_json.as_str().into();
        match update.status {
            StatusType::Thinking => self.begin_thinking(channel, conversation, &update),
            StatusType::Done | StatusType::Interrupted => self.end_thinking(channel, &conversation),
            _ => {}
        }
        self.send_status(channel, update);
    }

    fn begin_thinking(&mut self, channel: &ChannelName, conversation: Arc<str>, update: &Arc<StatusUpdate>) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        if let Some(due) = slot.thinking.begin(&conversation, update, Instant::now()) {
            self.scheduler.set(Wakeup::Thinking(channel.clone(), conversation), due);
        }
    }

    /// The conversation has its response.
    pub(super) fn end_thinking(&mut self, channel: &ChannelName, conversation: &Arc<str>) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        if slot.thinking.end(conversation) {
            self.scheduler.cancel(Wakeup::Thinking(channel.clone(), conversation.clone()));
        }
    }

    /// What still waits to say that the agent thinks would come after its response.
    pub(super) fn drop_thinking(&mut self, channel: &ChannelName, conversation: &str) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        slot.lane(LaneKind::Status).retain(|job| match &job.callback {
            Callback::Status(update) => {
                update.status != StatusType::Thinking || update.metadata_json != conversation
            }
            _ => true,
        });
    }

    /// Four seconds have passed and the agent still thinks.
    pub(super) fn repeat_thinking(&mut self, channel: &ChannelName, conversation: &Arc<str>) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        let Some((update, due)) = slot.thinking.repeat(conversation, Instant::now()) else { return };
        self.scheduler.set(Wakeup::Thinking(channel.clone(), conversation.clone()), due);
        self.send_status(channel, update);
    }

    /// A status that finds its lane full is dropped: it would be stale by the time it came out.
    fn send_status(&mut self, channel: &ChannelName, update: Arc<StatusUpdate>) {
        if self.stopping.is_none() && self.is_ready(channel) {
            let _ = self.enqueue(channel, Job::new(Callback::Status(update), Purpose::Status));
        }
    }
}
