//! Calls of the HTTP API.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tinclaw_kit::http::{Request, Response};
use tinclaw_kit::{Failure, state};

use crate::Settings;

/// The URL of an endpoint.
pub fn url(settings: &Settings, path: &str) -> String {
    [settings.api_base.trim_end_matches('/'), path].concat()
}

/// Calls an endpoint with a JSON object.
pub fn call(settings: &Settings, method: &'static str, path: &str, body: &Value) -> Result<Value, Failure> {
    read(Request::new(method, url(settings, path)).json(body).send()?)
}

/// What an endpoint responded ("Error Messages"): the status says whether trying again helps, `code` and `message` say why.
pub fn read(response: Response) -> Result<Value, Failure> {
    if response.is_success() {
        return Ok(response.value());
    }
    let body = response.value();
    let message = body["message"].as_str().unwrap_or("no JSON");
    Err(response.failure(&match body["code"].as_i64() {
        Some(code) if code != 0 => format!("{message} ({code})"),
        _ => message.to_owned(),
    }))
}

/// Who the bot is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bot {
    /// Its user.
    pub id: String,
    /// Its application, which commands and interactions belong to.
    pub application: String,
}

const BOT: &str = "bot.json";

/// Who the bot is: told by READY, else asked once.
pub fn bot(settings: &Settings) -> Result<Bot, Failure> {
    if let Some(bot) = state::find(BOT) {
        return Ok(bot);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let user = read(Request::get(url(settings, "/users/@me")).send()?)?;
    let application = read(Request::get(url(settings, "/applications/@me")).send()?)?;
    let bot = Bot { id: text(&user["id"]), application: text(&application["id"]) };
    keep_bot(&bot);
    Ok(bot)
}

/// Keeps who the bot is.
pub fn keep_bot(bot: &Bot) {
    state::set_if_changed(BOT, bot);
}

/// The application, once it is known.
pub fn known_application() -> String {
    state::get::<Option<Bot>>(BOT).unwrap_or_default().application
}

/// The conversation with a user alone ("Create DM").
pub fn direct_channel(settings: &Settings, user: &str) -> Result<String, Failure> {
    let channel = call(settings, "POST", "/users/@me/channels", &json!({"recipient_id": user}))?;
    Ok(channel["id"].as_str().unwrap_or_default().to_owned())
}
