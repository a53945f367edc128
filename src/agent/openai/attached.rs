//! What a model gets of a message's files.

use wit_abi::types::EmittedMessage;

use crate::inbox::Delivery;
use crate::store::ReadError;

use super::request::Picture;
use super::tools::cut;

/// What every model that takes pictures understands.
const PICTURE_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/webp", "image/gif"];
/// Pictures of one message.
const MAX_PICTURES: usize = 8;
/// Bytes of them.
const MAX_PICTURE_BYTES: usize = 10 * 1024 * 1024;
/// Bytes of the text that a channel found in a file.
const MAX_EXTRACTED_BYTES: usize = 8 * 1024;

fn is_picture(mime_type: &str) -> bool {
    PICTURE_TYPES.contains(&mime_type)
}

/// The pictures that the channel stored, as far as they fit.
pub(super) fn pictures(delivery: &Delivery) -> Result<Vec<Picture>, ReadError> {
    let mut pictures = Vec::new();
    let mut room = MAX_PICTURE_BYTES;
    for (index, file) in delivery.message().attachments.iter().enumerate() {
        if !is_picture(&file.mime_type) || pictures.len() == MAX_PICTURES {
            continue;
        }
        if let Some(data) = delivery.attachment_data(index)?.filter(|data| data.len() <= room) {
            room -= data.len();
            pictures.push(Picture { mime_type: file.mime_type.clone(), data });
        }
    }
    Ok(pictures)
}

/// What was written, with a line for each file that does not go along, and the text that the channel found in it.
pub(super) fn with_names(message: &EmittedMessage, has_pictures: bool) -> String {
    let mut text = message.content.clone();
    for file in message.attachments.iter().filter(|file| !(has_pictures && is_picture(&file.mime_type))) {
        let name: String = file
            .filename
            .as_deref()
            .unwrap_or("without a name")
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        let size = file.size_bytes.map(|bytes| format!(", {bytes} bytes")).unwrap_or_default();
        text += &format!("\n[file: {name}, {}{size}]", file.mime_type);
        if let Some(found) = &file.extracted_text {
            text += &format!("\n{}", cut(found.clone(), MAX_EXTRACTED_BYTES));
        }
    }
    text.trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use wit_abi::types::InboundAttachment;

    use super::*;

    #[test]
    fn files_are_named_and_pictures_only_where_they_do_not_go_along() {
        let file = |filename: Option<&str>, mime_type: &str| InboundAttachment {
            id: String::new(),
            mime_type: mime_type.into(),
            filename: filename.map(str::to_owned),
            size_bytes: None,
            source_url: None,
            storage_key: None,
            extracted_text: None,
            extras_json: String::new(),
        };
        let report = InboundAttachment {
            size_bytes: Some(9),
            extracted_text: Some("profits".into()),
            ..file(Some("a\n.pdf"), "application/pdf")
        };
        let message = EmittedMessage {
            user_id: "1".into(),
            user_name: None,
            content: "look".into(),
            thread_id: None,
            metadata_json: String::new(),
            attachments: vec![report, file(None, "image/png")],
        };
        let named = "look\n[file: a.pdf, application/pdf, 9 bytes]\nprofits";
        assert_eq!(with_names(&message, true), named);
        assert_eq!(with_names(&message, false), format!("{named}\n[file: without a name, image/png]"));
    }
}
