//! What a callback is run with, besides the guest itself: the channel, its limits, and what the sandbox asks of the rest of
//! the host on a guest's behalf.
//!
//! What is asked of the host leaves the callback's transaction: a request that went out cannot be taken back. What stays inside
//! (messages, workspace, timers) is collected in [`Effects`](crate::event::callback::Effects) instead.
//!
//! Limits are in [`ChannelLimits`](crate::capability::limits::ChannelLimits); those that are the same for every channel stand here.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wit_abi::types::PairingUpsertResult;

use super::host_call_error::HostCallError;
use super::memory::MemoryReservation;
use super::prepared::PreparedChannelModule;
use crate::capability::limits::ChannelLimits;
use crate::channel::workspace::WorkspaceSnapshot;
use crate::egress::{OutboundCall, OutboundRequest, OutboundResponse, ResponseRoom};
use crate::event::callback::{Callback, CallbackReport};
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
/// The lock is held for the look-up that decides whether a line is written, never while it is.
#[derive(Clone, Debug)]
pub struct GuestLogRate {
    throttle: Arc<Mutex<LogThrottle>>,
    /// Whether the guest is a tool: its lines say so.
    is_tool: bool,
}

/// Lines that a guest may write to the log in a minute.
const GUEST_LINES_A_MINUTE: u32 = 600;

impl Default for GuestLogRate {
    fn default() -> Self {
        let throttle = LogThrottle::new(GUEST_LINES_A_MINUTE, Duration::from_secs(60));
        Self { throttle: Arc::new(Mutex::new(throttle)), is_tool: false }
    }
}

impl GuestLogRate {
    /// The one of a tool.
    pub fn of_tool() -> Self {
        Self { is_tool: true, ..Self::default() }
    }

    /// Whether the guest is a tool, and not a channel.
    pub(super) fn is_tool(&self) -> bool {
        self.is_tool
    }

    /// Whether a line may be written now, and how many were left out before it.
    pub(super) fn check(&self, now: Instant) -> Option<Suppressed> {
        // The throttle does not panic half-way.
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner).check(&(), now)
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

/// Runs the callbacks of a channel in place of the guest alone, to note what they do.
pub trait CallbackRunner: fmt::Debug + Send + Sync {
    /// Runs the callback with this guest.
    fn run(
        &self,
        guest: &PreparedChannelModule,
        context: CallbackContext,
        callback: &Callback,
    ) -> CallbackReport;
}

/// Why an outbound request got no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestHttpError {
    /// In words, for the guest.
    pub message: String,
    /// Whether the host would refuse the same request again.
    pub is_permanent: bool,
}

/// A failure that may pass.
impl From<String> for GuestHttpError {
    fn from(message: String) -> Self {
        Self { message, is_permanent: false }
    }
}

/// What `tool-invoke` lends to the tool that it calls.
#[derive(Clone, Debug)]
pub struct ToolBudget {
    /// Units of fuel that are left to the caller.
    pub fuel: u64,
    /// When the caller must have ended.
    pub deadline: Instant,
    /// Ends the caller, and with it the tool.
    pub stop: StopFlag,
}

/// What became of a `tool-invoke`.
#[derive(Clone, Debug)]
pub struct InvokedTool {
    /// What the other tool returned, or why it did not.
    pub result: Result<String, HostCallError>,
    /// Units of fuel that it used, also when it failed; the caller pays them.
    pub fuel: u64,
}

/// One guest's access to the world, with that guest's rights.
///
/// The methods are called from worker threads and may block, but never beyond the callback's deadline. Errors
/// are texts for the guest and must not quote secrets.
pub trait GuestServices: Send + Sync {
    /// Sends an HTTP request for a callback. `room` is asked before memory for the response is taken.
    ///
    /// # Errors
    /// The request is not allowed, could not be sent or had no response in time.
    fn http_request(
        &self,
        request: OutboundRequest,
        call: OutboundCall,
        room: ResponseRoom<'_>,
    ) -> Result<OutboundResponse, GuestHttpError>;

    /// Whether the guest is handed the files of replies in envelopes (`sandbox::wechat`).
    fn seals_attachments(&self) -> bool {
        false
    }

