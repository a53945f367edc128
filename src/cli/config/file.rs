//! The fields of `tinclaw.toml`: those of the daemon stand here, all others are read into the types of the library that they set. Every
//! field is optional; what is left out has the library's default. A value outside of its bounds is refused with both.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny};
use serde_json::Value;

use super::agent::{AgentTable, FailedMessages};
use crate::admin::AdminAddress;
use crate::channel::ChannelName;
use crate::cli::logging::{FileLimits, LogFormat};
use crate::egress::OutboundHttpSettings;
use crate::host::{ManagerConfig, RouterConfig};
use crate::inbox::DeliveryPolicy;
use crate::model::bounded;
use crate::model::document::{DocumentError, DocumentProblem, PathStep};
use crate::model::document_parts::{Parts, fields_of};
#[cfg(feature = "cluster")]
use crate::net::PublicUrl;
use crate::net::quotable;
use crate::package::Trust;
use crate::secrets::normalise_name;
use crate::server::ServerLimits;
use crate::store::Durability;
use crate::tool::ToolSettings;
use crate::webhook::TrustedProxies;

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    /// What belongs to the library. Where state is and where secrets come from is not in it.
    #[serde(skip)]
    pub manager: ManagerConfig,
    /// What log files may take.
    #[serde(skip)]
    pub log_limits: FileLimits,
    /// Address and port of the HTTP server.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// Where the admin API is served besides the socket in the state directory.
    #[serde(deserialize_with = "admin_address")]
    pub admin: Option<AdminAddress>,
    /// The secret that is the token of the admin API.
    pub admin_token: Option<String>,
    /// Where state is kept; relative to the file.
    pub state_dir: Option<PathBuf>,
    /// What a loss of power may take.
    pub durability: Option<Durability>,
    /// The database that it shares with other hosts, in place of a file in the state directory.
    #[cfg(feature = "cluster")]
    #[serde(deserialize_with = "store_address")]
    pub store: Option<crate::store::DatabaseAddress>,
    /// This host among others.
    #[cfg(feature = "cluster")]
    pub cluster: ClusterTable,
    /// Directories of channels and `.wasm` files; relative to the file.
    pub channels: Option<Vec<PathBuf>>,
    /// Directories of tools and `.wasm` files; relative to the file.
    pub tools: Option<Vec<PathBuf>>,
    /// The directory that tools may read, as far as their capability files allow; relative to the file.
    pub tool_files: Option<PathBuf>,
    /// Whether the web chat runs; without this, when there are no other channels.
    pub webchat: Option<bool>,
    /// The agent that replies, and its settings.
    #[serde(deserialize_with = "unread")]
    pub agent: AgentTable,
    /// What to log.
    pub log: Option<String>,
    /// How the log is written.
    pub log_format: Option<LogFormat>,
    /// The file that the log goes to in place of standard error; relative to this file.
    pub log_file: Option<PathBuf>,
    /// Whether each request is noted, and where.
    pub access_log: Option<AccessLogSetting>,
    /// Proxies in front of this host.
    pub trusted_proxies: TrustedProxies,
    /// Bytes of a request's body.
    #[serde(deserialize_with = "bounded::some_count::<_, _, 1, 1073741824>")]
    pub max_body_bytes: Option<u64>,
    /// Where secrets come from.
    pub secrets: SecretsTable,
    /// What clients may take from the HTTP server.
    pub server: ServerLimits,
    /// Whose signatures of channels are good.
    pub trust: Trust,
    /// Settings by tool.
    pub tool: BTreeMap<ChannelName, ToolSettings>,
}

impl ConfigFile {
    /// Reads each type from its own fields.
    ///
    /// # Errors
    /// The first thing that is wrong. What is unknown is told before anything else: it is the likely reason of what is missing.
    pub fn read(document: Value) -> Result<Self, DocumentError> {
        refuse_second_spellings(&document)?;
        refuse_empty_paths(&document)?;
        refuse_secret_values(&document)?;
        let mut fields = Parts::of(document)?;
        fields.refuse_unknown(
            [
                fields_of::<Self>(),
                fields_of::<ManagerConfig>(),
                fields_of::<RouterConfig>(),
                fields_of::<DeliveryPolicy>(),
                fields_of::<OutboundHttpSettings>(),
                fields_of::<FileLimits>(),
            ]
            .concat(),
        )?;
        let agent = match fields.take("agent") {
            Some(agent) => {
                AgentTable::read(agent).map_err(|error| error.within(PathStep::Field("agent".to_owned())))?
            }
            None => AgentTable::default(),
        };
        let manager: ManagerConfig = fields.read()?;
        let FailedMessages { max_attempts, dead_letter_text } = agent.failures.clone();
        let mut delivery: DeliveryPolicy = fields.read()?;
        delivery.max_attempts = max_attempts.unwrap_or(delivery.max_attempts);
        Ok(Self {
            manager: ManagerConfig {
                outbound: fields.read()?,
                router: fields.read()?,
                delivery,
                dead_letter_text: match dead_letter_text {
                    Some(text) => Some(text).filter(|text| !text.is_empty()),
                    None => manager.dead_letter_text,
                },
                ..manager
            },
            log_limits: fields.read()?,
            agent,
            ..fields.read()?
        })
    }
}

/// Fields that are files or directories, or lists of them. What is written to is tried by a check of its own.
const PATHS: [&[&str]; 7] = [
    &["state_dir"],
    &["channels"],
    &["tools"],
    &["tool_files"],
    &["secrets", "directory"],
    &["secrets", "file"],
    &["secrets", "key_file"],
];

