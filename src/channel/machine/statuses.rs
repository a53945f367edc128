//! What the agent is doing, told to the guest; `thinking` is repeated until it is over.

use std::sync::Arc;

use wit_abi::types::{StatusType, StatusUpdate};

use super::Channel;
use super::turn::{Action, Turn};
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::event::arrival::Due;
use crate::event::callback::Callback;

impl Channel {
    /// The agent says what it does. The conversation is what the metadata says: agents pass on a message's own.
    pub(super) fn status(&mut self, update: Arc<StatusUpdate>, turn: &mut Turn<'_>) {
        let conversation: Arc<str> = update.metadata_json.as_str().into();
        match update.status {
            StatusType::Thinking => {
                if let Some(due) = self.thinking.begin(&conversation, &update, turn.at.now) {
                    turn.set(Due::Thinking(conversation), due);
                }
            }
            StatusType::Done | StatusType::Interrupted => self.end_thinking(conversation, turn),
            _ => {}
        }
        self.send_status(update, turn);
    }

    /// The conversation has its response.
    fn end_thinking(&mut self, conversation: Arc<str>, turn: &mut Turn<'_>) {
        if self.thinking.end(&conversation) {
            turn.act(Action::Cancel(Due::Thinking(conversation)));
        }
    }

    /// A response is on its way: nobody needs to see that the agent thinks any more, and what still waits to say so would come
    /// after it.
    pub(super) fn response_is_on_its_way(&mut self, conversation: &str, turn: &mut Turn<'_>) {
        self.end_thinking(conversation.into(), turn);
        self.lane(LaneKind::Status).retain(|job| match &job.callback {
            Callback::Status(update) => {
                update.status != StatusType::Thinking || update.metadata_json != conversation
            }
            _ => true,
        });
    }

    /// Four seconds have passed and the agent still thinks.
    pub(super) fn repeat_thinking(&mut self, conversation: &Arc<str>, turn: &mut Turn<'_>) {
        let Some((update, due)) = self.thinking.repeat(conversation, turn.at.now) else { return };
        turn.set(Due::Thinking(conversation.clone()), due);
        self.send_status(update, turn);
    }

    /// A status that finds its lane full is dropped: it would be stale by the time it came out.
    fn send_status(&mut self, update: Arc<StatusUpdate>, turn: &mut Turn<'_>) {
        if !self.is_ending && self.is_ready() {
            let _ = self.enqueue(Job::new(Callback::Status(update), Purpose::Status, turn.at.now), turn);
        }
    }
}
