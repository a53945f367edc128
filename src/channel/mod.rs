//! What a channel is: its files, limits and configuration, and its state while it runs.
//!
//! [`WasmChannelLoader`] makes channels of the files in a directory; a [`Host`](crate::Host) runs them.
// A channel from its files to one that can run; only these touch the file system:
//
// | file | job |
// |---|---|
// | `discover`, `planned` | finds channels in a directory, and says under which name each is loaded |
// | `loader`, `load_error` | from files to a channel, and why that fails |
// | `bundled`, `archive` | channels that come with the program |
//
// A running channel is the state machine `machine::Channel`, made of parts that are values or pure decisions and know nothing of
// each other:
//
// | file | what it decides |
// |---|---|
// | `machine/` | what happened goes in, what the host has to do comes out |
// | `config`, `endpoints` | what `on-start` gets, and whether what it registered is allowed |
// | `lane`, `job` | callbacks of one kind in order, so many at a time |
// | `poll` | when the next poll comes |
// | `timers` | which timers are set, and when a failed one is tried again |
// | `outbox` | order, attempts and end of replies |
// | `emission` | who waits for the emit rate |
// | `thinking` | when a guest is told again that the agent thinks |
// | `dedupe` | requests that came before |
// | `waiting_requests` | requests that wait for a change of the workspace |
// | `frames` | frames of a websocket that wait for `on-poll` |
// | `workspace` | files, conflicts, limits |
// | `activity`, `callback_totals` | what a channel did last, and in all |
// | `breaker`, `credentials` | pauses, and services that refuse the channel |
// | `changes` | a callback's effects as a batch for the store |
// | `recording/` | callbacks as they were run, so that they can be run again |

pub(crate) mod activity;
#[cfg(feature = "bundled")]
pub(crate) mod archive;
pub(crate) mod breaker;
pub(crate) mod bundled;
pub(crate) mod callback_totals;
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
mod load_error;
mod loader;
pub(crate) mod machine;
pub(crate) mod outbox;
mod planned;
pub(crate) mod poll;
#[cfg(feature = "cli")]
pub(crate) mod recording;
pub(crate) mod thinking;
pub(crate) mod timers;
pub(crate) mod waiting_requests;
pub(crate) mod workspace;

pub(crate) use crate::capability::limits::ClampedLimit;
pub use crate::capability::limits::{ChannelLimits, LimitCaps};
pub use crate::capability::{
    CapabilityError, CapabilityOverrides, ChannelCapabilities, ChannelCapabilitiesFile, EmitRateLimitConfig,
};
pub use crate::model::name::ChannelName;
pub use bundled::{available_channel_names, bundled_channel_names, install_bundled_channel};
pub(crate) use config::start_config;
pub(crate) use discover::ChannelFiles;
pub use discover::{DiscoveredChannel, Discovery, default_channels_dir, discover_channels};
pub use endpoints::RegisteredEndpoint;
pub(crate) use endpoints::Registration;
pub(crate) use endpoints::resolve_registration;
pub use load_error::LoadError;
pub(crate) use loader::no_channel_in;
pub(crate) use loader::{LoadCheck, LoadSettings};
pub use loader::{LoadResults, WasmChannel, WasmChannelLoader};
pub(crate) use planned::PlannedChannel;
// What the daemon uses besides.
#[cfg(feature = "cli")]
pub(crate) use {
    bundled::{bundled_channel_files, kit_files, replace_file, replace_file_as},
    discover::data_directory,
};
