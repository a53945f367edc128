//! What a running host does for a request, or the store of one that does not run.

use crate::ChannelManager;
use crate::channel::ChannelName;
use crate::host::Operator;
use crate::store::{MessageFilter, MessageId, MessageState, ReplyFilter, ReplyId, ReplyState};
use serde_json::{Value, json};

use super::records;
use super::request::{ControlRequest, Rows};
use crate::cli::start_channel::ChannelStarter;

/// Does what is asked of a running host.
pub fn execute(
    manager: &ChannelManager,
    starter: &ChannelStarter,
    request: ControlRequest,
) -> Result<Value, String> {
    match request {
        ControlRequest::StartChannel { name } => starter.start(manager, &name),
        ControlRequest::Health => {
            let health = manager.health().map_err(text)?;
            Ok(records::health(&health))
        }
        other => execute_on_store(manager, other),
    }
}

/// Does what is asked and needs nothing but what is stored.
pub fn execute_on_store(operator: &dyn Operator, request: ControlRequest) -> Result<Value, String> {
    match request {
        ControlRequest::Health | ControlRequest::StartChannel { .. } => Err("no host is running".to_owned()),
        ControlRequest::ListMessages(rows) => {
            let messages = operator.list_messages(message_filter(rows)?).map_err(text)?;
            Ok(json!({"messages": messages.iter().map(records::message_summary).collect::<Vec<_>>()}))
        }
        ControlRequest::ShowMessage { id } => {
            let message = operator.message(MessageId(id)).map_err(text)?;
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
            let replies = operator.list_replies(reply_filter(rows)?).map_err(text)?;
            Ok(json!({"replies": replies.iter().map(records::reply_summary).collect::<Vec<_>>()}))
        }
        ControlRequest::ShowReply { id } => {
            let reply = operator.reply(ReplyId(id)).map_err(text)?;
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
            let id = operator.pairing().approve(&channel, &code, identity.as_deref()).map_err(text)?;
            Ok(json!({"id": id}))
        }
        ControlRequest::RevokePairing { channel, id } => {
            let channel = channel_name(&channel)?;
            match operator.pairing().revoke(&channel, &id).map_err(text)? {
                true => Ok(json!({"id": id})),
                false => Err(format!("nobody is approved as {id} for channel {channel}")),
            }
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn no_such(what: &str, id: u64) -> String {
    format!("there is no {what} {id} (completed ones are kept for some days only)")
}

/// The response to a change that may not have applied; `why` says why not.
fn changed<E: std::fmt::Display>(
    result: Result<bool, E>,
    why: impl FnOnce() -> String,
) -> Result<Value, String> {
    match result.map_err(text)? {
        true => Ok(json!({"changed": true})),
        false => Err(why()),
    }
}

fn known_message(operator: &dyn Operator, id: u64, otherwise: &str) -> String {
    match operator.message(MessageId(id)) {
        Ok(Some(_)) => format!("message {id} was left as it is: {otherwise}"),
        Ok(None) => no_such("message", id),
        Err(error) => error.to_string(),
    }
}

fn known_reply(operator: &dyn Operator, id: u64, otherwise: &str) -> String {
    match operator.reply(ReplyId(id)) {
        Ok(Some(_)) => format!("reply {id} was left as it is: {otherwise}"),
        Ok(None) => no_such("reply", id),
        Err(error) => error.to_string(),
    }
}

fn channel_name(name: &str) -> Result<ChannelName, String> {
    ChannelName::new(name).map_err(|error| format!("{name:?} is not a channel name: {error}"))
}

fn message_filter(rows: Rows) -> Result<MessageFilter, String> {
    let state = rows.state.as_deref().map(|name| {
        let states = [MessageState::Pending, MessageState::Acked, MessageState::Dropped, MessageState::Dead];
        let found = states.into_iter().find(|state| records::message_state(*state) == name);
        found.ok_or_else(|| format!("messages are never {name}"))
    });
    Ok(MessageFilter {
        channel: rows.channel.map(Into::into),
        state: state.transpose()?,
        before: rows.before.map(MessageId),
        limit: rows.limit,
    })
}

fn reply_filter(rows: Rows) -> Result<ReplyFilter, String> {
    let state = rows.state.as_deref().map(|name| {
        let states = [ReplyState::Pending, ReplyState::Delivered, ReplyState::Dead, ReplyState::Dropped];
        let found = states.into_iter().find(|state| records::reply_state(*state) == name);
        found.ok_or_else(|| format!("replies are never {name}"))
    });
    Ok(ReplyFilter {
        channel: rows.channel.map(Into::into),
        state: state.transpose()?,
        before: rows.before.map(ReplyId),
        limit: rows.limit,
    })
}
