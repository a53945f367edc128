//! `capabilities`: everything that the host grants.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::{Map, Value};

use super::limits::ChannelLimits;
use super::{HttpCapability, WebhookCapability};

/// The `capabilities` of a file. The default grants nothing: it is what a channel without a file gets.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ChannelCapabilities {
    /// Outbound HTTP. Absent: none.
    pub(crate) http: Option<HttpCapability>,
    /// Which secrets the guest may ask about.
    pub(crate) secrets: Option<SecretsCapability>,
    /// Workspace rights of tools. A channel has its own workspace always.
    pub(crate) workspace: Option<WorkspaceCapability>,
    /// What the channel may do inside the host.
    pub(crate) channel: Option<ChannelSection>,
    /// A socket that the host keeps open for the channel.
    pub(crate) websocket: Option<WebsocketCapability>,
}

impl ChannelCapabilities {
    /// Whether `path` is one of `channel.allowed_paths`, compared byte by byte.
    pub fn is_path_allowed(&self, path: &str) -> bool {
        self.channel
            .as_ref()
            .is_some_and(|section| section.allowed_paths.iter().any(|allowed| allowed == path))
    }

    /// Whether the channel may poll.
    pub fn allows_polling(&self) -> bool {
        self.channel.as_ref().is_some_and(|section| section.allow_polling)
    }

    /// How webhooks are authenticated, when the file says so.
    pub(crate) fn webhook(&self) -> Option<&WebhookCapability> {
        self.channel.as_ref().and_then(|section| section.webhook.as_ref())
    }
}

/// The `capabilities.secrets` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SecretsCapability {
    /// Names of secrets, exact or with one `*` at the end, compared in lower case
    /// ([`AllowedNames`](crate::secrets::AllowedNames)).
    pub allowed_names: Vec<String>,
}

/// The `capabilities.workspace` section, known because files of tools have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WorkspaceCapability {
    /// Prefixes that a tool may read. Nothing for a channel.
    pub allowed_prefixes: Vec<String>,
}

/// Milliseconds between two polls when the file does not say, and the least that a file can ask for.
pub(crate) const DEFAULT_MIN_POLL_INTERVAL_MS: u64 = 30_000;

