//! The sign that the bot works: its reaction `Typing` to the message, as Feishu has nothing else for it ("Add message reaction").

use serde_json::json;
use tinclaw_kit::http::{Request, encoded};
use tinclaw_kit::{Failure, host, state};

use crate::{Origin, Settings, api};

/// Where the reactions that are shown are kept: message and reaction.
const PATH: &str = "typing.json";
/// Messages whose sign is known: more than are worked on at one time.
const MAX_SHOWN: usize = 32;

/// Shows that the bot works on a message, or shows it no longer.
pub fn show(settings: &Settings, origin: &Origin, is_working: bool) {
    let Some(message) = &origin.message else { return };
    let shown: Vec<(String, String)> = state::get(PATH);
    let before = shown.iter().find(|(of, _)| of == message);
    let changed = match (before, is_working) {
        (None, true) => add(settings, message).map(Some),
        (Some((_, reaction)), false) => remove(settings, message, reaction).map(|()| None),
        _ => return,
    };
    let now = match changed {
        Ok(now) => now,
        Err(failure) => {
            host::log(host::LogLevel::Debug, failure.words());
            None
        }
    };
    // What another call has written meanwhile stays.
    let mut shown: Vec<(String, String)> = state::get(PATH);
    shown.retain(|(of, _)| of != message);
    shown.extend(now.map(|reaction| (message.clone(), reaction)));
    let surplus = shown.len().saturating_sub(MAX_SHOWN);
    shown.drain(..surplus);
    state::set_if_changed(PATH, &shown);
}

fn add(settings: &Settings, message: &str) -> Result<String, Failure> {
    let body = json!({"reaction_type": {"emoji_type": "Typing"}});
    let resource = ["im/v1/messages/", &encoded(message), "/reactions"].concat();
    let data = api::post(settings, &resource, &body)?;
    Ok(data["reaction_id"].as_str().unwrap_or_default().to_owned())
}

fn remove(settings: &Settings, message: &str, reaction: &str) -> Result<(), Failure> {
    let resource = ["im/v1/messages/", &encoded(message), "/reactions/", &encoded(reaction)].concat();
    api::call(settings, || Request::new("DELETE", api::url(settings, &resource))).map(drop)
}
