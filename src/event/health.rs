//! How a channel is, as the router sees it.

use std::time::Duration;

use serde::Serialize;

use crate::channel::ChannelName;

/// A channel's state of health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChannelHealth {
    /// The channel.
    pub name: ChannelName,
    /// What `on-start` called itself, once it has succeeded.
    pub display_name: Option<String>,
    /// Whether it works.
    pub state: ChannelState,
    /// Why it does not work, or what is wrong with it although it does.
    pub problems: Vec<String>,
    /// Whether a secret that it needs is not stored or cannot be used; `problems` says which. Without one that
    /// authenticates its webhooks, they answer 503.
    pub lacks_secrets: bool,
    /// Its HTTP paths.
    pub paths: Vec<String>,
    /// Time between polls, if it polls.
    pub poll_interval: Option<Duration>,
    /// Jobs that wait in its three lanes: inbound, poll, outbound.
    pub waiting: [usize; 3],
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
