//! Calls of the client-server API.

use serde_json::{Value, json};
use tinclaw_kit::http::{Request, Response, encoded};
use tinclaw_kit::{Failure, state};

use crate::settings::Settings;

/// Where the bot's own id is kept.
const USER: &str = "user";

/// What a call did not do.
#[derive(Debug)]
pub struct Refusal {
    /// What it means for the host.
    pub failure: Failure,
    /// The homeserver's `errcode`.
    pub code: String,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, code: String::new() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        refusal.failure
    }
}

/// The URL of a path below `/_matrix`; the host puts the token in.
pub fn url(settings: &Settings, path: &str) -> String {
    [settings.homeserver().unwrap_or_default(), "/_matrix/", path].concat()
}

/// The path of a room's resource.
pub fn room_path(room: &str, rest: &str) -> String {
    ["client/v3/rooms/", &encoded(room), "/", rest].concat()
}

/// A GET request.
pub fn get(settings: &Settings, path: &str) -> Result<Value, Refusal> {
    Ok(read(Request::get(url(settings, path)).send()?)?.value())
}

/// A PUT request with a JSON object.
pub fn put(settings: &Settings, path: &str, body: &Value) -> Result<Value, Refusal> {
    Ok(read(Request::put(url(settings, path)).json(body).send()?)?.value())
}

/// A POST request with a JSON object.
pub fn post(settings: &Settings, path: &str, body: &Value) -> Result<Value, Refusal> {
    Ok(read(Request::post(url(settings, path)).json(body).send()?)?.value())
}

/// A response, unless it is an error ("Standard error response"). 429 says how long to wait, 401 is about the token.
pub fn read(response: Response) -> Result<Response, Refusal> {
    if response.is_success() {
        return Ok(response);
    }
    let body = response.value();
    let code = body["errcode"].as_str().unwrap_or_default().to_owned();
    let words = [&code, " ", body["error"].as_str().unwrap_or_default()].concat();
    Err(Refusal { failure: response.failure(words.trim()), code })
}

/// The bot's own id: asked once and kept.
pub fn me(settings: &Settings) -> Result<String, Failure> {
    if let Some(user) = state::find(USER) {
        return Ok(user);
    }
    let account = get(settings, "client/v3/account/whoami")?;
    let Some(user) = account["user_id"].as_str() else {
        return Err(Failure::temporary("the homeserver does not say who the bot is: is it a Matrix server?"));
    };
    state::set(USER, &user);
    Ok(user.to_owned())
}

/// Sends a message event and returns its id. The same `transaction` never sends twice.
pub fn send(settings: &Settings, room: &str, transaction: &str, content: &Value) -> Result<String, Refusal> {
    let path = room_path(room, &["send/m.room.message/", transaction].concat());
    let sent = put(settings, &path, content)?;
    Ok(sent["event_id"].as_str().unwrap_or_default().to_owned())
}

/// Shows for 20 s that the bot types.
pub fn typing(settings: &Settings, room: &str) -> Result<(), Failure> {
    let path = room_path(room, &["typing/", &encoded(&me(settings)?)].concat());
    put(settings, &path, &json!({"typing": true, "timeout": 20_000}))?;
    Ok(())
}
