//! `/sync`, and what becomes of events.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tinclaw_kit::http::{Request, encoded};
use tinclaw_kit::policy::{Place, Policy, Verdict};
use tinclaw_kit::{Failure, Message, host, state};

use crate::event::{Event, local_part, text, without_name};
use crate::rooms::{self, Room};
use crate::settings::Settings;
use crate::{Origin, api, files, outgoing};

/// The channel's name, under which senders are approved.
const CHANNEL: &str = "matrix";
/// Milliseconds that the homeserver waits for something to happen.
const LONG_POLL_MS: u32 = 25_000;
/// Events of a room in one sync, and in one request for those that did not fit.
const MAX_EVENTS: u32 = 50;
/// Invitations that are remembered.
const MAX_INVITES: usize = 100;
/// Characters of a quoted message that the agent sees.
const QUOTED_CHARS: usize = 300;

const SINCE: &str = "since";
const INVITES: &str = "invites.json";
const PAUSED_UNTIL: &str = "paused_until";

const ENCRYPTED: &str = "This room is encrypted, and I cannot read encrypted messages. Please write to me in a room without encryption.";

/// Who invited the bot, by room; whether to a conversation of two.
type Invites = BTreeMap<String, (String, bool)>;

/// Asks what is new. The first time, only from when on: what was written before is not for the agent.
pub fn poll(settings: &Settings) -> Result<(), Failure> {
    if !host::secret_exists("matrix_access_token") {
        return Err(Failure::permanent("the secret matrix_access_token is not stored"));
    }
    if state::get::<u64>(PAUSED_UNTIL) > host::now_millis() {
        return Ok(());
    }
    let me = api::me(settings)?;
    let since: Option<String> = state::find(SINCE);
    let news = match sync(settings, since.as_deref()) {
        Ok(news) => news,
        Err(failure) => {
            if let Some(wait) = failure.retry_after_ms() {
                state::set(PAUSED_UNTIL, &(host::now_millis() + wait));
            }
            return Err(failure);
        }
    };
    let Some(next) = news["next_batch"].as_str() else {
        return Err(Failure::temporary("the homeserver's sync is not readable"));
    };
    take_rooms(settings, &me, since.as_deref(), &news["rooms"]["join"])?;
    take_invites(settings, &me, &news["rooms"]["invite"])?;
    state::set(SINCE, &next);
    Ok(())
}

fn sync(settings: &Settings, since: Option<&str>) -> Result<Value, Failure> {
    let nothing = json!({"types": []});
    let filter = json!({"presence": nothing, "account_data": nothing, "room": {
        "timeline": {"limit": if since.is_some() { MAX_EVENTS } else { 1 }},
        "state": {"types": [], "lazy_load_members": true},
        "ephemeral": nothing, "account_data": nothing}});
    let mut query = ["client/v3/sync?filter=", &encoded(&filter.to_string())].concat();
    match since {
        Some(since) => query.push_str(&format!("&timeout={LONG_POLL_MS}&since={}", encoded(since))),
        None => query.push_str("&timeout=0"),
    }
    let request = Request::get(api::url(settings, &query)).timeout_ms(LONG_POLL_MS + 10_000);
    Ok(api::read(request.send()?)?.value())
}

fn take_rooms(settings: &Settings, me: &str, since: Option<&str>, joined: &Value) -> Result<(), Failure> {
    let mut known = rooms::all();
    for (id, news) in joined.as_object().into_iter().flatten() {
        let is_known = known.contains_key(id);
        let room = known.entry(id.clone()).or_default();
        rooms::update(settings, id, room, &news["summary"])?;
        let Some(since) = since else { continue };
        let mut events: Vec<Value> = news["timeline"]["events"].as_array().cloned().unwrap_or_default();
        if news["timeline"]["limited"] == true && is_known {
            let mut missed = missed(settings, id, since, text(&news["timeline"]["prev_batch"]))?;
            missed.append(&mut events);
            events = missed;
        }
        for event in &events[own_beginning(me, &events)..] {
            take(settings, me, id, room, Event(event));
        }
    }
    rooms::keep(&known);
    Ok(())
}

