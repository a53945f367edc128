//! The capability file beside a guest: what its channel may do.
//!
//! `NAME.capabilities.json` lies beside `NAME.wasm`. [`ChannelCapabilitiesFile::parse`] takes its bytes and gives
//! typed values or an error that names the file, the place in it and what would be accepted. Without a file a channel
//! has no rights at all: [`ChannelCapabilities::default`].
//!
//! A field that is not known is refused, so that a typo never opens anything. Not checked are `$schema`, names that
//! begin with `_` or `x-`, and what lies inside free-form parts: `config`, `identify`, `oauth`.

mod error;
mod file;
pub(crate) mod http;
pub mod limits;
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
pub(crate) use http::{AllowlistEntry, HttpCapability};
pub use overrides::CapabilityOverrides;
#[cfg(feature = "cli")]
pub(crate) use overrides::RightsChanged;
pub use rights::{ChannelCapabilities, EmitRateLimitConfig};
pub(crate) use rights::{
    ChannelSection, DEFAULT_MIN_POLL_INTERVAL_MS, WebsocketCapability, WebsocketProtocol,
};
pub(crate) use setup::{
    AskedSetting, AuthSection, DEFAULT_GENERATED_BYTES, Reach, RequiredSecret, SecretConfigMapping,
    SetupSection, SetupStep, StatusQuery,
};
pub use tool::ToolCapabilities;
pub(crate) use webhook::WebhookCapability;