    /// The beginning of a guest's text for a log or an error, at least `limit` bytes, without the secrets that the guest was
    /// given on purpose. No more than about `limit` bytes are copied: the copy counts in no memory budget.
    fn without_given_secrets<'t>(&self, text: &'t str, limit: usize) -> Cow<'t, str> {
        let _ = limit;
        Cow::Borrowed(text)
    }

    /// A text for a file, without any secret of the channel.
    #[cfg(feature = "cli")]
    fn without_secrets(&self, text: String) -> String {
        text
    }

    /// What would become of a request of the guest, check by check, without any secret of the channel.
    #[cfg(feature = "cli")]
    fn explain_request(&self, _method: &str, _url: &str) -> Vec<crate::egress::ExplainedStep> {
        Vec::new()
    }

    /// Whether a secret of this name is stored and this channel may know that.
    fn secret_exists(&self, name: &str) -> bool;

    /// A file that a tool may read, if there is one at `path`.
    ///
    /// # Errors
    /// The tool may not read it, or it cannot be read.
    fn read_file(&self, path: &str) -> Result<Option<String>, HostCallError> {
        let _ = path;
        Err(HostCallError::NotInWorld)
    }

    /// Calls another tool for a tool.
    fn tool_invoke(&self, alias: &str, params_json: String, budget: ToolBudget) -> InvokedTool {
        let _ = (alias, params_json, budget);
        InvokedTool { result: Err(HostCallError::NotInWorld), fuel: 0 }
    }

    /// Sends a text frame on the channel's socket.
    ///
    /// # Errors
    /// The channel has no socket, or it is not connected.
    fn websocket_send(&self, payload: String) -> Result<(), HostCallError> {
        let _ = payload;
        Err(HostCallError::NotInWorld)
    }

    /// Starts or repeats a pairing request of this channel's user `id`.
    ///
    /// # Errors
    /// There are too many pending requests.
    fn pairing_upsert(&self, id: &str, meta_json: &str) -> Result<PairingUpsertResult, HostCallError> {
        let _ = (id, meta_json);
        Err(HostCallError::NotInWorld)
    }

    /// Who this channel's user `external_id` is to the host, if anyone.
    ///
    /// # Errors
    /// The pairings cannot be read.
    fn pairing_resolve(&self, external_id: &str) -> Result<Option<String>, HostCallError> {
        let _ = external_id;
        Err(HostCallError::NotInWorld)
    }

    /// The ids that may talk to the agent through this channel.
    ///
    /// # Errors
    /// The pairings cannot be read.
    fn pairing_allow_from(&self) -> Result<Vec<String>, HostCallError> {
        Err(HostCallError::NotInWorld)
    }

    /// Whether this channel's user `id`, or `username`, may talk to the agent.
    ///
    /// # Errors
    /// The pairings cannot be read.
    fn pairing_is_allowed(&self, id: &str, username: Option<&str>) -> Result<bool, HostCallError> {
        let _ = (id, username);
        Err(HostCallError::NotInWorld)
    }

    /// Unix time in milliseconds.
    fn now_millis(&self) -> u64;

    /// WASI's wall clock: time since the Unix epoch. A clock that is set before it shows the epoch.
    fn wall_clock(&self) -> Duration {
        super::wasi::wall()
    }

    /// WASI's monotonic clock.
    fn monotonic_nanos(&self) -> u64 {
        super::wasi::monotonic_nanos()
    }

    /// Fills a buffer with random bytes; false when there are none.
    fn fill_random(&self, bytes: &mut [u8]) -> bool {
        use ring::rand::SecureRandom as _;
        ring::rand::SystemRandom::new().fill(bytes).is_ok()
    }
}

#[cfg(feature = "cli")]
impl std::fmt::Debug for dyn GuestServices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GuestServices")
    }
}

/// Timers set and cancelled by one callback.
pub const MAX_TIMER_CHANGES: usize = 100;
/// Bytes of the fields of a message that are not its content: ids, names, metadata, extracted text and what else
/// describes attachments. A message with more is dropped.
pub const MAX_MESSAGE_FIELDS_BYTES: usize = 1024 * 1024;
/// Bytes of all messages of a callback, stored attachments aside. Messages beyond it are dropped.
pub const MAX_EMITTED_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of what a callback returns: a response to a request, what `on-start` declares, an error. More ends the callback.
pub const MAX_RESULT_BYTES: usize = 16 * 1024 * 1024;

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
