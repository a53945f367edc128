//! Telling people that their message became a dead letter.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;

use crate::channel::ChannelName;
use crate::event::completion::Completion;
use crate::inbox::{DeadLetterNotice, StoredMessage};
use crate::model::clock::unix_ms;
use crate::store::{Ids, MessageId, NewReply, PendingReply, ReplyBody, ReplyKind};

use super::needed_secrets::NeededSecrets;

/// The sentence of the configuration, as a reply to the message.
pub(super) struct DeadLetterText {
    pub text: Option<String>,
    pub channels: Arc<Mutex<HashMap<ChannelName, Arc<NeededSecrets>>>>,
    pub replies_waiting: Arc<AtomicUsize>,
    pub max_replies: usize,
    pub ids: Ids,
    pub completed: Sender<Completion>,
}

impl DeadLetterText {
    /// Replies of a channel that is not there would wait for ever.
    fn is_deliverable(&self, channel: &str) -> bool {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = channel.parse::<ChannelName>().is_ok_and(|name| channels.contains_key(&name));
        is_known && self.replies_waiting.load(Ordering::Relaxed) < self.max_replies
    }
}

impl DeadLetterNotice for DeadLetterText {
    fn reply_to(&self, id: MessageId, message: &StoredMessage, text: Option<&str>) -> Option<NewReply> {
        let configured = self.text.as_deref().filter(|text| !text.is_empty())?;
        let text = text.unwrap_or(configured);
        self.is_deliverable(&message.channel).then(|| NewReply {
            id: self.ids.reply(),
            channel: message.channel.clone(),
            conversation: message.conversation.clone(),
            kind: ReplyKind::Respond,
            body: ReplyBody {
                message_id: id.to_string(),
                content: text.to_owned(),
                thread_id: message.body.thread_id.clone(),
                metadata_json: message.body.metadata_json.clone(),
                attachments: Vec::new(),
            },
            in_reply_to: Some(id),
            created_ms: unix_ms(),
        })
    }

    fn stored(&self, reply: PendingReply) {
        self.replies_waiting.fetch_add(1, Ordering::Relaxed);
        // There are no more of these on their way than messages that were in flight, so none needs a permit.
        let _ = self.completed.send(Completion::ReplyStored(Box::new(reply), None));
    }
}
