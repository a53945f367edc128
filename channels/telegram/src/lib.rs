//! Telegram, as a bot: <https://core.telegram.org/bots/api>.
//!
//! Without a public address the channel asks for updates (`getUpdates`, which waits for 25 s at Telegram's side); where
//! the host has one (`tunnel_url`) it sets a webhook. Names of methods in the comments are those of the Bot API's page.

mod api;
mod files;
mod outgoing;
mod receiving;
mod settings;
mod update;

use serde::{Deserialize, Serialize};
use tinclaw_kit::{Channel, Failure, Incoming, Registration, Reply, Response, Status, channel, host};

pub use settings::Settings;

/// The channel.
#[derive(Debug)]
pub struct Telegram;

/// Where a reply goes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The chat.
    pub chat_id: i64,
    /// The topic of a group that has topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<i64>,
    /// The message to reply to, in groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<i64>,
}

const PATH: &str = "/webhook/telegram";

impl Channel for Telegram {
    type Settings = Settings;
    type Origin = Origin;

    fn start(settings: &Settings) -> Result<Registration, String> {
        receiving::set_commands(settings);
        let registration = Registration::new("Telegram");
        let Some(base) = settings.webhook_base() else {
            return Ok(registration.poll(settings.poll_interval_ms));
        };
        receiving::set_webhook(settings, &format!("{base}{PATH}"))
            .map_err(|failure| failure.words().to_owned())?;
        // With a webhook, polls only look whether Telegram reaches it.
        Ok(registration.webhook(PATH).poll(receiving::WEBHOOK_CHECK_MS))
    }

    fn request(settings: &Settings, request: Incoming) -> Response {
        match receiving::webhook(settings, &request) {
            Ok(()) => Response::ok(),
            Err(failure) => {
                host::warn(&format!("an update is taken later: {}", failure.words()));
                Response::new(503, Vec::new())
            }
        }
    }

    fn poll(settings: &Settings) {
        let outcome = match settings.webhook_base() {
            Some(_) => receiving::check_webhook(settings),
            None => receiving::poll(settings),
        };
        if let Err(failure) = outcome {
            host::error(failure.words());
        }
    }

    fn reply(settings: &Settings, origin: Origin, reply: Reply) -> Result<(), Failure> {
        outgoing::send(settings, &origin, &reply)
    }

    fn status(settings: &Settings, origin: Origin, status: Status) {
        if let Some(text) = status.partial_reply() {
            outgoing::show_partial(settings, &origin, text);
        } else if status.is_working() {
            outgoing::show_typing(settings, &origin);
        }
    }

    fn broadcast(settings: &Settings, user_id: &str, reply: Reply) -> Result<(), Failure> {
        let chat_id =
            user_id.parse().map_err(|_| Failure::permanent(format!("`{user_id}` is no id of a chat")))?;
        outgoing::send(settings, &Origin { chat_id, ..Origin::default() }, &reply)
    }
}

channel!(Telegram);
