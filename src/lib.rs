//! A host for sandboxed chat channels on small machines, without an async runtime.
#![forbid(unsafe_code)]

pub mod admin;
pub mod channel;
pub mod event;
pub mod host;
pub mod ingress;
pub(crate) mod router;
pub mod sandbox;
pub mod services;
pub mod store;
pub mod stream;

pub use channel::{
    ChannelCapabilities, ChannelCapabilitiesFile, ChannelConfig, ChannelName, DiscoveredChannel,
    EmitRateLimitConfig, HttpEndpointConfig, LoadError, LoadResults, PollConfig, RegisteredEndpoint,
    WasmChannel, WasmChannelLoader, default_channels_dir, discover_channels,
};
pub use host::{ChannelManager, Host, HostBuilder, HostError, ManagerConfig, ReplyError};
pub use ingress::WasmChannelRouter;
pub use sandbox::{PreparedChannelModule, WasmChannelError, WasmChannelRuntime, WasmChannelRuntimeConfig};
pub use services::rate_limit::ChannelEmitRateLimiter;
pub use stream::{Delivery, MessageStream, RecvError};
pub use wit_abi::types::{
    AgentResponse, Attachment, EmittedMessage, HttpResponse, InboundAttachment, StatusType, StatusUpdate,
};
