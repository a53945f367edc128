//! What a program says in one line. No I/O.

use std::time::Duration;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use wit_abi::types::{AgentResponse, StatusType};

use crate::agent::response::{ResponseError, ResponseFields, null_is_default, read};
use crate::agent::status::status_type;

/// The longest delay of a message that an agent refuses for now.
const MAX_DELAY: Duration = Duration::from_secs(24 * 3600);

/// What an agent says in one line.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::agent) enum AgentLine {
    /// A reply to a message, none when there is nothing to say; `done` when it was the last one.
    Reply { id: u64, response: Option<AgentResponse>, done: bool },
    /// The message needs no (further) reply.
    Done { id: u64 },
    /// The agent cannot deal with the message now.
    Nack { id: u64, delay: Option<Duration> },
    /// What the agent is doing.
    Status { id: u64, status: StatusType, message: String },
    /// A message of the agent's own.
    Broadcast { channel: String, user_id: String, response: AgentResponse },
}

/// A line that is not understood.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::agent) struct BadLine {
    /// What is wrong with it.
    pub error: ResponseError,
    /// The message that it seems to be about.
    pub id: Option<u64>,
    /// Whether the agent seems to think that it has dealt with that message.
    pub is_final: bool,
    /// Whether it was meant as an object and is none: what it says of its message is lost.
    pub is_torn: bool,
}

/// Reads one line of an agent. Unknown fields are ignored.
pub(in crate::agent) fn parse_line(line: &str) -> Result<AgentLine, BadLine> {
    let kind = read::<LineKind>(line).map(|kind| kind.kind);
    let parsed = match &kind {
        Ok(kind) => parse_kind(kind, line),
        Err(error) => Err(error.clone()),
    };
    parsed.map_err(|error| {
        let id = id_within(line);
        let is_final = kind.is_ok_and(|kind| matches!(kind.as_str(), "reply" | "done" | "nack"));
        BadLine { error, id, is_final, is_torn: is_torn(line) }
    })
}

