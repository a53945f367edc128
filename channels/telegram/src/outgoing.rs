//! Replies: text in parts, files, and the sign that the bot types.

use serde_json::{Value, json};
use tinclaw_kit::markdown::{plain, telegram_html};
use tinclaw_kit::multipart::Multipart;
use tinclaw_kit::split::{Unit, split};
use tinclaw_kit::{Attachment, Failure, Reply, growing, host};

use crate::Origin;
use crate::api::{self, Refusal};
use crate::settings::Settings;

/// UTF-16 units of a message, after its marks are read ("sendMessage").
const MAX_TEXT: usize = 4096;
/// UTF-16 units of what is shown of a reply while it is written.
const MAX_PARTIAL: usize = 4000;
/// UTF-16 units of a caption ("sendDocument").
const MAX_CAPTION: usize = 1024;
/// The largest file that a bot may send ("Sending files").
const MAX_FILE_BYTES: usize = 50 * 1024 * 1024;
/// The largest photo ("Sending files").
const MAX_PHOTO_BYTES: usize = 10 * 1024 * 1024;

/// One message of a reply.
enum Part<'a> {
    /// Text, in Markdown.
    Text(String),
    /// A file, with a caption in Markdown.
    File(&'a Attachment, Option<String>),
}

/// Sends a reply.
pub fn send(settings: &Settings, origin: &Origin, reply: &Reply) -> Result<(), Failure> {
    let parts = parts_of(reply);
    if parts.is_empty() {
        return Err(Failure::permanent("the reply is empty"));
    }
    reply.send_parts(&parts, |number, part| {
        // Only the first one points to what it replies to.
        let origin = Origin { reply_to: origin.reply_to.filter(|_| number == 0), ..origin.clone() };
        match part {
            Part::Text(text) if number == 0 && replace_partial(settings, &origin, text)? => Ok(()),
            Part::Text(text) => send_text(settings, &origin, text).map(drop),
            Part::File(file, caption) => send_file(settings, &origin, file, caption.as_deref()),
        }
    })
}

/// Shows the reply while it is written: a message that is changed ("editMessageText").
pub fn show_partial(settings: &Settings, origin: &Origin, text: &str) {
    let Some(text) = texts_of(text, MAX_PARTIAL).into_iter().next() else { return };
    growing::show(&conversation(origin), partial_interval(origin), &text, |id, text| match id {
        Some(id) => edit_text(settings, origin, id, text).map(|()| id.to_owned()),
        None => send_text(settings, origin, text),
    });
}

/// Changes what was shown into the first message of the reply.
fn replace_partial(settings: &Settings, origin: &Origin, text: &str) -> Result<bool, Failure> {
    growing::replace(&conversation(origin), |id| edit_text(settings, origin, id, text))
}

fn conversation(origin: &Origin) -> String {
    format!("{} {:?}", origin.chat_id, origin.topic)
}

/// A bot may send one message a second to a chat, and twenty a minute to a group ("My bot is hitting limits"); groups have
/// negative ids.
fn partial_interval(origin: &Origin) -> u64 {
    if origin.chat_id < 0 { 3_500 } else { 1_100 }
}

/// `editMessageText`. That the text is the same is no failure.
fn edit_text(settings: &Settings, origin: &Origin, id: &str, text: &str) -> Result<(), Failure> {
    let message_id: i64 = id.parse().unwrap_or_default();
    let edit = |text: String, parse_mode: Option<&str>| {
        addressed(origin, |chat| {
            let mut body = json!({"chat_id": chat, "message_id": message_id, "text": text});
            if let Some(parse_mode) = parse_mode {
                body["parse_mode"] = json!(parse_mode);
            }
            api::call::<Value>(settings, "editMessageText", &body)
        })
    };
    let mut edited = edit(telegram_html(text), Some("HTML"));
    if edited.as_ref().is_err_and(|refusal| refusal.says("can't parse entities")) {
        edited = edit(plain(text), None);
    }
    match edited {
        Err(refusal) if refusal.says("message is not modified") => Ok(()),
        edited => Ok(edited.map(drop)?),
    }
}

/// Sends a text of the channel itself, such as a pairing code; when that fails, the log says so.
pub fn tell(settings: &Settings, origin: &Origin, text: &str) {
    if let Err(failure) = send_text(settings, origin, text) {
        host::warn(failure.words());
    }
}

/// `sendChatAction`: shown for five seconds.
pub fn show_typing(settings: &Settings, origin: &Origin) {
    let mut body = json!({"chat_id": api::present_chat(origin.chat_id), "action": "typing"});
    if let Some(topic) = origin.topic {
        body["message_thread_id"] = json!(topic);
    }
    if let Err(refusal) = api::call::<bool>(settings, "sendChatAction", &body) {
        host::log(host::LogLevel::Debug, refusal.failure.words());
    }
}

fn parts_of(reply: &Reply) -> Vec<Part<'_>> {
    let content = reply.content.trim();
    let mut files = reply.attachments.iter();
    // One file with a short text is one message.
    if let ([file], true) = (&reply.attachments[..], Unit::Utf16.count(&plain(content)) <= MAX_CAPTION) {
        return vec![Part::File(file, (!content.is_empty()).then(|| content.to_owned()))];
    }
    let texts = texts_of(content, MAX_TEXT).into_iter().map(Part::Text);
    texts.chain(files.by_ref().map(|file| Part::File(file, None))).collect()
}

