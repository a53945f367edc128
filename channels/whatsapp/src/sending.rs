//! Replies: text in parts, files, and the sign that the bot types.

use serde_json::{Value, json};
use tinclaw_kit::http::Request;
use tinclaw_kit::markdown::whatsapp;
use tinclaw_kit::multipart::Multipart;
use tinclaw_kit::split::{Unit, split};
use tinclaw_kit::{Attachment, Failure, Reply, host};

use crate::{Origin, Settings, api};

/// Characters of a message are 4,096 ("Text Messages"). A link is longer than in Markdown, and a table is wider.
const MAX_TEXT: usize = 3_600;
const MAX_TEXT_CHARS: usize = 4_096;
/// The largest document ("Media", "Supported Media Types").
const MAX_FILE_BYTES: usize = 50 * 1024 * 1024;

enum Part<'a> {
    Text(String),
    File(&'a Attachment),
}

/// Sends a reply.
pub fn send(settings: &Settings, origin: &Origin, reply: &Reply) -> Result<(), Failure> {
    let texts = texts_of(&reply.content, MAX_TEXT).into_iter().map(Part::Text);
    let parts: Vec<Part<'_>> = texts.chain(reply.attachments.iter().map(Part::File)).collect();
    if parts.is_empty() {
        return Err(Failure::permanent("the reply is empty"));
    }
    reply.send_parts(&parts, |number, part| {
        let is_quoting = number == 0 && settings.quote;
        let origin = Origin { message: origin.message.clone().filter(|_| is_quoting), ..origin.clone() };
        match part {
            Part::Text(text) => send_text(settings, &origin, text),
            Part::File(file) => send_file(settings, &origin, file),
        }
    })
}

/// Cuts a text so that each part fits as it is shown.
fn texts_of(content: &str, limit: usize) -> Vec<String> {
    let fits = |part: &String| Unit::Chars.count(&whatsapp(part)) <= MAX_TEXT_CHARS || limit <= 64;
    split(content, limit, Unit::Chars)
        .into_iter()
        .flat_map(|part| if fits(&part) { vec![part] } else { texts_of(&part, limit / 2) })
        .collect()
}

/// Sends a text.
pub fn send_text(settings: &Settings, origin: &Origin, text: &str) -> Result<(), Failure> {
    post(settings, origin, "text", json!({"body": whatsapp(text)}))
}

fn post(settings: &Settings, origin: &Origin, kind: &str, content: Value) -> Result<(), Failure> {
    let mut body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": origin.to,
        "type": kind,
    });
    body[kind] = content;
    if let Some(message) = &origin.message {
        body["context"] = json!({"message_id": message});
    }
    api::message(settings, &body).map(drop)
}

/// Uploads a file and sends what came of it.
fn send_file(settings: &Settings, origin: &Origin, file: &Attachment) -> Result<(), Failure> {
    if file.data.len() > MAX_FILE_BYTES {
        let bytes = file.data.len();
        return Err(Failure::permanent(format!(
            "{} has {bytes} bytes, and a bot may send 50 MB",
            file.filename
        )));
    }
    let mime_type = if file.mime_type.is_empty() { "application/octet-stream" } else { &file.mime_type };
    let form = Multipart::new().field("messaging_product", "whatsapp").field("type", mime_type).file(
        "file",
        &file.filename,
        mime_type,
        &file.data,
    );
    let uploaded = api::read(Request::post(api::of_number(settings, "media")).multipart(form).send()?)?;
    let kind = kind_of(file);
    let mut content = json!({"id": uploaded["id"]});
    if kind == "document" {
        content["filename"] = json!(file.filename);
    }
    post(settings, origin, kind, content)
}

/// What WhatsApp shows a file as ("Supported Media Types"): what is too large for that is a document.
fn kind_of(file: &Attachment) -> &'static str {
    const MB: usize = 1024 * 1024;
    match file.mime_type.as_str() {
        "image/jpeg" | "image/png" if file.data.len() <= 5 * MB => "image",
        "audio/aac" | "audio/amr" | "audio/mpeg" | "audio/mp4" | "audio/ogg"
            if file.data.len() <= 16 * MB =>
        {
            "audio"
        }
        "video/mp4" | "video/3gpp" if file.data.len() <= 16 * MB => "video",
        _ => "document",
    }
}

/// Marks the message as read and shows for 25 s that the bot types ("Typing Indicators").
pub fn show_typing(settings: &Settings, origin: &Origin) {
    let Some(message) = &origin.message else { return };
    let body = json!({
        "messaging_product": "whatsapp",
        "status": "read",
        "message_id": message,
        "typing_indicator": {"type": "text"},
    });
    if let Err(failure) = api::message(settings, &body) {
        host::log(host::LogLevel::Debug, failure.words());
    }
}
