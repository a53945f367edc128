//! The fields of `tinclaw.toml`, and the bounds of its numbers. Every field is optional; what is left out has the library's
//! default. A value outside of its bounds is refused with both.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::channel::{ChannelName, LimitCaps};
use crate::net::PublicUrl;
use crate::store::Durability;
use crate::webhook::TrustedProxies;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    /// Address and port of the HTTP server.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// This host's address as providers call it.
    pub public_url: Option<PublicUrl>,
    /// Where state is kept; relative to the file.
    pub state_dir: Option<PathBuf>,
    /// What a loss of power may take.
    pub durability: Option<Durability>,
    /// Directories of channels and `.wasm` files; relative to the file.
    pub channels: Option<Vec<PathBuf>>,
    /// Directories of tools and `.wasm` files; relative to the file.
    pub tools: Option<Vec<PathBuf>>,
    /// The directory that tools may read, as far as their capability files allow; relative to the file.
    pub tool_files: Option<PathBuf>,
    /// Whether the web chat runs; without this, when there are no other channels.
    pub webchat: Option<bool>,
    /// The agent that replies, and its settings.
    #[serde(deserialize_with = "agent")]
    pub agent: AgentTable,
    /// What to log.
    pub log: Option<String>,
    /// Host to base URL.
    pub http_rewrite: BTreeMap<String, String>,
    /// Names and networks that may have special-purpose addresses.
    pub allow_private_hosts: Vec<String>,
    /// A proxy for outbound requests.
    pub proxy: Option<String>,
    /// Proxies in front of this host.
    pub trusted_proxies: TrustedProxies,
    /// The shortest time between polls.
    pub min_poll_interval_ms: Option<Millis<1, 86_400_000>>,
    /// Guest memory that all running callbacks may have together.
    pub memory_budget_mb: Option<Megabytes<1, 65_536>>,
    /// Callbacks that run at the same time.
    pub workers: Option<Count<1, 1_024>>,
    /// Seconds after which a message that was not acknowledged is redelivered.
    pub ack_timeout_secs: Option<Secs<1, 604_800>>,
    /// Whether messages of one conversation wait for each other.
    pub in_order: Option<bool>,
    /// Seconds that a webhook may wait for its turn.
    pub queue_timeout_secs: Option<Secs<1, 300>>,
    /// Bytes of a request's body.
    pub max_body_bytes: Option<Count<1, 1_073_741_824>>,
    /// Where secrets come from.
    pub secrets: SecretsTable,
    /// How much may wait.
    pub queue: QueueTable,
    /// How replies are retried.
    pub retry: RetryTable,
    /// How long completed messages and replies are kept.
    pub retention: RetentionTable,
    /// Caps of limits, named as the capability fields are.
    pub limits: LimitCaps,
    /// What clients may take from the HTTP server.
    pub server: ServerTable,
    /// Settings by channel.
    pub channel: BTreeMap<ChannelName, ChannelTable>,
}

/// `[agent]`, or `agent = "…"` for one that needs no settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentTable {
    /// `echo`, `exec:COMMAND`, `http:URL` or `openai:URL`.
    pub kind: Option<String>,
    /// Messages that it works on at a time.
    pub concurrency: Option<Count<1, 1024>>,
    /// Seconds for a message.
    pub timeout_secs: Option<Secs<1, 3_600>>,
    /// Failed attempts after which a message is a dead letter.
    pub max_attempts: Option<Count<1, 1_000>>,
    /// The reply to a sender whose message became a dead letter; none when it is empty.
    pub dead_letter_text: Option<String>,
    /// Variables of the host's environment that an `exec` agent gets.
    pub env: Vec<String>,
    /// Headers of the requests of an `http` agent.
    pub headers: BTreeMap<String, String>,
    /// The secret that an `http` agent is asked with.
    pub auth_secret: Option<String>,
    /// The header that it is in.
    pub auth_header: Option<String>,
    /// The model of an `openai` agent.
    pub model: Option<String>,
    /// What it is told before each conversation: the text, or a file.
    pub system_prompt: Option<SystemPrompt>,
    /// How freely it chooses its words.
    pub temperature: Option<f64>,
    /// The most tokens of one response.
    pub max_tokens: Option<Count<1, 1_000_000>>,
    /// The secret that is the key of an `openai` agent.
    pub api_key: Option<String>,
    /// Whether its responses are streamed.
    pub stream: Option<bool>,
    /// Whether pictures go to the model.
    pub images: Option<bool>,
    /// The tools that it may call; all without this.
    pub tools: Option<Vec<String>>,
    /// How much of a conversation goes along.
    pub history: HistoryTable,
    /// The message that makes it forget the conversation.
    pub reset_command: Option<String>,
}

