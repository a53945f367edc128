//! Messages and answers as JSON. No I/O.
//!
//! A message, one line for a program and a body for an HTTP server:
//!
//! ```json
//! {"type":"message","id":"12","attempt":1,"channel":"echo","conversation":"…","received_ms":1,"user_id":"ann",
//!  "user_name":null,"content":"hello","thread_id":null,"metadata":{},"attachments":[]}
//! ```
//!
//! `metadata` is what the guest gave, byte for byte but for line breaks between its values. An attachment has `data`
//! (base64) when the guest stored its bytes, and `data_omitted` when those of one message are more than
//! [`MAX_DATA_BYTES`].

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::value::RawValue;
use tinclaw::fields::{Fields, json, loosely};
use tinclaw::{AgentResponse, Attachment, Delivery, StatusType};

/// The longest line that an agent may write, in bytes: room for 20 MiB of attachments in base64.
pub const MAX_LINE_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of attachments that one message takes along.
pub const MAX_DATA_BYTES: usize = 20 * 1024 * 1024;
/// The longest delay of a message that is given back.
const MAX_DELAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Serialize)]
struct MessageOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    attempt: u32,
    channel: &'a str,
    conversation: &'a str,
    received_ms: u64,
    user_id: &'a str,
    user_name: Option<&'a str>,
    content: &'a str,
    thread_id: Option<&'a str>,
    metadata: Box<RawValue>,
    attachments: Vec<AttachmentOut<'a>>,
}

#[derive(Serialize)]
struct AttachmentOut<'a> {
    id: &'a str,
    mime_type: &'a str,
    filename: Option<&'a str>,
    size_bytes: Option<u64>,
    source_url: Option<&'a str>,
    extracted_text: Option<&'a str>,
    extras: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    data_omitted: bool,
}

/// A message as one line of JSON, without a line break. `data` gives the bytes of an attachment.
pub fn message_json(
    delivery: &Delivery,
    mut data: impl FnMut(usize) -> Result<Option<std::sync::Arc<[u8]>>, String>,
) -> Result<String, String> {
    let message = delivery.message();
    let mut room = MAX_DATA_BYTES;
    let mut attachments = Vec::with_capacity(message.attachments.len());
    for (index, file) in message.attachments.iter().enumerate() {
        let bytes = data(index)?;
        let fits = bytes.as_ref().filter(|bytes| bytes.len() <= room);
        room -= fits.map_or(0, |bytes| bytes.len());
        attachments.push(AttachmentOut {
            id: &file.id,
            mime_type: &file.mime_type,
            filename: file.filename.as_deref(),
            size_bytes: file.size_bytes,
            source_url: file.source_url.as_deref(),
            extracted_text: file.extracted_text.as_deref(),
            extras: raw(&file.extras_json),
            data: fits.map(|bytes| BASE64.encode(bytes)),
            data_omitted: bytes.is_some() && fits.is_none(),
        });
    }
    let out = MessageOut {
        kind: "message",
        id: delivery.id().to_string(),
        attempt: delivery.attempt(),
        channel: delivery.channel(),
        conversation: delivery.conversation(),
        received_ms: delivery.received_ms(),
        user_id: &message.user_id,
        user_name: message.user_name.as_deref(),
        content: &message.content,
        thread_id: message.thread_id.as_deref(),
        metadata: raw(&message.metadata_json),
        attachments,
    };
    serde_json::to_string(&out).map_err(|error| error.to_string())
}

/// A guest's JSON as it is, on one line; text that is no JSON as a JSON string, and no text as null.
fn raw(json: &str) -> Box<RawValue> {
    // In valid JSON a line break only stands between values.
    let one_line = json.replace(['\n', '\r'], " ");
    let text = if json.trim().is_empty() { "null".to_owned() } else { one_line };
    RawValue::from_string(text)
        .or_else(|_| serde_json::value::to_raw_value(json))
        .unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// What an agent says in one line.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// A reply to a message; `done` when it was the last one.
    Reply { id: u64, response: AgentResponse, done: bool },
    /// The message needs no (further) reply.
    Done { id: u64 },
    /// The agent cannot deal with the message now.
    Nack { id: u64, delay: Option<Duration> },
    /// What the agent is doing.
    Status { id: u64, status: StatusType, message: String },
    /// A message of the agent's own.
    Broadcast { channel: String, user_id: String, response: AgentResponse },
}

