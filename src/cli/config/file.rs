//! The fields of `tinclaw.toml`. Every field is optional; what is left out has the library's default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// Address and port of the HTTP server.
    pub listen: Option<SocketAddr>,
    /// This host's address as providers call it.
    pub public_url: Option<String>,
    /// Where state is kept; relative to the file.
    pub state_dir: Option<PathBuf>,
    /// What a loss of power may take.
    pub durability: Option<DurabilityField>,
    /// Directories of channels and `.wasm` files; relative to the file.
    pub channels: Option<Vec<PathBuf>>,
    /// Whether the web chat runs; without this, when there are no other channels.
    pub webchat: Option<bool>,
    /// `echo`, `exec:COMMAND` or `http:URL`.
    pub agent: Option<String>,
    /// Messages that the `exec` or `http` agent works on at a time.
    pub agent_concurrency: Option<usize>,
    /// Seconds that the `http` agent may take for an answer.
    pub agent_timeout_secs: Option<u64>,
    /// What to log.
    pub log: Option<String>,
    /// Host to base URL.
    pub http_rewrite: BTreeMap<String, String>,
    /// Names and networks that may have special-purpose addresses.
    pub allow_private_hosts: Vec<String>,
    /// A proxy for outbound requests.
    pub proxy: Option<String>,
    /// Proxies in front of this host.
    pub trusted_proxies: Vec<String>,
    /// The shortest time between polls.
    pub poll_floor_ms: Option<u64>,
    /// Guest memory that all running callbacks may have together.
    pub memory_budget_mb: Option<usize>,
    /// Callbacks that run at the same time.
    pub workers: Option<usize>,
    /// Seconds after which a message that was not answered is handed out again.
    pub visibility_secs: Option<u64>,
    /// Whether messages of one conversation wait for each other.
    pub in_order: Option<bool>,
    /// Seconds that a webhook may wait for its turn.
    pub queue_timeout_secs: Option<u64>,
    /// Bytes of a request's body.
    pub max_body_bytes: Option<u64>,
    /// Where secrets come from.
    pub secrets: SecretsTable,
    /// How much may wait.
    pub queue: QueueTable,
    /// How replies are retried.
    pub retry: RetryTable,
    /// How long settled messages and replies are kept.
    pub retention: RetentionTable,
    /// Ceilings, named as the capability fields are.
    pub limits: BTreeMap<String, u64>,
    /// What clients may take from the HTTP server.
    pub server: ServerTable,
    /// Settings by channel.
    pub channel: BTreeMap<String, ChannelTable>,
}

/// `durability`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityField {
    Full,
    Normal,
}

/// `[secrets]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretsTable {
    /// Whether only variables that begin with `TINCLAW_SECRET_` are secrets.
    pub env_prefixed_only: bool,
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
#[serde(deny_unknown_fields, default)]
pub struct QueueTable {
    /// Messages that may wait for the agent.
    pub messages: Option<usize>,
    /// Megabytes of them.
    pub megabytes: Option<u64>,
    /// Replies that may wait for delivery.
    pub replies: Option<usize>,
}

/// `[retry]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryTable {
    /// The wait after the first failure.
    pub first_secs: Option<u64>,
    /// The longest wait.
    pub most_secs: Option<u64>,
    /// For how long a reply is tried.
    pub give_up_after_secs: Option<u64>,
    /// Attempts that may trap.
    pub most_traps: Option<u32>,
}

/// `[retention]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionTable {
    /// Days for settled messages and replies.
    pub settled_days: Option<u64>,
    /// Days for dead letters.
    pub dead_days: Option<u64>,
    /// How many settled messages, and how many settled replies.
    pub max_settled: Option<u64>,
    /// Megabytes of each.
    pub max_settled_mb: Option<u64>,
    /// Seen ids of each channel.
    pub max_seen: Option<u64>,
}

/// `[server]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerTable {
    pub connections: Option<usize>,
    pub connections_per_address: Option<usize>,
    pub head_secs: Option<u64>,
    pub head_bytes: Option<usize>,
    pub head_fields: Option<usize>,
    pub body_secs: Option<u64>,
    pub body_memory_mb: Option<u64>,
    pub handover_secs: Option<u64>,
    pub answer_secs: Option<u64>,
    pub response_bytes: Option<u64>,
    pub response_memory_mb: Option<u64>,
    pub write_secs: Option<u64>,
    pub keep_alive_secs: Option<u64>,
}

/// `[channel.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelTable {
    /// Values that override those of the capability file's `config`.
    pub config: Map<String, Value>,
    /// Who owns the bot: a number or a text.
    pub owner_id: Option<Value>,
    /// What the bot is called.
    pub bot_username: Option<String>,
}
