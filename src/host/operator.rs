//! Looking into the queues, sending again, dropping: what an operator does.

use std::sync::atomic::Ordering;

use super::manager::ChannelManager;
use crate::event::Event;
use crate::event::arrival::RouterCommand;
use crate::model::clock::unix_ms;
use crate::store::{
    Batch, Change, MessageFilter, MessageId, MessageRecord, MessageState, MessageSummary, PendingMessage,
    PendingReply, ReplyFilter, ReplyId, ReplyRecord, ReplyState, ReplySummary, StateError, StoreHandle,
};

/// Reads and changes what is stored. A host that runs is told of each change; without one, the store is all there is.
pub(crate) trait Operator {
    /// The store.
    fn store(&self) -> &StoreHandle;

    /// A message is to be delivered again.
    fn message_requeued(&self, _message: PendingMessage) {}

    /// A message is not to be delivered any more.
    fn message_dropped(&self, _id: MessageId) {}

    /// A reply is to be tried at once, from the first attempt on.
    fn reply_requeued(&self, _reply: PendingReply) {}

    /// A reply is not to be tried any more.
    fn reply_dropped(&self, _id: ReplyId) {}

    /// See [`ChannelManager::list_messages`].
    fn list_messages(&self, filter: MessageFilter) -> Result<Vec<MessageSummary>, StateError> {
        self.store().query(move |engine| engine.messages(&filter))
    }

    /// See [`ChannelManager::message`].
    fn message(&self, id: MessageId) -> Result<Option<MessageRecord>, StateError> {
        self.store().query(move |engine| engine.message(id))
    }

    /// See [`ChannelManager::redeliver_message`].
    fn redeliver_message(&self, id: MessageId) -> Result<bool, StateError> {
        let completed = |record: &MessageRecord| record.state != MessageState::Pending;
        let Some(record) = self.store().query(move |engine| engine.message(id))?.filter(completed) else {
            return Ok(false);
        };
        let alone = MessageFilter { before: Some(MessageId(id.0 + 1)), limit: 1, ..MessageFilter::default() };
        let listed = self.store().query(move |engine| engine.messages(&alone))?;
        let bytes = listed.first().map_or(0, |summary| summary.bytes);
        self.keep(Change::MessageRequeued { id, at_ms: unix_ms() })?;
        self.message_requeued(PendingMessage {
            id,
            channel: record.channel,
            conversation: record.conversation,
            bytes,
            // A dead letter has all its attempts again.
            attempt: if record.state == MessageState::Dead { 0 } else { record.attempt },
            received_ms: record.received_ms,
        });
        Ok(true)
    }

    /// See [`ChannelManager::drop_message`].
    fn drop_message(&self, id: MessageId) -> Result<bool, StateError> {
        let can_drop =
            |record: MessageRecord| matches!(record.state, MessageState::Pending | MessageState::Dead);
        let waits = self.store().query(move |engine| engine.message(id))?.is_some_and(can_drop);
        if waits {
            self.keep(Change::MessageDropped { id, at_ms: unix_ms() })?;
            self.message_dropped(id);
        }
        Ok(waits)
    }

    /// See [`ChannelManager::list_replies`].
    fn list_replies(&self, filter: ReplyFilter) -> Result<Vec<ReplySummary>, StateError> {
        self.store().query(move |engine| engine.replies(&filter))
    }

    /// See [`ChannelManager::reply`].
    fn reply(&self, id: ReplyId) -> Result<Option<ReplyRecord>, StateError> {
        self.store().query(move |engine| engine.reply(id))
    }

    /// See [`ChannelManager::retry_reply`].
    fn retry_reply(&self, id: ReplyId) -> Result<bool, StateError> {
        let undelivered = |record: &ReplyRecord| record.state != ReplyState::Delivered;
        let Some(record) = self.store().query(move |engine| engine.reply(id))?.filter(undelivered) else {
            return Ok(false);
        };
        let now_ms = unix_ms();
        self.keep(Change::ReplyRequeued { id, at_ms: now_ms })?;
        self.reply_requeued(PendingReply {
            id,
            channel: record.channel,
            conversation: record.conversation,
            bytes: record.body.content.len() as u64,
            attempts: 0,
            since_ms: now_ms,
            next_ms: now_ms,
            redelivery: record.redelivery,
            traps: 0,
        });
        Ok(true)
    }

