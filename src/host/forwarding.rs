//! What a [`Host`] leaves to its [`ChannelManager`].

use std::sync::Arc;

use wit_abi::types::{AgentResponse, StatusType, StatusUpdate};

use super::builder::Host;
use super::error::{HostError, ReplyError};
use super::manager::{ChannelManager, Health};
use crate::channel::{ChannelName, WasmChannel};
use crate::inbox::{AgentReport, Delivery, MessageStream};
use crate::pairing::PairingService;
use crate::server::WasmChannelRouter;
use crate::store::{
    MessageFilter, MessageId, MessageRecord, MessageSummary, ReplyFilter, ReplyId, ReplyRecord, ReplySummary,
    StateError,
};

/// Channels, messages and replies.
impl Host {
    /// The manager that runs the channels, for code that works with a manager alone.
    #[must_use]
    pub fn manager(&self) -> &ChannelManager {
        &self.manager
    }

    /// The same for threads that may outlive the host: after its end the manager refuses what it is asked.
    #[cfg(feature = "cli")]
    pub(crate) fn shared_manager(&self) -> Arc<ChannelManager> {
        Arc::clone(&self.manager)
    }

    /// Adds a channel to those that run. Its `on-start` is repeated until it succeeds; [`Host::health`] shows its state.
    ///
    /// # Errors
    /// Its capability file asks for something that is not possible, or a channel of this name runs already.
    pub fn add(&self, channel: impl Into<Box<WasmChannel>>) -> Result<(), HostError> {
        self.manager.add(channel)
    }

    /// See [`ChannelManager::upgrade`].
    ///
    /// # Errors
    /// No channel of this name runs, its capability file asks for something that is not possible, or its `on-start` fails.
    pub fn upgrade(&self, channel: impl Into<Box<WasmChannel>>) -> Result<(), HostError> {
        self.manager.upgrade(channel)
    }

    /// See [`ChannelManager::remove`].
    ///
    /// # Errors
    /// The host has shut down.
    pub fn remove(&self, channel: &ChannelName) -> Result<bool, HostError> {
        self.manager.remove(channel)
    }

    /// The messages of all channels. Every stream reads the same messages: each message goes to one reader.
    #[must_use]
    pub fn messages(&self) -> MessageStream {
        self.manager.messages()
    }

    /// Replies to a message. Returns when the reply is durable; it is delivered in order within its conversation, retried,
    /// and in the end kept as a dead letter.
    ///
    /// The message's id, thread and metadata are filled in where `response` leaves them empty.
    ///
    /// # Errors
    /// See [`ReplyError`]. The message should then not be acknowledged.
    pub fn respond(&self, to: &Delivery, response: AgentResponse) -> Result<ReplyId, ReplyError> {
        self.manager.respond(to, response)
    }

    /// Replies to a conversation without a [`Delivery`]: `response` has to name the thread and the metadata. Replies of one
    /// thread are delivered in order, as are those without a thread that share their metadata.
    ///
    /// # Errors
    /// See [`ReplyError`].
    pub fn respond_to(&self, channel: &ChannelName, response: AgentResponse) -> Result<ReplyId, ReplyError> {
        self.manager.respond_to(channel, response)
    }

    /// Sends a message that is no reply, to the user with the channel's own id `user_id`. Stored, ordered and retried like
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
        self.manager.broadcast(channel, user_id, response)
    }

    /// Shows whoever wrote a message what the agent is doing about it, with `message` in words; see [`ChannelManager::status`].
    ///
    /// # Errors
    /// The host has shut down.
    pub fn status(
        &self,
        delivery: &Delivery,
        status: StatusType,
        message: impl Into<String>,
    ) -> Result<(), HostError> {
        let metadata_json = delivery.message().metadata_json.clone();
        self.status_to(delivery.channel(), StatusUpdate { status, message: message.into(), metadata_json })
    }

    /// The same without a [`Delivery`]: `update` has to name the metadata.
    ///
    /// # Errors
    /// The host has shut down.
    pub fn status_to(&self, channel: &ChannelName, update: StatusUpdate) -> Result<(), HostError> {
        self.manager.status(channel, update)
    }

    /// The state of every channel, of the store and of the agent.
    ///
    /// # Errors
    /// The host has shut down.
    pub fn health(&self) -> Result<Health, HostError> {
        self.manager.health()
    }

    /// Where the agent reports its state, for [`Host::health`].
    #[must_use]
    pub fn agent_report(&self) -> &AgentReport {
        self.manager.agent_report()
    }

    /// The paths of the channels.
    #[must_use]
    pub fn routes(&self) -> &WasmChannelRouter {
        self.manager.routes()
    }

    /// Which users may talk to the agent.
    #[must_use]
    pub fn pairing(&self) -> &Arc<PairingService> {
        self.manager.pairing()
    }
}

/// The queues, for whoever operates the host.
impl Host {
    /// Messages, the newest first.
    ///
    /// # Errors
    /// The store is not available.
    pub fn list_messages(&self, filter: MessageFilter) -> Result<Vec<MessageSummary>, StateError> {
        self.manager.list_messages(filter)
    }

    /// One message with its whole content.
    ///
    /// # Errors
    /// The store is not available.
    pub fn message(&self, id: MessageId) -> Result<Option<MessageRecord>, StateError> {
        self.manager.message(id)
    }

    /// Delivers a completed, dropped or dead message again; see [`ChannelManager::redeliver_message`].
    ///
    /// # Errors
    /// The store is not available.
    pub fn redeliver_message(&self, id: MessageId) -> Result<bool, StateError> {
        self.manager.redeliver_message(id)
    }

    /// Drops a message that is pending or dead; see [`ChannelManager::drop_message`].
    ///
    /// # Errors
    /// The store is not available.
    pub fn drop_message(&self, id: MessageId) -> Result<bool, StateError> {
        self.manager.drop_message(id)
    }

    /// Replies, the newest first.
    ///
    /// # Errors
    /// The store is not available.
    pub fn list_replies(&self, filter: ReplyFilter) -> Result<Vec<ReplySummary>, StateError> {
        self.manager.list_replies(filter)
    }

    /// One reply with its whole content.
    ///
    /// # Errors
    /// The store is not available.
    pub fn reply(&self, id: ReplyId) -> Result<Option<ReplyRecord>, StateError> {
        self.manager.reply(id)
    }

    /// Tries an undelivered reply again, from the first attempt on; see [`ChannelManager::retry_reply`].
    ///
    /// # Errors
    /// The store is not available.
    pub fn retry_reply(&self, id: ReplyId) -> Result<bool, StateError> {
        self.manager.retry_reply(id)
    }

    /// Drops a reply that is pending or dead; see [`ChannelManager::drop_reply`].
    ///
    /// # Errors
    /// The store is not available.
    pub fn drop_reply(&self, id: ReplyId) -> Result<bool, StateError> {
        self.manager.drop_reply(id)
    }
}
