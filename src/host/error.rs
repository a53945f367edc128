//! What can go wrong when a host is built or asked for something.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use crate::capability::CapabilityError;
use crate::channel::{ChannelName, LoadError};
use crate::egress::OutboundSettingsError;
use crate::event::arrival::{AddChannelError, UpgradeError};
use crate::sandbox::WasmChannelError;
use crate::server::ServerError;
use crate::store::{StateError, StoreError};
use crate::webhook::WebhookConfigError;

/// Why a host could not be started, or a channel not be added to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The state directory or the store in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another host uses the state directory, or it cannot be used at all.
    #[error(transparent)]
    Lock(Box<dyn Error + Send + Sync>),
    /// Channels were to be run, and not one of them can be.
    #[error("no channel could be loaded: {}", listed(.0))]
    NoChannels(Vec<LoadError>),
    /// The settings of outbound HTTP.
    #[error("outbound HTTP: {0}")]
    Outbound(#[source] Box<dyn Error + Send + Sync>),
    /// The settings of the sandbox.
    #[error(transparent)]
    Sandbox(#[from] WasmChannelError),
    /// The directory of channels.
    #[error(transparent)]
    Channels(#[from] LoadError),
    /// The address could not be bound. Another process may listen there (`source.kind()` is then
    /// [`AddrInUse`](io::ErrorKind::AddrInUse)), or the port needs a right that this one lacks.
    #[error("cannot listen on {address}: {source}; choose another address or stop what listens there")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else about the HTTP server.
    #[error(transparent)]
    Server(Box<dyn Error + Send + Sync>),
    /// A channel's webhook section.
    #[error("{0}")]
    Webhook(#[source] Box<dyn Error + Send + Sync>),
    /// What the configuration changes about a channel's capability file.
    #[error(transparent)]
    Overrides(#[from] CapabilityError),
    /// A channel's http section.
    #[error("channel {channel}: capabilities.{place}: {reason}")]
    HttpCapability {
        /// The channel.
        channel: ChannelName,
        /// Where in the capability file, as `http.allowlist[0]`.
        place: String,
        /// What is wrong and what would be accepted.
        reason: String,
    },
    /// The state of a channel that was added later could not be read.
    #[error("the channel's state could not be read: {0}")]
    State(#[from] StateError),
    /// The channel cannot be added.
    #[error(transparent)]
    Add(Box<dyn Error + Send + Sync>),
    /// Another version of a channel did not take its place; the one that ran before goes on.
    #[error(transparent)]
    Upgrade(Box<dyn Error + Send + Sync>),
    /// The system gives no thread.
    #[error(
        "a thread could not be started: {0}; raise the limit of processes or lower the number of workers"
    )]
    Thread(#[source] io::Error),
    /// The limit on the process' address space leaves no room for the host's threads. Raise the limit.
    #[error(transparent)]
    AddressSpace(Box<dyn Error + Send + Sync>),
    /// It is to be one of several hosts, and cannot be.
    #[cfg(feature = "cluster")]
    #[error("{0}")]
    Cluster(String),
    /// The host is shutting down.
    #[error("the host has shut down")]
    Closed,
}

#[cfg(feature = "sqlite")]
impl From<crate::store::LockError> for HostError {
    fn from(error: crate::store::LockError) -> Self {
        Self::Lock(Box::new(error))
    }
}

impl From<OutboundSettingsError> for HostError {
    fn from(error: OutboundSettingsError) -> Self {
        Self::Outbound(Box::new(error))
    }
}

impl From<ServerError> for HostError {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Listen { address, source } => Self::Listen { address, source },
            error => Self::Server(Box::new(error)),
        }
    }
}

impl From<WebhookConfigError> for HostError {
    fn from(error: WebhookConfigError) -> Self {
        Self::Webhook(Box::new(error))
    }
}

impl From<AddChannelError> for HostError {
    fn from(error: AddChannelError) -> Self {
        Self::Add(Box::new(error))
    }
}

impl From<UpgradeError> for HostError {
    fn from(error: UpgradeError) -> Self {
        Self::Upgrade(Box::new(error))
    }
}

fn listed(errors: &[LoadError]) -> String {
    errors.iter().map(LoadError::to_string).collect::<Vec<_>>().join("; ")
}

/// Why a reply was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// No channel of this name runs here.
    #[error("there is no channel {0}: compare it with the names of the channels that run")]
    UnknownChannel(String),
    /// Another host has the channel now, or is about to. It delivers the message to its own agent.
    #[cfg(feature = "cluster")]
    #[error("the channel is another host's now, whose agent gets the message")]
    Elsewhere,
    /// More than the configured number of replies wait for delivery.
    #[error("{0} replies wait for delivery already; try again later, or look at them to see why they wait")]
    TooManyWaiting(usize),
    /// It could not be stored.
    #[error(transparent)]
    NotStored(#[from] StateError),
    /// The host is shutting down.
    #[error("the host has shut down")]
    Closed,
}