    /// See [`ChannelManager::drop_reply`].
    fn drop_reply(&self, id: ReplyId) -> Result<bool, StateError> {
        let open = |record: ReplyRecord| matches!(record.state, ReplyState::Pending | ReplyState::Dead);
        let is_open = self.store().query(move |engine| engine.reply(id))?.is_some_and(open);
        if is_open {
            self.keep(Change::ReplyDropped { id, at_ms: unix_ms() })?;
            self.reply_dropped(id);
        }
        Ok(is_open)
    }

    /// Stores a change.
    fn keep(&self, change: Change) -> Result<(), StateError> {
        self.store().try_commit_and_wait(Batch::of(change))
    }
}

impl Operator for ChannelManager {
    fn store(&self) -> &StoreHandle {
        &self.store
    }

    fn message_requeued(&self, message: PendingMessage) {
        self.mailbox.load([message]);
    }

    fn message_dropped(&self, id: MessageId) {
        self.mailbox.forget(id);
    }

    fn reply_requeued(&self, reply: PendingReply) {
        self.stored.forget();
        self.replies_waiting.fetch_add(1, Ordering::Relaxed);
        // A host that shuts down finds the reply in the store when it starts again.
        drop(self.send(Event::Command(RouterCommand::RetryReply(reply))));
    }

    fn reply_dropped(&self, id: ReplyId) {
        self.stored.forget();
        drop(self.send(Event::Command(RouterCommand::DropReply(id))));
    }
}

impl ChannelManager {
    /// Messages, the newest first.
    ///
    /// # Errors
    /// The store is not available.
    pub fn list_messages(&self, filter: MessageFilter) -> Result<Vec<MessageSummary>, StateError> {
        Operator::list_messages(self, filter)
    }

    /// One message with its whole content.
    ///
    /// # Errors
    /// The store is not available.
    pub fn message(&self, id: MessageId) -> Result<Option<MessageRecord>, StateError> {
        Operator::message(self, id)
    }

    /// Delivers a completed, dropped or dead message again: a new delivery of the stored message, not a copy. False when
    /// there is no such message, or it still waits.
    ///
    /// # Errors
    /// The store is not available.
    pub fn redeliver_message(&self, id: MessageId) -> Result<bool, StateError> {
        Operator::redeliver_message(self, id)
    }

    /// Drops a pending message or a dead letter. False when there is no such message, or it is
    /// completed or dropped.
    ///
    /// # Errors
    /// The store is not available.
    pub fn drop_message(&self, id: MessageId) -> Result<bool, StateError> {
        Operator::drop_message(self, id)
    }

    /// Replies, the newest first. Dead letters are those of [`ReplyState::Dead`].
    ///
    /// # Errors
    /// The store is not available.
    pub fn list_replies(&self, filter: ReplyFilter) -> Result<Vec<ReplySummary>, StateError> {
        Operator::list_replies(self, filter)
    }

    /// One reply with its whole content.
    ///
    /// # Errors
    /// The store is not available.
    pub fn reply(&self, id: ReplyId) -> Result<Option<ReplyRecord>, StateError> {
        Operator::reply(self, id)
    }

    /// Tries a reply that waits, is dead or was dropped at once, from the first attempt on. False when there is no such
    /// reply, or it was delivered.
    ///
    /// # Errors
    /// The store is not available.
    pub fn retry_reply(&self, id: ReplyId) -> Result<bool, StateError> {
        Operator::retry_reply(self, id)
    }

    /// Gives up a reply that waits, or forgets a dead one. False when there is no such reply, or it was delivered.
    ///
    /// # Errors
    /// The store is not available.
    pub fn drop_reply(&self, id: ReplyId) -> Result<bool, StateError> {
        Operator::drop_reply(self, id)
    }
}
