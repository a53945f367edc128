//! Events, slash commands and buttons, posted or through Socket Mode: <https://docs.slack.dev/reference/events>.

use serde_json::{Value, json};
use tinclaw_kit::policy::{Place, Policy, Verdict};
use tinclaw_kit::{Failure, Incoming, Message, Response, host};

use crate::text::readable;
use crate::{Origin, Settings, api, files, sending};

/// Takes a request that the host has found to be Slack's.
pub fn take(settings: &Settings, request: &Incoming) -> Response {
    let body = request.value();
    if body["type"] == "url_verification" {
        return Response::json(200, &json!({"challenge": body["challenge"]}));
    }
    let taken = match (&body["event"], body["command"].as_str(), body["payload"].as_str()) {
        (Value::Object(_), _, _) => event(settings, &body["event"]),
        (_, Some(command), _) => {
            commanded(&body, command);
            Ok(())
        }
        (_, _, Some(payload)) => {
            pressed(&serde_json::from_str(payload).unwrap_or_default());
            Ok(())
        }
        _ => Ok(()),
    };
    match taken {
        Ok(()) => Response::ok(),
        Err(failure) => {
            // Slack sends it again.
            host::warn(failure.words());
            Response::new(503, Vec::new())
        }
    }
}

/// Takes an envelope of Socket Mode ("Using Socket Mode"). The host acknowledges it when what this did is durable.
pub fn take_envelope(settings: &Settings, text: &str) -> Result<(), Failure> {
    let envelope: Value = serde_json::from_str(text).unwrap_or_default();
    let payload = &envelope["payload"];
    match text_of(&envelope, "type") {
        "events_api" => event(settings, &payload["event"]),
        "slash_commands" => {
            commanded(payload, text_of(payload, "command"));
            Ok(())
        }
        "interactive" => {
            pressed(payload);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn event(settings: &Settings, event: &Value) -> Result<(), Failure> {
    match (text_of(event, "type"), text_of(event, "subtype")) {
        ("message" | "app_mention", "" | "file_share" | "thread_broadcast") => said(event, event, false),
        // Links that are unfurled change a message, too, but not its text.
        ("message", "message_changed") if event["message"]["text"] != event["previous_message"]["text"] => {
            said(event, &event["message"], true)
        }
        ("reaction_added", _) if settings.reactions => reacted(event),
        _ => Ok(()),
    }
}

/// Somebody wrote or changed a message. `event` has where, `message` has what.
fn said(event: &Value, message: &Value, is_edit: bool) -> Result<(), Failure> {
    let (user, channel, ts) = (text_of(message, "user"), text_of(event, "channel"), text_of(message, "ts"));
    let is_bot = message.get("bot_id").is_some_and(|id| !id.is_null());
    if is_bot || user.is_empty() || channel.is_empty() {
        return Ok(());
    }
    let own = api::own_user()?;
    if user == own {
        return Ok(());
    }
    let text = text_of(message, "text");
    let mention = ["<@", &own, ">"].concat();
    // A mention arrives as `app_mention` and as `message`: both have one id, and the host takes the first.
    let is_addressed = event["type"] == "app_mention"
        || text.contains(&mention)
        || text_of(message, "parent_user_id") == own;
    let is_direct = event["channel_type"] == "im";
    let origin = origin_of(channel, message["thread_ts"].as_str(), ts, is_direct);
    if !may_talk(user, is_direct, is_addressed, &origin) {
        return Ok(());
    }
    let mut content = readable(&text.replacen(&mention, "", 1));
    let (files, notes) = files::fetch_all(&message["files"]);
    for note in notes {
        content.push_str(&["\n[", &note, "]"].concat());
    }
    let content = content.trim();
    if content.is_empty() && files.is_empty() {
        return Ok(());
    }
    let mut id = [channel, ":", ts].concat();
    let mut shown = content.to_owned();
    if is_edit {
        id.push_str(&[":", text_of(&message["edited"], "ts")].concat());
        shown = ["[edited] ", content].concat();
    }
    let mut emitted = Message::new(user, shown).id(id).thread(thread_of(&origin));
    for file in files {
        emitted = emitted.file(file);
    }
    emitted.emit(&origin);
    Ok(())
}

/// In a channel the bot replies in a thread below the message.
fn origin_of(channel: &str, thread: Option<&str>, ts: &str, is_direct: bool) -> Origin {
    let below = (!is_direct && !ts.is_empty()).then_some(ts);
    Origin { channel: channel.to_owned(), thread: thread.or(below).map(str::to_owned) }
}

fn thread_of(origin: &Origin) -> String {
    match &origin.thread {
        Some(thread) => [&origin.channel, ":", thread].concat(),
        None => origin.channel.clone(),
    }
}

fn may_talk(user: &str, is_direct: bool, is_addressed: bool, origin: &Origin) -> bool {
    let place = if is_direct { Place::Direct } else { Place::Group { is_addressed } };
    match Policy::current().decide("slack", user, None, place) {
        Verdict::Allowed => true,
        Verdict::Ignored => false,
        Verdict::Pair(text) => {
            sending::tell(origin, &text);
            false
        }
    }
}

fn reacted(event: &Value) -> Result<(), Failure> {
    let (user, item) = (text_of(event, "user"), &event["item"]);
    if user == api::own_user()? || text_of(event, "item_user") != api::own_user()? {
        return Ok(());
    }
    let (channel, ts) = (text_of(item, "channel"), text_of(item, "ts"));
    let is_direct = channel.starts_with('D');
    let origin = origin_of(channel, None, ts, is_direct);
    if may_talk(user, is_direct, true, &origin) {
        let name = text_of(event, "reaction");
        Message::new(user, format!("[reaction :{name}: to message {ts}]"))
            .id(format!("reaction:{channel}:{ts}:{user}:{name}"))
            .thread(thread_of(&origin))
            .emit(&origin);
    }
    Ok(())
}

/// A slash command: a form, not an event.
fn commanded(body: &Value, command: &str) {
    let (user, channel) = (text_of(body, "user_id"), text_of(body, "channel_id"));
    let is_direct = channel.starts_with('D');
    let origin = origin_of(channel, None, "", is_direct);
    if may_talk(user, is_direct, true, &origin) {
        Message::new(user, format!("{command} {}", text_of(body, "text")).trim_end())
            .id(["command:", text_of(body, "trigger_id")].concat())
            .user_name(body["user_name"].as_str())
            .thread(thread_of(&origin))
            .emit(&origin);
    }
}

/// A button (`block_actions`): its value is what the agent gets.
fn pressed(payload: &Value) {
    let action = &payload["actions"][0];
    let (user, channel) = (text_of(&payload["user"], "id"), text_of(&payload["channel"], "id"));
    let Some(value) = action["value"].as_str() else { return };
    let is_direct = channel.starts_with('D');
    let thread = payload["message"]["thread_ts"].as_str();
    let origin = origin_of(channel, thread, text_of(&payload["message"], "ts"), is_direct);
    if may_talk(user, is_direct, true, &origin) {
        Message::new(user, value)
            .id(["action:", text_of(action, "action_ts"), user].concat())
            .thread(thread_of(&origin))
            .emit(&origin);
    }
}