/// Refuses a path without a name: it would be the directory of the file, or nothing at all.
fn refuse_empty_paths(document: &Value) -> Result<(), DocumentError> {
    for field in PATHS {
        let value = field.iter().try_fold(document, |value: &Value, name| value.get(name));
        let is_empty = |value: &Value| value.as_str() == Some("");
        let item = value.and_then(Value::as_array).and_then(|items| items.iter().position(is_empty));
        if item.is_some() || value.is_some_and(is_empty) {
            let path = field.iter().map(|name| PathStep::Field((*name).to_owned()));
            let path = path.chain(item.map(PathStep::Item)).collect();
            let problem = DocumentProblem::Other("\"\" is no path; name a file or a directory".to_owned());
            return Err(DocumentError { path, problem });
        }
    }
    Ok(())
}

/// Fields that name a secret.
const SECRET_NAMES: [&[&str]; 3] = [&["admin_token"], &["agent", "auth_secret"], &["agent", "api_key"]];

/// Refuses what cannot be the name of a secret. It may be the secret itself, so it is not quoted.
fn refuse_secret_values(document: &Value) -> Result<(), DocumentError> {
    for field in SECRET_NAMES {
        let value = field.iter().try_fold(document, |value: &Value, name| value.get(name));
        if value.and_then(Value::as_str).is_some_and(|name| normalise_name(name).is_err()) {
            let path = field.iter().map(|name| PathStep::Field((*name).to_owned())).collect();
            let problem = "this is no name of a secret; store the value with `tinclaw secrets set NAME`, and write NAME here";
            return Err(DocumentError { path, problem: DocumentProblem::Other(problem.to_owned()) });
        }
    }
    Ok(())
}

/// A table in which several spellings of a name mean the same, and how they are compared.
type SpelledTable = (&'static [&'static str], fn(&str) -> String);

/// Names of channels and tools take `-` for `_`; hosts and headers are the same in any case.
const SPELLED: [SpelledTable; 4] = [
    (&["channel"], |name| name.replace('-', "_")),
    (&["tool"], |name| name.replace('-', "_")),
    (&["http_rewrite"], str::to_ascii_lowercase),
    (&["agent", "headers"], str::to_ascii_lowercase),
];

/// Refuses a name that a table has in two spellings: one of them would be left out without a word.
fn refuse_second_spellings(document: &Value) -> Result<(), DocumentError> {
    for (table, same) in SPELLED {
        let at = |document| table.iter().try_fold(document, |value: &Value, name| value.get(name));
        let mut known: BTreeMap<String, &String> = BTreeMap::new();
        for name in at(document).and_then(Value::as_object).into_iter().flat_map(|fields| fields.keys()) {
            if let Some(first) = known.insert(same(name), name) {
                let path = table.iter().map(|name| PathStep::Field((*name).to_owned()));
                let path = path.chain([PathStep::Field(name.clone())]).collect();
                let problem = format!("it is the same as {first:?}; keep one of them");
                return Err(DocumentError { path, problem: DocumentProblem::Other(problem) });
            }
        }
    }
    Ok(())
}

/// A table that is read in another way.
fn unread<'de, D: Deserializer<'de>, T: Default>(field: D) -> Result<T, D::Error> {
    IgnoredAny::deserialize(field).map(|_| T::default())
}

/// `[cluster]`.
#[cfg(feature = "cluster")]
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterTable {
    /// The name of this host, which no other one has; without this, the name of the machine.
    pub host: Option<String>,
    /// Where other hosts reach the HTTP server.
    pub url: Option<PublicUrl>,
    /// How much it takes, compared with others.
    #[serde(deserialize_with = "bounded::some_count::<_, _, 1, 1000>")]
    pub weight: Option<u32>,
    /// The channels that it may have; without this, all that it has the files of.
    pub channels: Option<std::collections::BTreeSet<ChannelName>>,
}

/// `true` for standard output, or a file.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected true, false or the path of a file")]
pub enum AccessLogSetting {
    /// Whether there is one.
    Switch(bool),
    /// Relative to the configuration file.
    File(PathBuf),
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

/// An address with a port.
fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let address = text.parse();
    address.map(Some).map_err(|_| {
        let text = quotable(&text);
        D::Error::custom(format!("{text:?} is not an address with a port, such as 127.0.0.1:8080"))
    })
}

/// An address of a database.
#[cfg(feature = "cluster")]
fn store_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<crate::store::DatabaseAddress>, D::Error> {
    let text = String::deserialize(deserializer)?;
    crate::store::DatabaseAddress::parse(&text).map(Some).map_err(D::Error::custom)
}

/// An address of the admin API.
fn admin_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AdminAddress>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
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
    ("retention.dead_days", "dead_letter_days"),
    ("queue.messages", "max_messages"),
    ("queue.megabytes", "max_megabytes"),
    ("queue.replies", "max_replies"),
    ("server.connections", "max_connections"),
    ("server.connections_per_address", "max_connections_per_address"),
    ("server.head_secs", "header_timeout_secs"),
    ("server.head_bytes", "max_header_bytes"),
    ("server.head_fields", "max_headers"),
    ("server.body_secs", "body_timeout_secs"),
    ("server.response_bytes", "max_response_bytes"),
    ("server.write_secs", "write_timeout_secs"),
    ("server.handover_secs", "dispatch_timeout_secs"),
    ("server.answer_secs", "response_timeout_secs"),
];

/// The place of a renamed field as it is now: in the table where it was, or at the place that its new name says.
pub fn renamed_place(old: &str, new: &str) -> String {
    match old.rsplit_once('.') {
        Some((table, _)) if !new.contains('.') => format!("{table}.{new}"),
        _ => new.to_owned(),
    }
}
