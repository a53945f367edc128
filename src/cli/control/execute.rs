//! What a running host does for a request, or the store of one that does not run.

use crate::ChannelManager;
use crate::channel::{ChannelName, ChannelNameError};
use crate::host::Operator;
use crate::store::{MessageFilter, MessageId, MessageState, ReplyFilter, ReplyId, ReplyState};
use serde_json::{Value, json};

use super::records;
use super::request::{ControlRequest, Rows};
use crate::cli::start_channel::ChannelStarter;

/// Why a request was not done, as its client is told.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("no host is running")]
    NotRunning,
    #[error("there is no {what} {id} (completed ones are kept for some days only)")]
    NoSuch { what: &'static str, id: u64 },
    #[error("{what} {id} was left as it is: {reason}")]
    Unchanged { what: &'static str, id: u64, reason: &'static str },
    #[error("nobody is approved as {id} for channel {channel}")]
    NotApproved { id: String, channel: ChannelName },
    #[error("{name:?} is not a channel name: {source}")]
    ChannelName { name: String, source: ChannelNameError },
    #[error("{what} are never {name}")]
    State { what: &'static str, name: String },
    #[error("the request is not understood ({0}); is this another version of tinclaw?")]
    NotUnderstood(serde_json::Error),
    /// What the host, its store or its pairing service says.
    #[error("{0}")]
    Failed(String),
}

/// Does what is asked of a running host.
pub fn execute(
    manager: &ChannelManager,
    starter: &ChannelStarter,
    request: ControlRequest,
) -> Result<Value, ControlError> {
    match request {
        ControlRequest::StartChannel { name } => starter.start(manager, &name).map_err(failed),
        ControlRequest::Health => {
            let health = manager.health().map_err(failed)?;
            Ok(records::health(&health))
        }
        other => execute_on_store(manager, other),
    }
}

/// Does what is asked and needs nothing but what is stored.
pub fn execute_on_store(operator: &dyn Operator, request: ControlRequest) -> Result<Value, ControlError> {
    match request {
        ControlRequest::Health | ControlRequest::StartChannel { .. } => Err(ControlError::NotRunning),
        ControlRequest::ListMessages(rows) => {
            let messages = operator.list_messages(message_filter(rows)?).map_err(failed)?;
            Ok(json!({"messages": messages.iter().map(records::message_summary).collect::<Vec<_>>()}))
        }
        ControlRequest::ShowMessage { id } => {
            let message = operator.message(MessageId(id)).map_err(failed)?;
            message.map(|message| records::message(&message)).ok_or_else(|| no_such("message", id))
        }
        ControlRequest::ReplayMessage { id } => {
            let reason = "it is still pending, so there is nothing to replay";
            changed(operator.replay_message(MessageId(id)), || known_message(operator, id, reason))
        }
        ControlRequest::DropMessage { id } => {
            let reason = "it is not pending any more";
            changed(operator.drop_message(MessageId(id)), || known_message(operator, id, reason))
        }
        ControlRequest::ListReplies(rows) => {
            let replies = operator.list_replies(reply_filter(rows)?).map_err(failed)?;
            Ok(json!({"replies": replies.iter().map(records::reply_summary).collect::<Vec<_>>()}))
        }
        ControlRequest::ShowReply { id } => {
            let reply = operator.reply(ReplyId(id)).map_err(failed)?;
            reply.map(|reply| records::reply(&reply)).ok_or_else(|| no_such("reply", id))
        }
        ControlRequest::RetryReply { id } => {
            let reason = "it was delivered, so there is nothing to retry";
            changed(operator.retry_reply(ReplyId(id)), || known_reply(operator, id, reason))
        }
        ControlRequest::DropReply { id } => {
            let reason = "it was delivered or dropped already";
            changed(operator.drop_reply(ReplyId(id)), || known_reply(operator, id, reason))
        }
        ControlRequest::ListPairing => {
            let pending: Vec<Value> =
                operator.pairing().pending().iter().map(records::pending_pairing).collect();
            let approved: Vec<Value> =
                operator.pairing().approved().iter().map(records::approved_pairing).collect();
            Ok(json!({"pending": pending, "approved": approved}))
        }
        ControlRequest::ApprovePairing { channel, code, identity } => {
            let channel = channel_name(&channel)?;
            let id = operator.pairing().approve(&channel, &code, identity.as_deref()).map_err(failed)?;
            Ok(json!({"id": id}))
        }
        ControlRequest::RevokePairing { channel, id } => {
            let channel = channel_name(&channel)?;
            match operator.pairing().revoke(&channel, &id).map_err(failed)? {
                true => Ok(json!({"id": id})),
                false => Err(ControlError::NotApproved { id, channel }),
            }
        }
    }
}

fn failed(error: impl std::fmt::Display) -> ControlError {
    ControlError::Failed(error.to_string())
}

fn no_such(what: &'static str, id: u64) -> ControlError {
    ControlError::NoSuch { what, id }
}

/// The response to a change that may not have applied; `why` says why not.
fn changed<E: std::fmt::Display>(
    result: Result<bool, E>,
    why: impl FnOnce() -> ControlError,
) -> Result<Value, ControlError> {
    match result.map_err(failed)? {
        true => Ok(json!({"changed": true})),
        false => Err(why()),
    }
}

fn known_message(operator: &dyn Operator, id: u64, reason: &'static str) -> ControlError {
    match operator.message(MessageId(id)) {
        Ok(Some(_)) => ControlError::Unchanged { what: "message", id, reason },
        Ok(None) => no_such("message", id),
        Err(error) => failed(error),
    }
}

fn known_reply(operator: &dyn Operator, id: u64, reason: &'static str) -> ControlError {
    match operator.reply(ReplyId(id)) {
        Ok(Some(_)) => ControlError::Unchanged { what: "reply", id, reason },
        Ok(None) => no_such("reply", id),
        Err(error) => failed(error),
    }
}

fn channel_name(name: &str) -> Result<ChannelName, ControlError> {
    ChannelName::new(name).map_err(|source| ControlError::ChannelName { name: name.to_owned(), source })
}

fn message_filter(rows: Rows) -> Result<MessageFilter, ControlError> {
    let state = rows.state.as_deref().map(|name| {
        let states = [MessageState::Pending, MessageState::Acked, MessageState::Dropped, MessageState::Dead];
        let found = states.into_iter().find(|state| records::message_state(*state) == name);
        found.ok_or_else(|| ControlError::State { what: "messages", name: name.to_owned() })
    });
    Ok(MessageFilter {
        channel: rows.channel.map(Into::into),
        state: state.transpose()?,
        before: rows.before.map(MessageId),
        limit: rows.limit,
    })
}

fn reply_filter(rows: Rows) -> Result<ReplyFilter, ControlError> {
    let state = rows.state.as_deref().map(|name| {
        let states = [ReplyState::Pending, ReplyState::Delivered, ReplyState::Dead, ReplyState::Dropped];
        let found = states.into_iter().find(|state| records::reply_state(*state) == name);
        found.ok_or_else(|| ControlError::State { what: "replies", name: name.to_owned() })
    });
    Ok(ReplyFilter {
        channel: rows.channel.map(Into::into),
        state: state.transpose()?,
        before: rows.before.map(ReplyId),
        limit: rows.limit,
    })
}