/// Reads one line of an agent. Fields that are not known are left.
pub fn parse_line(line: &str) -> Result<Said, String> {
    json(line).and_then(|value| loosely(value, said)).map_err(|wrong| wrong.to_string())
}

fn said(fields: &mut Fields) -> Option<Said> {
    let kind = fields.text("type")?;
    Some(match kind.as_str() {
        "reply" => {
            let done = fields.flag("done").unwrap_or(true);
            Said::Reply { id: id(fields)?, response: needed_response(fields)?, done }
        }
        "done" => Said::Done { id: id(fields)? },
        "nack" => Said::Nack { id: id(fields)?, delay: delay(fields) },
        "status" => {
            let status = status_type(&fields.text("status")?);
            let status = fields.check("status", status)?;
            Said::Status { id: id(fields)?, status, message: fields.text("message").unwrap_or_default() }
        }
        "broadcast" => Said::Broadcast {
            channel: fields.text("channel")?,
            user_id: fields.text("user_id")?,
            response: needed_response(fields)?,
        },
        _ => {
            let known = "there are reply, done, nack, status, broadcast";
            return fields.check("type", Err(format!("{kind:?} is not known: {known}")));
        }
    })
}

/// An id is written as text; a number is understood too.
fn id(fields: &mut Fields) -> Option<u64> {
    let id = fields.any("id")?;
    let number = id.as_str().map_or(id.as_u64(), |text| text.parse().ok());
    fields.check("id", number.ok_or_else(|| format!("{id} is no message's id")))
}

fn delay(fields: &mut Fields) -> Option<Duration> {
    let seconds = fields.f64("delay_secs")?;
    let delay = Duration::try_from_secs_f64(seconds).map_err(|_| format!("it cannot be {seconds}"));
    fields.check("delay_secs", delay).map(|delay| delay.min(MAX_DELAY))
}

fn needed_response(fields: &mut Fields) -> Option<AgentResponse> {
    let none = || Err("there is none, and there are no attachments".to_owned());
    response(fields).or_else(|| fields.check("content", none()))
}

/// The reply in an answer; none when it has neither text nor files.
pub fn response(fields: &mut Fields) -> Option<AgentResponse> {
    let content = fields.text("content");
    let thread_id = fields.text("thread_id");
    let attachments = fields.inner_list("attachments", attachment);
    if content.is_none() && attachments.is_empty() {
        return None;
    }
    let content = content.unwrap_or_default();
    Some(AgentResponse { content, thread_id, attachments, ..AgentResponse::default() })
}

/// A file with its bytes in base64.
pub fn attachment(fields: &mut Fields) -> Option<Attachment> {
    let filename = fields.text("filename")?;
    let mime_type = fields.text("mime_type").unwrap_or_else(|| "application/octet-stream".to_owned());
    let data = BASE64.decode(fields.text("data")?);
    let data = data.map_err(|error| format!("the data of {filename:?} is no base64: {error}"));
    Some(Attachment { data: fields.check("data", data)?, filename, mime_type })
}

const STATUSES: [(&str, StatusType); 11] = [
    ("thinking", StatusType::Thinking),
    ("done", StatusType::Done),
    ("interrupted", StatusType::Interrupted),
    ("tool_started", StatusType::ToolStarted),
    ("tool_completed", StatusType::ToolCompleted),
    ("tool_result", StatusType::ToolResult),
    ("approval_needed", StatusType::ApprovalNeeded),
    ("status", StatusType::Status),
    ("job_started", StatusType::JobStarted),
    ("auth_required", StatusType::AuthRequired),
    ("auth_completed", StatusType::AuthCompleted),
];

