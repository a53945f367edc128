//! Messages that were fetched.

use serde_json::Value;
use tinclaw_kit::http::{Request, encoded};
use tinclaw_kit::policy::{Place, Policy, Verdict};
use tinclaw_kit::{Failure, File, Message, host};

use crate::envelope::Envelope;
use crate::{Origin, Settings, api, sending};

/// How long a poll waits at the service, in seconds.
const WAIT_SECS: u32 = 20;
/// The most bytes of a file that is fetched.
const MAX_BYTES: u64 = 20 * 1024 * 1024;

/// Fetches what has arrived.
pub fn poll(settings: &Settings) -> Result<(), Failure> {
    let url = format!("{}?timeout={WAIT_SECS}", api::of_number(settings, "/v1/receive/"));
    let received = api::read(Request::get(url).timeout_ms((WAIT_SECS + 10) * 1000).send()?)?;
    received.as_array().into_iter().flatten().for_each(|received| take(settings, received));
    Ok(())
}

/// Takes what has arrived.
pub fn take(settings: &Settings, received: &Value) {
    if let Some(envelope) = Envelope::of(received) {
        said(settings, envelope);
    }
}

fn said(settings: &Settings, envelope: Envelope<'_>) {
    let number = settings.number();
    if envelope.number() == number {
        return;
    }
    let group = envelope.group();
    let quote = group.is_some().then(|| (envelope.timestamp(), envelope.sender().to_owned()));
    let origin = Origin { to: group.clone().unwrap_or_else(|| envelope.sender().to_owned()), quote };
    let place = match group {
        None => Place::Direct,
        Some(_) => Place::Group { is_addressed: envelope.is_for(number) },
    };
    if !may_talk(settings, envelope, place, &origin) {
        return;
    }
    let Some(content) = content_of(settings, envelope) else { return };
    let (files, notes) = fetch_all(settings, &envelope.message["attachments"]);
    let content = [content, notes].concat();
    let content = content.trim();
    if content.is_empty() && files.is_empty() {
        return;
    }
    let shown = if envelope.is_edit { ["[edited] ", content].concat() } else { content.to_owned() };
    let mut message = Message::new(envelope.sender(), shown)
        .id(format!("{}:{}", envelope.sender(), envelope.timestamp()))
        .user_name(envelope.name())
        .thread(&origin.to);
    for file in files {
        message = message.file(file);
    }
    message.emit(&origin);
}

/// Whether the sender may talk, by their id or by their number. Unknown ones are told their code.
fn may_talk(settings: &Settings, envelope: Envelope<'_>, place: Place, origin: &Origin) -> bool {
    let policy = Policy::current();
    let by_number = |policy: &Policy| policy.allow_from.iter().any(|id| id == envelope.number());
    let sender = if by_number(&policy) { envelope.number() } else { envelope.sender() };
    match policy.decide("signal", sender, envelope.name(), place) {
        Verdict::Allowed => true,
        Verdict::Ignored => false,
        Verdict::Pair(text) => {
            if let Err(failure) = sending::send_text(settings, origin, &text) {
                host::warn(failure.words());
            }
            false
        }
    }
}

/// What was written. None for reactions that nobody wants to hear of.
fn content_of(settings: &Settings, envelope: Envelope<'_>) -> Option<String> {
    let reaction = &envelope.message["reaction"];
    if let Some(emoji) = reaction["emoji"].as_str() {
        let is_wanted = settings.reactions && reaction["isRemove"] != true;
        return is_wanted
            .then(|| format!("[reaction {emoji} to message {}]", reaction["targetSentTimestamp"]));
    }
    let number = settings.number();
    Some([envelope.quoted(number), envelope.text(number)].concat())
}

/// Fetches files. Returns with them what could not be fetched, in words for the agent.
fn fetch_all(settings: &Settings, list: &Value) -> (Vec<File>, String) {
    let (mut files, mut notes) = (Vec::new(), String::new());
    for file in list.as_array().into_iter().flatten() {
        let id = file["id"].as_str().unwrap_or_default();
        let name = file["filename"].as_str().unwrap_or(id);
        if file["size"].as_u64().is_some_and(|size| size > MAX_BYTES) {
            notes.push_str(&["\n[", name, " is larger than 20 MB]"].concat());
            continue;
        }
        let url = api::url(settings, &["/v1/attachments/", &encoded(id)].concat());
        match Request::get(url).send().and_then(|response| response.success()) {
            Ok(response) => files.push(File {
                id: id.to_owned(),
                filename: Some(name.to_owned()),
                mime_type: file["contentType"].as_str().unwrap_or("application/octet-stream").to_owned(),
                data: Some(response.body),
                ..File::default()
            }),
            Err(failure) => {
                host::warn(&["a file could not be fetched: ", failure.words()].concat());
                notes.push_str(&["\n[", name, " could not be fetched]"].concat());
            }
        }
    }
    (files, notes)
}
