//! Anything that speaks HTTP. What is sent is a message when its text is found; a reply goes to an address of the
//! operator's, or waits here until it is fetched: `GET /webhook/webhook?thread=…&after=…`.

mod template;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use template::{fill, fill_all, pointed, text_at};
use tinclaw_kit::http::Request;
use tinclaw_kit::policy::{Place, Policy, Verdict};
use tinclaw_kit::split::{Unit, split};
use tinclaw_kit::{
    Attachment, Channel, Failure, File, Incoming, Message, Registration, Reply, Response, base64, channel,
    markdown, state,
};

/// The channel.
#[derive(Debug)]
pub struct Webhook;

/// What the operator sets. Places in what is sent are JSON pointers (RFC 6901); a form is an object of texts, and plain text
/// is at `/text`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Who wrote. Without anybody there: `webhook`.
    user: String,
    /// What was written.
    text: String,
    /// The conversation; default the user.
    thread: String,
    /// By which a duplicate is recognised.
    id: String,
    /// Files: a list of `{"name", "mime_type", "data": base64}`.
    files: String,
    /// The message made of what was sent, instead of `text`: `{/pointer}` stands for what is there.
    template: String,
    /// Where replies go; its host must be in `allowlist`. `{user}`, `{thread}` and `{id}` are filled in.
    reply_url: String,
    /// POST unless it is `PUT`.
    reply_method: String,
    /// What is sent: JSON whose texts are templates with `{text}`, `{user}`, `{thread}`, `{id}`, or one text.
    reply_body: Value,
    /// `markdown` (default), `plain`, `html`.
    reply_format: String,
    /// The most characters of a reply; longer ones are sent in parts.
    reply_limit: Option<usize>,
}

/// Whose message a reply belongs to.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    user: String,
    thread: String,
    #[serde(default)]
    id: String,
}

const PATH: &str = "/webhook/webhook";
/// Replies that wait to be fetched.
const WAITING: &str = "waiting.json";
/// As many of them are kept.
const MAX_WAITING: usize = 100;

impl Channel for Webhook {
    type Settings = Settings;
    type Origin = Origin;

    fn start(settings: &Settings) -> Result<Registration, String> {
        for pointer in [&settings.user, &settings.text, &settings.thread, &settings.id, &settings.files] {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return Err(format!("`{pointer}` is no JSON pointer: it begins with /"));
            }
        }
        Ok(Registration::new("Webhook").endpoint(PATH, &["GET", "POST", "PUT"], true))
    }

    fn request(settings: &Settings, request: Incoming) -> Response {
        if request.method == "GET" {
            return waiting(&request);
        }
        let body = match request.value() {
            Value::Null => json!({"text": String::from_utf8_lossy(&request.body)}),
            body => body,
        };
        take(settings, &body)
    }

    fn reply(settings: &Settings, origin: Origin, reply: Reply) -> Result<(), Failure> {
        if settings.reply_url.is_empty() {
            keep(&origin, &reply);
            return Ok(());
        }
        let parts = split(&reply.content, settings.reply_limit.unwrap_or(usize::MAX), Unit::Chars);
        let parts = if parts.is_empty() { vec![String::new()] } else { parts };
        reply.send_parts(&parts, |number, part| {
            let files = if number == 0 { &reply.attachments[..] } else { &[] };
            send(settings, &origin, part, files)
        })
    }

    fn broadcast(settings: &Settings, user_id: &str, reply: Reply) -> Result<(), Failure> {
        let origin = Origin { user: user_id.to_owned(), thread: user_id.to_owned(), id: String::new() };
        Self::reply(settings, origin, reply)
    }
}