/// The events between two syncs that did not fit into the later one, the oldest first.
fn missed(settings: &Settings, room: &str, since: &str, before: &str) -> Result<Vec<Value>, Failure> {
    let query = format!("messages?dir=b&limit={MAX_EVENTS}&from={}&to={}", encoded(before), encoded(since));
    let mut page = api::get(settings, &api::room_path(room, &query))?;
    if page["end"].is_string() && page["chunk"].as_array().is_some_and(|all| all.len() >= MAX_EVENTS as usize)
    {
        host::warn(&format!("{room}: more was written than is fetched; the oldest messages are left out"));
    }
    let mut events = match page["chunk"].take() {
        Value::Array(events) => events,
        _ => Vec::new(),
    };
    events.reverse();
    Ok(events)
}

/// Where what the bot may hear begins: after its invitation, or after it joined. What was written before is history.
fn own_beginning(me: &str, events: &[Value]) -> usize {
    let is_own = |event: &Value, membership: &str| {
        let is_member = event["type"] == "m.room.member" && event["state_key"] == me;
        // Somebody who changes their name joins once more.
        let was_in = event["unsigned"]["prev_content"]["membership"] == "join";
        is_member && !was_in && event["content"]["membership"] == membership
    };
    let last = |membership: &str| events.iter().rposition(|event| is_own(event, membership));
    last("invite").or_else(|| last("join")).map_or(0, |at| at + 1)
}

