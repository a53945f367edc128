//! A host for sandboxed chat channels on small machines, without an async runtime.
//!
//! A channel is a WebAssembly guest that nobody has to trust. The host owns the sockets, the timing, the secrets, the
//! storage and the retries; the guest says what a request means and how a reply is sent. Every callback runs in a fresh
//! instance with fuel, a deadline and a memory limit.
//!
//! # Begin with `Host`
//!
//! [`Host`] is all of it: channels from a directory, their HTTP server, the messages, the replies.
//!
//! ```no_run
//! use tinclaw::{AgentResponse, Host};
//!
//! let host = Host::builder().listen(([127, 0, 0, 1], 8080).into()).channels_from("channels").start()?;
//! for delivery in host.messages() {
//!     let content = format!("you said: {}", delivery.message().content);
//!     host.respond(&delivery, AgentResponse::text(content))?;
//!     delivery.ack();
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate writes to [`log`]; a program that wants to read it installs a logger.
//!
//! # The parts
//!
//! A [`WasmChannelRuntime`] prepares guests, a [`WasmChannelLoader`] reads channels from files, a [`ChannelManager`] runs
//! them. The engine can be shared with other users of wasmi in the same process.
//!
//! ```no_run
//! use std::path::Path;
//! use tinclaw::{ChannelManager, ManagerConfig, WasmChannelLoader, WasmChannelRuntime, WasmChannelRuntimeConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = WasmChannelRuntimeConfig::default();
//! # let manager = ChannelManager::new(ManagerConfig::default())?;
//! let runtime = WasmChannelRuntime::new(config)?;           // may share its engine with a tool runtime
//! let loader = WasmChannelLoader::new(runtime);
//! let channels = loader.load_from_dir(Path::new("channels"))?;
//! for channel in channels { manager.add(Box::new(channel))?; }
//! # Ok(())
//! # }
//! ```
//!
//! # Tools
//!
//! Tools are guests of another world in the same sandbox: they are called with JSON and return text. A [`WasmToolRuntime`]
//! may share the engine of channels ([`WasmToolRuntime::on`]).
//!
//! ```no_run
//! use tinclaw::{ToolRegistry, WasmToolRuntime, WasmToolRuntimeConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tools = ToolRegistry::new(WasmToolRuntime::new(WasmToolRuntimeConfig::default())?);
//! tools.load("tools".as_ref())?;
//! let weather = tools.call("weather", r#"{"city": "Oslo"}"#)?;
//! # println!("{weather}");
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - A callback is a transaction: what it did is kept when it succeeds and dropped when it fails.
//! - A webhook that got 200 is a kept message; a reply is delivered or accounted for. See [`store`] for what "kept" means.
//! - A [`Delivery`] that is not acknowledged is redelivered, with its attempt number; a message that its agent fails on
//!   too often becomes a dead letter, and its conversation goes on.
//! - One bad channel hurts itself only: it is throttled, then paused, and says why in [`ChannelManager::health`].
//!
//! # A tour
//!
//! - **Start**: [`Host::builder`] takes directories of channels ([`HostBuilder::channels_from`]), an address for HTTP
//!   ([`HostBuilder::listen`]) and a directory for state (`HostBuilder::state_dir`). Everything else is in
//!   [`ManagerConfig`]: [`HostBuilder::configure`], or [`HostBuilder::new`] to begin with one.
//! - **Messages**: [`Host::messages`] is a [`MessageStream`] of [`Delivery`]s: acknowledge, fail or release each. Several
//!   threads may read from streams of one host.
//! - **Replies**: [`Host::respond`] for a delivery, [`Host::respond_to`] for a conversation, [`Host::broadcast`] for a user.
//!   All return when the reply is durable.
//! - **Agents**: [`HostBuilder::agent`] takes an [`agent::Agent`], which replies on a thread of its own and is stopped with its
//!   host. [`Delivery::remember`] keeps what it
//!   remembers of a conversation.
//! - **Operation**: [`Host::health`] for the state of everything; [`Host::list_messages`] and [`Host::list_replies`] for the
//!   queues, with dead letters; [`Host::pairing`] for users who ask to be let in.
//! - **Parts of one's own**: a source of secrets ([`secrets::SecretStore`]), a resolver
//!   ([`egress::NameResolver`]), an engine that is shared ([`WasmChannelRuntime::with_engine`], with [`wasmi`]).
//!
//! The folder `examples/` has a bot in five lines, an agent, a bridge between two channels and a shared engine.
//!
//! # Features
//!
//! - `sqlite` (default): the store on disk. Without it there is the one in memory.
//! - `bundled` (default): the files of the channels that come with the crate, for [`install_bundled_channel`].
//! - `agent-exec`, `agent-http`, `agent-openai`: agents that are a program, an HTTP server or a language model, in [`agent`]; part of
//!   `cli`.
//! - `cluster`: for the daemon, a store in a database that several hosts share. See `docs/cluster.md`.
//! - `cli`: the daemon `tinclaw`. A library does without: no feature that is on by default starts threads, reads files or
//!   changes the log of the program that it is part of.
// Only `sandbox::memory_pool`, `cli::memory` and `cli::takeover` allow it, and argue each use.
#![deny(unsafe_code)]
#![warn(missing_docs)]
// A closed pipe would end the program with a panic. `cli::print` has what does not.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]
// Whatever a public signature names, its user can name.
#![cfg_attr(not(test), warn(unnameable_types))]