/// The status of this name, with `-` or `_` between words.
pub fn status_type(name: &str) -> Result<StatusType, String> {
    let normal = name.replace('-', "_");
    let found = STATUSES.iter().find(|(known, _)| *known == normal).map(|(_, status)| *status);
    found.ok_or_else(|| {
        let known = STATUSES.map(|(known, _)| known).join(", ");
        format!("{name:?} is no status: there are {known}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &str) -> AgentResponse {
        AgentResponse { content: content.to_owned(), ..AgentResponse::default() }
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
            (
                r#"{"type":"reply","id":"12","content":"hi"}"#,
                Said::Reply { id: 12, response: text("hi"), done: true },
            ),
            (
                r#"{"type":"reply","id":12,"content":"hi","done":false,"more":1}"#,
                Said::Reply { id: 12, response: text("hi"), done: false },
            ),
            (
                r#"{"type":"reply","id":"1","content":"c","thread_id":"t","attachments":[{"filename":"a.txt","data":"aGk="}]}"#,
                Said::Reply { id: 1, response: with_file, done: true },
            ),
            (r#"{"type":"done","id":"3"}"#, Said::Done { id: 3 }),
            (r#"{"type":"nack","id":"3"}"#, Said::Nack { id: 3, delay: None }),
            (
                r#"{"type":"nack","id":"3","delay_secs":0.5}"#,
                Said::Nack { id: 3, delay: Some(Duration::from_millis(500)) },
            ),
            (r#"{"type":"nack","id":"3","delay_secs":1e9}"#, Said::Nack { id: 3, delay: Some(MAX_DELAY) }),
            (
                r#"{"type":"status","id":"3","status":"tool-started","message":"m"}"#,
                Said::Status { id: 3, status: StatusType::ToolStarted, message: "m".into() },
            ),
            (
                r#"{"type":"broadcast","channel":"echo","user_id":"ann","content":"x"}"#,
                Said::Broadcast { channel: "echo".into(), user_id: "ann".into(), response: text("x") },
            ),
        ];
        for (line, expected) in rows {
            assert_eq!(parse_line(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn malformed_lines_say_what_is_wrong() {
        for (line, expected) in [
            ("hello", "no JSON: expected value at line 1 column 1"),
            ("[]", "it must be a set of fields, not a list"),
            ("{}", "`type` is missing"),
            (
                r#"{"type":"shout","id":"1"}"#,
                r#"type: "shout" is not known: there are reply, done, nack, status, broadcast"#,
            ),
            (
                r#"{"type":"reply","id":"1","attachments":[]}"#,
                "content: there is none, and there are no attachments",
            ),
            (r#"{"type":"reply","id":"1","content":3}"#, "content must be a string, not 3"),
            (r#"{"type":"reply","content":"x"}"#, "`id` is missing"),
            (r#"{"type":"reply","id":"x","content":"x"}"#, r#"id: "x" is no message's id"#),
            (r#"{"type":"done","id":1.5}"#, "id: 1.5 is no message's id"),
            (
                r#"{"type":"reply","id":"1","content":"x","done":"no"}"#,
                "done must be true or false, not a string",
            ),
            (
                r#"{"type":"reply","id":"1","content":"x","attachments":[{"filename":"a","data":"!"}]}"#,
                r#"attachments[0].data: the data of "a" is no base64: Invalid symbol 33, offset 0."#,
            ),
            (
                r#"{"type":"reply","id":"1","content":"x","attachments":[{"filename":"a"}]}"#,
                "`attachments[0].data` is missing",
            ),
            (r#"{"type":"nack","id":"1","delay_secs":-1}"#, "delay_secs: it cannot be -1"),
            (r#"{"type":"nack","id":"1","delay_secs":"1"}"#, "delay_secs must be a number, not a string"),
            (r#"{"type":"broadcast","channel":"echo","content":"x"}"#, "`user_id` is missing"),
        ] {
            assert_eq!(parse_line(line), Err(expected.to_owned()), "{line}");
        }
        let asleep = parse_line(r#"{"type":"status","id":"1","status":"asleep"}"#).unwrap_err();
        assert!(asleep.starts_with(r#"status: "asleep" is no status: there are thinking"#), "{asleep}");
    }

    #[test]
    fn a_guests_json_stays_as_it_is() {
        for (json, expected) in [
            (r#"{"id":12345678901234567890123,"a":1.10}"#, r#"{"id":12345678901234567890123,"a":1.10}"#),
            ("{\n\"a\":\r\n1}", "{ \"a\":  1}"),
            ("", "null"),
            ("no json\n", r#""no json\n""#),
        ] {
            assert_eq!(raw(json).get(), expected, "{json}");
        }
    }
}