fn take_invites(settings: &Settings, me: &str, invited: &Value) -> Result<(), Failure> {
    let mut waiting: Invites = state::get(INVITES);
    for (room, news) in invited.as_object().into_iter().flatten() {
        let events = news["invite_state"]["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        let own = events.iter().find(|event| event["type"] == "m.room.member" && event["state_key"] == me);
        let Some(own) = own.filter(|_| waiting.len() < MAX_INVITES) else { continue };
        let is_direct = own["content"]["is_direct"] == true;
        waiting.insert(room.clone(), (text(&own["sender"]).to_owned(), is_direct));
    }
    let policy = Policy::current();
    let mut left = Invites::new();
    for (room, (sender, is_direct)) in waiting {
        let may_join = match is_direct {
            true => policy.decide(CHANNEL, &sender, None, Place::Direct),
            false if policy.may_talk(CHANNEL, &sender) => Verdict::Allowed,
            false => Verdict::Ignored,
        };
        let joined = match &may_join {
            // They may be approved later.
            Verdict::Ignored => Ok(false),
            _ => join(settings, &room),
        };
        match joined {
            Ok(true) => {}
            Ok(false) => drop(left.insert(room.clone(), (sender, is_direct))),
            Err(failure) => host::warn(&format!("{room} could not be joined: {}", failure.words())),
        }
        if let Verdict::Pair(told) = may_join {
            outgoing::tell(settings, &room, &transaction("pair", &room), &told);
        }
    }
    state::set_if_changed(INVITES, &left);
    Ok(())
}

/// Joins a room. False when that is to be tried later.
fn join(settings: &Settings, room: &str) -> Result<bool, Failure> {
    match api::post(settings, &api::room_path(room, "join"), &json!({})) {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.failure.is_permanent() => Err(refusal.failure),
        Err(_) => Ok(false),
    }
}

/// A name for a message of the channel itself about an event or room: it is sent once.
fn transaction(what: &str, about: &str) -> String {
    encoded(&["tinclaw-", what, "-", about].concat())
}

/// Gives the agent an event, if it is a message and its sender may talk.
fn take(settings: &Settings, me: &str, id: &str, room: &mut Room, event: Event<'_>) {
    // A notice is what bots write ("m.notice").
    if event.sender() == me || event.content()["msgtype"] == "m.notice" {
        return;
    }
    let is_encrypted = event.kind() == "m.room.encrypted";
    if !is_encrypted && !matches!(event.kind(), "m.room.message" | "m.sticker") {
        return;
    }
    let is_direct = room.members <= 2;
    let replied_to = event.replied_to().and_then(|replied_to| fetch_event(settings, id, replied_to));
    let is_addressed = is_encrypted
        || event.mentions(me)
        || is_command(me, event.body())
        || replied_to.as_ref().is_some_and(|event| Event(event).sender() == me);
    let place = if is_direct { Place::Direct } else { Place::Group { is_addressed } };
    match Policy::current().decide(CHANNEL, event.sender(), None, place) {
        Verdict::Ignored => return,
        Verdict::Pair(told) => {
            return outgoing::tell(settings, id, &transaction("pair", event.id()), &told);
        }
        Verdict::Allowed => {}
    }
    if is_encrypted {
        if !room.is_told {
            room.is_told = true;
            outgoing::tell(settings, id, &transaction("encrypted", id), ENCRYPTED);
        }
        return;
    }
    if is_direct {
        rooms::is_direct_with(event.sender(), id);
    }
    emit(settings, me, id, is_direct, event, replied_to.as_ref().map(Event));
}

fn emit(
    settings: &Settings,
    me: &str,
    room: &str,
    is_direct: bool,
    event: Event<'_>,
    replied_to: Option<Event<'_>>,
) {
    let mut content = quoted(me, replied_to);
    content.push_str(&words(me, event));
    let file = event.has_file().then(|| files::fetch(settings, event));
    if let Some(Err(note)) = &file {
        content.push_str(&["\n[", note, "]"].concat());
    }
    let content = content.trim();
    let file = file.and_then(Result::ok);
    if content.is_empty() && file.is_none() {
        return;
    }
    let content = if event.is_edit() { ["[edited] ", content].concat() } else { content.to_owned() };
    let origin = Origin {
        room: room.to_owned(),
        thread: event.thread().map(str::to_owned),
        reply_to: (!is_direct).then(|| event.id().to_owned()),
    };
    let thread = match &origin.thread {
        Some(root) => [room, ":", root].concat(),
        None => room.to_owned(),
    };
    let mut message = Message::new(event.sender(), content).id(event.id()).thread(thread);
    message = message.user_name(Some(local_part(event.sender())));
    if let Some(file) = file {
        message = message.file(file);
    }
    message.emit(&origin);
}

/// What was written, as the agent reads it.
fn words(me: &str, event: Event<'_>) -> String {
    let content = event.content();
    let body = event.body();
    if event.kind() == "m.sticker" {
        return ["[sticker ", body, "]"].concat();
    }
    match text(&content["msgtype"]) {
        "m.emote" => ["* ", local_part(event.sender()), " ", body].concat(),
        "m.location" => ["[location ", text(&content["geo_uri"]), "]"].concat(),
        _ => without_name(me, body).to_owned(),
    }
}

/// A command for this bot: `!name`.
fn is_command(me: &str, body: &str) -> bool {
    let first = body.split_whitespace().next().unwrap_or_default();
    first.strip_prefix('!').is_some_and(|name| name.eq_ignore_ascii_case(local_part(me)))
}

/// An event that is replied to; nothing when it cannot be had, which says nothing about the reply.
fn fetch_event(settings: &Settings, room: &str, event: &str) -> Option<Value> {
    let path = api::room_path(room, &["event/", &encoded(event)].concat());
    api::get(settings, &path).ok().filter(Value::is_object)
}

/// A message that is replied to, unless it is the bot's own: the agent knows those.
fn quoted(me: &str, replied_to: Option<Event<'_>>) -> String {
    let Some(replied_to) = replied_to.filter(|event| event.sender() != me && !event.body().is_empty()) else {
        return String::new();
    };
    let cut: String = replied_to.body().chars().take(QUOTED_CHARS).collect();
    let lines: Vec<String> = cut.lines().map(|line| ["> ", line, "\n"].concat()).collect();
    ["> ", local_part(replied_to.sender()), ":\n", &lines.concat(), "\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_ends_where_the_bot_was_invited_or_joined() {
        let text = |body: &str| json!({"type": "m.room.message", "content": {"body": body}});
        let member = |membership: &str, before: &str| {
            json!({"type": "m.room.member", "state_key": "@me:a", "content": {"membership": membership},
                "unsigned": {"prev_content": {"membership": before}}})
        };
        for (events, expected) in [
            (vec![text("a"), text("b")], 0),
            (vec![text("a"), member("join", "invite"), text("b")], 2),
            (vec![text("a"), member("invite", ""), text("b"), member("join", "invite")], 2),
            (vec![text("a"), member("join", "join"), text("b")], 0),
        ] {
            assert_eq!(own_beginning("@me:a", &events), expected);
        }
    }
}
