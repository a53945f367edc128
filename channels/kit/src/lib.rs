//! What a channel for tinclaw is written with.
//!
//! A channel is a type that implements [`Channel`] and one line, [`channel!`]. The host calls it for requests, polls,
//! replies and status updates, each time in a fresh instance: nothing in memory outlives a call. What must, is in the
//! channel's settings or in its [`state`].
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tinclaw_kit::http::Request;
//! use tinclaw_kit::{Channel, Failure, Incoming, Message, Registration, Reply, Response};
//!
//! struct Shout;
//!
//! /// Read from `config` in the capability file and from the operator's settings.
//! #[derive(Serialize, Deserialize)]
//! struct Settings {
//!     api: String,
//! }
//!
//! /// Kept with a message, and here again when its reply is sent.
//! #[derive(Serialize, Deserialize)]
//! struct Origin {
//!     reply_to: String,
//! }
//!
//! #[derive(Deserialize)]
//! struct Body {
//!     user: String,
//!     text: String,
//! }
//!
//! impl Channel for Shout {
//!     type Settings = Settings;
//!     type Origin = Origin;
//!
//!     fn start(_: &Settings) -> Result<Registration, String> {
//!         Ok(Registration::new("Shout").webhook("/shout"))
//!     }
//!
//!     fn request(_: &Settings, request: Incoming) -> Response {
//!         let Ok(body) = request.json::<Body>() else { return Response::text(400, "user and text are needed") };
//!         let origin = Origin { reply_to: body.user.clone() };
//!         Message::new(&body.user, body.text.to_uppercase()).emit(&origin);
//!         Response::ok()
//!     }
//!
//!     fn reply(settings: &Settings, origin: Origin, reply: Reply) -> Result<(), Failure> {
//!         let body = serde_json::json!({"to": origin.reply_to, "text": reply.content});
//!         Request::post(&settings.api).json(&body).send()?.success()?;
//!         Ok(())
//!     }
//! }
//!
//! tinclaw_kit::channel!(Shout);
//! ```
//!
//! On the machine that develops a channel, `cargo test` runs it against [`fake::FakeHost`].

pub mod base64;
#[doc(hidden)]
pub mod bindings;
mod channel;
mod cluster;
mod failure;
#[cfg(not(target_family = "wasm"))]
pub mod fake;
pub mod growing;
pub mod host;
pub mod http;
mod incoming;
mod json;
pub mod markdown;
mod message;
pub mod multipart;
pub mod policy;
mod registration;
mod reply;
pub mod retry_after;
pub mod socket;
pub mod split;
pub mod state;

pub use bindings::exports::near::agent::channel::{Attachment, StatusType};
#[doc(hidden)]
pub use channel::Exported;
pub use channel::{Channel, Status};
pub use failure::Failure;
pub use incoming::{Incoming, Response};
pub use message::{File, Message};
pub use registration::Registration;
pub use reply::Reply;
#[doc(hidden)]
pub use serde_json as __json;
pub use socket::SocketChannel;
