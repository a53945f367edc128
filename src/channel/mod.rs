//! What a channel is: names, capability files, limits, configuration, discovery, bundled channels.
//!
//! Everything here is a value or a pure decision; only [`discover`] and [`bundled`] touch the file system.

pub mod bundled;
pub mod config;
pub mod discover;
pub mod endpoints;
mod loader;
pub mod workspace;

pub use crate::capability::limits::{ChannelLimits, ClampedLimit, LimitCaps};
pub use crate::capability::{
    CapabilityError, CapabilityOverrides, ChannelCapabilities, ChannelCapabilitiesFile, EmitRateLimitConfig,
};
pub use crate::model::name::{ChannelName, ChannelNameError};
pub use bundled::{
    BundledError, available_channel_names, bundled_channel_files, bundled_channel_names,
    install_bundled_channel,
};
pub use config::{ChannelConfig, HttpEndpointConfig, PollConfig, StartConfig, start_config};
pub use discover::{
    ChannelFiles, DiscoverError, DiscoveredChannel, Discovery, default_channels_dir, discover_channels,
};
pub use endpoints::{PollSchedule, RegisteredEndpoint, Registration, resolve_registration};
pub use loader::{LoadError, LoadResults, WasmChannel, WasmChannelLoader};
