//! The websocket that the host keeps open for a channel: `websocket` in its capability file.
//!
//! The host connects, logs in, sends heartbeats, resumes, and connects again. A channel that implements [`SocketChannel`] and
//! ends with `tinclaw_kit::socket_channel!(Guest)` is called for each frame. The service is told that a frame has arrived when
//! what its call did is durable; a call that fails is made again, a few times.

use crate::channel::{Channel, Exported, settings};
use crate::failure::Failure;

/// The functions of the websocket, made from `wit/deps/tinclaw-socket`.
#[doc(hidden)]
#[allow(missing_docs, reason = "generated; the .wit file documents them")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "tinclaw:socket/socket",
        pub_export_macro: true,
        default_bindings_module: "tinclaw_kit::socket::bindings",
    });
}

#[cfg(target_family = "wasm")]
use bindings::tinclaw::socket::host as imports;

#[cfg(not(target_family = "wasm"))]
use crate::fake as imports;

/// A channel with a websocket.
pub trait SocketChannel: Channel {
    /// Called each time the service has accepted the login.
    fn opened(settings: &Self::Settings) {
        let _ = settings;
    }

    /// Called for each text frame that is not the protocol's own, in their order.
    ///
    /// # Errors
    /// What keeps the channel from working on the frame now: the call is made again, and keeps nothing of this one.
    fn frame(settings: &Self::Settings, text: &str) -> Result<(), Failure>;

    /// Called when a connection has ended that was open: with the service's code, if it gave one, and its words.
    fn closed(settings: &Self::Settings, code: Option<u16>, reason: &str) {
        let _ = (settings, code, reason);
    }
}

/// Sends a text frame.
///
/// # Errors
/// [`Failure::Temporary`]: the service has not accepted the login, or too many frames wait.
pub fn send(text: &str) -> Result<(), Failure> {
    imports::send(text).map_err(Failure::temporary)
}

impl<C: SocketChannel> bindings::exports::tinclaw::socket::handler::Guest for Exported<C> {
    fn on_open() {
        C::opened(&settings::<C>());
    }

    fn on_text(text: String) {
        if let Err(failure) = C::frame(&settings::<C>(), &text) {
            crate::host::error(failure.words());
            // The host takes back what this call did, and makes it again.
            panic!("the frame is worked on later");
        }
    }

    fn on_close(code: Option<u16>, reason: String) {
        C::closed(&settings::<C>(), code, &reason);
    }
}

/// Makes a guest of a type that implements [`SocketChannel`].
#[macro_export]
macro_rules! socket_channel {
    ($channel:ty) => {
        $crate::channel!($channel);
        #[cfg(target_family = "wasm")]
        $crate::socket::bindings::export!(__ExportedChannel with_types_in $crate::socket::bindings);
    };
}