// What the tests share names the library as every program does.
#[cfg(test)]
extern crate self as tinclaw;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod test_support;

pub(crate) mod admin;
pub mod agent;
pub(crate) mod capability;
pub mod channel;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cluster")]
pub(crate) mod cluster;
pub mod egress;
pub(crate) mod event;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod host;
pub mod inbox;
pub(crate) mod link;
pub(crate) mod model;
pub(crate) mod net;
#[cfg(feature = "cli")]
pub(crate) mod package;
pub mod pairing;
pub(crate) mod router;
pub(crate) mod sandbox;
pub mod secrets;
pub mod server;
pub mod store;
pub(crate) mod tool;
pub(crate) mod webhook;

#[doc(inline)]
pub use capability::ToolCapabilities;
#[doc(inline)]
pub use channel::{
    ChannelCapabilities, ChannelCapabilitiesFile, ChannelName, DiscoveredChannel, EmitRateLimitConfig,
    LoadError, LoadResults, RegisteredEndpoint, WasmChannel, WasmChannelLoader, available_channel_names,
    bundled_channel_names, default_channels_dir, discover_channels, install_bundled_channel,
};
#[doc(inline)]
pub use event::callback::CallbackKind;
#[doc(inline)]
pub use host::builder::{Host, HostBuilder};
#[doc(inline)]
pub use host::config::ManagerConfig;
#[doc(inline)]
pub use host::error::{HostError, ReplyError};
#[doc(inline)]
pub use host::manager::ChannelManager;
#[doc(inline)]
pub use inbox::{Delivery, MessageStream, RecvError};
#[doc(inline)]
pub use model::diagnostic::{Diagnostic, Severity};
#[doc(inline)]
pub use model::rate_limit::{ChannelEmitRateLimiter, RateLimited};
#[doc(inline)]
pub use model::value_error::ValueError;
#[doc(inline)]
pub use net::PublicUrl;
#[doc(inline)]
pub use net::address_range::AddressRange;
#[doc(inline)]
pub use sandbox::{
    ChannelHostState, PreparedChannelModule, WasmChannelError, WasmChannelRuntime, WasmChannelRuntimeConfig,
};
#[doc(inline)]
pub use server::WasmChannelRouter;
#[doc(inline)]
pub use tool::{
    PreparedTool, ToolCall, ToolError, ToolFailure, ToolRegistry, ToolReport, WasmToolRuntime,
    WasmToolRuntimeConfig,
};
/// The interpreter, for programs that share an engine with it.
pub use wasmi;
#[doc(inline)]
pub use wit_abi::types::{
    AgentResponse, Attachment, ChannelConfig, EmittedMessage, HttpEndpointConfig, HttpResponse,
    InboundAttachment, PollConfig, StatusType, StatusUpdate,
};
