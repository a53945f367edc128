//! `capabilities.websocket`: a socket that the host keeps open for a channel.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The `capabilities.websocket` section. It is read and checked; the sockets themselves are not there yet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WebsocketCapability {
    /// A `ws://` or `wss://` URL.
    pub url: String,
    /// Whether the socket is opened when the channel starts.
    #[serde(default)]
    pub connect_on_start: bool,
    /// The protocol that is spoken over the socket.
    #[serde(default)]
    pub protocol: Option<WebsocketProtocol>,
    /// What is sent to log in; free-form.
    #[serde(default)]
    pub identify: Option<Map<String, Value>>,
    /// The secret that `identify` is completed with.
    #[serde(default)]
    pub identify_secret_name: Option<String>,
    /// The secret that holds the bot's id.
    #[serde(default)]
    pub bot_id_secret_name: Option<String>,
    /// The secret that holds the bot's password.
    #[serde(default)]
    pub bot_secret_name: Option<String>,
    /// Milliseconds between two signs of life, where the protocol does not say.
    #[serde(default)]
    pub heartbeat_interval_ms: Option<u64>,
    /// Signs of life without an answer after which the socket is opened anew.
    #[serde(default)]
    pub max_missed_heartbeat_acks: Option<u32>,
}

/// The protocols that a websocket channel may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WebsocketProtocol {
    /// Discord's gateway: hello, heartbeat, identify, resume.
    DiscordGateway,
    /// WeCom's smart bot link.
    WecomAibot,
}
