//! Replies: text in parts, and files.

use serde_json::{Value, json};
use tinclaw_kit::markdown::{plain, safe_html};
use tinclaw_kit::split::{Unit, split};
use tinclaw_kit::{Attachment, Failure, Reply, growing, host, state};

use crate::settings::Settings;
use crate::{Origin, api, files};

/// Bytes of a part in Markdown. An event has 65,536 bytes at most ("Size limits"), and the text is in it twice.
const MAX_TEXT: usize = 16_000;
/// Bytes of an event's content, with room for what the homeserver adds.
const MAX_CONTENT: usize = 60_000;
/// The time between two replacements of an event.
const PARTIAL_INTERVAL_MS: u64 = 2_000;
/// Files that remember which reply was sent last.
const SENT_FILES: u64 = 32;

/// One message of a reply.
enum Part<'a> {
    /// Content of a text message.
    Text(Value),
    File(&'a Attachment),
}

/// Sends a reply. Each part has a transaction of its own, which is the same for each attempt: none arrives twice.
pub fn send(settings: &Settings, origin: &Origin, reply: &Reply) -> Result<(), Failure> {
    let texts = texts_of(reply.content.trim(), MAX_TEXT).into_iter().map(Part::Text);
    let parts: Vec<Part<'_>> = texts.chain(reply.attachments.iter().map(Part::File)).collect();
    if parts.is_empty() {
        return Err(Failure::permanent("the reply is empty"));
    }
    let transaction = Transaction::of(reply);
    reply.send_parts(&parts, |number, part| {
        let mut content = match part {
            Part::Text(content) => content.clone(),
            Part::File(file) => file_content(settings, file)?,
        };
        // Nobody is notified but those who are in the room anyway ("User and room mentions").
        content["m.mentions"] = json!({});
        let name = transaction.part(number);
        if number == 0
            && matches!(part, Part::Text(_))
            && growing::replace(&conversation(origin), |id| {
                send_formatted(settings, &origin.room, &name, replacement(id, &content)).map(drop)
            })?
        {
            return Ok(());
        }
        set_relation(&mut content, origin, number == 0);
        send_formatted(settings, &origin.room, &name, content).map(drop)
    })?;
    transaction.complete();
    Ok(())
}

/// Shows the reply while it is written: an event that others replace ("Event replacements").
pub fn show_partial(settings: &Settings, origin: &Origin, text: &str) {
    let Some(mut content) = texts_of(text.trim(), MAX_TEXT).into_iter().next() else { return };
    content["m.mentions"] = json!({});
    growing::show(&conversation(origin), PARTIAL_INTERVAL_MS, &plain_text(&content), |id, text| {
        content["body"] = json!(text);
        let html = [content["formatted_body"].as_str().unwrap_or_default(), growing::GOES_ON].concat();
        content["formatted_body"] = json!(html);
        let transaction = format!("tinclaw-partial-{}", host::now_millis());
        match id {
            Some(id) => send_formatted(settings, &origin.room, &transaction, replacement(id, &content))
                .map(|_| id.to_owned()),
            None => {
                set_relation(&mut content, origin, true);
                send_formatted(settings, &origin.room, &transaction, content.clone())
            }
        }
    });
}

fn conversation(origin: &Origin) -> String {
    format!("{} {:?}", origin.room, origin.thread)
}

fn plain_text(content: &Value) -> String {
    content["body"].as_str().unwrap_or_default().to_owned()
}

/// The event that replaces another one. Clients without replacements show the text behind an asterisk.
fn replacement(id: &str, content: &Value) -> Value {
    let mut event = content.clone();
    event["body"] = json!(["* ", &plain_text(content)].concat());
    event["m.new_content"] = content.clone();
    event["m.relates_to"] = json!({"rel_type": "m.replace", "event_id": id});
    if event.to_string().len() > MAX_CONTENT {
        // The text is in it twice: as plain text it fits.
        for text in ["", "/m.new_content"] {
            if let Some(fields) = event.pointer_mut(text).and_then(Value::as_object_mut) {
                fields.remove("format");
                fields.remove("formatted_body");
            }
        }
    }
    event
}

