//! The fields of `tinclaw.toml`. Every field is optional; what is left out has the library's default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Map, Value};
use tinclaw::fields::Fields;

/// The whole file.
#[derive(Debug, Default)]
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

impl ConfigFile {
    /// Reads the file.
    pub fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            listen: listen(fields),
            public_url: fields.text("public_url"),
            state_dir: fields.path("state_dir"),
            durability: durability(fields),
            channels: fields.texts("channels").map(|paths| paths.into_iter().map(PathBuf::from).collect()),
            webchat: fields.flag("webchat"),
            agent: fields.text("agent"),
            agent_concurrency: fields.usize("agent_concurrency"),
            agent_timeout_secs: fields.u64("agent_timeout_secs"),
            log: fields.text("log"),
            http_rewrite: fields.texts_by_name("http_rewrite"),
            allow_private_hosts: fields.texts("allow_private_hosts").unwrap_or_default(),
            proxy: fields.text("proxy"),
            trusted_proxies: fields.texts("trusted_proxies").unwrap_or_default(),
            poll_floor_ms: fields.u64("poll_floor_ms"),
            memory_budget_mb: fields.usize("memory_budget_mb"),
            workers: fields.usize("workers"),
            visibility_secs: fields.u64("visibility_secs"),
            in_order: fields.flag("in_order"),
            queue_timeout_secs: fields.u64("queue_timeout_secs"),
            max_body_bytes: fields.u64("max_body_bytes"),
            secrets: fields.inner("secrets", SecretsTable::read).unwrap_or_default(),
            queue: fields.inner("queue", QueueTable::read).unwrap_or_default(),
            retry: fields.inner("retry", RetryTable::read).unwrap_or_default(),
            retention: fields.inner("retention", RetentionTable::read).unwrap_or_default(),
            limits: fields.numbers_by_name("limits"),
            server: fields.inner("server", ServerTable::read).unwrap_or_default(),
            channel: fields.inner_by_name("channel", ChannelTable::read),
        })
    }
}

/// `durability`.
#[derive(Clone, Copy, Debug)]
pub enum DurabilityField {
    Full,
    Normal,
}

fn listen(fields: &mut Fields) -> Option<SocketAddr> {
    let text = fields.text("listen")?;
    let address =
        text.parse().map_err(|_| format!("{text:?} is no address with a port, as 127.0.0.1:8080 is"));
    fields.check("listen", address)
}

fn durability(fields: &mut Fields) -> Option<DurabilityField> {
    let text = fields.text("durability")?;
    let durability = match text.as_str() {
        "full" => Ok(DurabilityField::Full),
        "normal" => Ok(DurabilityField::Normal),
        _ => Err(format!("{text:?} is neither \"full\" nor \"normal\"")),
    };
    fields.check("durability", durability)
}

/// `[secrets]`.
#[derive(Debug, Default)]
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

impl SecretsTable {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            env_prefixed_only: fields.flag("env_prefixed_only").unwrap_or_default(),
            directory: fields.path("directory"),
            systemd: fields.flag("systemd").unwrap_or_default(),
            generate: fields.flag("generate"),
            file: fields.path("file"),
            key_file: fields.path("key_file"),
            key_credential: fields.text("key_credential"),
        })
    }
}

/// `[queue]`.
#[derive(Debug, Default)]
pub struct QueueTable {
    /// Messages that may wait for the agent.
    pub messages: Option<usize>,
    /// Megabytes of them.
    pub megabytes: Option<u64>,
    /// Replies that may wait for delivery.
    pub replies: Option<usize>,
}

impl QueueTable {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            messages: fields.usize("messages"),
            megabytes: fields.u64("megabytes"),
            replies: fields.usize("replies"),
        })
    }
}

/// `[retry]`.
#[derive(Debug, Default)]
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

impl RetryTable {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            first_secs: fields.u64("first_secs"),
            most_secs: fields.u64("most_secs"),
            give_up_after_secs: fields.u64("give_up_after_secs"),
            most_traps: fields.u32("most_traps"),
        })
    }
}

/// `[retention]`.
#[derive(Debug, Default)]
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

impl RetentionTable {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            settled_days: fields.u64("settled_days"),
            dead_days: fields.u64("dead_days"),
            max_settled: fields.u64("max_settled"),
            max_settled_mb: fields.u64("max_settled_mb"),
            max_seen: fields.u64("max_seen"),
        })
    }
}

/// `[server]`.
#[derive(Debug, Default)]
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

impl ServerTable {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            connections: fields.usize("connections"),
            connections_per_address: fields.usize("connections_per_address"),
            head_secs: fields.u64("head_secs"),
            head_bytes: fields.usize("head_bytes"),
            head_fields: fields.usize("head_fields"),
            body_secs: fields.u64("body_secs"),
            body_memory_mb: fields.u64("body_memory_mb"),
            handover_secs: fields.u64("handover_secs"),
            answer_secs: fields.u64("answer_secs"),
            response_bytes: fields.u64("response_bytes"),
            response_memory_mb: fields.u64("response_memory_mb"),
            write_secs: fields.u64("write_secs"),
            keep_alive_secs: fields.u64("keep_alive_secs"),
        })
    }
}

/// `[channel.NAME]`.
#[derive(Debug, Default)]
pub struct ChannelTable {
    /// Values that override those of the capability file's `config`.
    pub config: Map<String, Value>,
    /// Who owns the bot: a number or a text.
    pub owner_id: Option<Value>,
    /// What the bot is called.
    pub bot_username: Option<String>,
}

impl ChannelTable {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            config: fields.object("config").unwrap_or_default(),
            owner_id: fields.any("owner_id"),
            bot_username: fields.text("bot_username"),
        })
    }
}
