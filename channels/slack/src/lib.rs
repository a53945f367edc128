//! Slack, as an app: events, slash commands and buttons come in, through Socket Mode or as webhooks; the Web API goes out.
//! <https://docs.slack.dev/apis/>

mod api;
mod events;
mod files;
mod sending;
mod text;

use serde::{Deserialize, Serialize};
use tinclaw_kit::{
    Channel, Failure, Incoming, Registration, Reply, Response, SocketChannel, Status, socket_channel,
};

/// The channel.
#[derive(Debug)]
pub struct Slack;

/// What the operator sets, beside the policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Whether reactions to messages are told to the agent.
    #[serde(default)]
    pub reactions: bool,
}

/// Where a reply goes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The channel, or a user for a direct message.
    pub channel: String,
    /// The thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

const PATH: &str = "/webhook/slack";

impl Channel for Slack {
    type Settings = Settings;
    type Origin = Origin;

    fn start(_: &Settings) -> Result<Registration, String> {
        Ok(Registration::new("Slack").webhook(PATH))
    }

    fn request(settings: &Settings, request: Incoming) -> Response {
        events::take(settings, &request)
    }

    fn reply(_: &Settings, origin: Origin, reply: Reply) -> Result<(), Failure> {
        sending::send(&origin, &reply)
    }

    fn status(_: &Settings, origin: Origin, status: Status) {
        match status.partial_reply() {
            Some(text) => sending::show_partial(&origin, text),
            None => sending::show_status(&origin, status.is_working()),
        }
    }

    fn broadcast(_: &Settings, user_id: &str, reply: Reply) -> Result<(), Failure> {
        sending::send(&Origin { channel: user_id.to_owned(), thread: None }, &reply)
    }
}

impl SocketChannel for Slack {
    fn frame(settings: &Settings, text: &str) -> Result<(), Failure> {
        events::take_envelope(settings, text)
    }
}

socket_channel!(Slack);
