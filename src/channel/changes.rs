//! A callback's effects as a batch for the store: pure translation.

use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use wit_abi::types::EmittedMessage;

use crate::event::callback::{Emitted, TimerChange};
use crate::model::clock::millis;
use crate::store::{Change, ChannelKey, DedupeId, MessageId, NewMessage};
use crate::webhook::{DedupeKey, DedupeMemory};

/// The change that stores an emitted message.
pub fn add_message(id: MessageId, channel: &ChannelKey, emitted: Emitted, received_ms: u64) -> NewMessage {
    let Emitted { message, attachment_data } = emitted;
    let conversation = conversation_of(channel, &message);
    NewMessage {
        id,
        channel: channel.clone(),
        conversation,
        message: Arc::new(message),
        attachment_data,
        received_ms,
    }
}

/// Messages with the same value are one conversation: those of a thread, else those of a user.
fn conversation_of(channel: &ChannelKey, message: &EmittedMessage) -> Arc<str> {
    match &message.thread_id {
        Some(thread) => format!("{channel}/thread/{thread}").into(),
        None => format!("{channel}/user/{}", message.user_id).into(),
    }
}

/// The change that stores what a callback wants of a timer.
pub fn timer(channel: &ChannelKey, change: &TimerChange, now_ms: u64) -> Change {
    match change {
        TimerChange::Set { name, delay, payload } => Change::SetTimer {
            channel: channel.clone(),
            name: name.clone(),
            set_ms: now_ms,
            due_ms: now_ms.saturating_add(millis(*delay)),
            payload: payload.clone(),
        },
        TimerChange::Cancel { name } => Change::CancelTimer { channel: channel.clone(), name: name.clone() },
    }
}

/// By what a message is recognised that carries its provider's id as `message_id` in its metadata.
pub fn own_id(message: &EmittedMessage) -> Option<DedupeKey> {
    let metadata: serde_json::Value = serde_json::from_str(&message.metadata_json).ok()?;
    let id = match metadata.get("message_id")? {
        serde_json::Value::String(id) => id.clone(),
        serde_json::Value::Number(id) => id.to_string(),
        _ => return None,
    };
    Some(DedupeKey::derive("message id", id.as_bytes()))
}

/// The change that remembers such a message.
pub fn dedupe_message(id: DedupeId, channel: &ChannelKey, key: DedupeKey, now_ms: u64) -> Change {
    Change::Dedupe {
        id,
        channel: channel.clone(),
        key: *key.as_bytes(),
        at_ms: now_ms,
        expires_ms: now_ms.saturating_add(DedupeMemory::<()>::DEDUPE_MS),
        response: None,
    }
}

/// Says in a reply's metadata that it may have been delivered before. The rest of the text stays as it is, byte for
/// byte: guests find their numbers in it. A `redelivery` of the guest's own goes, which would be read in place of this one.
pub fn mark_redelivery(metadata_json: &str) -> String {
    if let Some(Members(members)) = members_with_mark(metadata_json) {
        let mut marked = "{\"redelivery\":true".to_owned();
        for (name, value) in members.iter().filter(|(name, _)| name != REDELIVERY) {
            marked.extend([",", &serde_json::Value::from(name.as_str()).to_string(), ":", value.get()]);
        }
        return marked + "}";
    }
    let rest = metadata_json.trim_start();
    match rest.strip_prefix('{') {
        Some(inside) if inside.trim_start().starts_with('}') => format!("{{\"redelivery\":true{inside}"),
        Some(inside) => format!("{{\"redelivery\":true,{inside}"),
        None if rest.is_empty() => "{\"redelivery\":true}".to_owned(),
        // Not an object: there is no place for the mark that would not change what the guest finds.
        None => metadata_json.to_owned(),
    }
}

const REDELIVERY: &str = "redelivery";

/// The members of an object that has a `redelivery` of its own.
fn members_with_mark(json: &str) -> Option<Members> {
    let members: Members = serde_json::from_str(json).ok()?;
    members.0.iter().any(|(name, _)| name == REDELIVERY).then_some(members)
}

/// The members of an object in their order, their values as they are written.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_redelivery_mark_leaves_the_rest_of_the_metadata_as_it_was() {
        for (metadata, marked) in [
            ("", r#"{"redelivery":true}"#),
            ("{}", r#"{"redelivery":true}"#),
            (" { } ", r#"{"redelivery":true } "#),
            (r#"{"chat_id":12345678901234567890}"#, r#"{"redelivery":true,"chat_id":12345678901234567890}"#),
            (r#"{"a":1.0, "b":[]}"#, r#"{"redelivery":true,"a":1.0, "b":[]}"#),
            ("[1]", "[1]"),
            ("null", "null"),
            // A guest's own key of this name was read in place of the host's.
            (r#"{"redelivery":false}"#, r#"{"redelivery":true}"#),
            (
                r#"{"a":1.0, "redelivery":{"x":1} ,"b":"\u00e4"}"#,
                r#"{"redelivery":true,"a":1.0,"b":"\u00e4"}"#,
            ),
            (r#"{"re\u0064elivery":0,"redelivery":1,"a":2}"#, r#"{"redelivery":true,"a":2}"#),
            (r#"{"in":{"redelivery":false}}"#, r#"{"redelivery":true,"in":{"redelivery":false}}"#),
        ] {
            assert_eq!(mark_redelivery(metadata), marked, "{metadata:?}");
        }
    }

    #[test]
    fn a_thread_is_one_conversation_and_a_user_without_a_thread_another() {
        let channel: ChannelKey = "echo".into();
        let message = |user: &str, thread: Option<&str>| EmittedMessage {
            user_id: user.into(),
            thread_id: thread.map(str::to_owned),
            ..EmittedMessage::default()
        };
        let of = |message| conversation_of(&channel, &message);
        assert_eq!(of(message("ann", Some("7"))), of(message("bob", Some("7"))));
        assert_eq!(of(message("ann", None)), of(message("ann", None)));
        assert_ne!(of(message("ann", None)), of(message("bob", None)));
        assert_ne!(of(message("7", None)), of(message("ann", Some("7"))));
    }
}
