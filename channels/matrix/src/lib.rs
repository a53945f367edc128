//! Matrix, by long polling: <https://spec.matrix.org/latest/client-server-api/>.
//!
//! Encrypted rooms cannot be read: the channel says so in the room once. Names in the comments are those of the
//! specification's page.

mod api;
mod event;
mod files;
mod outgoing;
mod receiving;
mod rooms;
mod settings;

use serde::{Deserialize, Serialize};
use tinclaw_kit::{Channel, Failure, Registration, Reply, Status, channel, host};

pub use settings::Settings;

/// The channel.
#[derive(Debug)]
pub struct Matrix;

/// Where a reply goes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The room.
    pub room: String,
    /// The event that began the thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// The event to reply to, in rooms of more than two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

impl Channel for Matrix {
    type Settings = Settings;
    type Origin = Origin;

    fn start(settings: &Settings) -> Result<Registration, String> {
        if settings.homeserver().is_none() {
            return Err("the setting `homeserver` is missing: the base URL of the bot's server".to_owned());
        }
        Ok(Registration::new("Matrix").poll(settings.poll_interval_ms))
    }

    fn poll(settings: &Settings) {
        if let Err(failure) = receiving::poll(settings) {
            host::error(failure.words());
        }
    }

    fn reply(settings: &Settings, origin: Origin, reply: Reply) -> Result<(), Failure> {
        outgoing::send(settings, &origin, &reply)
    }

    fn status(settings: &Settings, origin: Origin, status: Status) {
        if let Some(text) = status.partial_reply() {
            outgoing::show_partial(settings, &origin, text);
        } else if status.is_working()
            && let Err(failure) = api::typing(settings, &origin.room)
        {
            host::log(host::LogLevel::Debug, failure.words());
        }
    }

    fn broadcast(settings: &Settings, user_id: &str, reply: Reply) -> Result<(), Failure> {
        let room = rooms::room_for(settings, user_id)?;
        outgoing::send(settings, &Origin { room, ..Origin::default() }, &reply)
    }
}

channel!(Matrix);
