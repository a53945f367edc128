//! What the operator sets.

use serde::{Deserialize, Serialize};

/// The settings of the channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The base URL of the homeserver, such as `https://matrix.example.org`.
    #[serde(default)]
    homeserver: Option<String>,
    /// The time between two polls, in milliseconds, when the one before has not waited for anything.
    #[serde(default = "default_interval")]
    pub poll_interval_ms: u32,
}

impl Settings {
    /// The base URL of the homeserver, without a slash at its end.
    pub fn homeserver(&self) -> Option<&str> {
        self.homeserver.as_deref().map(|url| url.trim_end_matches('/')).filter(|url| !url.is_empty())
    }
}

fn default_interval() -> u32 {
    3_000
}
