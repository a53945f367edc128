//! What a callback is run with, besides the guest itself.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::memory::MemoryReservation;
use super::services::GuestServices;
use crate::capability::limits::ChannelLimits;
use crate::channel::workspace::WorkspaceSnapshot;
use crate::model::log_throttle::{LogThrottle, Suppressed};

/// What stays the same for all callbacks of a channel.
pub struct ChannelRuntimeInfo {
    /// The channel's name; also the target of its log lines.
    pub name: Arc<str>,
    /// What each callback may use.
    pub limits: ChannelLimits,
    /// The channel's access to the world.
    pub services: Arc<dyn GuestServices>,
    /// How much the guest may write to the log over all callbacks.
    pub log_rate: GuestLogRate,
}

/// Bounds the log lines of a channel's guest over all its callbacks: whoever sends it requests causes them. Cloning shares it.
#[derive(Clone, Debug)]
pub struct GuestLogRate(Arc<Mutex<LogThrottle>>);

/// Lines that a guest may write to the log in a minute.
const GUEST_LINES_A_MINUTE: u32 = 600;

impl Default for GuestLogRate {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LogThrottle::new(GUEST_LINES_A_MINUTE, Duration::from_secs(60)))))
    }
}

impl GuestLogRate {
    /// Whether a line may be written now, and how many were left out before it.
    pub(super) fn check(&self, now: Instant) -> Option<Suppressed> {
        // The throttle does not panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).check(&(), now)
    }
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
pub struct StopFlag {
    /// Set once, by [`StopFlag::stop`], and never cleared.
    own: Arc<AtomicBool>,
    /// Another flag that stops these callbacks too.
    other: Option<Arc<AtomicBool>>,
}

impl StopFlag {
    /// A flag for callbacks that this flag stops, and `other` too.
    #[must_use]
    pub(crate) fn or(&self, other: &Self) -> Self {
        Self { own: Arc::clone(&self.own), other: Some(Arc::clone(&other.own)) }
    }

    /// From now on guests that hold this flag end within one slice of a few milliseconds.
    pub fn stop(&self) {
        self.own.store(true, Ordering::Relaxed);
    }

    /// Whether [`StopFlag::stop`] was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let is_set = |flag: &Arc<AtomicBool>| flag.load(Ordering::Relaxed);
        is_set(&self.own) || self.other.as_ref().is_some_and(is_set)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_of_two_is_stopped_by_either_and_stops_neither() {
        let (host, channel, neighbour) = (StopFlag::default(), StopFlag::default(), StopFlag::default());
        let (both, other) = (host.or(&channel), host.or(&neighbour));
        assert!(!both.is_stopped());
        channel.stop();
        assert!(both.is_stopped() && !host.is_stopped() && !other.is_stopped());
        host.stop();
        assert!(other.is_stopped());
    }

    /// Each callback had a limit of log lines, but whoever sent requests without end filled the log.
    #[test]
    fn a_guest_writes_so_many_lines_a_minute_over_all_its_callbacks() {
        let (rate, begin) = (GuestLogRate::default(), Instant::now());
        let of_a_callback = rate.clone();
        for _ in 0..GUEST_LINES_A_MINUTE {
            assert_eq!(of_a_callback.check(begin), Some(Suppressed(0)));
        }
        assert_eq!(rate.check(begin), None);
        assert_eq!(rate.check(begin + Duration::from_secs(60)), Some(Suppressed(1)));
    }
}