/// The `capabilities.channel` section.
///
/// The fields that set a limit are optional; [`LIMITS`](crate::capability::limits::LIMITS) has their defaults and bounds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ChannelSection {
    /// HTTP paths that the channel may register, exact. None: no HTTP.
    pub allowed_paths: Vec<String>,
    /// Whether the channel may poll.
    pub allow_polling: bool,
    /// Milliseconds between two polls, at least. 30000 when absent, and never lower than the host's minimum.
    pub min_poll_interval_ms: Option<u64>,
    /// Where the channel's files live; must be `channels/<name>/` when present.
    pub workspace_prefix: Option<String>,
    /// Paths to keep across restarts. The whole workspace is durable, so this changes nothing.
    pub durable_workspace_paths: Vec<String>,
    /// How authentic webhooks are recognised. Absent: the channel has no authenticated route.
    pub webhook: Option<WebhookCapability>,
    /// Whether `emit-message` takes the id by which a duplicate message is recognised from the `message_id` of
    /// `metadata-json`. A provider that sends an event twice then gets two responses and is kept once.
    pub message_id_from_metadata: bool,
    /// Milliseconds between two views of a reply that is still being written, at least 100. The channel then gets `on-status`
    /// with the text so far, and `partial_reply` in the metadata. Absent: it gets replies only whole.
    pub partial_reply_interval_ms: Option<u64>,

    /// Messages that the channel may emit per minute and hour.
    pub emit_rate_limit: Option<EmitRateLimitConfig>,
    /// Bytes of one message's content (65536); what is over is cut.
    pub max_message_size: Option<u64>,
    /// Seconds that a callback may take (30, at most 300).
    pub callback_timeout_secs: Option<u64>,
    /// Fuel that a callback may burn (500000000).
    pub fuel: Option<u64>,
    /// MiB of memory that a callback may use (50).
    pub memory_mb: Option<u64>,
    /// Table elements that an instance may have (10000).
    pub table_elements: Option<u64>,
    /// Callbacks of the inbound lane that may run at one time (1, at most 16).
    pub inbound_concurrency: Option<u64>,
    /// Callbacks of the outbound lane that may run at one time (4, at most 16).
    pub outbound_concurrency: Option<u64>,
    /// Messages that a callback may emit (100).
    pub max_messages_per_callback: Option<u64>,
    /// Bytes of a message's metadata (65536).
    pub max_metadata_bytes: Option<u64>,
    /// Attachments that a message may have (10).
    pub max_attachments_per_message: Option<u64>,
    /// Bytes of all attachments of a message (20 MiB).
    pub max_attachment_bytes_per_message: Option<u64>,
    /// Bytes of one stored attachment (20 MiB).
    pub max_stored_attachment_bytes: Option<u64>,
    /// Bytes of all attachments that a callback stores (50 MiB).
    pub max_attachment_bytes_per_callback: Option<u64>,
    /// Log lines of a callback (1000).
    pub max_log_lines: Option<u64>,
    /// Bytes of all log lines of a callback (64 KiB).
    pub max_log_bytes: Option<u64>,
    /// Bytes of a log line (4 KiB); what is over is cut.
    pub max_log_line_bytes: Option<u64>,
    /// Bytes of the whole workspace (16 MiB).
    pub workspace_max_bytes: Option<u64>,
    /// Bytes of one workspace file (1 MiB).
    pub workspace_max_file_bytes: Option<u64>,
    /// Files in the workspace (4096).
    pub workspace_max_files: Option<u64>,
    /// Timers set at one time (64).
    pub max_timers: Option<u64>,
    /// Bytes of a timer's payload (64 KiB).
    pub max_timer_payload_bytes: Option<u64>,
    /// Bytes of a timer's name (128).
    pub max_timer_name_bytes: Option<u64>,
    /// Days that a timer may be set ahead (366).
    pub max_timer_delay_days: Option<u64>,
}

/// The least of `partial_reply_interval_ms`: each view is a callback.
pub(super) const LEAST_PARTIAL_REPLY_INTERVAL_MS: u64 = 100;

impl ChannelSection {
    /// The least time between two polls: what the file says, or 30 s when it says nothing.
    ///
    /// The host's own least time comes on top ([`ManagerConfig::min_poll_interval`](crate::ManagerConfig::min_poll_interval)).
    pub fn min_poll_interval(&self) -> Duration {
        Duration::from_millis(self.min_poll_interval_ms.unwrap_or(DEFAULT_MIN_POLL_INTERVAL_MS))
    }
}

/// Messages that a channel may emit. Zero in either field: it may not emit at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct EmitRateLimitConfig {
    /// Messages a minute (100).
    pub messages_per_minute: u32,
    /// Messages an hour (5000).
    pub messages_per_hour: u32,
}

impl Default for EmitRateLimitConfig {
    fn default() -> Self {
        let ChannelLimits { messages_per_minute, messages_per_hour, .. } = ChannelLimits::default();
        Self { messages_per_minute, messages_per_hour }
    }
}

