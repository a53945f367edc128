//! What the admin API works on.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::history::History;
use super::watch::{self, Watchers};
use crate::{ChannelManager, ToolRegistry};

/// The running host, as handlers of the API see it.
pub(crate) struct AdminState {
    /// Channels, messages and replies.
    pub(crate) manager: Arc<ChannelManager>,
    /// The tools that agents may call, when there are any.
    pub(crate) tools: Option<ToolRegistry>,
    /// Changes that need the configuration.
    pub(crate) changes: Box<dyn HostChanges>,
    /// When the host was started, for people.
    pub(crate) started_at: SystemTime,
    /// The same, to measure.
    started: Instant,
    /// How the last hour was.
    pub(crate) history: History,
    /// Who waits for a change.
    pub(crate) watchers: Watchers,
}

impl AdminState {
    /// For a host that has just been started.
    pub(crate) fn new(
        manager: Arc<ChannelManager>,
        tools: Option<ToolRegistry>,
        changes: Box<dyn HostChanges>,
    ) -> Arc<Self> {
        let state = Arc::new(Self {
            manager,
            tools,
            changes,
            started_at: SystemTime::now(),
            started: Instant::now(),
            history: History::default(),
            watchers: Watchers::default(),
        });
        watch::start(&state);
        state
    }

    /// How long the host runs.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Nobody waits for a change any more.
    pub(crate) fn close(&self) {
        self.watchers.close();
    }
}

/// Changes of the running host that need more than the host: files, configuration, secrets. Whoever has read the
/// configuration brings them.
pub(crate) trait HostChanges: Send + Sync {
    /// Does what is asked, with the configuration as it is now. Returns what was done.
    ///
    /// # Errors
    /// A sentence for the operator; what ran before goes on.
    fn change(&self, manager: &ChannelManager, change: &HostChange) -> Result<Value, ChangeError>;

    /// Channels and packages that are held back: `name`, `state`, `text`, `help` of each.
    fn held(&self, manager: &ChannelManager) -> Value;

    /// Fields of the configuration that were read and hold from the next start on only.
    fn restart_for(&self) -> Vec<String>;
}

/// Why a change was not made: a sentence for the operator.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChangeError {
    /// It names a channel that is not there.
    #[error("{0}")]
    UnknownChannel(String),
    /// Something failed, or does not allow it.
    #[error("{0}")]
    Failed(String),
}

/// A change of the running host. What it needs (files, settings, approvals) is where the host reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum HostChange {
    /// Load a channel, or reload it when it runs.
    Start {
        /// The channel.
        channel: String,
    },
    /// Try a package that waits, and let it count. One that counts already is left as it is.
    Apply {
        /// The channel.
        channel: String,
        /// The SHA-256 of its guest.
        guest: String,
        /// The SHA-256 of its capability file.
        capabilities: String,
    },
    /// Take a channel out, with its files.
    Remove {
        /// The channel.
        channel: String,
    },
    /// Take a channel out, and leave it out.
    Disable {
        /// The channel.
        channel: String,
    },
    /// Let a channel run again.
    Enable {
        /// The channel.
        channel: String,
    },
    /// Read the configuration again.
    Reload,
}

impl HostChange {
    /// The channel that it is about.
    pub(crate) fn channel(&self) -> Option<&str> {
        match self {
            Self::Start { channel }
            | Self::Apply { channel, .. }
            | Self::Remove { channel }
            | Self::Disable { channel }
            | Self::Enable { channel } => Some(channel),
            Self::Reload => None,
        }
    }
}
