//! Files in and out ("Obtain resource files in messages", "Upload image", "Upload file").

use serde_json::{Value, json};
use tinclaw_kit::http::{Request, encoded};
use tinclaw_kit::multipart::Multipart;
use tinclaw_kit::{Attachment, Failure, File, host};

use crate::content::Attached;
use crate::{Settings, api};

/// The largest picture and the largest file that an app may send.
const MAX_IMAGE_BYTES: usize = 10 * 1024 * 1024;
const MAX_FILE_BYTES: usize = 30 * 1024 * 1024;

/// Fetches files of a message. Returns with them what could not be fetched, in words for the agent.
pub fn fetch_all(settings: &Settings, message: &str, wanted: &[Attached]) -> (Vec<File>, String) {
    let (mut files, mut notes) = (Vec::new(), String::new());
    for file in wanted {
        match fetch(settings, message, file) {
            Ok(found) => files.push(found),
            Err(failure) => {
                host::warn(&["a file could not be fetched: ", failure.words()].concat());
                let name = file.filename.as_deref().unwrap_or(file.kind);
                notes.push_str(&["\n[", name, " could not be fetched]"].concat());
            }
        }
    }
    (files, notes)
}

fn fetch(settings: &Settings, message: &str, file: &Attached) -> Result<File, Failure> {
    let resource =
        ["im/v1/messages/", &encoded(message), "/resources/", &encoded(&file.key), "?type=", file.kind]
            .concat();
    let response = api::raw(settings, || Request::get(api::url(settings, &resource)))?;
    if !response.is_success() {
        return Err(api::failure(&response));
    }
    let kind = response.header("content-type").map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let kind = kind.filter(|kind| !kind.is_empty() && *kind != "application/octet-stream");
    Ok(File {
        id: file.key.clone(),
        filename: file.filename.clone(),
        mime_type: kind.unwrap_or(file.mime_type).to_owned(),
        data: Some(response.body),
        ..File::default()
    })
}

/// Uploads a file. Returns the type and the content of the message that shows it.
pub fn upload(settings: &Settings, file: &Attachment) -> Result<(&'static str, Value), Failure> {
    let is_image = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"]
        .contains(&file.mime_type.as_str())
        && file.data.len() <= MAX_IMAGE_BYTES;
    if file.data.is_empty() || file.data.len() > MAX_FILE_BYTES {
        let bytes = file.data.len();
        return Err(Failure::permanent(format!(
            "{} has {bytes} bytes, and an app may send 1 byte to 30 MB",
            file.filename
        )));
    }
    if is_image {
        let form = || {
            Multipart::new().field("image_type", "message").file(
                "image",
                &file.filename,
                &file.mime_type,
                &file.data,
            )
        };
        let data =
            api::call(settings, || Request::post(api::url(settings, "im/v1/images")).multipart(form()))?;
        return Ok(("image", json!({"image_key": data["image_key"]})));
    }
    let form = || {
        Multipart::new().field("file_type", kind_of(file)).field("file_name", &file.filename).file(
            "file",
            &file.filename,
            "application/octet-stream",
            &file.data,
        )
    };
    let data = api::call(settings, || Request::post(api::url(settings, "im/v1/files")).multipart(form()))?;
    Ok(("file", json!({"file_key": data["file_key"]})))
}

/// The `file_type` of an upload: what has a preview, or `stream`.
fn kind_of(file: &Attachment) -> &'static str {
    match file.filename.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).as_deref() {
        Some("pdf") => "pdf",
        Some("doc" | "docx") => "doc",
        Some("xls" | "xlsx") => "xls",
        Some("ppt" | "pptx") => "ppt",
        _ => "stream",
    }
}
