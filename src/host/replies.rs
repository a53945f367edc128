//! What the agent says, on its way to the store; and what people are told whose message became a dead letter.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::Sender;
use wit_abi::types::AgentResponse;

use super::error::ReplyError;
use super::inspect::NeededSecrets;
use super::manager::ChannelManager;
#[cfg(feature = "agent-openai")]
use super::reminders::Addressee;
use crate::channel::ChannelName;
use crate::event::completion::Completion;
use crate::inbox::{DeadLetterNotice, Delivery, StoredMessage};
use crate::model::clock::unix_ms;
use crate::model::oneshot;
use crate::store::{Batch, Change, Ids, MessageId, NewReply, PendingReply, ReplyId, StateError};

impl ChannelManager {
    /// Replies to a message. Returns when the reply is durable; it is delivered in order within its conversation, retried,
    /// and in the end kept as a dead letter.
    ///
    /// The message's id, thread and metadata are filled in where `response` leaves them empty.
    ///
    /// # Errors
    /// See [`ReplyError`]. The message should then not be acknowledged.
    pub fn respond(&self, to: &Delivery, mut response: AgentResponse) -> Result<ReplyId, ReplyError> {
        let message = to.message();
        if response.message_id.is_empty() {
            response.message_id = to.id().to_string();
        }
        if response.thread_id.is_none() {
            response.thread_id = message.thread_id.clone();
        }
        if response.metadata_json.is_empty() {
            response.metadata_json = message.metadata_json.clone();
        }
        self.store_reply(to.channel(), to.conversation().clone(), None, response, Some(to.id()), vec![])
    }

    /// Replies to a conversation without a [`Delivery`] in hand: `response` says all by itself. Replies of one thread
    /// are delivered in order, as are those without a thread that share their metadata.
    ///
    /// # Errors
    /// See [`ReplyError`].
    pub fn respond_to(&self, channel: &ChannelName, response: AgentResponse) -> Result<ReplyId, ReplyError> {
        let conversation = match &response.thread_id {
            Some(thread) => format!("{channel}/thread/{thread}"),
            None => format!("{channel}/metadata/{}", response.metadata_json),
        };
        self.store_reply(channel, conversation.into(), None, response, None, vec![])
    }

    /// Sends a message that is no reply to a user that the channel knows as `user_id`. Kept, ordered and retried like
    /// a reply.
    ///
    /// # Errors
    /// See [`ReplyError`].
    pub fn broadcast(
        &self,
        channel: &ChannelName,
        user_id: &str,
        response: AgentResponse,
    ) -> Result<ReplyId, ReplyError> {
        let conversation = format!("{channel}/user/{user_id}").into();
        self.store_reply(channel, conversation, Some(user_id.to_owned()), response, None, vec![])
    }

    /// Says something in a conversation whose message was replied to long ago, and makes these changes in the same
    /// transaction.
    ///
    /// # Errors
    /// See [`ReplyError`]; nothing is changed then.
    #[cfg(feature = "agent-openai")]
    pub(crate) fn say_later(
        &self,
        to: &Addressee,
        content: String,
        with: Vec<Change>,
    ) -> Result<ReplyId, ReplyError> {
        let channel: ChannelName = to.channel.parse().map_err(|_| self.no_channel(&to.channel))?;
        let response = AgentResponse {
            content,
            thread_id: to.thread_id.clone(),
            metadata_json: to.metadata_json.clone(),
            ..AgentResponse::default()
        };
        let conversation = to.conversation.as_str().into();
        self.store_reply(&channel, conversation, None, response, None, with)
    }

    /// What an agent remembers of a conversation.
    ///
    /// # Errors
    /// The store is not available at the moment.
    #[cfg(feature = "agent-openai")]
    pub(crate) fn transcript(&self, conversation: &str) -> Result<Option<String>, StateError> {
        let conversation = conversation.to_owned();
        self.store.query(move |engine| engine.transcript(&conversation))
    }

    fn check_known(&self, channel: &ChannelName) -> Result<(), ReplyError> {
        if self.has(channel) { Ok(()) } else { Err(self.no_channel(channel.as_str())) }
    }

    fn store_reply(
        &self,
        channel: &ChannelName,
        conversation: Arc<str>,
        broadcast_to: Option<String>,
        response: AgentResponse,
        in_reply_to: Option<MessageId>,
        with: Vec<Change>,
    ) -> Result<ReplyId, ReplyError> {
        self.check_known(channel)?;
        if self.replies_waiting.load(Ordering::Relaxed) >= self.max_replies {
            return Err(ReplyError::TooManyWaiting(self.max_replies));
        }
        let created_ms = unix_ms();
        let id = self.store.ids().reply();
        let reply = NewReply {
            id,
            channel: channel.shared(),
            conversation,
            broadcast_to,
            body: Arc::new(response),
            in_reply_to,
            created_ms,
        };
        let pending = Box::new(reply.pending());
        // The router frees the permit when it has the reply: only so many replies can wait in its queue, and the store
        // thread never has to wait there.
        let permit = self.reply_permits.take();
        let mut waits = Some((pending, permit));
        let (done, stored) = oneshot::channel();
        let mut done = Some(done);
        let completed = self.completed.clone();
        let waiting = self.replies_waiting.clone();
        let mut batch = Batch::of(Change::AddReply(reply));
        batch.changes.extend(with);
        self.store.try_commit(batch, move |outcome| {
            if let Some((pending, permit)) = waits.take_if(|_| outcome.is_ok()) {
                waiting.fetch_add(1, Ordering::Relaxed);
                let _ = completed.send(Completion::ReplyStored(pending, Some(permit)));
            }
            if let Some(done) = done.take() {
                done.send(outcome);
            }
        });
        stored.wait().unwrap_or(Err(StateError::Stopped))?;
        self.say_stored(channel, id, in_reply_to);
        Ok(id)
    }

    /// Says that a reply is durable.
    fn say_stored(&self, channel: &ChannelName, id: ReplyId, in_reply_to: Option<MessageId>) {
        let checked =
            self.stored_log.lock().unwrap_or_else(PoisonError::into_inner).check(&(), Instant::now());
        let (Some(suppressed), target) = (checked, channel.as_str()) else { return };
        match in_reply_to {
            Some(message) => log::info!(
                target: target, message_id = message.0, reply_id = id.0;
                "channel {channel}: the agent replied to message {message} with reply {id}{suppressed}"
            ),
            None => log::info!(
                target: target, reply_id = id.0;
                "channel {channel}: the agent sends reply {id}{suppressed}"
            ),
        }
    }
}

/// The sentence of the configuration, as a reply to the message.
pub(super) struct DeadLetterText {
    pub text: Option<String>,
    /// The manager's.
    pub channels: Arc<Mutex<HashMap<ChannelName, Arc<NeededSecrets>>>>,
    /// As `RouterParts::replies_waiting`.
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
            broadcast_to: None,
            body: Arc::new(AgentResponse {
                message_id: id.to_string(),
                content: text.to_owned(),
                thread_id: message.message.thread_id.clone(),
                metadata_json: message.message.metadata_json.clone(),
                attachments: Vec::new(),
            }),
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
