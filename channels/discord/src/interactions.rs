//! Slash commands and buttons ("Receiving and Responding to Interactions").
//!
//! An interaction wants a response within three seconds: that the reply comes later (type 5). Its token is good for the reply
//! for 15 minutes; a reply that comes after that is a message of its own.

use serde_json::{Value, json};
use tinclaw_kit::policy::Policy;
use tinclaw_kit::{Failure, Incoming, Message, Response, host, state};

use crate::api::{self, Bot};
use crate::events::{may_talk, name_of, text_of};
use crate::{Origin, Settings};

/// How long the token of an interaction is used: a minute less than it is good for.
const TOKEN_MS: u64 = 14 * 60 * 1000;
const PING: u64 = 1;
const APPLICATION_COMMAND: u64 = 2;
const MESSAGE_COMPONENT: u64 = 3;
/// Responses: `PONG`, `DEFERRED_CHANNEL_MESSAGE_WITH_SOURCE`, and a message that only the user sees (flag 64).
const PONG: u64 = 1;
const LATER: u64 = 5;
const MESSAGE: u64 = 4;
const ONLY_FOR_USER: u64 = 64;

/// An interaction that Discord posted, which the host has authenticated.
pub fn request(request: &Incoming) -> Response {
    let interaction = request.value();
    if interaction["type"] == PING {
        return Response::json(200, &json!({"type": PONG}));
    }
    // The policy responds with a message of its own here: no request may go out before this one has its response.
    let response = match emit(&interaction, None) {
        true => json!({"type": LATER}),
        false => refusal(),
    };
    Response::json(200, &response)
}

/// An interaction that came through the gateway.
pub fn happened(settings: &Settings, interaction: &Value) -> Result<(), Failure> {
    let response = match emit(interaction, Some(settings)) {
        true => json!({"type": LATER}),
        false => refusal(),
    };
    let path =
        format!("/interactions/{}/{}/callback", text_of(interaction, "id"), text_of(interaction, "token"));
    match api::call(settings, "POST", &path, &response) {
        // What came too late is gone: the reply will be a message of its own.
        Err(failure) if failure.is_permanent() => {
            host::warn(failure.words());
            Ok(())
        }
        other => other.map(drop),
    }
}

fn refusal() -> Value {
    let text = "You may not talk to this bot here.";
    json!({"type": MESSAGE, "data": {"content": text, "flags": ONLY_FOR_USER}})
}

/// Tells the agent of an interaction; false when the user may not talk. With `settings`, unknown users are told their code.
fn emit(interaction: &Value, settings: Option<&Settings>) -> bool {
    let is_direct = interaction["guild_id"].is_null();
    let user = if is_direct { &interaction["user"] } else { &interaction["member"]["user"] };
    let origin = Origin {
        channel: text_of(interaction, "channel_id").to_owned(),
        reply_to: None,
        interaction: Some((text_of(interaction, "token").to_owned(), host::now_millis() + TOKEN_MS)),
    };
    let place = Origin { interaction: None, ..origin.clone() };
    let may = match settings {
        Some(settings) => may_talk(settings, user, is_direct, true, &place),
        None => is_known(user),
    };
    if !may {
        return false;
    }
    let data = &interaction["data"];
    let content = match interaction["type"].as_u64() {
        Some(APPLICATION_COMMAND) => command_text(data),
        Some(MESSAGE_COMPONENT) => text_of(data, "custom_id").to_owned(),
        _ => return true,
    };
    Message::new(text_of(user, "id"), content)
        .id(["interaction:", text_of(interaction, "id")].concat())
        .user_name(name_of(user))
        .thread(&origin.channel)
        .emit(&origin);
    true
}

/// Whether a user may talk, without telling them a code.
fn is_known(user: &Value) -> bool {
    Policy::current().may_talk("discord", text_of(user, "id"))
}

/// `/ask` is its text; any other command keeps its name.
fn command_text(data: &Value) -> String {
    let options = data["options"].as_array().into_iter().flatten();
    let values: Vec<String> = options
        .map(|option| match &option["value"] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        })
        .collect();
    let text = values.join(" ");
    match text_of(data, "name") {
        "ask" => text,
        name => ["/", name, " ", &text].concat().trim_end().to_owned(),
    }
}

/// Registers the bot's commands ("Bulk Overwrite Global Application Commands"), when they are not yet.
pub fn register(settings: &Settings, bot: &Bot) -> Result<(), Failure> {
    const PATH: &str = "commands.json";
    let option = json!({"type": 3, "name": "text", "description": "What to ask", "required": true});
    let commands = json!([{"name": "ask", "description": "Ask the agent", "options": [option]}]);
    let registered = (bot.application.clone(), commands.to_string());
    if state::find(PATH).as_ref() == Some(&registered) {
        return Ok(());
    }
    let path = format!("/applications/{}/commands", bot.application);
    match api::call(settings, "PUT", &path, &commands) {
        Ok(_) => state::set(PATH, &registered),
        // The bot works without them.
        Err(failure) => host::warn(&["commands are not registered: ", failure.words()].concat()),
    }
    Ok(())
}
