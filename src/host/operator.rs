//! Looking into the queues, sending again, dropping.

use std::sync::atomic::Ordering;

use crate::event::Event;
use crate::event::arrival::Command;
use crate::model::clock::unix_ms;
use crate::store::{
    Batch, Change, CommitError, MessageFilter, MessageId, MessageRecord, MessageState, MessageSummary,
    PendingMessage, PendingReply, ReadError, ReplyFilter, ReplyId, ReplyRecord, ReplyState, ReplySummary,
};

use super::manager::ChannelManager;

impl ChannelManager {
    /// Messages, the newest first.
    ///
    /// # Errors
    /// The store is not available.
    pub fn list_messages(&self, filter: MessageFilter) -> Result<Vec<MessageSummary>, ReadError> {
        Ok(self.store.query(move |engine| engine.messages(&filter))?)
    }

    /// One message with its whole content.
    ///
    /// # Errors
    /// The store is not available.
    pub fn message(&self, id: MessageId) -> Result<Option<MessageRecord>, ReadError> {
        Ok(self.store.query(move |engine| engine.message(id))?)
    }

    /// Delivers a completed, dropped or dead message again: a new delivery of the stored message, not a copy. False when
    /// there is no such message, or it still waits.
    ///
    /// # Errors
    /// The store is not available.
    pub fn replay_message(&self, id: MessageId) -> Result<bool, CommitError> {
        let Some(record) = self
            .store
            .query(move |engine| engine.message(id))?
            .filter(|record| record.state != MessageState::Pending)
        else {
            return Ok(false);
        };
        let alone = MessageFilter { before: Some(MessageId(id.0 + 1)), limit: 1, ..MessageFilter::default() };
        let bytes = self
            .store
            .query(move |engine| engine.messages(&alone))?
            .first()
            .map_or(0, |summary| summary.bytes);
        self.keep(Change::MessageRequeued { id, at_ms: unix_ms() })?;
        self.mailbox.load([PendingMessage {
            id,
            channel: record.channel,
            conversation: record.conversation,
            bytes,
            // A dead letter has all its attempts again.
            attempt: if record.state == MessageState::Dead { 0 } else { record.attempt },
            received_ms: record.received_ms,
        }]);
        Ok(true)
    }

    /// Takes a message away from the agent, or gives up a dead one. False when there is no such message, or it is
    /// completed or dropped.
    ///
    /// # Errors
    /// The store is not available.
    pub fn drop_message(&self, id: MessageId) -> Result<bool, CommitError> {
        let can_drop =
            |record: MessageRecord| matches!(record.state, MessageState::Pending | MessageState::Dead);
        let waits = self.store.query(move |engine| engine.message(id))?.is_some_and(can_drop);
        if waits {
            self.keep(Change::MessageDropped { id, at_ms: unix_ms() })?;
            self.mailbox.forget(id);
        }
        Ok(waits)
    }

    /// Replies, the newest first. Dead letters are those of [`ReplyState::Dead`].
    ///
    /// # Errors
    /// The store is not available.
    pub fn list_replies(&self, filter: ReplyFilter) -> Result<Vec<ReplySummary>, ReadError> {
        Ok(self.store.query(move |engine| engine.replies(&filter))?)
    }

    /// One reply with its whole content.
    ///
    /// # Errors
    /// The store is not available.
    pub fn reply(&self, id: ReplyId) -> Result<Option<ReplyRecord>, ReadError> {
        Ok(self.store.query(move |engine| engine.reply(id))?)
    }

    /// Tries a reply that waits, is dead or was dropped at once, from the first attempt on. False when there is no such
    /// reply, or it was delivered.
    ///
    /// # Errors
    /// The store is not available.
    pub fn retry_reply(&self, id: ReplyId) -> Result<bool, CommitError> {
        let undelivered = |record: &ReplyRecord| record.state != ReplyState::Delivered;
        let Some(record) = self.store.query(move |engine| engine.reply(id))?.filter(undelivered) else {
            return Ok(false);
        };
        let now_ms = unix_ms();
        self.keep(Change::ReplyRequeued { id, at_ms: now_ms })?;
        self.stored.forget();
        self.replies_waiting.fetch_add(1, Ordering::Relaxed);
        let pending = PendingReply {
            id,
            channel: record.channel,
            conversation: record.conversation,
            bytes: record.body.content.len() as u64,
            attempts: 0,
            since_ms: now_ms,
            next_ms: now_ms,
            redelivery: record.redelivery,
            traps: 0,
        };
        let sent = self.send(Event::Command(Command::RetryReply(pending)));
        // A host that shuts down finds the reply in the store when it starts again.
        drop(sent);
        Ok(true)
    }

    /// Gives up a reply that waits, or forgets a dead one. False when there is no such reply, or it was delivered.
    ///
    /// # Errors
    /// The store is not available.
    pub fn drop_reply(&self, id: ReplyId) -> Result<bool, CommitError> {
        let open = |record: ReplyRecord| matches!(record.state, ReplyState::Pending | ReplyState::Dead);
        let is_open = self.store.query(move |engine| engine.reply(id))?.is_some_and(open);
        if is_open {
            self.keep(Change::ReplyDropped { id, at_ms: unix_ms() })?;
            self.stored.forget();
            drop(self.send(Event::Command(Command::DropReply(id))));
        }
        Ok(is_open)
    }

    fn keep(&self, change: Change) -> Result<(), CommitError> {
        self.store.try_commit_and_wait(Batch::of(change))
    }
}
