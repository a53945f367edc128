//! What the operator sets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The settings of the channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The public address of the host; the host fills it in.
    #[serde(default)]
    tunnel_url: Option<String>,
    /// What Telegram sends with each webhook; the host fills it in. Needed at the start only.
    #[serde(default, skip_serializing)]
    pub webhook_secret: Option<String>,
    /// Where the Bot API is: Telegram's, or a server of one's own.
    #[serde(default = "default_api_base")]
    pub api_base: String,
    /// The time between two polls, in milliseconds, when the one before has not waited for anything.
    #[serde(default = "default_interval")]
    pub poll_interval_ms: u32,
    /// Commands that Telegram offers when somebody types `/`, each with its description: the agent gets them as messages.
    #[serde(default)]
    pub commands: BTreeMap<String, String>,
    /// Whether reactions to messages are told to the agent.
    #[serde(default)]
    pub reactions: bool,
}

impl Settings {
    /// The public address, when there is one.
    pub fn webhook_base(&self) -> Option<&str> {
        self.tunnel_url.as_deref().map(|url| url.trim_end_matches('/')).filter(|url| !url.is_empty())
    }
}

fn default_api_base() -> String {
    "https://api.telegram.org".to_owned()
}

fn default_interval() -> u32 {
    5_000
}