/// A text, or `{ file = "…" }`.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text or { file = \"…\" }")]
pub enum SystemPrompt {
    /// The text itself.
    Text(String),
    /// Where it is.
    File {
        /// Relative to the configuration file.
        file: PathBuf,
    },
}

/// `history` of `[agent]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryTable {
    /// Messages.
    pub messages: Option<Count<1, 10_000>>,
    /// Tokens, as they are estimated.
    pub tokens: Option<Count<100, 10_000_000>>,
}

/// Reads `[agent]`, or its `kind` alone.
fn agent<'de, D: Deserializer<'de>>(field: D) -> Result<AgentTable, D::Error> {
    struct TextOrTable;
    impl<'de> Visitor<'de> for TextOrTable {
        type Value = AgentTable;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a table")
        }

        fn visit_str<E>(self, kind: &str) -> Result<AgentTable, E> {
            Ok(AgentTable { kind: Some(kind.to_owned()), ..AgentTable::default() })
        }

        fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<AgentTable, A::Error> {
            AgentTable::deserialize(MapAccessDeserializer::new(table))
        }
    }
    field.deserialize_any(TextOrTable)
}

/// `[secrets]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsTable {
    /// Whether only variables that begin with `TINCLAW_SECRET_` are secrets; without this, they are.
    pub env_prefixed_only: Option<bool>,
    /// A directory with one file for each secret.
    pub directory: Option<PathBuf>,
    /// Whether systemd's credentials are secrets.
    pub systemd: bool,
    /// Whether secrets that channels let the host choose are made at start, in the encrypted file; without this, they are.
    pub generate: Option<bool>,
    /// The encrypted file; without this, `secrets.enc` in the state directory.
    pub file: Option<PathBuf>,
    /// The file with its key; without this, `secrets.key` in the state directory.
    pub key_file: Option<PathBuf>,
    /// The credential of systemd with its key.
    pub key_credential: Option<String>,
}

/// `[queue]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueTable {
    /// Messages that may wait for the agent.
    pub messages: Option<Count<1, 100_000_000>>,
    /// Megabytes of them.
    pub megabytes: Option<Megabytes<1, 1_048_576>>,
    /// Replies that may wait for delivery.
    pub replies: Option<Count<1, 100_000_000>>,
}

/// `[retry]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryTable {
    /// The wait after the first failure.
    pub initial_backoff_secs: Option<Secs<1, 3_600>>,
    /// The longest wait.
    pub max_backoff_secs: Option<Secs<1, 86_400>>,
    /// For how long a reply is tried.
    pub max_elapsed_secs: Option<Secs<0, 2_592_000>>,
    /// Attempts that may trap.
    pub max_traps: Option<Count<1, 1_000>>,
    /// How long a reply that fails holds up those behind it in its conversation, in seconds. Default 300.
    pub max_blocking_secs: Option<Secs<0, 86_400>>,
}

/// `[retention]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionTable {
    /// Days for completed messages and replies.
    pub completed_days: Option<Days<0, 36_500>>,
    /// Days for dead letters.
    pub dead_days: Option<Days<0, 36_500>>,
    /// Days for what an agent remembers of a conversation in which nothing is said.
    pub history_days: Option<Days<0, 36_500>>,
    /// How many completed messages, and how many completed replies.
    pub max_completed: Option<u64>,
    /// Megabytes of each.
    pub max_completed_mb: Option<Megabytes<0, 1_048_576>>,
    /// Dedupe keys of each channel.
    pub max_dedupe_keys: Option<u64>,
}

