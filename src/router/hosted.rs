//! A channel in its host: the state machine, and what its actions are carried out with.

use std::sync::Arc;

use crate::channel::machine::Channel;
use crate::event::health::ChannelHealth;
use crate::event::link::{ChannelLink, OpenLink};
use crate::event::setup::{ChannelSetup, Register, StartConfig};
use crate::sandbox::{ChannelRuntimeInfo, PreparedChannelModule, StopFlag};

/// A channel, and its ways to the world.
pub(super) struct HostedChannel {
    pub channel: Channel,
    pub module: Arc<PreparedChannelModule>,
    pub runtime: Arc<ChannelRuntimeInfo>,
    pub start_config: StartConfig,
    /// Ends what runs when the channel is removed.
    pub stop: StopFlag,
    pub register: Register,
    open_link: Option<OpenLink>,
    /// The websocket, once it was opened.
    link: Option<Arc<dyn ChannelLink>>,
}

impl HostedChannel {
    pub fn new(setup: ChannelSetup, channel: Channel) -> Self {
        let ChannelSetup { module, runtime, start_config, register, open_link, .. } = setup;
        let stop = StopFlag::default();
        Self { channel, module, runtime, start_config, stop, register, open_link, link: None }
    }

    /// Opens the websocket, if there is one to be opened and it was not yet.
    pub fn open_link(&mut self) -> std::io::Result<()> {
        if let (Some(open), None) = (&self.open_link, &self.link) {
            self.link = Some(open()?);
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