fn parse_kind(kind: &str, line: &str) -> Result<AgentLine, ResponseError> {
    match kind {
        "reply" => {
            let ReplyLine { id, done } = read(line)?;
            let response = read::<ResponseFields>(line)?.into_response()?;
            Ok(AgentLine::Reply { id, response, done: done.unwrap_or(true) })
        }
        "done" => read(line).map(|DoneLine { id }| AgentLine::Done { id }),
        "nack" => read(line).map(|NackLine { id, delay_secs }| AgentLine::Nack { id, delay: delay_secs }),
        "status" => {
            read(line).map(|StatusLine { id, status, message }| AgentLine::Status { id, status, message })
        }
        "broadcast" => {
            let BroadcastLine { channel, user_id } = read(line)?;
            let response = read::<ResponseFields>(line)?.into_response()?;
            let response = response.ok_or(ResponseError::BroadcastOfNothing)?;
            Ok(AgentLine::Broadcast { channel, user_id, response })
        }
        _ => Err(ResponseError::UnknownType(kind.to_owned())),
    }
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct LineKind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct ReplyLine {
    #[serde(deserialize_with = "id")]
    id: u64,
    done: Option<bool>,
}

#[derive(Deserialize)]
struct DoneLine {
    #[serde(deserialize_with = "id")]
    id: u64,
}

#[derive(Deserialize)]
struct NackLine {
    #[serde(deserialize_with = "id")]
    id: u64,
    #[serde(default, deserialize_with = "delay")]
    delay_secs: Option<Duration>,
}

#[derive(Deserialize)]
struct StatusLine {
    #[serde(deserialize_with = "id")]
    id: u64,
    #[serde(deserialize_with = "status")]
    status: StatusType,
    #[serde(default, deserialize_with = "null_is_default")]
    message: String,
}

#[derive(Deserialize)]
struct BroadcastLine {
    channel: String,
    user_id: String,
}

/// An id is written as text; a number is understood too.
fn id<'de, D: Deserializer<'de>>(field: D) -> Result<u64, D::Error> {
    let id = Value::deserialize(field)?;
    let number = id.as_str().map_or_else(|| id.as_u64(), |text| text.parse().ok());
    number.ok_or_else(|| D::Error::custom(format!("{id} is not a message id")))
}

fn delay<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Duration>, D::Error> {
    let Some(seconds) = Option::<f64>::deserialize(field)? else { return Ok(None) };
    match Duration::try_from_secs_f64(seconds) {
        Ok(delay) => Ok(Some(delay.min(MAX_DELAY))),
        Err(_) if seconds > 0.0 => Ok(Some(MAX_DELAY)),
        Err(_) => Err(D::Error::custom(format!("{seconds} is not a delay"))),
    }
}

fn status<'de, D: Deserializer<'de>>(field: D) -> Result<StatusType, D::Error> {
    status_type(&String::deserialize(field)?).map_err(D::Error::custom)
}

/// Whether a line is the beginning of an object, or one whose syntax is wrong, and not about a status. Other lines that are not JSON are
/// what programs print beside their replies.
fn is_torn(line: &str) -> bool {
    line.trim_start().starts_with('{')
        && !["status", "broadcast"].iter().any(|kind| line.contains(kind))
        && serde_json::from_str::<IgnoredAny>(line).is_err()
}

/// The id that a line names, also when the line is not JSON: the first number after `"id":`.
pub(super) fn id_within(line: &str) -> Option<u64> {
    if serde_json::from_str::<IgnoredAny>(line).is_ok() {
        let object: serde_json::Map<String, Value> = serde_json::from_str(line).ok()?;
        let id = object.get("id")?;
        return id.as_str().map_or_else(|| id.as_u64(), |text| text.parse().ok());
    }
    let (_, after) = line.split_once("\"id\"")?;
    let after = after.trim_start().strip_prefix(':')?.trim_start();
    let after = after.strip_prefix('"').unwrap_or(after);
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    after[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wit_abi::types::Attachment;

    use super::*;

    fn text(content: &str) -> AgentResponse {
        AgentResponse { content: content.to_owned(), ..AgentResponse::default() }
    }

    fn reply(id: u64, content: &str) -> AgentLine {
        AgentLine::Reply { id, response: Some(text(content)), done: true }
    }

    #[test]
    fn lines_are_understood() {
        let with_file = AgentResponse {
            thread_id: Some("t".into()),
            attachments: vec![Attachment {
                filename: "a.txt".into(),
                mime_type: "application/octet-stream".into(),
                data: b"hi".to_vec(),
            }],
            ..text("c")
        };
        let rows = [
            (r#"{"type":"reply","id":"12","content":"hi"}"#, reply(12, "hi")),
            (r#"{"type":"reply","id":"12","content":"cut \ud83c"}"#, reply(12, "cut \u{fffd}")),
            (
                r#"{"type":"reply","id":12,"content":"hi","done":false,"more":1}"#,
                AgentLine::Reply { id: 12, response: Some(text("hi")), done: false },
            ),
            (
                r#"{"type":"reply","id":"1","content":"c","thread_id":"t","attachments":[{"filename":"a.txt","data":"aGk="}]}"#,
                AgentLine::Reply { id: 1, response: Some(with_file), done: true },
            ),
            (
                r#"{"type":"reply","id":"1","content":null}"#,
                AgentLine::Reply { id: 1, response: None, done: true },
            ),
            (r#"{"type":"done","id":"3"}"#, AgentLine::Done { id: 3 }),
            (r#"{"type":"nack","id":"3"}"#, AgentLine::Nack { id: 3, delay: None }),
            (r#"{"type":"nack","id":"3","delay_secs":null}"#, AgentLine::Nack { id: 3, delay: None }),
            (
                r#"{"type":"nack","id":"3","delay_secs":0.5}"#,
                AgentLine::Nack { id: 3, delay: Some(Duration::from_millis(500)) },
            ),
            (
                r#"{"type":"nack","id":"3","delay_secs":1e9}"#,
                AgentLine::Nack { id: 3, delay: Some(MAX_DELAY) },
            ),
            (
                r#"{"type":"nack","id":"3","delay_secs":1e300}"#,
                AgentLine::Nack { id: 3, delay: Some(MAX_DELAY) },
            ),
            (
                r#"{"type":"status","id":"3","status":"tool-started","message":"m"}"#,
                AgentLine::Status { id: 3, status: StatusType::ToolStarted, message: "m".into() },
            ),
            (
                r#"{"type":"broadcast","channel":"echo","user_id":"ann","content":"x"}"#,
                AgentLine::Broadcast { channel: "echo".into(), user_id: "ann".into(), response: text("x") },
            ),
        ];
        for (line, expected) in rows {
            assert_eq!(parse_line(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn malformed_lines_are_refused_with_the_reason() {
        for (line, expected) in [
            ("hello", "not JSON: expected value at line 1 column 1"),
            ("3", "invalid type: integer `3`, expected an object"),
            ("{}", "missing field `type`"),
            (
                r#"{"type":"shout","id":"1"}"#,
                r#"type: "shout" is unknown: known are reply, done, nack, status, broadcast"#,
            ),
            (r#"{"type":"reply","id":"1","attachments":[]}"#, "neither `content` nor `attachments`"),
            (
                r#"{"type":"reply","id":"1","content":3}"#,
                "content: invalid type: integer `3`, expected a string",
            ),
            (r#"{"type":"reply","content":"x"}"#, "missing field `id`"),
            (r#"{"type":"reply","id":"x","content":"x"}"#, r#"id: "x" is not a message id"#),
            (r#"{"type":"done","id":1.5}"#, "id: 1.5 is not a message id"),
            (
                r#"{"type":"reply","id":"1","content":"x","done":"no"}"#,
                r#"done: invalid type: string "no", expected a boolean"#,
            ),
            (r#"{"type":"nack","id":"1","delay_secs":-1}"#, "delay_secs: -1 is not a delay"),
            (
                r#"{"type":"nack","id":"1","delay_secs":"1"}"#,
                r#"delay_secs: invalid type: string "1", expected f64"#,
            ),
            (r#"{"type":"broadcast","channel":"echo","content":"x"}"#, "missing field `user_id`"),
            (
                r#"{"type":"broadcast","channel":"echo","user_id":"a","content":null}"#,
                "a broadcast without `content`",
            ),
        ] {
            assert_eq!(
                parse_line(line).map_err(|bad| bad.error.to_string()),
                Err(expected.to_owned()),
                "{line}"
            );
        }
        let asleep = parse_line(r#"{"type":"status","id":"1","status":"asleep"}"#).unwrap_err();
        assert!(asleep.error.to_string().starts_with(r#"status: "asleep" is not a status"#), "{asleep:?}");
    }

    #[test]
    fn a_malformed_line_names_its_message_where_that_can_be_seen() {
        for (line, id, is_final) in [
            (r#"{"type":"reply","id":"12","content":3}"#, Some(12), true),
            (r#"{"type":"reply","id":12}"#, Some(12), true),
            (r#"{"type":"status","id":"12","status":"asleep"}"#, Some(12), false),
            (r#"{"type":"shout","id":"12"}"#, Some(12), false),
            (r#"{"type":"reply", "id" : "12", "content": "x"#, Some(12), false),
            (r#"{'type':'reply','id':'12'}"#, None, false),
            (r#"{"content":"\"id\": 7","type":3}"#, None, false),
            ("hello", None, false),
        ] {
            let bad = parse_line(line).unwrap_err();
            assert_eq!((bad.id, bad.is_final), (id, is_final), "{line}");
        }
    }

    #[test]
    fn an_object_that_is_not_legal_is_torn() {
        for (line, is_torn) in [
            (r#"{'type': 'reply', 'id': '12'}"#, true),
            (r#"{"type":"reply","content":"x"#, true),
            (r#" {"type":"reply""#, true),
            (r#"{"type":"reply", "id" : "12", "content": "x"#, true),
            (r#"{'type': 'status', 'id': '12'}"#, false),
            (r#"{"type":"reply","content":"x"}"#, false),
            ("hello", false),
            ("[", false),
        ] {
            assert_eq!(parse_line(line).unwrap_err().is_torn, is_torn, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in r#"(\{"type":"(reply|nack)","id":)?[\\"ud8:{}a0-9,\[\]]{0,40}"#) {
            let _ = parse_line(&line);
        }
    }
}
