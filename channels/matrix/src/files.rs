//! Files: fetched from and brought to the homeserver's content repository ("Content repository").

use serde_json::Value;
use tinclaw_kit::http::{Request, encoded};
use tinclaw_kit::{Attachment, Failure, File, host};

use crate::api;
use crate::event::{Event, text};
use crate::settings::Settings;

/// The most bytes of a file that is fetched: what the capability file lets a response have.
const MAX_BYTES: u64 = 20 * 1024 * 1024;

/// The file of an event, or why there is none, in words for the agent.
pub fn fetch(settings: &Settings, event: Event<'_>) -> Result<File, String> {
    let content = event.content();
    let name = [&content["filename"], &content["body"]].map(text).into_iter().find(|name| !name.is_empty());
    let name = name.unwrap_or("file");
    if content["info"]["size"].as_u64().is_some_and(|size| size > MAX_BYTES) {
        return Err([name, " is larger than the 20 MB that are fetched"].concat());
    }
    match download(settings, text(&content["url"])) {
        Ok(data) => Ok(File {
            id: event.id().to_owned(),
            filename: Some(name.to_owned()),
            mime_type: content["info"]["mimetype"].as_str().unwrap_or("application/octet-stream").to_owned(),
            data: Some(data),
            ..File::default()
        }),
        Err(failure) => {
            host::warn(&format!("a file could not be fetched: {}", failure.words()));
            Err([name, " could not be fetched"].concat())
        }
    }
}

fn download(settings: &Settings, address: &str) -> Result<Vec<u8>, Failure> {
    let place = address.strip_prefix("mxc://").and_then(|rest| rest.split_once('/'));
    let Some((server, media)) = place else { return Err(Failure::permanent("it has no address")) };
    let path = [&encoded(server), "/", &encoded(media)].concat();
    let get = |base: &str| api::read(Request::get(api::url(settings, &[base, &path].concat())).send()?);
    let response = match get("client/v1/media/download/") {
        // Homeservers before version 1.11 of the specification.
        Err(refusal) if refusal.code == "M_UNRECOGNIZED" => get("media/v3/download/"),
        response => response,
    };
    Ok(response?.body)
}

/// Brings a file to the homeserver. Returns its address.
pub fn upload(settings: &Settings, file: &Attachment) -> Result<String, Failure> {
    let path = ["media/v3/upload?filename=", &encoded(&file.filename)].concat();
    let request = Request::post(api::url(settings, &path)).header("content-type", &file.mime_type);
    let uploaded: Value = api::read(request.body(file.data.clone()).send()?)?.value();
    match uploaded["content_uri"].as_str() {
        Some(address) => Ok(address.to_owned()),
        None => Err(Failure::temporary("the homeserver does not say where it has put the file")),
    }
}
