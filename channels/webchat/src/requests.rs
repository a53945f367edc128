//! What the page asks for.

use serde_json::{Value, json};
use tinclaw_kit::{File, Incoming, Message, Response, base64, host};

use crate::sessions::{self, Role, Session};
use crate::{Origin, files};

/// The longest message of a visitor, in characters. The page counts UTF-16 units, which are never fewer.
const MAX_MESSAGE_CHARS: usize = 4_000;
/// Files of one message.
const MAX_FILES: usize = 8;
/// How long a request for news waits, in seconds.
const WAIT_SECS: u64 = 25;
/// What a browser may show by itself; everything else is a download.
const SHOWN: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

type Outcome = Result<Response, Response>;

pub fn refuse(status: u16, error: &str, message: &str) -> Response {
    respond(status, &json!({"error": error, "message": message}))
}

fn respond(status: u16, body: &Value) -> Response {
    Response::json(status, body)
        .header("cache-control", "no-store")
        .header("x-content-type-options", "nosniff")
}

fn bad_session() -> Response {
    refuse(400, "bad_session", "A session is 16 to 64 letters, digits, - or _.")
}

/// Takes a message.
pub fn send(request: &Incoming) -> Outcome {
    // A page of another site can send a form or plain text without being asked, but not this type.
    if !request.header("content-type").is_some_and(|value| value.trim_start().starts_with("application/json"))
    {
        return Err(refuse(415, "unsupported_media_type", "Send application/json."));
    }
    let body: Value = request.json().map_err(|_| refuse(400, "bad_json", "The body is not JSON."))?;
    let field = |name: &str| body[name].as_str().unwrap_or_default();
    let (text, id) = (field("text").trim(), field("id"));
    let sent = files_of(&body["files"])?;
    if text.is_empty() && sent.is_empty() {
        return Err(refuse(400, "empty", "The message is empty."));
    }
    if text.chars().count() > MAX_MESSAGE_CHARS {
        return Err(refuse(413, "too_long", "The message is longer than 4000 characters."));
    }
    if id.len() > 64 {
        return Err(refuse(400, "bad_id", "The message's id is longer than 64 bytes."));
    }
    let now = host::now_millis();
    let session = Session::open(field("session"), now).ok_or_else(bad_session)?;
    // The page sends again what it got no response for: the same id is the same message.
    if id.is_empty() || !session.has(Role::User, id, text) {
        take(&session, id, text, sent, now)?;
    }
    Ok(respond(200, &json!({"ok": true})))
}

/// A file that a visitor sent.
struct Sent {
    name: String,
    kind: String,
    data: Vec<u8>,
}

fn files_of(list: &Value) -> Result<Vec<Sent>, Response> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    if list.len() > MAX_FILES {
        return Err(refuse(413, "too_many_files", "A message has at most 8 files."));
    }
    let read = |file: &Value| {
        let text = |name: &str| file[name].as_str().unwrap_or_default().to_owned();
        let data = base64::decode(file["data"].as_str()?)?;
        Some(Sent { name: text("name"), kind: text("type"), data })
    };
    let files: Option<Vec<Sent>> = list.iter().map(read).collect();
    let files = files.ok_or_else(|| refuse(400, "bad_file", "The data of a file is base64."))?;
    if files.iter().any(|file| file.data.len() > files::MAX_BYTES) {
        return Err(refuse(413, "file_too_large", "A file is larger than 760 KB."));
    }
    Ok(files)
}

fn take(session: &Session, id: &str, text: &str, sent: Vec<Sent>, now: u64) -> Result<(), Response> {
    let visitor = session.visitor();
    let kept: Vec<Value> =
        sent.iter().map(|file| files::keep(&visitor, &file.name, &file.kind, &file.data)).collect();
    session
        .add(Role::User, id, text, &kept, now)
        .map_err(|_| refuse(503, "storage", "The message could not be stored."))?;
    let mut message = Message::new(&visitor, text).thread(&visitor);
    for (number, file) in sent.into_iter().enumerate() {
        message = message.file(File {
            id: format!("{id}-{number}"),
            filename: Some(file.name),
            mime_type: if file.kind.is_empty() { "application/octet-stream".to_owned() } else { file.kind },
            data: Some(file.data),
            ..File::default()
        });
    }
    message.emit(&Origin { visitor, id: id.to_owned(), partial_reply: false });
    Ok(())
}

/// What is new after a cursor. Without anything new, the host keeps the request until there is.
pub fn messages(request: &Incoming) -> Outcome {
    let field = |name: &str| request.query(name).unwrap_or_default();
    if !sessions::is_session(field("session")) {
        return Err(bad_session());
    }
    let now = host::now_millis();
    let (news, until) = match Session::find(field("session")) {
        Some(session) => session.news(field("after"), now),
        None => (json!({"messages": [], "next": "0", "typing": null, "partial": null}), None),
    };
    let has_news = news["messages"].as_array().is_some_and(|messages| !messages.is_empty())
        // What the page shows of the agent's work; without the parameter nobody waits.
        || request.query("typing").is_none_or(|shown| shown != typing_of(&news))
        || partial_of(&news) != field("partial").parse().unwrap_or(0);
    let response = respond(200, &news);
    if has_news {
        return Ok(response);
    }
    // A sign that is not renewed goes out by itself.
    let wait = until.map_or(WAIT_SECS, |until| (until.saturating_sub(now) / 1000 + 1).min(WAIT_SECS));
    Ok(response.header("tinclaw-wait", &wait.to_string()))
}

/// The sign of the agent's work in one text: empty for none.
fn typing_of(news: &Value) -> String {
    match &news["typing"] {
        Value::Null => String::new(),
        typing => ["+", typing["label"].as_str().unwrap_or_default()].concat(),
    }
}

/// How much there is of a reply that is being written, in bytes.
fn partial_of(news: &Value) -> usize {
    news["partial"].as_str().map_or(0, str::len)
}

/// A file of the conversation.
pub fn file(request: &Incoming) -> Outcome {
    let session = request.header("x-chat-session").unwrap_or_default();
    if !sessions::is_session(session) {
        return Err(bad_session());
    }
    let gone = || refuse(404, "gone", "This file is no longer kept.");
    let id = request.query("id").and_then(|id| id.parse().ok()).ok_or_else(gone)?;
    let session = Session::find(session).ok_or_else(gone)?;
    let (_, kind, data) = files::find(&session.visitor(), id).ok_or_else(gone)?;
    let is_shown = SHOWN.contains(&kind.as_str());
    let kind = if is_shown { kind.as_str() } else { "application/octet-stream" };
    let response = Response::new(200, data)
        .header("content-type", kind)
        .header("cache-control", "private, no-store")
        .header("content-security-policy", "sandbox; default-src 'none'")
        .header("x-content-type-options", "nosniff");
    Ok(if is_shown { response } else { response.header("content-disposition", "attachment") })
}