/// `[server]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTable {
    pub connections: Option<Count<1, 65_536>>,
    pub connections_per_address: Option<Count<1, 65_536>>,
    pub header_timeout_secs: Option<Secs<1, 300>>,
    pub max_header_bytes: Option<Count<256, 1_048_576>>,
    pub max_headers: Option<Count<1, 1_000>>,
    pub body_timeout_secs: Option<Secs<1, 3_600>>,
    pub body_memory_mb: Option<Megabytes<1, 65_536>>,
    pub dispatch_timeout_secs: Option<Secs<1, 300>>,
    pub response_timeout_secs: Option<Secs<1, 3_600>>,
    pub max_response_bytes: Option<u64>,
    pub response_memory_mb: Option<Megabytes<1, 65_536>>,
    pub write_timeout_secs: Option<Secs<1, 3_600>>,
    pub keep_alive_secs: Option<Secs<0, 3_600>>,
}

/// `[channel.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelTable {
    /// The guest of which this is another account.
    pub guest: Option<ChannelName>,
    /// Values that override those of the capability file's `config`.
    pub config: Map<String, Value>,
    /// Who owns the bot: a number or a text.
    pub owner_id: Option<Value>,
    /// What the bot is called.
    pub bot_username: Option<String>,
    /// Fields that override those of the capability file's `capabilities`.
    pub capabilities: Map<String, Value>,
    /// Whether `capabilities` may change where the channel can connect to and which secrets it can use.
    pub extend_rights: bool,
}

/// An address with a port.
fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let address = text.parse();
    address.map(Some).map_err(|_| {
        D::Error::custom(format!("{text:?} is not an address with a port, such as 127.0.0.1:8080"))
    })
}

/// Fields that had another name once, with their tables: what they were called, and what they are called now.
pub const RENAMED: &[(&str, &str)] = &[
    ("agent_concurrency", "agent.concurrency"),
    ("agent_timeout_secs", "agent.timeout_secs"),
    ("poll_floor_ms", "min_poll_interval_ms"),
    ("visibility_secs", "ack_timeout_secs"),
    ("retry.first_secs", "initial_backoff_secs"),
    ("retry.most_secs", "max_backoff_secs"),
    ("retry.give_up_after_secs", "max_elapsed_secs"),
    ("retry.most_traps", "max_traps"),
    ("retention.settled_days", "completed_days"),
    ("retention.max_settled", "max_completed"),
    ("retention.max_settled_mb", "max_completed_mb"),
    ("retention.max_seen", "max_dedupe_keys"),
    ("server.head_secs", "header_timeout_secs"),
    ("server.head_bytes", "max_header_bytes"),
    ("server.head_fields", "max_headers"),
    ("server.body_secs", "body_timeout_secs"),
    ("server.response_bytes", "max_response_bytes"),
    ("server.write_secs", "write_timeout_secs"),
    ("server.handover_secs", "dispatch_timeout_secs"),
    ("server.answer_secs", "response_timeout_secs"),
];

/// A whole number from `MIN` to `MAX`.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D, min: u64, max: u64) -> Result<u64, D::Error> {
    let value = u64::deserialize(deserializer)?;
    match (min..=max).contains(&value) {
        true => Ok(value),
        false => Err(D::Error::custom(format!("{value} is out of range; give {min} to {max}"))),
    }
}

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident, $get:ident -> $type:ty, |$value:ident| $make:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<const MIN: u64, const MAX: u64>(u64);

        impl<const MIN: u64, const MAX: u64> $name<MIN, MAX> {
            /// The value.
            pub fn $get(self) -> $type {
                let $value = self.0;
                $make
            }
        }

        impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for $name<MIN, MAX> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                bounded(deserializer, MIN, MAX).map(Self)
            }
        }
    };
}

bounded!(
    /// A number of things.
    Count,
    get -> usize,
    |value| usize::try_from(value).unwrap_or(usize::MAX)
);
bounded!(
    /// Seconds.
    Secs,
    get -> Duration,
    |value| Duration::from_secs(value)
);
bounded!(
    /// Milliseconds.
    Millis,
    get -> Duration,
    |value| Duration::from_millis(value)
);
bounded!(
    /// Days, as a duration.
    Days,
    get -> Duration,
    |value| Duration::from_secs(value.saturating_mul(24 * 60 * 60))
);
bounded!(
    /// MiB, in bytes.
    Megabytes,
    get_bytes -> u64,
    |value| value.saturating_mul(1024 * 1024)
);
