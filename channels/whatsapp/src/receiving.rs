//! Webhooks ("Webhooks Notification Payload Reference"): messages, and what became of the bot's own.

use serde_json::Value;
use tinclaw_kit::http::Request;
use tinclaw_kit::policy::{Place, Policy, Verdict};
use tinclaw_kit::{Failure, File, Incoming, Message, Response, host};

use crate::{Origin, Settings, api, sending};

/// The most bytes of a file that is fetched.
const MAX_BYTES: u64 = 20 * 1024 * 1024;
/// Kinds of messages that are a file.
const MEDIA: [&str; 6] = ["image", "audio", "voice", "video", "document", "sticker"];

/// Takes a request that the host has found to be Meta's.
pub fn take(settings: &Settings, request: &Incoming) -> Response {
    if request.method == "GET" {
        // The host has compared `hub.verify_token`.
        return Response::text(200, request.query("hub.challenge").unwrap_or_default());
    }
    let body = request.value();
    for change in list(&body["entry"]).flat_map(|entry| list(&entry["changes"])) {
        let value = &change["value"];
        let number = text(&value["metadata"], "phone_number_id");
        // An app may have several numbers.
        if settings.phone_number_id.as_deref() != Some(number) {
            continue;
        }
        for message in list(&value["messages"]) {
            said(settings, value, message);
        }
        list(&value["statuses"]).for_each(note_status);
    }
    Response::ok()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A message of the bot could not be delivered after it was accepted: only the log has it.
fn note_status(status: &Value) {
    if status["status"] != "failed" {
        return;
    }
    for error in list(&status["errors"]) {
        let title = error["title"].as_str().unwrap_or_default();
        let details = error["error_data"]["details"].as_str().unwrap_or_default();
        let to = text(status, "recipient_id");
        host::warn(&format!("a message to {to} was not delivered: {} {title}: {details}", error["code"]));
    }
}

fn said(settings: &Settings, value: &Value, message: &Value) {
    let (from, id) = (text(message, "from"), text(message, "id"));
    let name = list(&value["contacts"])
        .find(|contact| text(contact, "wa_id") == from)
        .and_then(|contact| contact["profile"]["name"].as_str());
    let quoted_message = message["context"]["id"].as_str().map(str::to_owned);
    let origin = Origin { to: from.to_owned(), message: Some(id.to_owned()), quoted_message };
    match Policy::current().decide("whatsapp", from, name, Place::Direct) {
        Verdict::Allowed => {}
        Verdict::Ignored => return,
        Verdict::Pair(words) => {
            if let Err(failure) = sending::send_text(settings, &Origin { message: None, ..origin }, &words) {
                host::warn(failure.words());
            }
            return;
        }
    }
    let mut content = words_of(message);
    let mut file = None;
    if MEDIA.contains(&text(message, "type")) {
        let media = &message[text(message, "type")];
        match fetch(settings, media) {
            Ok(found) => file = Some(found),
            Err(failure) => {
                host::warn(&["a file could not be fetched: ", failure.words()].concat());
                let name = media["filename"].as_str().unwrap_or(text(message, "type"));
                content = [&content, "\n[", name, " could not be fetched]"].concat().trim().to_owned();
            }
        }
    }
    if content.is_empty() && file.is_none() {
        return;
    }
    let mut emitted = Message::new(from, content).id(id).user_name(name).thread(from);
    if let Some(file) = file {
        emitted = emitted.file(file);
    }
    emitted.emit(&origin);
}

/// What was written, for each type of message.
fn words_of(message: &Value) -> String {
    let kind = text(message, "type");
    let part = &message[kind];
    match kind {
        "text" => text(part, "body").to_owned(),
        "button" => text(part, "text").to_owned(),
        "interactive" => {
            let chosen = &part[text(part, "type")];
            text(chosen, "title").to_owned()
        }
        "reaction" if text(part, "emoji").is_empty() => String::new(),
        "reaction" => format!("[reaction {} to message {}]", text(part, "emoji"), text(part, "message_id")),
        "location" => {
            let place = [text(part, "name"), " ", text(part, "address")].concat();
            let place = format!("[location {}, {} {place}", part["latitude"], part["longitude"]);
            [place.trim_end(), "]"].concat()
        }
        "contacts" => contacts(part),
        "sticker" => "[sticker]".to_owned(),
        _ => text(part, "caption").to_owned(),
    }
}

fn contacts(part: &Value) -> String {
    let one = |contact: &Value| {
        let phone = list(&contact["phones"]).next().map(|phone| text(phone, "phone")).unwrap_or_default();
        format!("[contact {}, {phone}]", contact["name"]["formatted_name"].as_str().unwrap_or_default())
    };
    let all: Vec<String> = list(part).map(one).collect();
    all.join("\n")
}

/// A file: where it is is asked first, and good for five minutes.
fn fetch(settings: &Settings, media: &Value) -> Result<File, Failure> {
    let id = text(media, "id");
    let place = api::read(Request::get(api::url(settings, id)).send()?)?;
    if place["file_size"].as_u64().is_some_and(|size| size > MAX_BYTES) {
        return Err(Failure::permanent("it is larger than 20 MB"));
    }
    let response = Request::get(text(&place, "url")).send()?.success()?;
    Ok(File {
        id: id.to_owned(),
        filename: media["filename"].as_str().map(str::to_owned),
        // Voice messages are "audio/ogg; codecs=opus".
        mime_type: text(media, "mime_type").split(';').next().unwrap_or_default().to_owned(),
        data: Some(response.body),
        ..File::default()
    })
}
