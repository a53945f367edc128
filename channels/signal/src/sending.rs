//! Replies: text in parts, files, and the sign that the bot types.

use serde_json::json;
use tinclaw_kit::base64;
use tinclaw_kit::http::Request;
use tinclaw_kit::markdown::plain;
use tinclaw_kit::split::{Unit, split};
use tinclaw_kit::{Attachment, Failure, Reply, host};

use crate::{Origin, Settings, api};

/// UTF-16 units of a message; Signal's apps send a longer one as a file.
const MAX_TEXT: usize = 2_000;
/// The largest file that Signal takes.
const MAX_FILE_BYTES: usize = 100 * 1024 * 1024;

enum Part<'a> {
    Text(String),
    File(&'a Attachment),
}

/// Sends a reply.
pub fn send(settings: &Settings, origin: &Origin, reply: &Reply) -> Result<(), Failure> {
    let texts = split(&plain(&reply.content), MAX_TEXT, Unit::Utf16).into_iter().map(Part::Text);
    let parts: Vec<Part<'_>> = texts.chain(reply.attachments.iter().map(Part::File)).collect();
    if parts.is_empty() {
        return Err(Failure::permanent("the reply is empty"));
    }
    reply.send_parts(&parts, |number, part| {
        // Only the first one quotes what it replies to.
        let origin = Origin { quote: origin.quote.clone().filter(|_| number == 0), ..origin.clone() };
        match part {
            Part::Text(text) => post(settings, &origin, text, None),
            Part::File(file) => post(settings, &origin, "", Some(file)),
        }
    })
}

/// Sends a text of the channel itself.
pub fn send_text(settings: &Settings, origin: &Origin, text: &str) -> Result<(), Failure> {
    post(settings, origin, text, None)
}

/// `POST /v2/send`.
fn post(settings: &Settings, origin: &Origin, text: &str, file: Option<&Attachment>) -> Result<(), Failure> {
    let mut body = json!({"message": text, "number": settings.number(), "recipients": [origin.to]});
    if let Some((timestamp, author)) = &origin.quote {
        body["quote_timestamp"] = json!(timestamp);
        body["quote_author"] = json!(author);
        body["quote_message"] = json!("");
    }
    if let Some(file) = file {
        if file.data.len() > MAX_FILE_BYTES {
            return Err(Failure::permanent([&file.filename, " is larger than 100 MB"].concat()));
        }
        // A comma or a semicolon would end the name.
        let name = file.filename.replace([',', ';'], "_");
        let kind = if file.mime_type.is_empty() { "application/octet-stream" } else { &file.mime_type };
        let data = ["data:", kind, ";filename=", &name, ";base64,", &base64::encode(&file.data)].concat();
        body["base64_attachments"] = json!([data]);
    }
    api::read(Request::post(api::url(settings, "/v2/send")).json(&body).send()?).map(drop)
}

/// Shown for some seconds, or taken back.
pub fn show_typing(settings: &Settings, origin: &Origin, is_working: bool) {
    let url = api::of_number(settings, "/v1/typing-indicator/");
    let request = if is_working { Request::put(url) } else { Request::new("DELETE", url) };
    if let Err(failure) = request.json(&json!({"recipient": origin.to})).send().and_then(api::read) {
        host::log(host::LogLevel::Debug, failure.words());
    }
}