/// Sends a text of the channel itself, such as a pairing code; when that fails, the log says so.
pub fn tell(settings: &Settings, room: &str, transaction: &str, text: &str) {
    let content = json!({"msgtype": "m.notice", "body": text});
    if let Err(refusal) = api::send(settings, room, transaction, &content) {
        host::warn(refusal.failure.words());
    }
}

/// Names what is sent, so that a homeserver knows an attempt that comes a second time.
struct Transaction {
    key: u64,
    /// How often a reply with this key was sent: the agent may say the same twice.
    before: u64,
}

impl Transaction {
    fn of(reply: &Reply) -> Self {
        let key = reply.key();
        let (last, count) = state::get::<(u64, u64)>(&Self::path(key));
        Self { key, before: if last == key { count } else { 0 } }
    }

    fn part(&self, number: usize) -> String {
        format!("tinclaw-{:016x}-{}-{number}", self.key, self.before)
    }

    fn complete(&self) {
        state::set(&Self::path(self.key), &(self.key, self.before + 1));
    }

    fn path(key: u64) -> String {
        format!("sent/{}.json", key % SENT_FILES)
    }
}

/// Contents that each fit into an event.
fn texts_of(markdown: &str, limit: usize) -> Vec<Value> {
    let parts = split(markdown, limit, Unit::Bytes).into_iter();
    parts
        .flat_map(|part| {
            let content = json!({
                "msgtype": "m.text",
                "body": plain(&part),
                "format": "org.matrix.custom.html",
                "formatted_body": safe_html(&part),
            });
            let fits = content.to_string().len() <= MAX_CONTENT || limit <= 64;
            if fits { vec![content] } else { texts_of(&part, limit / 2) }
        })
        .collect()
}

fn file_content(settings: &Settings, file: &Attachment) -> Result<Value, Failure> {
    let kind = match file.mime_type.split('/').next() {
        Some("image") => "m.image",
        Some("audio") => "m.audio",
        Some("video") => "m.video",
        _ => "m.file",
    };
    let info = json!({"mimetype": file.mime_type, "size": file.data.len()});
    let address = files::upload(settings, file)?;
    Ok(
        json!({"msgtype": kind, "body": file.filename, "filename": file.filename, "url": address, "info": info}),
    )
}

/// Where it belongs: into a thread, or as a reply to an event. Only the first part is a reply.
fn set_relation(content: &mut Value, origin: &Origin, is_first: bool) {
    let replied_to = origin.reply_to.as_ref().filter(|_| is_first);
    let mut relation = json!({});
    if let Some(thread) = &origin.thread {
        relation["rel_type"] = json!("m.thread");
        relation["event_id"] = json!(thread);
        // What clients without threads show as replied to.
        relation["is_falling_back"] = json!(replied_to.is_none());
        relation["m.in_reply_to"] = json!({"event_id": replied_to.unwrap_or(thread)});
    } else if let Some(replied_to) = replied_to {
        relation["m.in_reply_to"] = json!({"event_id": replied_to});
    } else {
        return;
    }
    content["m.relates_to"] = relation;
}

/// Sends with the formatted text, and without it when the homeserver refuses that.
fn send_formatted(
    settings: &Settings,
    room: &str,
    transaction: &str,
    content: Value,
) -> Result<String, Failure> {
    match api::send(settings, room, transaction, &content) {
        Err(refusal) if matches!(refusal.code.as_str(), "M_BAD_JSON" | "M_TOO_LARGE") => {
            let mut plain = content;
            if plain.as_object_mut().and_then(|fields| fields.remove("formatted_body")).is_none() {
                return Err(refusal.failure);
            }
            plain.as_object_mut().and_then(|fields| fields.remove("format"));
            Ok(api::send(settings, room, transaction, &plain)?)
        }
        sent => Ok(sent?),
    }
}
