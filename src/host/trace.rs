//! One message's whole story: what is stored of it, of the replies to it, and of what happened to them.

use super::offline::DaemonOperator;
use crate::store::{MessageId, MessageRecord, ReplyId, ReplyRecord, StateError, TraceStep, TraceSubject};
use crate::webhook::DedupeKey;

/// By what somebody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TraceQuery {
    /// The id of a message.
    Message(MessageId),
    /// The id of a reply.
    Reply(ReplyId),
    /// What the service calls the message or the delivery.
    Provider(String),
}

impl TraceQuery {
    /// What `id` may mean, the most likely first.
    pub fn all_of(id: &str) -> Vec<Self> {
        let number: Option<u64> = id.parse().ok();
        let own = number.map(|id| [Self::Message(MessageId(id)), Self::Reply(ReplyId(id))]);
        own.into_iter().flatten().chain([Self::Provider(id.to_owned())]).collect()
    }
}

/// A message and the replies to it, or a reply to none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageTrace {
    /// The message with what happened to it; none when it is forgotten, or there never was one.
    pub message: Option<(MessageRecord, Vec<TraceStep>)>,
    /// The replies, oldest first.
    pub replies: Vec<(ReplyRecord, Vec<TraceStep>)>,
}

/// The stories that are meant, newest first; none when nothing is known.
///
/// # Errors
/// The store is not available.
pub(crate) fn stories(
    operator: &dyn DaemonOperator,
    query: &TraceQuery,
) -> Result<Vec<MessageTrace>, StateError> {
    operator.write_waiting_steps();
    let found = match query {
        TraceQuery::Message(id) => vec![of_message(operator, *id)?],
        TraceQuery::Reply(id) => vec![of_reply(operator, *id)?],
        TraceQuery::Provider(id) => {
            let (text, keys) = (id.clone(), keys_of(id));
            let found = operator.store().query(move |engine| engine.messages_of_provider(&text, &keys))?;
            found.into_iter().map(|id| of_message(operator, id)).collect::<Result<_, _>>()?
        }
    };
    Ok(found.into_iter().filter(|story| *story != MessageTrace::default()).collect())
}

/// A request and a message are recognised by digests of their ids.
fn keys_of(id: &str) -> Vec<[u8; 16]> {
    ["dedupe", "message id"].map(|kind| *DedupeKey::derive(kind, id.as_bytes()).as_bytes()).to_vec()
}

fn of_message(operator: &dyn DaemonOperator, id: MessageId) -> Result<MessageTrace, StateError> {
    let Some(record) = operator.message(id)? else { return Ok(MessageTrace::default()) };
    let steps = steps(operator, TraceSubject::Message(id))?;
    let replies = operator.store().query(move |engine| engine.replies_to(id))?;
    let mut story = MessageTrace { message: Some((record, steps)), replies: Vec::new() };
    for id in replies {
        story.replies.extend(with_steps(operator, id)?);
    }
    Ok(story)
}

fn of_reply(operator: &dyn DaemonOperator, id: ReplyId) -> Result<MessageTrace, StateError> {
    let Some((record, steps)) = with_steps(operator, id)? else { return Ok(MessageTrace::default()) };
    if let Some(message) = record.in_reply_to {
        let story = of_message(operator, message)?;
        if story.message.is_some() {
            return Ok(story);
        }
    }
    Ok(MessageTrace { message: None, replies: vec![(record, steps)] })
}

fn with_steps(
    operator: &dyn DaemonOperator,
    id: ReplyId,
) -> Result<Option<(ReplyRecord, Vec<TraceStep>)>, StateError> {
    let Some(record) = operator.reply(id)? else { return Ok(None) };
    Ok(Some((record, steps(operator, TraceSubject::Reply(id))?)))
}

fn steps(operator: &dyn DaemonOperator, subject: TraceSubject) -> Result<Vec<TraceStep>, StateError> {
    operator.store().query(move |engine| engine.trace(subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_be_a_message_a_reply_or_an_id_of_the_service() {
        let provider = |id: &str| TraceQuery::Provider(id.to_owned());
        assert_eq!(
            TraceQuery::all_of("7"),
            [TraceQuery::Message(MessageId(7)), TraceQuery::Reply(ReplyId(7)), provider("7")]
        );
        for id in ["Ev0123", "-1", "18446744073709551616", ""] {
            assert_eq!(TraceQuery::all_of(id), [provider(id)]);
        }
    }
}
