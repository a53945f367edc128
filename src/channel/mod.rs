//! What a channel is: its files, limits and configuration, and its state while it runs.
//!
//! Everything here is a value or a pure decision; only `discover` and `bundled` touch the file system. A running channel is
//! the state machine `machine::Channel`, made of parts that know nothing of each other:
//!
//! | part | what it decides |
//! |---|---|
//! | `lane`, `job` | callbacks of one kind in order, so many at a time |
//! | `poll` | when the next poll comes |
//! | `timers` | which timers are set, and when a failed one is tried again |
//! | `outbox` | order, attempts and end of replies |
//! | `emission` | who waits for the emit rate |
//! | `thinking` | when a guest is told again that the agent thinks |
//! | `dedupe` | requests that came before |
//! | `workspace` | files, conflicts, limits |
//! | `breaker`, `credentials` | pauses, and services that refuse the channel |
//! | `changes` | a callback's effects as a batch for the store |

pub(crate) mod activity;
#[cfg(feature = "bundled")]
mod archive;
pub(crate) mod breaker;
pub(crate) mod bundled;
pub(crate) mod changes;
pub(crate) mod config;
pub(crate) mod credentials;
pub(crate) mod dedupe;
pub(crate) mod discover;
pub(crate) mod emission;
pub(crate) mod endpoints;
pub(crate) mod frames;
pub(crate) mod job;
pub(crate) mod lane;
mod loader;
pub(crate) mod machine;
pub(crate) mod outbox;
mod planned;
pub(crate) mod poll;
pub(crate) mod thinking;
pub(crate) mod timers;
pub(crate) mod waiting;
pub(crate) mod workspace;

pub(crate) use crate::capability::limits::ClampedLimit;
pub use crate::capability::limits::{ChannelLimits, LimitCapError, LimitCaps};
pub use crate::capability::{
    CapabilityError, CapabilityOverrides, ChannelCapabilities, ChannelCapabilitiesFile, EmitRateLimitConfig,
};
pub use crate::model::name::{ChannelName, ChannelNameError};
#[cfg(feature = "cli")]
pub(crate) use bundled::kit_files;
pub use bundled::{BundledError, available_channel_names, bundled_channel_names, install_bundled_channel};
pub(crate) use bundled::{bundled_channel_files, replace_file, replace_file_as};
pub(crate) use config::start_config;
pub(crate) use discover::{ChannelFiles, data_directory};
pub use discover::{DiscoverError, DiscoveredChannel, Discovery, default_channels_dir, discover_channels};
pub use endpoints::RegisteredEndpoint;
pub(crate) use endpoints::Registration;
pub(crate) use endpoints::resolve_registration;
pub(crate) use loader::LoadSettings;
pub(crate) use loader::no_channel_in;
pub use loader::{LoadError, LoadResults, WasmChannel, WasmChannelLoader};
pub(crate) use planned::PlannedChannel;