fn take(settings: &Settings, body: &Value) -> Response {
    let user = Some(text_at(body, &settings.user)).filter(|user| !user.is_empty());
    let user = user.unwrap_or_else(|| "webhook".to_owned());
    let text = match settings.template.is_empty() {
        true => text_at(body, &settings.text),
        false => fill(&settings.template, &|name| pointed(body, name)),
    };
    let files: Vec<File> = files_of(body.pointer(&settings.files).unwrap_or(&Value::Null));
    if text.trim().is_empty() && files.is_empty() {
        // Senders give up on an address that responds with errors; many of their events have no text.
        return Response::json(200, &json!({"ok": true, "message": false}));
    }
    match Policy::current().decide("webhook", &user, None, Place::Direct) {
        Verdict::Allowed => {}
        Verdict::Ignored => return Response::json(403, &json!({"error": "this user may not talk"})),
        Verdict::Pair(text) => return Response::json(403, &json!({"error": text})),
    }
    let thread = Some(text_at(body, &settings.thread)).filter(|thread| !thread.is_empty());
    let origin =
        Origin { thread: thread.unwrap_or_else(|| user.clone()), id: text_at(body, &settings.id), user };
    let mut message = Message::new(&origin.user, text.trim()).thread(&origin.thread);
    if !origin.id.is_empty() {
        message = message.id(&origin.id);
    }
    for file in files {
        message = message.file(file);
    }
    message.emit(&origin);
    Response::json(200, &json!({"ok": true, "message": true}))
}

fn files_of(list: &Value) -> Vec<File> {
    let file = |(number, file): (usize, &Value)| {
        let text = |name: &str| file[name].as_str().map(str::to_owned);
        Some(File {
            id: number.to_string(),
            filename: text("name"),
            mime_type: text("mime_type").unwrap_or_else(|| "application/octet-stream".to_owned()),
            data: Some(base64::decode(file["data"].as_str()?)?),
            ..File::default()
        })
    };
    list.as_array().into_iter().flatten().enumerate().filter_map(file).collect()
}

fn encoded(files: &[Attachment]) -> Vec<Value> {
    let file = |file: &Attachment| json!({"name": file.filename, "mime_type": file.mime_type, "data": base64::encode(&file.data)});
    files.iter().map(file).collect()
}

fn send(settings: &Settings, origin: &Origin, text: &str, files: &[Attachment]) -> Result<(), Failure> {
    let text = match settings.reply_format.as_str() {
        "plain" => markdown::plain(text),
        "html" => markdown::safe_html(text),
        _ => text.to_owned(),
    };
    let value = |name: &str| match name {
        "text" => Some(text.clone()),
        "user" => Some(origin.user.clone()),
        "thread" => Some(origin.thread.clone()),
        "id" => Some(origin.id.clone()),
        _ => None,
    };
    let url = fill(&settings.reply_url, &|name| value(name).map(|value| tinclaw_kit::http::encoded(&value)));
    let request = if settings.reply_method == "PUT" { Request::put(url) } else { Request::post(url) };
    let request = match fill_all(&settings.reply_body, &value) {
        Value::String(text) => request.header("content-type", "text/plain; charset=utf-8").body(text.into()),
        mut body => {
            if !files.is_empty() && body.is_object() {
                body["files"] = Value::from(encoded(files));
            }
            request.json(&body)
        }
    };
    request.send()?.success().map(drop)
}

/// A reply that waits to be fetched.
fn keep(origin: &Origin, reply: &Reply) {
    let mut kept: Value = state::find(WAITING).unwrap_or_else(|| json!({"next": 1, "replies": []}));
    let number = kept["next"].as_u64().unwrap_or(1);
    kept["next"] = json!(number + 1);
    if let Some(replies) = kept["replies"].as_array_mut() {
        replies.push(
            json!({"number": number, "thread": origin.thread, "user": origin.user, "text": reply.content,
            "files": encoded(&reply.attachments)}),
        );
        let surplus = replies.len().saturating_sub(MAX_WAITING);
        replies.drain(..surplus);
    }
    state::set(WAITING, &kept);
}

/// The replies of a thread after a number.
fn waiting(request: &Incoming) -> Response {
    let kept: Value = state::find(WAITING).unwrap_or_default();
    let after: u64 = request.query("after").and_then(|after| after.parse().ok()).unwrap_or(0);
    let wanted = |reply: &&Value| {
        reply["number"].as_u64() > Some(after)
            && request.query("thread").is_none_or(|thread| reply["thread"] == thread)
    };
    let replies: Vec<&Value> = kept["replies"].as_array().into_iter().flatten().filter(wanted).collect();
    Response::json(200, &json!({"replies": replies}))
}

channel!(Webhook);
