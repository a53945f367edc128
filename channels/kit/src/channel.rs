//! The trait that a channel implements, and what makes a guest of it.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::exports::near::agent::channel as raw;
use crate::failure::Failure;
use crate::incoming::{Incoming, Response};
use crate::registration::Registration;
use crate::reply::Reply;
use crate::{host, json, policy, state};

/// Where the settings are kept in the workspace.
const SETTINGS: &str = "settings.json";

/// A channel. Every call is made in a fresh instance; what has to be remembered is in [`state`](crate::state).
pub trait Channel {
    /// What the operator sets: read from `config` of the capability file and from the settings of the host. They are kept
    /// in the workspace for the calls after the start, so mark what must not be stored with `#[serde(skip_serializing)]`.
    type Settings: Serialize + DeserializeOwned;

    /// What a reply needs of the message that it belongs to: where to send it. A struct.
    type Origin: Serialize + DeserializeOwned;

    /// Called when the channel starts.
    ///
    /// # Errors
    /// What is missing, in words for the operator. The channel is then not started.
    fn start(settings: &Self::Settings) -> Result<Registration, String>;

    /// Called for a request to one of the channel's paths.
    fn request(settings: &Self::Settings, request: Incoming) -> Response {
        let _ = (settings, request);
        Response::text(404, "not found")
    }

    /// Called at every poll.
    fn poll(settings: &Self::Settings) {
        let _ = settings;
    }

    /// Called to send a reply.
    ///
    /// # Errors
    /// Why it is not delivered. The host retries what may pass.
    fn reply(settings: &Self::Settings, origin: Self::Origin, reply: Reply) -> Result<(), Failure>;

    /// Called when there is something to tell about what the agent does with a message.
    fn status(settings: &Self::Settings, origin: Self::Origin, status: Status) {
        let _ = (settings, origin, status);
    }

    /// Called to write to a user who has not just written. `user_id` is what [`Message`](crate::Message) had.
    ///
    /// # Errors
    /// As [`reply`](Self::reply).
    fn broadcast(settings: &Self::Settings, user_id: &str, reply: Reply) -> Result<(), Failure> {
        let _ = (settings, user_id, reply);
        Err(Failure::permanent("this channel only replies"))
    }

    /// Called once before the channel stops.
    fn shutdown(settings: &Self::Settings) {
        let _ = settings;
    }
}

/// What the agent does.
#[derive(Debug)]
pub struct Status {
    /// The kind.
    pub kind: raw::StatusType,
    /// The same in words.
    pub message: String,
    is_partial_reply: bool,
}

impl Status {
    /// The reply so far, when this is not about what the agent does but what it has written.
    pub fn partial_reply(&self) -> Option<&str> {
        self.is_partial_reply.then_some(self.message.as_str())
    }

    /// Whether the agent works on the message: the time to show that it types.
    pub fn is_working(&self) -> bool {
        use raw::StatusType::{Status, Thinking, ToolCompleted, ToolResult, ToolStarted};
        matches!(self.kind, Thinking | ToolStarted | ToolCompleted | ToolResult | Status)
    }
}

/// A channel as the host calls it.
#[doc(hidden)]
pub struct Exported<C>(PhantomData<C>);

impl<C: Channel> raw::Guest for Exported<C> {
    fn on_start(config_json: String) -> Result<raw::ChannelConfig, String> {
        let settings: C::Settings =
            json::read(config_json.as_bytes()).map_err(|error| format!("the configuration: {error}"))?;
        policy::keep(&json::fields(&config_json))?;
        let registration = C::start(&settings)?;
        state::set(SETTINGS, &settings);
        Ok(registration.into_raw())
    }

    fn on_http_request(request: raw::IncomingHttpRequest) -> raw::OutgoingHttpResponse {
        C::request(&settings::<C>(), Incoming::of(request)).into_raw()
    }

    fn on_poll() {
        C::poll(&settings::<C>());
    }

    fn on_respond(response: raw::AgentResponse) -> Result<(), String> {
        let reply = Reply::of(response);
        let origin = json::read(reply.metadata_json.as_bytes()).map_err(|error| {
            Failure::permanent(format!("the metadata of the message is not this channel's: {error}"))
                .to_string()
        })?;
        C::reply(&settings::<C>(), origin, reply).map_err(|failure| failure.to_string())
    }

    fn on_status(update: raw::StatusUpdate) {
        if let Ok(origin) = json::read(update.metadata_json.as_bytes()) {
            let is_partial_reply =
                json::fields(&update.metadata_json).get("partial_reply") == Some(&true.into());
            let status = Status { kind: update.status, message: update.message, is_partial_reply };
            C::status(&settings::<C>(), origin, status);
        }
    }

    fn on_broadcast(user_id: String, response: raw::AgentResponse) -> Result<(), String> {
        C::broadcast(&settings::<C>(), &user_id, Reply::of(response)).map_err(|failure| failure.to_string())
    }

    fn on_shutdown() {
        if host::workspace_read(SETTINGS).is_some() {
            C::shutdown(&settings::<C>());
        }
    }
}

/// The settings that the start has kept.
pub(crate) fn settings<C: Channel>() -> C::Settings {
    state::find(SETTINGS).expect("the channel has started, and its start keeps the settings")
}

/// Makes a guest of a type that implements [`Channel`].
#[macro_export]
macro_rules! channel {
    ($channel:ty) => {
        #[doc(hidden)]
        type __ExportedChannel = $crate::Exported<$channel>;
        #[cfg(target_family = "wasm")]
        $crate::bindings::export!(__ExportedChannel with_types_in $crate::bindings);
    };
}
