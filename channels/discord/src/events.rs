//! Events of the gateway ("Gateway Events").

use serde_json::Value;
use tinclaw_kit::policy::{Place, Policy, Verdict};
use tinclaw_kit::{Failure, Message, host};

use crate::api::{self, Bot};
use crate::{Origin, Settings, files, interactions, sending};

/// Characters of a quoted message that the agent sees.
const QUOTED_CHARS: usize = 500;
/// Messages that people wrote: `DEFAULT` and `REPLY` ("Message Types").
const WRITTEN: [u64; 2] = [0, 19];

/// Takes a frame of the gateway.
pub fn take(settings: &Settings, text: &str) -> Result<(), Failure> {
    // Servers are told with all their channels: such frames are large, and nothing here is made of them.
    if text.contains("\"t\":\"GUILD_CREATE\"") {
        return Ok(());
    }
    let frame: Value = serde_json::from_str(text).unwrap_or_default();
    let event = &frame["d"];
    match text_of(&frame, "t") {
        "READY" => ready(settings, event),
        "MESSAGE_CREATE" => said(settings, event, false),
        // A link that is unfurled changes a message, too, without a time of an edit.
        "MESSAGE_UPDATE" if event["edited_timestamp"].is_string() => said(settings, event, true),
        "INTERACTION_CREATE" => interactions::happened(settings, event),
        _ => Ok(()),
    }
}

pub fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn ready(settings: &Settings, event: &Value) -> Result<(), Failure> {
    let bot = Bot {
        id: text_of(&event["user"], "id").to_owned(),
        application: text_of(&event["application"], "id").to_owned(),
    };
    api::keep_bot(&bot);
    if settings.commands {
        interactions::register(settings, &bot)?;
    }
    Ok(())
}

/// Somebody wrote or changed a message.
fn said(settings: &Settings, message: &Value, is_edit: bool) -> Result<(), Failure> {
    let author = &message["author"];
    let is_written = message["type"].as_u64().is_none_or(|kind| WRITTEN.contains(&kind));
    let is_bot = author["bot"] == true || message["webhook_id"].is_string();
    if !is_written || is_bot || text_of(author, "id").is_empty() {
        return Ok(());
    }
    let bot = api::bot(settings)?;
    let origin = origin_of(message);
    if !may_talk(settings, author, message["guild_id"].is_null(), is_for(&bot, message), &origin) {
        return Ok(());
    }
    let mut content = [quoted(&bot, &message["referenced_message"]), words(&bot, message)].concat();
    let (files, notes) = files::fetch_all(&message["attachments"]);
    for note in notes {
        content.push_str(&["\n[", &note, "]"].concat());
    }
    let content = content.trim();
    if content.is_empty() && files.is_empty() {
        return Ok(());
    }
    let id = text_of(message, "id");
    let mut emitted = if is_edit {
        let edited = text_of(message, "edited_timestamp");
        Message::new(text_of(author, "id"), ["[edited] ", content].concat()).id([id, ":", edited].concat())
    } else {
        Message::new(text_of(author, "id"), content).id(id)
    };
    emitted = emitted.user_name(name_of(author)).thread(&origin.channel);
    for file in files {
        emitted = emitted.file(file);
    }
    emitted.emit(&origin);
    Ok(())
}

/// In a server the bot replies to the message; a conversation with it alone needs no reference.
fn origin_of(message: &Value) -> Origin {
    let is_direct = message["guild_id"].is_null();
    Origin {
        channel: text_of(message, "channel_id").to_owned(),
        reply_to: (!is_direct).then(|| text_of(message, "id").to_owned()),
        interaction: None,
    }
}

/// Whether a message in a server is for the bot: a mention, or a reply to it.
fn is_for(bot: &Bot, message: &Value) -> bool {
    let mentions = message["mentions"].as_array().into_iter().flatten();
    text_of(&message["referenced_message"]["author"], "id") == bot.id
        || mentions.into_iter().any(|user| text_of(user, "id") == bot.id)
}

/// Whether this user may talk. Unknown ones are told their code.
pub fn may_talk(
    settings: &Settings,
    user: &Value,
    is_direct: bool,
    is_addressed: bool,
    origin: &Origin,
) -> bool {
    let place = if is_direct { Place::Direct } else { Place::Group { is_addressed } };
    match Policy::current().decide("discord", text_of(user, "id"), name_of(user), place) {
        Verdict::Allowed => true,
        Verdict::Ignored => false,
        Verdict::Pair(text) => {
            if let Err(failure) = sending::post(settings, origin, &text, None) {
                host::warn(failure.words());
            }
            false
        }
    }
}

/// The name for people.
pub fn name_of(user: &Value) -> Option<&str> {
    user["global_name"].as_str().or(user["username"].as_str())
}

/// What was written: without the bot's mention at the beginning, with the names of the others.
fn words(bot: &Bot, message: &Value) -> String {
    let mut text = text_of(message, "content").to_owned();
    for user in message["mentions"].as_array().into_iter().flatten() {
        let (id, name) = (text_of(user, "id"), name_of(user).unwrap_or_default());
        // The old form has an exclamation mark ("Message Formatting").
        for mention in [["<@", id, ">"].concat(), ["<@!", id, ">"].concat()] {
            text = match text.strip_prefix(&mention) {
                Some(rest) if id == bot.id => rest.trim_start().to_owned(),
                _ => text.replace(&mention, &["@", name].concat()),
            };
        }
    }
    text
}

/// The message that is replied to, unless it is the bot's own: the agent knows those.
fn quoted(bot: &Bot, replied_to: &Value) -> String {
    let text = text_of(replied_to, "content");
    if text.is_empty() || text_of(&replied_to["author"], "id") == bot.id {
        return String::new();
    }
    let cut: String = text.chars().take(QUOTED_CHARS).collect();
    let lines: Vec<String> = cut.lines().map(|line| ["> ", line, "\n"].concat()).collect();
    let name = name_of(&replied_to["author"]).unwrap_or_default();
    ["> ", name, ":\n", &lines.concat(), "\n"].concat()
}
