//! A reply as an agent writes it, in a line or in the body of an HTTP response. No I/O.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use wit_abi::types::{AgentResponse, Attachment};

#[cfg(feature = "agent-exec")]
use super::message::MAX_LINE_BYTES;
use super::text::without_lone_surrogates;

/// Why what an agent says is not understood. Whoever writes the agent reads it in the log, with a quote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::agent) enum ResponseError {
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{field}: {reason}")]
    InvalidField { field: String, reason: String },
    #[error("neither `content` nor `attachments`")]
    Nothing,
    #[cfg(feature = "agent-exec")]
    #[error("type: {0:?} is unknown: known are reply, done, nack, status, broadcast")]
    UnknownType(String),
    #[cfg(feature = "agent-exec")]
    #[error("a broadcast without `content`")]
    BroadcastOfNothing,
    #[cfg(feature = "agent-exec")]
    #[error("longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    #[cfg(feature = "agent-http")]
    #[error("its type is {0}; application/json and text/plain are understood")]
    MediaType(String),
}

/// Reads JSON; the error says which field is wrong.
pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<T, ResponseError> {
    let json = without_lone_surrogates(json);
    // A derived struct would take a list for its fields in order.
    if json.trim_start().starts_with('[') {
        return Err(ResponseError::Invalid("invalid type: a list, expected an object".to_owned()));
    }
    let mut reader = serde_json::Deserializer::from_str(&json);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        match (error.is_data(), path.as_str()) {
            (false, _) => ResponseError::NotJson(error.to_string()),
            (true, ".") => ResponseError::Invalid(without_place(&error)),
            (true, field) => {
                ResponseError::InvalidField { field: field.to_owned(), reason: without_place(&error) }
            }
        }
    })?;
    reader.end().map_err(|error| ResponseError::NotJson(error.to_string()))?;
    Ok(value)
}

/// Without "at line 1 column 40": the field is named, and there is one line.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned()
}

/// What an agent may say in a reply. Unknown fields are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct ResponseFields {
    /// The outer option is none when the field is missing, the inner one when it is `null`.
    #[serde(default, deserialize_with = "present")]
    content: Option<Option<String>>,
    thread_id: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    attachments: Vec<AttachmentFields>,
}

#[derive(Debug, Deserialize)]
struct AttachmentFields {
    filename: String,
    mime_type: Option<String>,
    #[serde(deserialize_with = "base64")]
    data: Vec<u8>,
}

impl ResponseFields {
    /// The reply; none when the agent says with `"content": null` that there is none.
    ///
    /// # Errors
    /// There is nothing that could be sent, and nothing says that this is meant.
    pub fn into_response(self) -> Result<Option<AgentResponse>, ResponseError> {
        let Self { content, thread_id, attachments } = self;
        match (&content, attachments.is_empty()) {
            (None, true) => return Err(ResponseError::Nothing),
            (Some(None), true) => return Ok(None),
            _ => {}
        }
        let attachments = attachments.into_iter().map(AttachmentFields::into_attachment).collect();
        let content = content.flatten().unwrap_or_default();
        Ok(Some(AgentResponse { content, thread_id, attachments, ..AgentResponse::default() }))
    }
}

impl AttachmentFields {
    fn into_attachment(self) -> Attachment {
        let mime_type = self.mime_type.filter(|text| is_media_type(text));
        Attachment {
            filename: file_name(&self.filename),
            mime_type: mime_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
            data: self.data,
        }
    }
}

/// The longest name of a file that a file system takes.
const MAX_FILE_NAME_BYTES: usize = 255;

/// The name that a file is sent under: guests put it into headers and paths. It is the last part of what the agent wrote, without
/// control characters.
fn file_name(written: &str) -> String {
    let last = written.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().filter(|c| !c.is_control()).collect();
    while name.len() > MAX_FILE_NAME_BYTES {
        name.pop();
    }
    match name.as_str() {
        "" | "." | ".." => "file".to_owned(),
        _ => name,
    }
}

/// Whether a text can be a header's value: a type and a subtype, and perhaps parameters.
fn is_media_type(text: &str) -> bool {
    text.contains('/') && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// Programs write `null` for what they do not have.
pub(super) fn null_is_default<'de, D, T>(field: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(field).map(Option::unwrap_or_default)
}

