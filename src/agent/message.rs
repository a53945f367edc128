//! A message as JSON: one line for a program, a body for an HTTP server. No I/O.
//!
//! ```json
//! {"type":"message","id":"12","attempt":1,"channel":"echo","conversation":"…","received_ms":1,"user_id":"ann",
//!  "user_name":null,"content":"hello","thread_id":null,"metadata":{},"attachments":[]}
//! ```
//!
//! `metadata` is what the guest gave, byte for byte but for line breaks between its values. An attachment has `data`
//! (base64) when the guest stored its bytes, and `data_omitted` when those of one message are more than
//! [`MAX_DATA_BYTES`].

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::value::RawValue;
use wit_abi::types::InboundAttachment;

use crate::inbox::Delivery;
use crate::store::StateError;

/// The longest line that an agent may write, in bytes: room for 20 MiB of attachments in base64.
pub(super) const MAX_LINE_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of attachments that one message takes along.
pub(super) const MAX_DATA_BYTES: usize = 20 * 1024 * 1024;

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

/// Why a message is not written for an agent. It is redelivered.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    #[error("an attachment of the message cannot be read: {0}")]
    Attachment(#[from] StateError),
    #[error("the message cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// A message as one line of JSON, without a line break. `data` gives the bytes of an attachment.
pub(super) fn message_json(
    delivery: &Delivery,
    data: impl FnMut(usize) -> Result<Option<Arc<[u8]>>, StateError>,
) -> Result<String, MessageError> {
    let message = delivery.message();
    let attachments = attachments_out(&message.attachments, data)?;
    let out = MessageOut {
        kind: "message",
        id: delivery.id().to_string(),
        attempt: delivery.attempt(),
        channel: delivery.channel().as_str(),
        conversation: delivery.conversation(),
        received_ms: delivery.received_ms(),
        user_id: &message.user_id,
        user_name: message.user_name.as_deref(),
        content: &message.content,
        thread_id: message.thread_id.as_deref(),
        metadata: raw(&message.metadata_json),
        attachments,
    };
    Ok(serde_json::to_string(&out)?)
}

/// The attachments of a message, with their data as far as it fits.
fn attachments_out(
    files: &[InboundAttachment],
    mut data: impl FnMut(usize) -> Result<Option<Arc<[u8]>>, StateError>,
) -> Result<Vec<AttachmentOut<'_>>, StateError> {
    let mut room = MAX_DATA_BYTES;
    let mut attachments = Vec::with_capacity(files.len());
    for (index, file) in files.iter().enumerate() {
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
    Ok(attachments)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_have_their_data_up_to_the_limit_of_a_message() {
        let omitted = |sizes: &[usize]| {
            let files = vec![InboundAttachment::default(); sizes.len()];
            let data = |index: usize| Ok(Some(vec![0; sizes[index]].into()));
            let attachments = attachments_out(&files, data).expect("the data can be read");
            attachments.iter().map(|file| (file.data.is_none(), file.data_omitted)).collect::<Vec<_>>()
        };
        let (whole, left_out) = ((false, false), (true, true));
        assert_eq!(omitted(&[MAX_DATA_BYTES - 1, 1]), [whole, whole]);
        assert_eq!(omitted(&[MAX_DATA_BYTES - 1, 2, 1]), [whole, left_out, whole], "what fits goes along");
        assert_eq!(omitted(&[MAX_DATA_BYTES + 1]), [left_out]);
        let files = [InboundAttachment::default()];
        let none = attachments_out(&files, |_| Ok(None)).expect("there is nothing");
        assert!(none[0].data.is_none() && !none[0].data_omitted, "what was not stored is not left out");
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
