//! Calls of the Bot API.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tinclaw_kit::http::{Request, Response};
use tinclaw_kit::multipart::Multipart;
use tinclaw_kit::{Failure, state};

use crate::settings::Settings;

/// What a method did not do.
#[derive(Debug)]
pub struct Refusal {
    /// What it means for the host.
    pub failure: Failure,
    /// Telegram's words.
    pub description: String,
    /// The chat has become another one.
    pub moved_to: Option<i64>,
}

impl Refusal {
    /// Whether Telegram's words have this in them.
    pub fn says(&self, words: &str) -> bool {
        self.description.contains(words)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, description: String::new(), moved_to: None }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        refusal.failure
    }
}

/// The URL of a method; the host puts the token in.
pub fn url(settings: &Settings, method: &str) -> String {
    format!("{}/bot{{TELEGRAM_BOT_TOKEN}}/{method}", settings.api_base)
}

/// Calls a method with a JSON object.
pub fn call<T: DeserializeOwned>(settings: &Settings, method: &str, body: &Value) -> Result<T, Refusal> {
    read(method, Request::post(url(settings, method)).json(body).send()?)
}

/// Calls a method with a form, which may have files.
pub fn upload(settings: &Settings, method: &str, form: Multipart<'_>) -> Result<Value, Refusal> {
    read(method, Request::post(url(settings, method)).multipart(form).send()?)
}

/// What a method responded ("Making requests").
pub fn read<T: DeserializeOwned>(method: &str, response: Response) -> Result<T, Refusal> {
    let mut body = response.value();
    if !response.is_success() {
        let description = body["description"].as_str().unwrap_or_default().to_owned();
        return Err(Refusal {
            failure: response.failure(&[&description, " (", method, ")"].concat()),
            description,
            moved_to: body["parameters"]["migrate_to_chat_id"].as_i64(),
        });
    }
    serde_json::from_value(body["result"].take()).map_err(|error| {
        Failure::temporary(format!("the response of {method} is not readable: {error}")).into()
    })
}

/// Who the bot is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bot {
    /// Its id.
    pub id: i64,
    /// Its name, without the `@`.
    #[serde(default)]
    pub username: String,
}

/// Who the bot is: asked once and kept.
pub fn bot(settings: &Settings) -> Result<Bot, Failure> {
    const PATH: &str = "bot.json";
    if let Some(bot) = state::find(PATH) {
        return Ok(bot);
    }
    let bot: Bot = call(settings, "getMe", &json!({}))?;
    state::set(PATH, &bot);
    Ok(bot)
}

/// The present id of a chat: a group that became a supergroup has another one.
pub fn present_chat(chat_id: i64) -> i64 {
    state::find(&moved_path(chat_id)).unwrap_or(chat_id)
}

/// Remembers that a chat has another id now.
pub fn chat_moved(from: i64, to: i64) {
    state::set_if_changed(&moved_path(from), &to);
}

fn moved_path(chat_id: i64) -> String {
    format!("moved/{chat_id}")
}
