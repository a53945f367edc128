//! `capabilities.websocket`: a socket that the host keeps open for a channel.

use serde_json::{Map, Value};

use crate::fields::Fields;

/// The `capabilities.websocket` section. It is read and checked; the sockets themselves are not there yet.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WebsocketCapability {
    /// A `ws://` or `wss://` URL.
    pub url: String,
    /// Whether the socket is opened when the channel starts.
    #[cfg_attr(test, schemars(default))]
    pub connect_on_start: bool,
    /// The protocol that is spoken over the socket.
    #[cfg_attr(test, schemars(default))]
    pub protocol: Option<WebsocketProtocol>,
    /// What is sent to log in; free-form.
    #[cfg_attr(test, schemars(default))]
    pub identify: Option<Map<String, Value>>,
    /// The secret that `identify` is completed with.
    #[cfg_attr(test, schemars(default))]
    pub identify_secret_name: Option<String>,
    /// The secret that holds the bot's id.
    #[cfg_attr(test, schemars(default))]
    pub bot_id_secret_name: Option<String>,
    /// The secret that holds the bot's password.
    #[cfg_attr(test, schemars(default))]
    pub bot_secret_name: Option<String>,
    /// Milliseconds between two signs of life, where the protocol does not say.
    #[cfg_attr(test, schemars(default))]
    pub heartbeat_interval_ms: Option<u64>,
    /// Signs of life without an answer after which the socket is opened anew.
    #[cfg_attr(test, schemars(default))]
    pub max_missed_heartbeat_acks: Option<u32>,
}

impl WebsocketCapability {
    pub(super) fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            url: fields.needed_text("url"),
            connect_on_start: fields.flag("connect_on_start").unwrap_or_default(),
            protocol: WebsocketProtocol::read(fields),
            identify: fields.object("identify"),
            identify_secret_name: fields.text("identify_secret_name"),
            bot_id_secret_name: fields.text("bot_id_secret_name"),
            bot_secret_name: fields.text("bot_secret_name"),
            heartbeat_interval_ms: fields.u64("heartbeat_interval_ms"),
            max_missed_heartbeat_acks: fields.u32("max_missed_heartbeat_acks"),
        })
    }
}

/// The protocols that a websocket channel may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum WebsocketProtocol {
    /// Discord's gateway: hello, heartbeat, identify, resume.
    DiscordGateway,
    /// WeCom's smart bot link.
    WecomAibot,
}

impl WebsocketProtocol {
    fn read(fields: &mut Fields) -> Option<Self> {
        let known = [Self::DiscordGateway, Self::WecomAibot];
        Some(known[fields.choice("protocol", &["discord-gateway", "wecom-aibot"])?])
    }
}