/// The `capabilities.websocket` section: a websocket that the host keeps open for the channel.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WebsocketCapability {
    /// A `wss://` URL that `http.allowlist` has too; its host may be `{setting}`, as there, and so may a segment of its path. For
    /// `slack-socket-mode` the `https://` URL of `apps.connections.open`.
    pub url: String,
    /// Whether the socket is opened when the channel starts. Default: it is; with `false` it is never opened.
    #[serde(default)]
    pub connect_on_start: Option<bool>,
    /// The setting on which it depends whether there is a socket. Default: there is one.
    #[serde(default)]
    pub(crate) when: Option<SettingIs>,
    /// The protocol that is spoken over the socket. Default: `discord-gateway`.
    #[serde(default)]
    pub protocol: Option<WebsocketProtocol>,
    /// What is sent to log in (`d` of Discord's operation 2), without the token.
    #[serde(default)]
    pub identify: Option<Map<String, Value>>,
    /// The secret that `identify` is completed with: the bot's token.
    #[serde(default)]
    pub identify_secret_name: Option<String>,
    /// The secret that holds the bot's id.
    #[serde(default)]
    pub bot_id_secret_name: Option<String>,
    /// The secret that holds the bot's password; `bot_secret_secret_name` in some published files.
    #[serde(default, alias = "bot_secret_secret_name")]
    pub bot_secret_name: Option<String>,
    /// Milliseconds between two heartbeats, where the service does not say. Default 30,000.
    #[serde(default)]
    pub heartbeat_interval_ms: Option<u64>,
    /// Heartbeats without an acknowledgement after which the socket is reopened. Default 2.
    #[serde(default)]
    pub max_missed_heartbeat_acks: Option<u32>,
}

impl WebsocketCapability {
    /// Whether there is a socket with these settings of the operator.
    pub(crate) fn is_wanted(&self, config: &Map<String, Value>) -> bool {
        self.when
            .as_ref()
            .is_none_or(|when| config.get(&when.setting) == Some(&Value::from(when.is.as_str())))
    }
}

/// A setting of the channel, and a value of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingIs {
    /// The setting, which the operator gives.
    pub setting: String,
    /// Its value, a text.
    pub is: String,
}

/// The protocols that a websocket channel may speak. In a file, `_` is as good as `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum WebsocketProtocol {
    /// Discord's gateway: hello, heartbeat, identify, resume.
    DiscordGateway,
    /// WeCom's smart bot link.
    WecomAibot,
    /// Slack's Socket Mode: envelopes, each of which is acknowledged.
    SlackSocketMode,
    /// None: every text frame is for the guest.
    Plain,
}

impl<'de> Deserialize<'de> for WebsocketProtocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        match name.replace('_', "-").as_str() {
            "discord-gateway" => Ok(Self::DiscordGateway),
            "wecom-aibot" => Ok(Self::WecomAibot),
            "slack-socket-mode" => Ok(Self::SlackSocketMode),
            "plain" => Ok(Self::Plain),
            _ => Err(D::Error::unknown_variant(
                &name,
                &["discord-gateway", "wecom-aibot", "slack-socket-mode", "plain"],
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_means_no_rights() {
        let none = ChannelCapabilities::default();
        assert!(none.http.is_none() && none.secrets.is_none() && none.websocket.is_none());
        assert!(!none.is_path_allowed("/") && !none.allows_polling());
    }

    // Files are published with either spelling; those with `_` did not load.
    #[test]
    fn published_names_of_protocols_and_secrets_are_known() {
        use serde_json::json;

        use crate::model::document::{Comments, read};

        for (name, expected) in [
            ("wecom-aibot", Some(WebsocketProtocol::WecomAibot)),
            ("wecom_aibot", Some(WebsocketProtocol::WecomAibot)),
            ("discord-gateway", Some(WebsocketProtocol::DiscordGateway)),
            ("discord_gateway", Some(WebsocketProtocol::DiscordGateway)),
            ("discordgateway", None),
        ] {
            let socket =
                json!({"url": "wss://a.example/", "protocol": name, "bot_secret_secret_name": "key"});
            let socket = read::<WebsocketCapability>(socket, Comments::Refused);
            assert_eq!(socket.as_ref().ok().and_then(|socket| socket.protocol), expected, "{name}");
            if let Ok(socket) = socket {
                assert_eq!(socket.bot_secret_name.as_deref(), Some("key"));
            }
        }
        let twice = json!({"url": "wss://a.example/", "bot_secret_name": "a", "bot_secret_secret_name": "b"});
        assert!(read::<WebsocketCapability>(twice, Comments::Refused).is_err());
    }
}
