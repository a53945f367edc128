//! Events that arrive.

use serde_json::{Value, json};
use tinclaw_kit::policy::{GroupPolicy, Place, Policy, Verdict};
use tinclaw_kit::{Incoming, Message, Response, host};

use crate::event::{Parent, Said, own_id};
use crate::{Origin, Settings, content, files, sending};

/// The most characters of the message that is quoted.
const QUOTED_CHARS: usize = 500;

/// Takes an event that the host has checked and decrypted.
pub fn take(settings: &Settings, request: &Incoming) -> Response {
    let body = request.value();
    // "Configure request URL": the challenge proves that this is the app's address.
    if body["type"] == "url_verification" {
        return Response::json(200, &json!({"challenge": body["challenge"]}));
    }
    if let Some(said) = Said::of(&body) {
        hear(settings, said);
    } else if settings.reactions {
        note_reaction(&body);
    }
    Response::json(200, &json!({}))
}

fn hear(settings: &Settings, said: Said<'_>) {
    let own = own_id(settings).unwrap_or_else(|failure| {
        host::warn(failure.words());
        String::new()
    });
    let mut mentions = said.mentions();
    let is_mentioned = !own.is_empty() && mentions.iter().any(|mention| mention.id == own);
    // The agent need not read that it is meant.
    mentions.iter_mut().filter(|mention| mention.id == own).for_each(|mention| mention.name = "");
    let policy = Policy::current();
    // Only somebody who may talk can have the bot read another message.
    let may_ask = policy.group_policy != GroupPolicy::None && policy.may_talk("feishu", said.sender());
    let parent = if may_ask { said.parent(settings) } else { None };
    let is_addressed = is_mentioned || parent.as_ref().is_some_and(|parent| parent.is_own);
    let place = if said.is_in_group() { Place::Group { is_addressed } } else { Place::Direct };
    let origin =
        Origin { message: Some(said.id().to_owned()), in_thread: said.thread().is_some(), user: None };
    match policy.decide("feishu", said.sender(), None, place) {
        Verdict::Allowed => {}
        Verdict::Ignored => return,
        Verdict::Pair(words) => return sending::tell(settings, &origin, &words),
    }
    let raw = said.content();
    let attached = content::files(said.kind(), &raw);
    let (files, notes) = files::fetch_all(settings, said.id(), &attached);
    let words = [content::words(said.kind(), &raw, &mentions), notes].concat();
    let words = words.trim();
    if words.is_empty() && files.is_empty() {
        return;
    }
    let mut message = Message::new(said.sender(), [&quoted(parent), words].concat())
        .id(said.event_id())
        .thread(said.thread().unwrap_or(said.chat()));
    for file in files {
        message = message.file(file);
    }
    message.emit(&origin);
}

/// The message that is replied to, unless it is the bot's own: as lines of a quotation.
fn quoted(parent: Option<Parent>) -> String {
    let Some(parent) = parent.filter(|parent| !parent.is_own && !parent.text.is_empty()) else {
        return String::new();
    };
    let cut: String = parent.text.chars().take(QUOTED_CHARS).collect();
    let lines: Vec<String> = cut.lines().map(|line| ["> ", line, "\n"].concat()).collect();
    [lines.concat(), "\n".to_owned()].concat()
}

/// "Message reaction added". It does not tell the chat, so it belongs to a conversation with the user.
fn note_reaction(body: &Value) {
    let event = &body["event"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let user = text(&event["user_id"]["open_id"]);
    let is_it =
        body["header"]["event_type"] == "im.message.reaction.created_v1" && event["operator_type"] == "user";
    if !is_it || !Policy::current().may_talk("feishu", &user) {
        return;
    }
    let (emoji, message) = (text(&event["reaction_type"]["emoji_type"]), text(&event["message_id"]));
    let content = ["[reaction ", &emoji, " to message ", &message, "]"].concat();
    let origin = Origin { message: Some(message), ..Origin::default() };
    Message::new(&user, content).id(text(&body["header"]["event_id"])).thread(&user).emit(&origin);
}
