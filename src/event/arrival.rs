//! What reaches the router from outside: requests, deadlines, calls of the library.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wit_abi::types::{IncomingHttpRequest, StatusUpdate};

use super::health::ChannelHealth;
use super::link::LinkEvent;
use super::response::ResponseSender;
use super::setup::ChannelSetup;
use crate::channel::ChannelName;
use crate::model::oneshot;
#[cfg(feature = "cli")]
use crate::sandbox::{CallbackRunner, GuestServices};
use crate::store::LoadedChannel;
use crate::store::{PendingReply, ReplyId};
use crate::webhook::DedupeKey;

/// Something for the router to do.
#[derive(Debug)]
pub enum Event {
    /// A request to one of a channel's paths, routed and authenticated.
    Webhook(Box<Webhook>),
    /// Something happened to a channel's websocket.
    Link(Box<LinkArrival>),
    /// A deadline that the router set.
    Due(Wakeup),
    /// A call of the library.
    Command(RouterCommand),
}

/// A routed and authenticated request.
#[derive(Debug)]
pub struct Webhook {
    /// Whose path it is.
    pub channel: ChannelName,
    /// What the guest gets.
    pub request: Arc<IncomingHttpRequest>,
    /// By what a duplicate of this request is recognised: any of these.
    pub identities: Vec<RequestIdentity>,
    /// Whose it is, behind trusted proxies; none where nobody looked.
    pub client: Option<IpAddr>,
    /// When it was complete.
    pub received: Instant,
    /// Where the response goes.
    pub responder: ResponseSender,
}

/// Something that happened to a channel's websocket.
#[derive(Debug)]
pub struct LinkArrival {
    /// Whose websocket it is.
    pub channel: ChannelName,
    /// What happened.
    pub news: LinkEvent,
}

/// By what a duplicate of a request is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestIdentity {
    /// A digest of the provider's id or of the signature.
    pub key: DedupeKey,
    /// Until when a duplicate is recognised, in Unix milliseconds.
    pub expires_ms: u64,
    /// Whether the first response is kept for duplicates. Without, a duplicate gets an empty 200.
    pub keep_response: bool,
}

/// A deadline of the router.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wakeup {
    /// A channel's deadline.
    Channel(ChannelName, Due),
    /// The wall clock was set ahead, or the machine slept.
    ClockAhead,
    /// The oldest webhook that waits has waited long enough.
    QueueTimeout,
    /// Webhooks that still run in a shutdown have had their time.
    WebhookGraceOver,
    /// What still runs in this phase of a shutdown has had its time. One that was set for an earlier phase does not cut a
    /// later one short.
    GraceOver(ShutdownPhase),
}

/// What a channel has a deadline for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Due {
    /// `on-start` may be tried (again).
    Start,
    /// The next `on-poll`.
    Poll,
    /// A guest's timer.
    Timer(Arc<str>),
    /// A pause ends.
    Resume,
    /// A reply may be tried (again).
    Replies,
    /// Frames of the websocket that could not be worked on are looked at again.
    Frames,
    /// The time of requests that wait for a change of the workspace is up.
    WaitingRequests,
    /// `thinking` is repeated for a conversation.
    Thinking(Arc<str>),
    /// A callback that emitted more than its channel's rate allows may be committed.
    EmitRoom,
}

impl Wakeup {
    /// The channel that it is for, if it is for one.
    pub fn channel(&self) -> Option<&ChannelName> {
        match self {
            Self::Channel(channel, _) => Some(channel),
            Self::ClockAhead | Self::QueueTimeout | Self::WebhookGraceOver | Self::GraceOver(_) => None,
        }
    }
}

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShutdownPhase {
    /// Callbacks that were running are let end.
    Draining,
    /// `on-shutdown` runs.
    OnShutdown,
}

/// A call of the library.
#[derive(Debug)]
pub enum RouterCommand {
    /// Adds a channel and runs its `on-start`.
    Add(Box<ChannelSetup>, Box<LoadedChannel>, oneshot::Sender<Result<(), AddChannelError>>),
    /// Tries another version of a channel that runs, and puts it in its place when its `on-start` succeeds.
    Upgrade(Box<ChannelSetup>, oneshot::Sender<Result<(), UpgradeError>>),
    /// Takes a channel out; false when there is none of this name.
    Remove(ChannelName, oneshot::Sender<bool>),
    /// Runs a channel's callbacks by this, or by their guest alone again; false when there is no such channel.
    #[cfg(feature = "cli")]
    RunWith(ChannelName, Option<Arc<dyn CallbackRunner>>, oneshot::Sender<bool>),
    /// What a channel's guest may do now; none when there is no such channel.
    #[cfg(feature = "cli")]
    Services(ChannelName, oneshot::Sender<Option<Arc<dyn GuestServices>>>),
    /// Tells a guest what the agent is doing.
    Status(ChannelName, Arc<StatusUpdate>),
    /// A dead reply is to be tried again, from the first attempt on.
    RetryReply(PendingReply),
    /// A reply is not to be tried any more.
    DropReply(ReplyId),
    /// How every channel is.
    Health(oneshot::Sender<Vec<ChannelHealth>>),
    /// Stops taking work, lets what runs end within the grace, calls `on-shutdown`, and ends the router.
    Shutdown {
        /// How long running callbacks may still take.
        grace: Duration,
    },
}

/// Why a channel was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AddChannelError {
    /// A channel of this name is there already.
    #[error("channel {0}: a channel of this name is already running; rename one of the two files")]
    Duplicate(ChannelName),
    /// The host is shutting down.
    #[error("channel {0}: the host is shutting down")]
    Stopping(ChannelName),
}

/// Why another version of a channel did not take its place. The one that ran before goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UpgradeError {
    /// There is nothing to be replaced.
    #[error("channel {0} does not run; add it instead")]
    NotRunning(ChannelName),
    /// One at a time.
    #[error("channel {0}: another version is being tried already; try again when that has ended")]
    UnderWay(ChannelName),
    /// Its `on-start` failed.
    #[error("channel {channel}: the new version cannot start, and the present one stays: {reason}")]
    CannotStart {
        /// The channel.
        channel: ChannelName,
        /// What happened.
        reason: String,
    },
    /// The channel was taken out meanwhile.
    #[error("channel {0} was removed while its new version was tried")]
    Removed(ChannelName),
    /// The host is shutting down.
    #[error("channel {0}: the host is shutting down")]
    Stopping(ChannelName),
}
