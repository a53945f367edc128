//! Replies: text in parts, files, and what the app is doing.

use serde_json::{Value, json};
use tinclaw_kit::http::{Request, encoded};
use tinclaw_kit::markdown::slack_mrkdwn;
use tinclaw_kit::split::{Unit, split};
use tinclaw_kit::{Attachment, Failure, Reply, growing, host};

use crate::{Origin, api};

/// Characters of a message; Slack advises to stay below 4,000 (`chat.postMessage`, "Truncating content"). The marks of
/// links are longer than in Markdown, and a table is wider.
const MAX_TEXT: usize = 3_500;

/// The time between two changes of a message: `chat.update` is in tier 3, 50 calls a minute ("Rate limits").
const PARTIAL_INTERVAL_MS: u64 = 1_500;

enum Part<'a> {
    Text(String),
    File(&'a Attachment),
}

/// Sends a reply.
pub fn send(origin: &Origin, reply: &Reply) -> Result<(), Failure> {
    let texts = split(&reply.content, MAX_TEXT, Unit::Chars).into_iter().map(Part::Text);
    let parts: Vec<Part<'_>> = texts.chain(reply.attachments.iter().map(Part::File)).collect();
    if parts.is_empty() {
        return Err(Failure::permanent("the reply is empty"));
    }
    reply.send_parts(&parts, |number, part| match part {
        Part::Text(text) if number == 0 && replace_partial(origin, text)? => Ok(()),
        Part::Text(text) => post(origin, text).map(drop),
        Part::File(file) => upload(origin, file),
    })
}

/// Shows the reply while it is written: a message that is changed.
pub fn show_partial(origin: &Origin, text: &str) {
    let Some(text) = split(text, MAX_TEXT, Unit::Chars).into_iter().next() else { return };
    growing::show(&conversation(origin), PARTIAL_INTERVAL_MS, &text, |id, text| match id {
        Some(id) => update(id, text).map(|()| id.to_owned()),
        None => post(origin, text),
    });
}

/// Changes what was shown into the first message of the reply.
fn replace_partial(origin: &Origin, text: &str) -> Result<bool, Failure> {
    growing::replace(&conversation(origin), |id| update(id, text))
}

fn conversation(origin: &Origin) -> String {
    format!("{} {:?}", origin.channel, origin.thread)
}

/// Sends a text of the channel itself, such as a pairing code; when that fails, the log says so.
pub fn tell(origin: &Origin, text: &str) {
    if let Err(failure) = post(origin, text) {
        host::warn(failure.words());
    }
}

/// `assistant.threads.setStatus`: shown below the message until a reply arrives. Only threads have it.
pub fn show_status(origin: &Origin, is_working: bool) {
    let Some(thread) = &origin.thread else { return };
    let status = if is_working { "is typing…" } else { "" };
    let body = json!({"channel_id": origin.channel, "thread_ts": thread, "status": status});
    if let Err(failure) = api::call("assistant.threads.setStatus", &body) {
        host::log(host::LogLevel::Debug, failure.words());
    }
}

/// `chat.postMessage`. Returns the channel and the `ts` of the message: a direct message has another channel than its user.
fn post(origin: &Origin, text: &str) -> Result<String, Failure> {
    let mut body = json!({"channel": origin.channel, "text": slack_mrkdwn(text), "unfurl_links": false});
    if let Some(thread) = &origin.thread {
        body["thread_ts"] = json!(thread);
    }
    let posted = api::call("chat.postMessage", &body)?;
    let channel = posted["channel"].as_str().unwrap_or(&origin.channel);
    Ok([channel, " ", posted["ts"].as_str().unwrap_or_default()].concat())
}

/// `chat.update`.
fn update(id: &str, text: &str) -> Result<(), Failure> {
    let (channel, ts) = id.split_once(' ').unwrap_or_default();
    let body = json!({"channel": channel, "ts": ts, "text": slack_mrkdwn(text)});
    api::call("chat.update", &body).map(drop)
}

/// `files.getUploadURLExternal`, the bytes, `files.completeUploadExternal`.
fn upload(origin: &Origin, file: &Attachment) -> Result<(), Failure> {
    let query =
        format!("files.getUploadURLExternal?filename={}&length={}", encoded(&file.filename), file.data.len());
    let place = api::read("files.getUploadURLExternal", Request::get(api::url(&query)).send()?)?;
    let (Some(url), Some(id)) = (place["upload_url"].as_str(), place["file_id"].as_str()) else {
        return Err(Failure::temporary("files.getUploadURLExternal responded without a place"));
    };
    let kind = if file.mime_type.is_empty() { "application/octet-stream" } else { &file.mime_type };
    Request::post(url).header("content-type", kind).body(file.data.clone()).send()?.success()?;
    let mut body: Value =
        json!({"files": [{"id": id, "title": file.filename}], "channel_id": origin.channel});
    if let Some(thread) = &origin.thread {
        body["thread_ts"] = json!(thread);
    }
    api::call("files.completeUploadExternal", &body).map(drop)
}
