//! The state of a link, for `health`.

use std::time::SystemTime;

use serde::Serialize;

/// How a channel's websocket is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LinkHealth {
    /// The host that it leads to.
    pub host: String,
    /// What it is doing.
    pub state: LinkState,
    /// Since when.
    #[serde(skip)]
    pub since: SystemTime,
    /// Why it is not ready, in the service's words where there are any.
    pub reason: Option<String>,
    /// Connections that were opened, since the host started.
    pub connections: u64,
    /// Frames that arrived for the guest, since the host started.
    pub frames_received: u64,
    /// Frames that the guest sent, since the host started.
    pub frames_sent: u64,
}

/// What a link is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LinkState {
    /// A connection is being opened, or the service has not accepted the login yet.
    Connecting,
    /// The service has accepted the login.
    Ready,
    /// The last connection failed; another one is opened after a wait.
    Waiting,
    /// It ended for good: only an operator can mend this. It is tried again when a secret changes.
    Stopped,
}

impl LinkHealth {
    pub(super) fn new(host: String) -> Self {
        Self {
            host,
            state: LinkState::Connecting,
            since: SystemTime::now(),
            reason: None,
            connections: 0,
            frames_received: 0,
            frames_sent: 0,
        }
    }

    pub(super) fn enter(&mut self, state: LinkState, reason: Option<String>) {
        if self.state != state {
            self.since = SystemTime::now();
        }
        (self.state, self.reason) = (state, reason);
    }
}
