//! What an event says of a message ("Receive message", schema 2.0).

use serde_json::Value;
use tinclaw_kit::http::{Request, encoded};
use tinclaw_kit::{Failure, state};

use crate::{Settings, api, content};

/// Where the bot's own id is kept.
const OWN_ID: &str = "own_id.json";

/// The bot's own `open_id` ("Obtain bot info"), by which a mention of it is recognised.
pub fn own_id(settings: &Settings) -> Result<String, Failure> {
    let (cloud, id): (String, String) = state::get(OWN_ID);
    if cloud == settings.api_base && !id.is_empty() {
        return Ok(id);
    }
    // It is not in `data`, as in the other responses.
    let response = api::raw(settings, || Request::get(api::url(settings, "bot/v3/info")))?;
    let body = response.value();
    match body["bot"]["open_id"].as_str() {
        Some(id) if body["code"] == 0 => {
            state::set(OWN_ID, &(&settings.api_base, id));
            Ok(id.to_owned())
        }
        _ => Err(api::failure(&response)),
    }
}

/// A message of an event.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    body: &'a Value,
    message: &'a Value,
}

impl<'a> Said<'a> {
    /// The message of an event `im.message.receive_v1`, unless a bot has written it.
    pub fn of(body: &'a Value) -> Option<Self> {
        let event = &body["event"];
        let is_person = event["sender"]["sender_type"] == "user";
        let is_message = body["header"]["event_type"] == "im.message.receive_v1";
        (is_message && is_person).then_some(Self { body, message: &event["message"] })
    }

    /// The sender's `open_id`, which is the app's own id for them.
    pub fn sender(self) -> &'a str {
        text(&self.body["event"]["sender"]["sender_id"]["open_id"])
    }

    /// The id of the event: the same when it is delivered again.
    pub fn event_id(self) -> &'a str {
        text(&self.body["header"]["event_id"])
    }

    /// The message's id.
    pub fn id(self) -> &'a str {
        text(&self.message["message_id"])
    }

    /// The chat's id.
    pub fn chat(self) -> &'a str {
        text(&self.message["chat_id"])
    }

    /// The topic's id.
    pub fn thread(self) -> Option<&'a str> {
        Some(text(&self.message["thread_id"])).filter(|id| !id.is_empty())
    }

    /// Whether it was written in a group.
    pub fn is_in_group(self) -> bool {
        self.message["chat_type"] != "p2p"
    }

    /// The type of the message.
    pub fn kind(self) -> &'a str {
        text(&self.message["message_type"])
    }

    /// Its content, JSON in a text.
    pub fn content(self) -> Value {
        serde_json::from_str(text(&self.message["content"])).unwrap_or_default()
    }

    /// Who is mentioned: the key in the text, the id and the name.
    pub fn mentions(self) -> Vec<Mention<'a>> {
        let list = self.message["mentions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mention = |one: &'a Value| Mention {
            key: text(&one["key"]),
            id: text(&one["id"]["open_id"]),
            name: text(&one["name"]),
        };
        list.iter().map(mention).collect()
    }

    /// The message that this one replies to, when it does and that can be read.
    pub fn parent(self, settings: &Settings) -> Option<Parent> {
        let id = Some(text(&self.message["parent_id"])).filter(|id| !id.is_empty())?;
        let url = api::url(settings, &["im/v1/messages/", &encoded(id)].concat());
        let mut data = api::call(settings, || Request::get(url.clone())).ok()?;
        let item = data["items"][0].take();
        let app = settings.app_id.as_deref();
        let raw: Value = serde_json::from_str(text(&item["body"]["content"])).unwrap_or_default();
        Some(Parent {
            is_own: item["sender"]["sender_type"] == "app" && item["sender"]["id"].as_str() == app,
            text: content::words(text(&item["msg_type"]), &raw, &[]),
        })
    }
}

/// Somebody who is mentioned in a message.
#[derive(Clone, Copy, Debug)]
pub struct Mention<'a> {
    /// What stands for them in the text.
    pub key: &'a str,
    /// Their `open_id`.
    pub id: &'a str,
    /// Their name; none for the bot itself, which the agent need not read.
    pub name: &'a str,
}

/// The message that another one replies to.
#[derive(Debug)]
pub struct Parent {
    /// Whether the bot has written it.
    pub is_own: bool,
    /// What it says.
    pub text: String,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
