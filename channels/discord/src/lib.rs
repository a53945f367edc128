//! Discord, as a bot: messages come through the gateway, which the host keeps open; replies go out over HTTP.
//! <https://docs.discord.com/developers/reference>
//!
//! Slash commands come through the gateway as well, or to the interactions endpoint where the host has a public address.

mod api;
mod events;
mod files;
mod interactions;
mod sending;

use serde::{Deserialize, Serialize};
use tinclaw_kit::{
    Channel, Failure, Incoming, Registration, Reply, Response, SocketChannel, Status, socket_channel,
};

/// The channel.
#[derive(Debug)]
pub struct Discord;

/// What the operator sets, beside the policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Where the API is: Discord's, or a proxy of one's own.
    #[serde(default = "default_api_base")]
    pub api_base: String,
    /// Whether `/ask` is registered as a command of the bot.
    #[serde(default = "yes")]
    pub commands: bool,
}

fn default_api_base() -> String {
    "https://discord.com/api/v10".to_owned()
}

fn yes() -> bool {
    true
}

/// Where a reply goes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The channel, which may be a thread.
    pub channel: String,
    /// The message to reply to, in servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The token of the interaction that is replied to, and until when it is good, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interaction: Option<(String, u64)>,
}

const PATH: &str = "/webhook/discord";

impl Channel for Discord {
    type Settings = Settings;
    type Origin = Origin;

    fn start(_: &Settings) -> Result<Registration, String> {
        Ok(Registration::new("Discord").webhook(PATH))
    }

    fn request(_: &Settings, request: Incoming) -> Response {
        interactions::request(&request)
    }

    fn reply(settings: &Settings, origin: Origin, reply: Reply) -> Result<(), Failure> {
        sending::send(settings, &origin, &reply)
    }

    fn status(settings: &Settings, origin: Origin, status: Status) {
        if let Some(text) = status.partial_reply() {
            sending::show_partial(settings, &origin, text);
        } else if status.is_working() {
            sending::show_typing(settings, &origin);
        }
    }

    fn broadcast(settings: &Settings, user_id: &str, reply: Reply) -> Result<(), Failure> {
        let channel = api::direct_channel(settings, user_id)?;
        sending::send(settings, &Origin { channel, ..Origin::default() }, &reply)
    }
}

impl SocketChannel for Discord {
    fn frame(settings: &Settings, text: &str) -> Result<(), Failure> {
        events::take(settings, text)
    }
}

socket_channel!(Discord);
