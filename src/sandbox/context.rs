//! What a callback is run with, besides the guest itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::limits::CallbackLimits;
use super::memory::MemoryReservation;
use super::services::GuestServices;
use crate::channel::workspace::WorkspaceSnapshot;

/// What stays the same for all callbacks of a channel.
pub struct ChannelRuntimeInfo {
    /// The channel's name; also the target of its log lines.
    pub name: Arc<str>,
    /// What each callback may use.
    pub limits: CallbackLimits,
    /// The channel's access to the world.
    pub services: Arc<dyn GuestServices>,
}

impl fmt::Debug for ChannelRuntimeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelRuntimeInfo")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Asks callbacks to end early. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// From now on guests that hold this flag end within one slice of a few milliseconds.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`StopFlag::stop`] was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one callback is run with.
#[derive(Debug)]
pub struct CallbackContext {
    /// The channel.
    pub channel: Arc<ChannelRuntimeInfo>,
    /// The channel's files as they are now.
    pub workspace: WorkspaceSnapshot,
    /// When the callback must have ended. Guest code and blocking host calls both keep to it.
    pub deadline: Instant,
    /// Ends the callback before that.
    pub stop: StopFlag,
    /// The guest's share of the host's memory, at least
    /// [`PreparedChannelModule::initial_memory_bytes`](super::PreparedChannelModule::initial_memory_bytes).
    pub memory: MemoryReservation,
}
