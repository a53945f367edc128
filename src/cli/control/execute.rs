//! What a manager does for a request.

use crate::ChannelManager;
use crate::channel::ChannelName;
use crate::store::{MessageFilter, MessageId, MessageState, ReplyFilter, ReplyId, ReplyState};
use serde_json::{Value, json};

use super::request::{Request, Rows};
use super::shown;

/// Does what is asked.
pub fn execute(manager: &ChannelManager, request: Request) -> Result<Value, String> {
    match request {
        Request::Health => {
            let health = manager.health().map_err(text)?;
            Ok(shown::health(&health))
        }
        Request::ListMessages(rows) => {
            let messages = manager.list_messages(message_filter(rows)?).map_err(text)?;
            Ok(json!({"messages": messages.iter().map(shown::message_summary).collect::<Vec<_>>()}))
        }
        Request::ShowMessage { id } => {
            let message = manager.message(MessageId(id)).map_err(text)?;
            message.map(|message| shown::message(&message)).ok_or_else(|| no_such("message", id))
        }
        Request::ReplayMessage { id } => {
            let reason = "it is still pending, so there is nothing to replay";
            changed(manager.replay_message(MessageId(id)), || known_message(manager, id, reason))
        }
        Request::DropMessage { id } => {
            let reason = "it is not pending any more";
            changed(manager.drop_message(MessageId(id)), || known_message(manager, id, reason))
        }
        Request::ListReplies(rows) => {
            let replies = manager.list_replies(reply_filter(rows)?).map_err(text)?;
            Ok(json!({"replies": replies.iter().map(shown::reply_summary).collect::<Vec<_>>()}))
        }
        Request::ShowReply { id } => {
            let reply = manager.reply(ReplyId(id)).map_err(text)?;
            reply.map(|reply| shown::reply(&reply)).ok_or_else(|| no_such("reply", id))
        }
        Request::RetryReply { id } => {
            let reason = "it was delivered, so there is nothing to retry";
            changed(manager.retry_reply(ReplyId(id)), || known_reply(manager, id, reason))
        }
        Request::DropReply { id } => {
            let reason = "it was delivered or dropped already";
            changed(manager.drop_reply(ReplyId(id)), || known_reply(manager, id, reason))
        }
        Request::ListPairing => {
            let pending: Vec<Value> =
                manager.pairing().pending().iter().map(shown::pending_pairing).collect();
            let approved: Vec<Value> =
                manager.pairing().approved().iter().map(shown::approved_pairing).collect();
            Ok(json!({"pending": pending, "approved": approved}))
        }
        Request::ApprovePairing { channel, code, identity } => {
            let channel = channel_name(&channel)?;
            let id = manager.pairing().approve(&channel, &code, identity.as_deref()).map_err(text)?;
            Ok(json!({"id": id}))
        }
        Request::RevokePairing { channel, id } => {
            let channel = channel_name(&channel)?;
            match manager.pairing().revoke(&channel, &id).map_err(text)? {
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

fn known_message(manager: &ChannelManager, id: u64, otherwise: &str) -> String {
    match manager.message(MessageId(id)) {
        Ok(Some(_)) => format!("message {id} was left as it is: {otherwise}"),
        Ok(None) => no_such("message", id),
        Err(error) => error.to_string(),
    }
}

fn known_reply(manager: &ChannelManager, id: u64, otherwise: &str) -> String {
    match manager.reply(ReplyId(id)) {
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
        let found = states.into_iter().find(|state| shown::message_state(*state) == name);
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
        let found = states.into_iter().find(|state| shown::reply_state(*state) == name);
        found.ok_or_else(|| format!("replies are never {name}"))
    });
    Ok(ReplyFilter {
        channel: rows.channel.map(Into::into),
        state: state.transpose()?,
        before: rows.before.map(ReplyId),
        limit: rows.limit,
    })
}