fn base64<'de, D: Deserializer<'de>>(field: D) -> Result<Vec<u8>, D::Error> {
    BASE64
        .decode(String::deserialize(field)?)
        .map_err(|error| D::Error::custom(format!("not base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(json: &str) -> Result<Option<AgentResponse>, String> {
        let fields = read::<ResponseFields>(json);
        fields.and_then(ResponseFields::into_response).map_err(|error| error.to_string())
    }

    /// Guests got `text/plain\r\nX: y` and `../../\u{1b}[31m/etc` as the agent had written them.
    #[test]
    fn names_and_types_of_files_can_be_put_into_headers_and_paths() {
        for (filename, mime_type, expected) in [
            ("a.txt", "text/plain; charset=utf-8", ("a.txt", "text/plain; charset=utf-8")),
            ("../../\u{1b}[31m/e\r\ntc", "text/plain\r\nX: y", ("etc", "application/octet-stream")),
            ("C:\\a\\b c.txt", "text", ("b c.txt", "application/octet-stream")),
            ("a/..", "", ("file", "application/octet-stream")),
        ] {
            let file = serde_json::json!({"filename": filename, "mime_type": mime_type, "data": "aGk="});
            let read = response(&serde_json::json!({"attachments": [file]}).to_string()).unwrap().unwrap();
            let file = &read.attachments[0];
            assert_eq!((&*file.filename, &*file.mime_type), expected, "{filename}");
        }
        let long = AttachmentFields { filename: "\u{e4}".repeat(200), mime_type: None, data: Vec::new() };
        assert_eq!(long.into_attachment().filename.len(), 254);
    }

    #[test]
    fn a_reply_has_text_or_files_or_says_that_there_is_none() {
        let text = |content: &str| AgentResponse { content: content.to_owned(), ..AgentResponse::default() };
        let file = Attachment {
            filename: "a.txt".into(),
            mime_type: "application/octet-stream".into(),
            data: b"hi".to_vec(),
        };
        let with_file = AgentResponse { attachments: vec![file], ..text("") };
        for (json, expected) in [
            (r#"{"content":"hi","more":1,"thread_id":null,"attachments":null}"#, Some(text("hi"))),
            (r#"{"content":""}"#, Some(text(""))),
            (r#"{"content":null}"#, None),
            (r#"{"content":null,"attachments":[]}"#, None),
            (r#"{"attachments":[{"filename":"a.txt","data":"aGk="}]}"#, Some(with_file.clone())),
            (r#"{"content":null,"attachments":[{"filename":"a.txt","data":"aGk="}]}"#, Some(with_file)),
            (r#"{"content":"cut \ud83c"}"#, Some(text("cut \u{fffd}"))),
        ] {
            assert_eq!(response(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn errors_name_the_field() {
        for (json, expected) in [
            ("{}", "neither `content` nor `attachments`"),
            (r#"{"reply":"x"}"#, "neither `content` nor `attachments`"),
            (r#"{"choices":[{"message":{"content":"x"}}]}"#, "neither `content` nor `attachments`"),
            (r#"{"attachments":[]}"#, "neither `content` nor `attachments`"),
            (r#"{"content":3}"#, "content: invalid type: integer `3`, expected a string"),
            (r#"["x"]"#, "invalid type: a list, expected an object"),
            (r#""x""#, "invalid type: string \"x\", expected an object"),
            (r#"{"content":"a","content":"b"}"#, "duplicate field `content`"),
            (r#"{"attachments":[{"filename":"a"}]}"#, "attachments[0]: missing field `data`"),
            (
                r#"{"attachments":[{"filename":"a","data":"!"}]}"#,
                "attachments[0].data: not base64: Invalid symbol 33, offset 0.",
            ),
            ("hello", "not JSON: expected value at line 1 column 1"),
            (r#"{"content":"a"} x"#, "not JSON: trailing characters at line 1 column 17"),
        ] {
            assert_eq!(response(json), Err(expected.to_owned()), "{json}");
        }
    }
}
