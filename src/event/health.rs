//! How a channel is, as the router sees it.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::link::LinkHealth;
use crate::capability::limits::ChannelLimits;
use crate::channel::ChannelName;
use crate::channel::callback_totals::CallbackTotals;
use crate::model::diagnostic::Diagnostic;

/// A channel's state of health.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelHealth {
    /// The channel.
    pub name: ChannelName,
    /// What `on-start` called itself, once it has succeeded.
    pub display_name: Option<String>,
    /// Whether it works.
    pub state: ChannelState,
    /// Errors and warnings: why it does not work, or what about it probably is not as it was meant.
    pub problems: Vec<Diagnostic>,
    /// Secrets that it needs and that are not stored or cannot be used; `problems` says which of both. Without one that
    /// authenticates its webhooks, they respond with 503.
    pub missing_secrets: Vec<String>,
    /// Its HTTP paths.
    pub paths: Vec<String>,
    /// Its websocket, if it has one that was opened.
    pub link: Option<LinkHealth>,
    /// Time between polls, if it polls.
    pub poll_interval: Option<Duration>,
    /// Requests that wait for their turn.
    pub inbound_waiting: usize,
    /// Polls and timers that wait for their turn.
    pub polls_waiting: usize,
    /// Replies and statuses that wait for their turn.
    pub outbound_waiting: usize,
    /// Requests that wait for a change of the channel's workspace, because their guest asked for it.
    pub requests_parked: usize,
    /// Replies that are not delivered yet.
    pub replies_pending: usize,
    /// Callbacks that ended well, since the host started.
    pub succeeded: u64,
    /// Callbacks that failed, since the host started.
    pub failed: u64,
    /// Messages that it emitted, since the host started.
    pub emitted: u64,
    /// Messages, attachments and log lines that were over a limit and dropped, since the host started.
    pub dropped: u64,
    /// Its callbacks by kind and what they used, since the host started.
    pub(crate) callbacks: CallbackTotals,
    /// What it may take.
    pub(crate) limits: ChannelLimits,
    /// When it emitted a message, since the host started.
    pub last_message_at: Option<SystemTime>,
    /// When a request to one of its paths ended well, since the host started.
    pub last_request_at: Option<SystemTime>,
    /// When a poll ended well, since the host started.
    pub last_poll_at: Option<SystemTime>,
    /// When it failed or logged an error, since the host started.
    pub last_error_at: Option<SystemTime>,
    /// What that was: often the words of its service. At most 500 characters.
    pub last_error: Option<String>,
    /// When the kind of callback that failed last ended well again; none while it has not.
    pub recovered_at: Option<SystemTime>,
}

/// Whether a channel works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChannelState {
    /// `on-start` has not succeeded yet; it is tried again.
    Starting,
    /// It works.
    Ready,
    /// It runs, but a service refuses its credentials.
    Degraded,
    /// It failed too often in a row and is not called until its pause ends.
    Paused,
    /// The host is shutting down.
    Stopping,
}

impl ChannelState {
    /// The word for it, as in JSON and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for ChannelState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}
