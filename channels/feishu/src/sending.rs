//! Replies: text in parts, and files ("Reply message", "Send message").

use serde_json::{Value, json};
use tinclaw_kit::http::encoded;
use tinclaw_kit::markdown::{feishu_post, plain};
use tinclaw_kit::split::{Unit, split};
use tinclaw_kit::{Attachment, Failure, Reply, host};

use crate::{Origin, Settings, api, files, typing};

/// Characters of a message. A post may have 30 KB as JSON in JSON, where a character takes up to five bytes.
const MAX_TEXT: usize = 5_000;

enum Part<'a> {
    Text(String),
    File(&'a Attachment),
}

/// Sends a reply.
pub fn send(settings: &Settings, origin: &Origin, reply: &Reply) -> Result<(), Failure> {
    let texts = split(&reply.content, MAX_TEXT, Unit::Chars).into_iter().map(Part::Text);
    let parts: Vec<Part<'_>> = texts.chain(reply.attachments.iter().map(Part::File)).collect();
    if parts.is_empty() {
        return Err(Failure::permanent("the reply is empty"));
    }
    let key = reply.key();
    reply.send_parts(&parts, |number, part| {
        let uuid = format!("{key:016x}-{number}");
        match part {
            Part::Text(text) => send_text(settings, origin, text, &uuid),
            Part::File(file) => {
                let (kind, content) = files::upload(settings, file)?;
                post(settings, origin, kind, &content, &uuid)
            }
        }
    })?;
    typing::show(settings, origin, false);
    Ok(())
}

/// Sends a text of the channel itself, such as a pairing code; when that fails, the log says so.
pub fn tell(settings: &Settings, origin: &Origin, text: &str) {
    let uuid = [origin.message.as_deref().unwrap_or_default(), "-0"].concat();
    if let Err(failure) = post(settings, origin, "text", &json!({"text": without_mentions(text)}), &uuid) {
        host::warn(failure.words());
    }
}

/// Sends Markdown, and without its marks when the service refuses them.
fn send_text(settings: &Settings, origin: &Origin, markdown: &str, uuid: &str) -> Result<(), Failure> {
    let formatted = json!({"zh_cn": {"content": [[{"tag": "md", "text": feishu_post(markdown)}]]}});
    match post(settings, origin, "post", &formatted, uuid) {
        Err(failure) if api::is_about_content(&failure) => {
            let text = json!({"text": without_mentions(&plain(markdown))});
            post(settings, origin, "text", &text, &[uuid, "p"].concat())
        }
        result => result,
    }
}

fn post(
    settings: &Settings,
    origin: &Origin,
    kind: &str,
    content: &Value,
    uuid: &str,
) -> Result<(), Failure> {
    let mut body = json!({"msg_type": kind, "content": content.to_string()});
    let resource = match (&origin.message, &origin.user) {
        (Some(message), _) => {
            // For an hour, a message with the same `uuid` (50 characters at most) is sent once.
            body["uuid"] = json!(uuid);
            if origin.in_thread {
                body["reply_in_thread"] = json!(true);
            }
            ["im/v1/messages/", &encoded(message), "/reply"].concat()
        }
        // Two equal ones within an hour are two: nothing tells them from one that is sent again.
        (None, user) => {
            body["receive_id"] = json!(user);
            "im/v1/messages?receive_id_type=open_id".to_owned()
        }
    };
    api::post(settings, &resource, &body).map(drop)
}

/// `<at user_id="all">` would call everybody.
fn without_mentions(text: &str) -> String {
    text.replace("<at", "<\u{200b}at")
}
