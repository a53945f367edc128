//! What an operator decides about a host.

use std::collections::BTreeMap;
#[cfg(test)]
use std::fmt;
#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::channel::endpoints::DEFAULT_MIN_POLL_INTERVAL;
use crate::channel::{
    CapabilityError, CapabilityOverrides, ChannelName, LimitCaps, LoadCheck, LoadSettings, WasmChannel,
};
use crate::egress::OutboundHttpSettings;
use crate::inbox::{DeliveryPolicy, QueueLimits};
use crate::model::bounded;
use crate::model::diagnostic::Diagnostic;
use crate::model::document::nearest;
use crate::net::PublicUrl;
use crate::router::RouterConfig;
use crate::secrets::{EnvSecrets, SecretStore};
#[cfg(feature = "sqlite")]
use crate::store::Durability;
use crate::store::Retention;
#[cfg(test)]
use crate::store::{Store, StoreError};

/// What the sender of a message is told that the agent could not process.
pub const DEAD_LETTER_TEXT: &str = "Sorry, this message could not be processed.";

/// Where a host keeps what must survive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StateLocation {
    /// In memory: for tests and for embedding without a disk. A restart loses everything.
    Memory,
    /// In `tinclaw.db` in this directory, which one host at a time can use. The directory is made when it is missing.
    #[cfg(feature = "sqlite")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What a power loss may take.
        durability: Durability,
    },
    /// In a store of a test's own.
    #[cfg(test)]
    Custom(StoreOpener),
}

/// Opens a store of a test's own: once at the start, and again after each failure of the one before, which is
/// dropped first.
#[cfg(test)]
#[derive(Clone)]
pub struct StoreOpener(Arc<dyn Fn() -> Result<Box<dyn Store>, StoreError> + Send + Sync>);

#[cfg(test)]
impl StoreOpener {
    /// Opens with `open`, which is called on the store thread and, at the start, on the caller's.
    pub fn new(open: impl Fn() -> Result<Box<dyn Store>, StoreError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    pub(super) fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        (self.0)()
    }
}

#[cfg(test)]
impl fmt::Debug for StoreOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreOpener")
    }
}

/// What the host knows about one channel besides its files.
/// Deserialises from the fields of `[channel.NAME]` in `tinclaw.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelSettings {
    /// The guest of which this is another account, with settings, secrets and a workspace of its own. None for a channel
    /// that has the name of its files.
    pub guest: Option<ChannelName>,
    /// Values for the channel's configuration; they override its file's `config`.
    pub config: Map<String, Value>,
    /// Who owns the bot. Keeps its JSON type: some guests take a number, some a string.
    pub owner_id: Option<Value>,
    /// What the bot is called.
    pub bot_username: Option<String>,
    /// Fields that override those of its capability file's `capabilities`.
    pub capabilities: Map<String, Value>,
    /// Whether `capabilities` may change where the channel can connect to and which secrets it can use.
    pub extend_rights: bool,
}

impl ChannelSettings {
    /// What is changed about its capability file.
    #[must_use]
    pub fn overrides(&self) -> CapabilityOverrides {
        CapabilityOverrides { capabilities: self.capabilities.clone(), extend_rights: self.extend_rights }
    }
}

/// Everything that can be set about a [`ChannelManager`](crate::ChannelManager). The default keeps nothing on disk and
/// takes secrets from the environment.
///
/// With serde it is read from those of its fields that are plain values: `public_url`, `channel`, `limits`, `min_poll_interval_ms`,
/// `workers`, `queue` and `retention`, under these names. All others keep their defaults and are set in code. The daemon's
/// `tinclaw.toml` has more fields than these, so a whole file of it is not read by this type.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ManagerConfig {
    /// Where state is kept. Default in memory.
    #[serde(skip)]
    pub state: StateLocation,
    /// Where secrets come from. Default the environment.
    #[serde(skip)]
    pub secrets: Arc<dyn SecretStore>,
    /// Whether the environment variable that a capability file names (`auth.env_var`) holds one of its secrets. Default
    /// false: a file could name any variable of the process and send it to its own hosts.
    #[serde(skip)]
    pub env_variables_of_files: bool,
    /// Outbound requests. Default straight to public addresses only.
    #[serde(skip)]
    pub outbound: OutboundHttpSettings,
    /// This host's address as providers call it. Default none.
    pub public_url: Option<PublicUrl>,
    /// Settings by channel.
    #[serde(rename = "channel")]
    pub channels: BTreeMap<ChannelName, ChannelSettings>,
    /// What no channel gets more of, whatever its file asks for.
    #[serde(rename = "limits")]
    pub limit_caps: LimitCaps,
    /// How long preparing one guest may take. Default 60 s.
    #[serde(skip)]
    pub prepare_timeout: Duration,
    /// The shortest time between polls. Default 30 s.
    #[serde(rename = "min_poll_interval_ms", deserialize_with = "bounded::millis::<_, 1, 86400000>")]
    pub min_poll_interval: Duration,
    /// Callbacks that run at the same time, each on a thread that exists only while it is needed. Default 32.
    #[serde(deserialize_with = "bounded::count::<_, _, 1, 1024>")]
    pub workers: usize,
    /// Memory, retries and waits.
    #[serde(skip)]
    pub router: RouterConfig,
    /// How much may wait for the agent, and for delivery.
    pub queue: QueueLimits,
    /// How messages are delivered to the agent.
    #[serde(skip)]
    pub delivery: DeliveryPolicy,
    /// What the sender is told when a message became a dead letter; nothing when there is no text.
    #[serde(skip)]
    pub dead_letter_text: Option<String>,
    /// How long completed messages and replies are kept.
    pub retention: Retention,
    /// What is asked before a channel is loaded from its files. Default nothing.
    #[serde(skip)]
    pub(crate) load_check: Option<Arc<dyn LoadCheck>>,
    /// The database that it shares with other hosts, in place of `state`. Default none.
    #[cfg(feature = "cluster")]
    #[serde(skip)]
    pub(crate) cluster: Option<crate::cluster::ClusterConfig>,
}