/// Cuts a text so that each part fits as it is shown: a table is wider than its source.
fn texts_of(content: &str, limit: usize) -> Vec<String> {
    let fits = |part: &String| Unit::Utf16.count(&plain(part)) <= MAX_TEXT || limit <= 64;
    split(content, limit, Unit::Utf16)
        .into_iter()
        .flat_map(|part| if fits(&part) { vec![part] } else { texts_of(&part, limit / 2) })
        .collect()
}

/// Sends a message; returns its id.
fn send_text(settings: &Settings, origin: &Origin, text: &str) -> Result<String, Failure> {
    let with_marks = addressed(origin, |chat| {
        let mut body = json!({"chat_id": chat, "text": telegram_html(text), "parse_mode": "HTML"});
        set_place(&mut body, origin);
        api::call::<Value>(settings, "sendMessage", &body)
    });
    let id = |message: Value| message["message_id"].to_string();
    match with_marks {
        Ok(message) => Ok(id(message)),
        // The marks are refused, not the text.
        Err(refusal) if refusal.says("can't parse entities") => {
            let sent = addressed(origin, |chat| {
                let mut body = json!({"chat_id": chat, "text": plain(text)});
                set_place(&mut body, origin);
                api::call::<Value>(settings, "sendMessage", &body)
            });
            Ok(sent.map(id)?)
        }
        Err(refusal) if refusal.says("message thread not found") && origin.topic.is_some() => {
            send_text(settings, &Origin { topic: None, ..origin.clone() }, text)
        }
        Err(refusal) => Err(refusal.failure),
    }
}

fn set_place(body: &mut Value, origin: &Origin) {
    if let Some(topic) = origin.topic {
        body["message_thread_id"] = json!(topic);
    }
    if let Some(message_id) = origin.reply_to {
        body["reply_parameters"] = json!({"message_id": message_id, "allow_sending_without_reply": true});
    }
}

/// Sends to a chat, and once more to its new id when it has become a supergroup.
fn addressed<T>(origin: &Origin, send: impl Fn(i64) -> Result<T, Refusal>) -> Result<T, Refusal> {
    match send(api::present_chat(origin.chat_id)) {
        Err(Refusal { moved_to: Some(to), .. }) => {
            api::chat_moved(origin.chat_id, to);
            send(to)
        }
        sent => sent,
    }
}

fn send_file(
    settings: &Settings,
    origin: &Origin,
    file: &Attachment,
    caption: Option<&str>,
) -> Result<(), Failure> {
    if file.data.len() > MAX_FILE_BYTES {
        return Err(Failure::permanent(format!(
            "{} has {} bytes, and a bot may send 50 MB",
            file.filename,
            file.data.len()
        )));
    }
    let kind = method_for(file);
    let send = |kind, caption: Option<Caption>| {
        addressed(origin, |chat| upload(settings, origin, chat, file, caption.as_ref(), kind)).map(drop)
    };
    let with_marks = caption.map(|text| Caption { text: telegram_html(text), parse_mode: Some("HTML") });
    let without = || caption.map(|text| Caption { text: plain(text), parse_mode: None });
    match send(kind, with_marks) {
        Err(refusal) if refusal.says("can't parse entities") => Ok(send(kind, without())?),
        // What Telegram does not take as a picture, sound or film it takes as a file.
        Err(refusal) if kind != DOCUMENT && refusal.failure.is_permanent() && !is_about_chat(&refusal) => {
            Ok(send(DOCUMENT, without())?)
        }
        sent => Ok(sent?),
    }
}

/// A caption as it is sent.
struct Caption {
    text: String,
    parse_mode: Option<&'static str>,
}

/// A method and its field for the file.
type Kind = (&'static str, &'static str);

const DOCUMENT: Kind = ("sendDocument", "document");

fn is_about_chat(refusal: &Refusal) -> bool {
    matches!(refusal.failure, Failure::Unauthorized(_))
        || ["chat not found", "blocked", "deactivated", "kicked", "rights"]
            .iter()
            .any(|words| refusal.says(words))
}

fn method_for(file: &Attachment) -> Kind {
    match file.mime_type.as_str() {
        "image/jpeg" | "image/png" | "image/webp" if file.data.len() <= MAX_PHOTO_BYTES => {
            ("sendPhoto", "photo")
        }
        "audio/ogg" => ("sendVoice", "voice"),
        "audio/mpeg" | "audio/mp4" | "audio/x-m4a" => ("sendAudio", "audio"),
        "video/mp4" => ("sendVideo", "video"),
        _ => DOCUMENT,
    }
}

fn upload(
    settings: &Settings,
    origin: &Origin,
    chat: i64,
    file: &Attachment,
    caption: Option<&Caption>,
    (method, field): Kind,
) -> Result<Value, Refusal> {
    let mut form = Multipart::new().field("chat_id", &chat.to_string());
    if let Some(topic) = origin.topic {
        form = form.field("message_thread_id", &topic.to_string());
    }
    if let Some(message_id) = origin.reply_to {
        let value = json!({"message_id": message_id, "allow_sending_without_reply": true});
        form = form.field("reply_parameters", &value.to_string());
    }
    if let Some(caption) = caption {
        form = form.field("caption", &caption.text);
        if let Some(parse_mode) = caption.parse_mode {
            form = form.field("parse_mode", parse_mode);
        }
    }
    api::upload(settings, method, form.file(field, &file.filename, &file.mime_type, &file.data))
}
