//! Feishu, and Lark, its other cloud: events come in as webhooks, the Open API goes out.
//! <https://open.feishu.cn/document>
//!
//! The host checks the signature of an event, and decrypts it with the Encrypt Key. It puts the app's secret into the request
//! for a token; the channel itself has only that token, which is good for two hours.

mod api;
mod content;
mod event;
mod files;
mod receiving;
mod sending;
mod token;
mod typing;

use serde::{Deserialize, Serialize};
use tinclaw_kit::{Channel, Failure, Incoming, Registration, Reply, Response, Status, channel, host};

/// The channel.
#[derive(Debug)]
pub struct Feishu;

/// What the operator sets, beside the policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The app's id ("Credentials & Basic Info").
    #[serde(default)]
    pub app_id: Option<String>,
    /// The cloud that the app is in: `https://open.feishu.cn` or `https://open.larksuite.com`.
    #[serde(default = "default_cloud")]
    pub api_base: String,
    /// Whether reactions to messages are told to the agent.
    #[serde(default)]
    pub reactions: bool,
}

fn default_cloud() -> String {
    "https://open.feishu.cn".to_owned()
}

/// Where a reply goes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The message that it replies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether that message is in a topic, where the reply has to be too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_thread: bool,
    /// The user's `open_id`, for what replies to no message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

const PATH: &str = "/webhook/feishu";

impl Channel for Feishu {
    type Settings = Settings;
    type Origin = Origin;

    fn start(settings: &Settings) -> Result<Registration, String> {
        if settings.app_id.as_deref().unwrap_or_default().is_empty() {
            return Err(
                "set `app_id` in [channel.feishu.config]: \"Credentials & Basic Info\" of the app shows it"
                    .to_owned(),
            );
        }
        if !["https://open.feishu.cn", "https://open.larksuite.com"].contains(&settings.api_base.as_str()) {
            return Err("`api_base` is https://open.feishu.cn or https://open.larksuite.com".to_owned());
        }
        match event::own_id(settings) {
            Ok(_) => {}
            Err(failure @ Failure::Unauthorized(_)) => return Err(failure.words().to_owned()),
            // Asked again when it is needed.
            Err(failure) => host::warn(failure.words()),
        }
        Ok(Registration::new("Feishu").webhook(PATH))
    }

    fn request(settings: &Settings, request: Incoming) -> Response {
        receiving::take(settings, &request)
    }

    fn reply(settings: &Settings, origin: Origin, reply: Reply) -> Result<(), Failure> {
        sending::send(settings, &origin, &reply)
    }

    fn status(settings: &Settings, origin: Origin, status: Status) {
        typing::show(settings, &origin, status.is_working());
    }

    fn broadcast(settings: &Settings, user_id: &str, reply: Reply) -> Result<(), Failure> {
        let origin = Origin { user: Some(user_id.to_owned()), ..Origin::default() };
        sending::send(settings, &origin, &reply)
    }
}

channel!(Feishu);
