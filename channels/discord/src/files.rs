//! Files that came with a message ("Attachment Object").

use serde_json::Value;
use tinclaw_kit::http::Request;
use tinclaw_kit::{File, host};

use crate::events::text_of;

/// The most bytes of a file that is fetched.
const MAX_BYTES: u64 = 20 * 1024 * 1024;

/// Fetches files. Returns with them what could not be fetched, in words for the agent.
pub fn fetch_all(list: &Value) -> (Vec<File>, Vec<String>) {
    let (mut files, mut notes) = (Vec::new(), Vec::new());
    for file in list.as_array().into_iter().flatten() {
        let name = text_of(file, "filename");
        if file["size"].as_u64().is_some_and(|size| size > MAX_BYTES) {
            notes.push([name, " is larger than 20 MB"].concat());
            continue;
        }
        match Request::get(text_of(file, "url")).send().and_then(|response| response.success()) {
            Ok(response) => files.push(File {
                id: text_of(file, "id").to_owned(),
                filename: Some(name.to_owned()),
                mime_type: mime_type_of(file),
                data: Some(response.body),
                ..File::default()
            }),
            Err(failure) => {
                host::warn(&["a file could not be fetched: ", failure.words()].concat());
                notes.push([name, " could not be fetched"].concat());
            }
        }
    }
    (files, notes)
}

fn mime_type_of(file: &Value) -> String {
    file["content_type"].as_str().unwrap_or("application/octet-stream").to_owned()
}
