//! WhatsApp, through Meta's Cloud API: webhooks come in, the Graph API goes out.
//! <https://developers.facebook.com/docs/whatsapp/cloud-api>

mod api;
mod receiving;
mod sending;

use serde::{Deserialize, Serialize};
use tinclaw_kit::{Channel, Failure, Incoming, Registration, Reply, Response, Status, channel};

/// The channel.
#[derive(Debug)]
pub struct WhatsApp;

/// What the operator sets, beside the policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The id of the number that the bot writes from ("API Setup"); not the number itself.
    #[serde(default)]
    pub phone_number_id: Option<String>,
    /// The version of the Graph API. Meta ends each after two years.
    #[serde(default = "default_version")]
    pub api_version: String,
    /// Whether replies quote the message that they reply to.
    #[serde(default)]
    pub quote: bool,
}

fn default_version() -> String {
    "v23.0".to_owned()
}

/// Where a reply goes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The user's number, as WhatsApp writes it: digits without a plus.
    pub to: String,
    /// The message to quote and to mark as read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The message that the user has quoted, for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted_message: Option<String>,
}

const PATH: &str = "/webhook/whatsapp";

impl Channel for WhatsApp {
    type Settings = Settings;
    type Origin = Origin;

    fn start(settings: &Settings) -> Result<Registration, String> {
        if settings.phone_number_id.as_deref().unwrap_or_default().is_empty() {
            return Err(
                "set `phone_number_id` in [channel.whatsapp.config]: \"API Setup\" of the app shows it"
                    .to_owned(),
            );
        }
        Ok(Registration::new("WhatsApp").endpoint(PATH, &["GET", "POST"], true))
    }

    fn request(settings: &Settings, request: Incoming) -> Response {
        receiving::take(settings, &request)
    }

    fn reply(settings: &Settings, origin: Origin, reply: Reply) -> Result<(), Failure> {
        sending::send(settings, &origin, &reply)
    }

    fn status(settings: &Settings, origin: Origin, status: Status) {
        if status.is_working() {
            sending::show_typing(settings, &origin);
        }
    }

    fn broadcast(settings: &Settings, user_id: &str, reply: Reply) -> Result<(), Failure> {
        sending::send(settings, &Origin { to: user_id.to_owned(), ..Origin::default() }, &reply)
    }
}

channel!(WhatsApp);
