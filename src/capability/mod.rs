//! The capability file beside a guest: what its channel may do.
//!
//! `NAME.capabilities.json` lies beside `NAME.wasm`. [`ChannelCapabilitiesFile::parse`] takes its bytes and gives
//! typed values or an error that names the file, the place in it and what would be accepted. Without a file a channel
//! has no rights at all: [`ChannelCapabilities::default`].
//!
//! A field that is not known is refused, so that a typo never opens anything. Not checked are `$schema`, names that
//! begin with `_` or `x-`, and what lies inside free-form parts: `config`, `identify`, `oauth`.

mod config_value;
mod error;
mod file;
pub(crate) mod http;
pub mod limits;
#[cfg(feature = "cli")]
mod operator_input;
mod overrides;
mod review;
mod rights;
#[cfg(test)]
mod schema;
mod setup;
#[cfg(test)]
mod tests;
pub(crate) mod tool;
pub(crate) mod webhook;

pub use error::CapabilityError;
pub use file::ChannelCapabilitiesFile;
pub(crate) use file::MAX_FILE_BYTES;
pub(crate) use http::HttpCapability;
pub use overrides::CapabilityOverrides;
pub use rights::{ChannelCapabilities, EmitRateLimitConfig};
pub(crate) use rights::{
    ChannelSection, DEFAULT_MIN_POLL_INTERVAL_MS, WebsocketCapability, WebsocketProtocol,
};
pub(crate) use setup::{AuthSection, RequiredSecret, SecretConfigMapping, SetupSection};
pub use tool::ToolCapabilities;
pub(crate) use webhook::WebhookCapability;
// What the daemon looks at besides.
#[cfg(feature = "cli")]
pub(crate) use {
    http::AllowlistEntry,
    operator_input::NotAccepted,
    overrides::RightsChanged,
    setup::{AskedSetting, DEFAULT_GENERATED_BYTES, Reach, SetupStep, StatusQuery},
};
