//! A channel in its host: the state machine, and what its actions are carried out with.

use std::sync::Arc;

use crate::channel::machine::Channel;
use crate::event::arrival::UpgradeError;
use crate::event::health::ChannelHealth;
use crate::event::link::{ChannelLink, OpenLink};
use crate::event::setup::{ChannelSetup, ReadStartConfig, Register};
use crate::model::oneshot;
use crate::sandbox::{CallbackRunner, ChannelRuntimeInfo, PreparedChannelModule, StopFlag};

/// A channel, and its ways to the world.
pub(super) struct HostedChannel {
    pub channel: Channel,
    /// What runs.
    pub version: Version,
    /// Another version that is being tried, and who waits for what becomes of it.
    pub trial: Option<(Version, oneshot::Sender<Result<(), UpgradeError>>)>,
    /// Ends what runs when the channel is removed.
    pub stop: StopFlag,
    /// What runs its callbacks, while somebody wants to know what they do.
    pub runner: Option<Arc<dyn CallbackRunner>>,
    /// The websocket, once it was opened.
    link: Option<Arc<dyn ChannelLink>>,
}

/// A guest with its rights.
pub(super) struct Version {
    pub module: Arc<PreparedChannelModule>,
    pub runtime: Arc<ChannelRuntimeInfo>,
    pub start_config: ReadStartConfig,
    pub register: Register,
    open_link: Option<OpenLink>,
}

impl From<ChannelSetup> for Version {
    fn from(setup: ChannelSetup) -> Self {
        let ChannelSetup { module, runtime, start_config, register, open_link, .. } = setup;
        Self { module, runtime, start_config, register, open_link }
    }
}

impl HostedChannel {
    pub fn new(setup: ChannelSetup, channel: Channel) -> Self {
        Self {
            channel,
            version: setup.into(),
            trial: None,
            stop: StopFlag::default(),
            runner: None,
            link: None,
        }
    }

    /// The version whose callback is to run.
    pub fn version_of(&self, is_trial: bool) -> &Version {
        self.trial.as_ref().filter(|_| is_trial).map_or(&self.version, |(version, _)| version)
    }

    /// Every callback that begins from now on is this version's. The websocket of the one before is closed; what has arrived
    /// through it is worked on.
    pub fn switch_to(&mut self, version: Version) {
        self.version = version;
        if let Some(link) = self.link.take() {
            link.close();
        }
    }

    /// Opens the websocket, if there is one to be opened and it was not yet.
    pub fn open_link(&mut self) -> std::io::Result<()> {
        if let (Some(open), None) = (&self.version.open_link, &self.link) {
            self.link = Some(open(self.channel.link_session().as_deref())?);
        }
        Ok(())
    }

    pub fn close_link(&self) {
        self.link.iter().for_each(|link| link.close());
    }

    pub fn health(&self) -> ChannelHealth {
        self.channel.health(self.link.as_ref().map(|link| link.health()))
    }
}
