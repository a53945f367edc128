//! What a manager answers to a request.

use serde_json::Value;
use tinclaw::ChannelManager;
use tinclaw::channel::ChannelName;
use tinclaw::store::{MessageFilter, MessageId, MessageState, ReplyFilter, ReplyId, ReplyState};

use super::request::{Request, Rows};
use super::shown;
use crate::cli::object::object;

/// Does what is asked.
pub fn answer(manager: &ChannelManager, request: Request) -> Result<Value, String> {
    match request {
        Request::Health => {
            let health = manager.health().map_err(text)?;
            serde_json::to_value(health).map_err(text)
        }
        Request::ListMessages(rows) => {
            let messages = manager.list_messages(message_filter(rows)?).map_err(text)?;
            Ok(messages.iter().map(shown::message_summary).collect())
        }
        Request::ShowMessage { id } => {
            let message = manager.message(MessageId(id)).map_err(text)?;
            message.map(|message| shown::message(&message)).ok_or_else(|| no_such("message", id))
        }
        Request::ReplayMessage { id } => {
            let settled = "it still waits for the agent, so there is nothing to replay";
            changed(manager.replay_message(MessageId(id)), || known_message(manager, id, settled))
        }
        Request::DropMessage { id } => {
            let settled = "it does not wait any more";
            changed(manager.drop_message(MessageId(id)), || known_message(manager, id, settled))
        }
        Request::ListReplies(rows) => {
            let replies = manager.list_replies(reply_filter(rows)?).map_err(text)?;
            Ok(replies.iter().map(shown::reply_summary).collect())
        }
        Request::ShowReply { id } => {
            let reply = manager.reply(ReplyId(id)).map_err(text)?;
            reply.map(|reply| shown::reply(&reply)).ok_or_else(|| no_such("reply", id))
        }
        Request::RetryReply { id } => {
            let settled = "it was delivered, so there is nothing to send again";
            changed(manager.retry_reply(ReplyId(id)), || known_reply(manager, id, settled))
        }
        Request::DropReply { id } => {
            let settled = "it was delivered or dropped already";
            changed(manager.drop_reply(ReplyId(id)), || known_reply(manager, id, settled))
        }
        Request::ListPairing => {
            let desk = manager.pairing();
            Ok(object!({"pending": desk.pending(), "approved": desk.approved()}))
        }
        Request::ApprovePairing { channel, code, identity } => {
            let channel = channel_name(&channel)?;
            let id = manager.pairing().approve(&channel, &code, identity.as_deref()).map_err(text)?;
            Ok(object!({"id": id}))
        }
        Request::RevokePairing { channel, id } => {
            let channel = channel_name(&channel)?;
            match manager.pairing().revoke(&channel, &id).map_err(text)? {
                true => Ok(object!({"id": id})),
                false => Err(format!("nobody is approved as {id} for channel {channel}")),
            }
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn no_such(what: &str, id: u64) -> String {
    format!("there is no {what} {id} (settled ones are kept for some days only)")
}

/// The answer to a change that may not have applied; `why` says why not.
fn changed<E: std::fmt::Display>(
    result: Result<bool, E>,
    why: impl FnOnce() -> String,
) -> Result<Value, String> {
    match result.map_err(text)? {
        true => Ok(object!({"changed": true})),
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
    ChannelName::new(name).map_err(|error| format!("{name:?} is no channel's name: {error}"))
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
