//! What a model gets of a message's files.

use std::sync::Arc;

use wit_abi::types::{EmittedMessage, InboundAttachment};

use super::request::Picture;
use super::tools::cut;
use crate::inbox::Delivery;
use crate::store::StateError;

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
pub(super) fn pictures(delivery: &Delivery) -> Result<Vec<Picture>, StateError> {
    pictures_of(&delivery.message().attachments, |index| delivery.attachment_data(index))
}

fn pictures_of(
    files: &[InboundAttachment],
    mut data: impl FnMut(usize) -> Result<Option<Arc<[u8]>>, StateError>,
) -> Result<Vec<Picture>, StateError> {
    let mut pictures = Vec::new();
    let mut room = MAX_PICTURE_BYTES;
    for (index, file) in files.iter().enumerate() {
        if !is_picture(&file.mime_type) || pictures.len() == MAX_PICTURES {
            continue;
        }
        if let Some(data) = data(index)?.filter(|data| data.len() <= room) {
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
    use super::*;

    #[test]
    fn as_many_pictures_go_along_as_the_limits_say() {
        let sizes_of = |sizes: &[usize]| {
            let picture = InboundAttachment { mime_type: "image/png".into(), ..InboundAttachment::default() };
            let files = vec![picture; sizes.len()];
            let pictures = pictures_of(&files, |index| Ok(Some(vec![0; sizes[index]].into())));
            let pictures = pictures.expect("the data can be read");
            pictures.iter().map(|picture| picture.data.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes_of(&[1; MAX_PICTURES]), [1; MAX_PICTURES]);
        assert_eq!(sizes_of(&[1; MAX_PICTURES + 1]), [1; MAX_PICTURES]);
        assert_eq!(sizes_of(&[MAX_PICTURE_BYTES - 1, 1]), [MAX_PICTURE_BYTES - 1, 1]);
        assert_eq!(sizes_of(&[MAX_PICTURE_BYTES - 1, 2, 1]), [MAX_PICTURE_BYTES - 1, 1]);
    }

    #[test]
    fn the_text_of_a_file_is_cut_past_its_limit() {
        let with_text = |bytes: usize| {
            let file =
                InboundAttachment { extracted_text: Some("x".repeat(bytes)), ..InboundAttachment::default() };
            let message = EmittedMessage {
                user_id: "1".into(),
                user_name: None,
                content: String::new(),
                thread_id: None,
                metadata_json: String::new(),
                attachments: vec![file],
            };
            with_names(&message, false)
        };
        assert!(with_text(MAX_EXTRACTED_BYTES).ends_with('x'));
        assert!(
            with_text(MAX_EXTRACTED_BYTES + 1).ends_with("x\n[cut: this is the beginning of 8193 bytes]")
        );
    }

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
