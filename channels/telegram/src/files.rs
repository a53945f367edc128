//! Files that came with a message.

use serde_json::{Value, json};
use tinclaw_kit::http::Request;
use tinclaw_kit::{Failure, File, host};

use crate::api;
use crate::settings::Settings;
use crate::update::{FileRef, Message};

/// The most bytes of a file that `getFile` serves ("getFile").
const MAX_BYTES: u64 = 20 * 1024 * 1024;

/// Fetches the files of an album. Returns with them what could not be fetched, in words for the agent.
pub fn fetch_all(settings: &Settings, album: &[Message<'_>]) -> (Vec<File>, Vec<String>) {
    let (mut files, mut notes) = (Vec::new(), Vec::new());
    for (file, fallback) in album.iter().filter_map(|message| message.file()) {
        let name = file.name().unwrap_or(fallback);
        if file.size().is_some_and(|size| size > MAX_BYTES) {
            notes.push(format!("{name} is larger than the 20 MB that a bot may fetch"));
            continue;
        }
        match fetch(settings, file) {
            Ok((path, data)) => files.push(File {
                id: file.unique_id().to_owned(),
                filename: Some(file.name().map_or_else(|| last_of(&path), str::to_owned)),
                mime_type: file.mime_type().unwrap_or_else(|| mime_type_of(fallback)).to_owned(),
                data: Some(data),
                ..File::default()
            }),
            Err(failure) => {
                host::warn(&format!("a file could not be fetched: {}", failure.words()));
                notes.push(format!("{name} could not be fetched"));
            }
        }
    }
    (files, notes)
}

fn mime_type_of(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("jpg") => "image/jpeg",
        Some("ogg") => "audio/ogg",
        Some("mp3") => "audio/mpeg",
        Some("mp4") => "video/mp4",
        _ => "application/octet-stream",
    }
}

fn last_of(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

fn fetch(settings: &Settings, file: FileRef<'_>) -> Result<(String, Vec<u8>), Failure> {
    let located: Value = api::call(settings, "getFile", &json!({"file_id": file.id()}))?;
    let file_path = located["file_path"].as_str().unwrap_or_default().to_owned();
    let url = format!("{}/file/bot{{TELEGRAM_BOT_TOKEN}}/{file_path}", settings.api_base);
    let response = Request::get(url).send()?.success()?;
    Ok((file_path, response.body))
}
