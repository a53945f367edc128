//! Work for a channel.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::channel::lane::LaneKind;
use crate::channel::workspace::FileVersion;
use crate::event::arrival::RequestIdentity;
use crate::event::callback::Callback;
use crate::event::completion::Ticket;
use crate::event::link::FrameAcknowledgement;
use crate::event::response::ResponseSender;
use crate::store::ReplyId;

/// One callback that is to be run, and what it is for.
#[derive(Debug)]
pub struct Job {
    /// What is called.
    pub callback: Callback,
    /// What becomes of the result.
    pub purpose: Purpose,
    /// Whose request it is, where that is known.
    pub client: Option<IpAddr>,
    /// When the job came into its lane.
    pub queued: Instant,
    /// When the request began to wait for a change of the workspace, if it did.
    pub waiting_since: Option<Instant>,
    /// Run again after a conflict: a second one is not a reason for a third run.
    pub is_rerun: bool,
    /// Run again with all the memory that the channel may have, after the budget had no room for its growth.
    pub with_full_memory: bool,
}

impl Job {
    pub fn new(callback: Callback, purpose: Purpose, queued: Instant) -> Self {
        Self {
            callback,
            purpose,
            client: None,
            queued,
            waiting_since: None,
            is_rerun: false,
            with_full_memory: false,
        }
    }
}

/// What becomes of a callback's result.
#[derive(Debug)]
pub enum Purpose {
    /// The channel is ready, or is restarted later.
    Start,
    /// `on-start` of another version of the channel: it takes this one's place, or is dropped.
    Trial,
    /// `on-start` once more, because a version that was dropped may have changed something at its service.
    Restore,
    /// The channel has been told.
    Shutdown,
    /// A response for a client.
    Webhook {
        identities: Vec<RequestIdentity>,
        responder: ResponseSender,
    },
    Poll,
    Timer {
        name: Arc<str>,
        /// Which setting of this name; a timer that was set again meanwhile is another one.
        setting: u64,
    },
    /// Something that has happened to the channel's websocket.
    Socket {
        /// Tells the link when what a frame caused is durable.
        acknowledgement: FrameAcknowledgement,
        /// How often the callback was run, with this time.
        tries: u32,
    },
    Reply(ReplyAttempt),
    Status,
}

/// One attempt at delivering a reply.
#[derive(Clone, Debug)]
pub struct ReplyAttempt {
    pub id: ReplyId,
    /// Counted from 1.
    pub attempt: u32,
}

impl Purpose {
    /// Whether a client waits for the response.
    pub fn is_request(&self) -> bool {
        matches!(self, Self::Webhook { .. })
    }

    /// Whether its end says that the guest works, or does not: `on-start` says that in another way.
    pub fn shows_that_guest_works(&self) -> bool {
        !matches!(self, Self::Start | Self::Trial | Self::Restore)
    }

    /// The lane that jobs of this purpose wait in.
    pub fn lane(&self) -> LaneKind {
        match self {
            Self::Start | Self::Shutdown | Self::Webhook { .. } | Self::Socket { .. } => LaneKind::Inbound,
            Self::Poll => LaneKind::Poll,
            Self::Timer { .. } => LaneKind::Timer,
            Self::Reply(_) => LaneKind::Outbound,
            Self::Status => LaneKind::Status,
            Self::Trial | Self::Restore => LaneKind::Trial,
        }
    }
}

/// A callback that a worker runs.
#[derive(Debug)]
pub struct RunningJob {
    pub ticket: Ticket,
    pub lane: LaneKind,
    pub job: Job,
    /// The state of the workspace that it reads.
    pub workspace_version: FileVersion,
}
