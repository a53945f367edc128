//! Replies: text in parts, files, and the sign that the bot types.

use serde_json::{Value, json};
use tinclaw_kit::http::Request;
use tinclaw_kit::multipart::Multipart;
use tinclaw_kit::split::{Unit, split};
use tinclaw_kit::{Attachment, Failure, Reply, growing, host};

use crate::{Origin, Settings, api};

/// Characters of a message ("Create Message").
const MAX_TEXT: usize = 2_000;
/// The largest file that a bot may send ("Uploading Files").
const MAX_FILE_BYTES: usize = 10 * 1024 * 1024;

/// What is shown of a reply while it is written.
const MAX_PARTIAL: usize = 1_990;
/// The time between two changes of a message: Discord takes five in five seconds.
const PARTIAL_INTERVAL_MS: u64 = 1_500;
/// In place of the id of a message that is the response of an interaction.
const INTERACTION: &str = "@original";

enum Part<'a> {
    Text(String),
    File(&'a Attachment),
}

/// Sends a reply. Discord shows Markdown as it is.
pub fn send(settings: &Settings, origin: &Origin, reply: &Reply) -> Result<(), Failure> {
    let texts = split(&reply.content, MAX_TEXT, Unit::Utf16).into_iter().map(Part::Text);
    let parts: Vec<Part<'_>> = texts.chain(reply.attachments.iter().map(Part::File)).collect();
    if parts.is_empty() {
        return Err(Failure::permanent("the reply is empty"));
    }
    let key = reply.key();
    reply.send_parts(&parts, |number, part| {
        let origin = if number == 0 { origin.clone() } else { behind(origin) };
        // A message with this nonce is made once within some minutes: an attempt that is repeated does no harm.
        let nonce = format!("{key:016x}-{number}");
        match part {
            Part::Text(text) if number == 0 && replace_partial(settings, &origin, text)? => Ok(()),
            Part::Text(text) => post(settings, &origin, text, Some(&nonce)),
            Part::File(file) => upload(settings, &origin, file, &nonce),
        }
    })
}

/// Shows the reply while it is written: a message that is changed.
pub fn show_partial(settings: &Settings, origin: &Origin, text: &str) {
    let Some(text) = split(text, MAX_PARTIAL, Unit::Utf16).into_iter().next() else { return };
    growing::show(&conversation(origin), PARTIAL_INTERVAL_MS, &text, |id, text| {
        match (id, is_open(origin)) {
            (Some(id), false) => edit(settings, origin, id, text).map(|()| id.to_owned()),
            // The response of an interaction is the same message each time.
            (_, true) => post(settings, origin, text, None).map(|()| INTERACTION.to_owned()),
            (None, false) => {
                let mut body = message(origin, None);
                body["content"] = json!(text);
                let sent = api::call(settings, "POST", &messages_of(origin), &body)?;
                Ok(sent["id"].as_str().unwrap_or_default().to_owned())
            }
        }
    });
}

/// Changes what was shown into the first message of the reply.
fn replace_partial(settings: &Settings, origin: &Origin, text: &str) -> Result<bool, Failure> {
    growing::replace(&conversation(origin), |id| match id {
        INTERACTION => post(settings, origin, text, None),
        id => edit(settings, origin, id, text),
    })
}

fn conversation(origin: &Origin) -> String {
    format!("{} {:?} {:?}", origin.channel, origin.reply_to, origin.interaction)
}

/// "Edit Message".
fn edit(settings: &Settings, origin: &Origin, id: &str, text: &str) -> Result<(), Failure> {
    let body = json!({"content": text, "allowed_mentions": {"parse": []}});
    api::call(settings, "PATCH", &[&messages_of(origin), "/", id].concat(), &body).map(drop)
}

/// Whether the interaction that is replied to still takes its response.
fn is_open(origin: &Origin) -> bool {
    origin.interaction.as_ref().is_some_and(|(_, until)| host::now_millis() < *until)
}

/// Only the first message is a reply.
fn behind(origin: &Origin) -> Origin {
    Origin { channel: origin.channel.clone(), ..Origin::default() }
}

/// Sends one message.
pub fn post(settings: &Settings, origin: &Origin, text: &str, nonce: Option<&str>) -> Result<(), Failure> {
    if let Some((token, until)) = &origin.interaction
        && host::now_millis() < *until
    {
        // "Edit Original Interaction Response": repeated, it says the same.
        let path = format!("/webhooks/{}/{token}/messages/@original", api::known_application());
        let body = json!({"content": text, "allowed_mentions": {"parse": []}});
        return api::call(settings, "PATCH", &path, &body).map(drop);
    }
    let mut body = message(origin, nonce);
    body["content"] = json!(text);
    api::call(settings, "POST", &messages_of(origin), &body).map(drop)
}

/// A message without its content: nobody is called by it but by name.
fn message(origin: &Origin, nonce: Option<&str>) -> Value {
    let mut body = json!({"allowed_mentions": {"parse": []}});
    if let Some(nonce) = nonce {
        body["nonce"] = json!(nonce);
        body["enforce_nonce"] = json!(true);
    }
    if let Some(message_id) = &origin.reply_to {
        body["message_reference"] = json!({"message_id": message_id, "fail_if_not_exists": false});
    }
    body
}

fn messages_of(origin: &Origin) -> String {
    ["/channels/", &origin.channel, "/messages"].concat()
}

fn upload(settings: &Settings, origin: &Origin, file: &Attachment, nonce: &str) -> Result<(), Failure> {
    if file.data.len() > MAX_FILE_BYTES {
        let bytes = file.data.len();
        return Err(Failure::permanent(format!(
            "{} has {bytes} bytes, and a bot may send 10 MB",
            file.filename
        )));
    }
    let kind = if file.mime_type.is_empty() { "application/octet-stream" } else { &file.mime_type };
    let form = Multipart::new().field("payload_json", &message(origin, Some(nonce)).to_string()).file(
        "files[0]",
        &file.filename,
        kind,
        &file.data,
    );
    api::read(Request::post(api::url(settings, &messages_of(origin))).multipart(form).send()?).map(drop)
}

/// "Trigger Typing Indicator": shown for ten seconds.
pub fn show_typing(settings: &Settings, origin: &Origin) {
    let path = ["/channels/", &origin.channel, "/typing"].concat();
    if let Err(failure) = api::call(settings, "POST", &path, &json!({})) {
        host::log(host::LogLevel::Debug, failure.words());
    }
}
