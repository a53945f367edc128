//! Links: websockets that the host keeps open for a channel.
//!
//! A link has a thread of its own, which blocks in `poll(2)`. What it sends is decided by a protocol, a state
//! machine without I/O. A frame for the guest is acknowledged to the service only after what it caused is durable; while
//! too many frames are in flight, the link does not read.

mod address;
mod connection;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod handle;
mod login;
mod protocol;
mod reconnect;
mod thread;

pub use address::Address;
pub use handle::{LinkHandle, NotSent};
pub use login::LoginSecrets;
pub use protocol::Protocol;
pub use protocol::discord_gateway::DiscordGateway;
pub use protocol::plain::Plain;
pub use protocol::slack_socket_mode::SlackSocketMode;
pub use protocol::wecom_aibot::WecomAibot;
pub use thread::{LinkSettings, start};
