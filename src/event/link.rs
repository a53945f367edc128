//! What crosses between a channel's link and the router.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

/// Opens a channel's websocket and keeps it open. It is given the session that a link of the channel has had before, in the
/// text of [`FrameAcknowledgement::session`].
pub type OpenLink = Box<dyn Fn(Option<&str>) -> io::Result<Arc<dyn ChannelLink>> + Send>;

/// A channel's websocket, as the router sees it.
pub trait ChannelLink: Send + Sync {
    /// How it is.
    fn health(&self) -> LinkHealth;

    /// Ends it: no frame comes after those that are on their way.
    fn close(&self);
}

/// What happened to a link, for the guest.
#[derive(Debug)]
pub struct LinkEvent {
    /// What happened.
    pub kind: LinkEventKind,
    /// Tells the link what became of it.
    pub acknowledgement: FrameAcknowledgement,
}

/// What happened to a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEventKind {
    /// The service has accepted the login.
    Opened,
    /// A frame, without secrets.
    Frame(Arc<str>),
    /// A connection has ended that was open.
    Closed {
        /// The service's code, when it gave one.
        code: Option<u16>,
        /// The service's words, or what broke.
        reason: Arc<str>,
    },
}

/// Tells a link what became of a frame. Dropped without [`FrameAcknowledgement::durable`], the frame counts as not worked
/// on: a service that knows acknowledgements sends it again after the next login.
pub struct FrameAcknowledgement {
    then: Option<Box<dyn FnOnce(bool) + Send>>,
    session: Option<Arc<str>>,
}

impl FrameAcknowledgement {
    /// `then` is told, exactly once, whether what the frame caused is durable.
    pub fn new(then: impl FnOnce(bool) + Send + 'static) -> Self {
        Self { then: Some(Box::new(then)), session: None }
    }

    /// With what a link resumes the session with after this frame; none where its protocol does not resume.
    pub fn with_session(mut self, session: Option<String>) -> Self {
        self.session = session.map(Into::into);
        self
    }

    /// What a link resumes the session with after this frame: stored with what the frame has caused, it lets a link resume
    /// that is opened after a restart of the host.
    pub fn session(&self) -> Option<&Arc<str>> {
        self.session.as_ref()
    }

    /// The frame, or what it caused, is durable.
    pub fn durable(mut self) {
        if let Some(then) = self.then.take() {
            then(true);
        }
    }
}

impl Drop for FrameAcknowledgement {
    fn drop(&mut self) {
        if let Some(then) = self.then.take() {
            then(false);
        }
    }
}

impl fmt::Debug for FrameAcknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameAcknowledgement")
    }
}

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
    pub changed_at: SystemTime,
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
    /// It is not opened, because the secret that it logs in with is optional and not stored.
    NotUsed,
    /// It ended for good: only an operator can fix this. It is tried again when a secret changes.
    Stopped,
}

impl LinkHealth {
    pub(crate) fn new(host: String) -> Self {
        Self {
            host,
            state: LinkState::Connecting,
            changed_at: SystemTime::now(),
            reason: None,
            connections: 0,
            frames_received: 0,
            frames_sent: 0,
        }
    }

    pub(crate) fn enter(&mut self, state: LinkState, reason: Option<String>) {
        if self.state != state {
            self.changed_at = SystemTime::now();
        }
        (self.state, self.reason) = (state, reason);
    }
}