impl ManagerConfig {
    /// What a [`WasmChannelLoader`](crate::WasmChannelLoader) must know of this configuration.
    #[must_use]
    pub(crate) fn load_settings(&self) -> LoadSettings {
        let overrides = self.channels.iter().map(|(name, settings)| (name.clone(), settings.overrides()));
        LoadSettings {
            overrides: overrides.collect(),
            accounts: self.accounts(),
            limit_caps: self.limit_caps.clone(),
            prepare_timeout: self.prepare_timeout,
            check: self.load_check.clone(),
        }
    }

    /// Other accounts of guests: their names, and the names of their guests' files.
    pub(crate) fn accounts(&self) -> BTreeMap<ChannelName, ChannelName> {
        let account = |(name, settings): (&ChannelName, &ChannelSettings)| {
            let guest = settings.guest.clone().filter(|guest| guest != name)?;
            Some((name.clone(), guest))
        };
        self.channels.iter().filter_map(account).collect()
    }

    /// A channel with what the operator changes about its capability file.
    ///
    /// # Errors
    /// The changes are not acceptable.
    pub fn apply_overrides(&self, channel: &WasmChannel) -> Result<WasmChannel, CapabilityError> {
        match self.channels.get(channel.name()) {
            Some(settings) => channel.with_overrides(&settings.overrides()),
            None => Ok(channel.clone()),
        }
    }

    /// What is wrong, or probably not meant, about the settings of channels, when these and `others` are all channels: settings of a
    /// channel that is neither among them nor among `others`, values that a channel's file does not accept, and keys of `config`
    /// that a channel which declares its keys does not declare.
    pub fn inspect_channel_settings(
        &self,
        channels: &[WasmChannel],
        others: &[ChannelName],
    ) -> Vec<Diagnostic> {
        let names: Vec<&str> =
            channels.iter().map(WasmChannel::name).chain(others).map(ChannelName::as_str).collect();
        let mut found = Vec::new();
        for (name, settings) in &self.channels {
            match channels.iter().find(|channel| channel.name() == name) {
                Some(channel) => found.extend(channel.inspect_config(&settings.config)),
                None if others.contains(name) => {}
                None => found.push(unknown_channel(name, &names)),
            }
        }
        found
    }
}

fn unknown_channel(name: &ChannelName, names: &[&str]) -> Diagnostic {
    let finding = Diagnostic::warning("unknown-channel", format!("there is no channel {name}"))
        .at(format!("channel.{name}"));
    match nearest(name.as_str(), names) {
        Some(nearest) => finding.help(format!("did you mean [channel.{nearest}]?")),
        None => finding,
    }
}

impl Default for ManagerConfig {
    fn default() -> Self {
        Self {
            state: StateLocation::Memory,
            secrets: Arc::new(EnvSecrets::new()),
            env_variables_of_files: false,
            outbound: OutboundHttpSettings::default(),
            public_url: None,
            channels: BTreeMap::new(),
            limit_caps: LimitCaps::default(),
            prepare_timeout: LoadSettings::default().prepare_timeout,
            min_poll_interval: DEFAULT_MIN_POLL_INTERVAL,
            workers: 32,
            router: RouterConfig::default(),
            queue: QueueLimits::default(),
            delivery: DeliveryPolicy::default(),
            dead_letter_text: Some(DEAD_LETTER_TEXT.to_owned()),
            retention: Retention::default(),
            load_check: None,
            #[cfg(feature = "cluster")]
            cluster: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // `[channel.telegarm]` changed nothing, and nobody was told.
    #[test]
    fn settings_of_a_channel_that_is_not_there_are_reported_with_the_name_that_is_near() {
        let names = ["telegram".parse().unwrap(), "slack".parse().unwrap()];
        let report = |channel: &str| {
            let channels = BTreeMap::from([(channel.parse().unwrap(), ChannelSettings::default())]);
            let config = ManagerConfig { channels, ..ManagerConfig::default() };
            let found = config.inspect_channel_settings(&[], &names);
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(report("telegram").is_empty());
        let found = report("telegarm");
        assert!(found.len() == 1 && found[0].contains("did you mean [channel.telegram]?"), "{found:?}");
        let found = report("irc");
        assert!(found.len() == 1 && found[0].contains("there is no channel irc"), "{found:?}");
    }
}
