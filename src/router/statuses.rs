//! What the agent is doing, told to the guest; `thinking` is repeated until it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wit_abi::types::{StatusType, StatusUpdate};

use crate::channel::ChannelName;
use crate::event::Wakeup;
use crate::event::callback::Callback;
use crate::model::deadline::deadline_after;

use super::core::Router;
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::channel::state::Thinking;

/// How often `thinking` is repeated: providers show "typing…" for about five seconds.
const REPEAT_EVERY: Duration = Duration::from_secs(4);

/// How long `thinking` is repeated at most.
const REPEAT_FOR: Duration = Duration::from_secs(300);

/// Conversations of one channel in which `thinking` is repeated at one time.
const MOST_THINKING: usize = 256;

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
        if slot.thinking.len() >= MOST_THINKING && !slot.thinking.contains_key(&conversation) {
            return;
        }
        let now = Instant::now();
        let thinking = Thinking { update: update.clone(), until: deadline_after(now, REPEAT_FOR) };
        slot.thinking.insert(conversation.clone(), thinking);
        self.scheduler
            .set(Wakeup::Thinking(channel.clone(), conversation), deadline_after(now, REPEAT_EVERY));
    }

    /// The conversation has its answer.
    pub(super) fn end_thinking(&mut self, channel: &ChannelName, conversation: &Arc<str>) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        if slot.thinking.remove(conversation).is_some() {
            self.scheduler.cancel(Wakeup::Thinking(channel.clone(), conversation.clone()));
        }
    }

    /// What still waits to say that the agent thinks would come after its answer.
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
        let now = Instant::now();
        let Some(slot) = self.channels.get_mut(channel) else { return };
        let Some(thinking) = slot.thinking.get(conversation).cloned() else { return };
        if thinking.until <= now {
            slot.thinking.remove(conversation);
            return;
        }
        self.scheduler
            .set(Wakeup::Thinking(channel.clone(), conversation.clone()), deadline_after(now, REPEAT_EVERY));
        self.send_status(channel, thinking.update);
    }

    /// A status that finds its lane full is dropped: it would be stale by the time it came out.
    fn send_status(&mut self, channel: &ChannelName, update: Arc<StatusUpdate>) {
        if self.stopping.is_none() && self.is_ready(channel) {
            let _ = self.enqueue(channel, Job::new(Callback::Status(update), Purpose::Status));
        }
    }
}
