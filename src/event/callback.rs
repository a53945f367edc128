//! One call into a guest: what goes in, what comes out, and what it did on the way.
//!
//! A [`Callback`] is made by whoever has news for a channel, run by a worker in an instance of its own, and completed
//! with a [`CallbackReport`]. The [`Effects`] in it are a transaction: the router applies all of them or none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wit_abi::types::{
    AgentResponse, ChannelConfig, EmittedMessage, IncomingHttpRequest, LogLevel, StatusUpdate, ToolRequest,
    ToolResponse,
};

use super::upstream::UpstreamOutcome;
use crate::channel::workspace::WorkspaceChanges;
use crate::net::channel_response::ChannelResponse;
use crate::sandbox::{MemoryReservation, WasmChannelError};

/// A call of one of a guest's exports. Payloads are shared, so that a callback can be run again cheaply.
#[derive(Clone, Debug)]
pub enum Callback {
    /// `on-start`: the channel's configuration as JSON text.
    Start {
        /// The JSON object that the guest gets.
        config_json: Arc<str>,
    },
    /// `on-http-request`: a webhook or another request to one of the channel's paths.
    HttpRequest(Arc<IncomingHttpRequest>),
    /// `on-poll`.
    Poll,
    /// `on-timer` of `tinclaw:timers/handler@0.1.0`.
    Timer {
        /// The name that the guest gave when it set the timer.
        name: Arc<str>,
        /// The text that the guest gave when it set the timer.
        payload: Arc<str>,
    },
    /// `on-open` of `tinclaw:socket/handler@0.1.0`: the service has accepted the login.
    SocketOpen,
    /// `on-text` of `tinclaw:socket/handler@0.1.0`: a frame of the channel's websocket.
    SocketText(Arc<str>),
    /// `on-close` of `tinclaw:socket/handler@0.1.0`: the connection has ended.
    SocketClose {
        /// The service's code, when it gave one.
        code: Option<u16>,
        /// The service's words, or what broke.
        reason: Arc<str>,
    },
    /// `on-respond`: a reply of the agent to a message that this channel emitted.
    Respond(Arc<AgentResponse>),
    /// `on-status`: what the agent is doing right now.
    Status(Arc<StatusUpdate>),
    /// `on-broadcast`: a message of the agent that is no reply.
    Broadcast {
        /// The recipient, in the channel's own terms.
        user_id: Arc<str>,
        /// The message.
        response: Arc<AgentResponse>,
    },
    /// `on-shutdown`.
    Shutdown,
    /// `execute` of a tool: a call with its parameters.
    Execute(Arc<ToolRequest>),
    /// `schema` of a tool.
    Schema,
    /// `description` of a tool.
    Description,
}

impl Callback {
    /// Which export this calls.
    #[must_use]
    pub const fn kind(&self) -> CallbackKind {
        match self {
            Self::Start { .. } => CallbackKind::Start,
            Self::HttpRequest(_) => CallbackKind::HttpRequest,
            Self::Poll => CallbackKind::Poll,
            Self::Timer { .. } => CallbackKind::Timer,
            Self::SocketOpen => CallbackKind::SocketOpen,
            Self::SocketText(_) => CallbackKind::SocketText,
            Self::SocketClose { .. } => CallbackKind::SocketClose,
            Self::Respond(_) => CallbackKind::Respond,
            Self::Status(_) => CallbackKind::Status,
            Self::Broadcast { .. } => CallbackKind::Broadcast,
            Self::Shutdown => CallbackKind::Shutdown,
            Self::Execute(_) => CallbackKind::Execute,
            Self::Schema => CallbackKind::Schema,
            Self::Description => CallbackKind::Description,
        }
    }
}

/// The callbacks of channels and what tools are asked, without their payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallbackKind {
    /// `on-start`
    Start,
    /// `on-http-request`
    HttpRequest,
    /// `on-poll`
    Poll,
    /// `on-timer`
    Timer,
    /// `on-open` of the websocket
    SocketOpen,
    /// `on-text` of the websocket
    SocketText,
    /// `on-close` of the websocket
    SocketClose,
    /// `on-respond`
    Respond,
    /// `on-status`
    Status,
    /// `on-broadcast`
    Broadcast,
    /// `on-shutdown`
    Shutdown,
    /// `execute` of a tool
    Execute,
    /// `schema` of a tool
    Schema,
    /// `description` of a tool
    Description,
}

impl CallbackKind {
    /// Those of channels, in the order of the world.
    pub const ALL: [Self; 11] = [
        Self::Start,
        Self::HttpRequest,
        Self::Poll,
        Self::Timer,
        Self::SocketOpen,
        Self::SocketText,
        Self::SocketClose,
        Self::Respond,
        Self::Status,
        Self::Broadcast,
        Self::Shutdown,
    ];

    /// The name that the guest exports, such as `on-poll`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "on-start",
            Self::HttpRequest => "on-http-request",
            Self::Poll => "on-poll",
            Self::Timer => "on-timer",
            Self::SocketOpen => "on-open",
            Self::SocketText => "on-text",
            Self::SocketClose => "on-close",
            Self::Respond => "on-respond",
            Self::Status => "on-status",
            Self::Broadcast => "on-broadcast",
            Self::Shutdown => "on-shutdown",
            Self::Execute => "execute",
            Self::Schema => "schema",
            Self::Description => "description",
        }
    }
}

impl fmt::Display for CallbackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a callback returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallbackValue {
    /// `on-start` succeeded with this.
    Started(ChannelConfig),
    /// The response of `on-http-request`.
    Http(ChannelResponse),
    /// One of the callbacks without a result value succeeded.
    Done,
    /// `execute` returned this, which may be an error of the tool's own.
    Executed(ToolResponse),
    /// `schema` or `description` returned this.
    Text(String),
    /// Nothing was run: the guest lacks this optional export (`on-status`, `on-broadcast`, `on-timer`, those of the
    /// websocket), or its
    /// `status-type` is from before this case existed.
    NotExported,
}

/// A message for the agent with the bytes that the guest stored for its attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// The message; its content is already within the limit.
    pub message: EmittedMessage,
    /// For each of `message.attachments`, in their order, the bytes from `store-attachment-data`, if there were any.
    pub attachment_data: Vec<Option<Arc<[u8]>>>,
}

/// What a callback wants of the channel's timers, in the order of its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimerChange {
    /// Set, or set again, the timer of this name.
    Set {
        /// The timer's name within its channel.
        name: Arc<str>,
        /// From the end of the callback to `on-timer`.
        delay: Duration,
        /// What `on-timer` gets.
        payload: Arc<str>,
    },
    /// Forget the timer of this name, if there is one.
    Cancel {
        /// The timer's name within its channel.
        name: Arc<str>,
    },
}

impl TimerChange {
    /// The timer's name within its channel.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Set { name, .. } | Self::Cancel { name } => name,
        }
    }
}

/// What was over a limit and therefore left out. Each count is also one line in the channel's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Messages beyond the number, or the attachment bytes, that one callback may emit.
    pub messages: u32,
    /// Messages whose content was cut.
    pub truncated: u32,
    /// Attachments beyond the number or bytes that one message may have.
    pub attachments: u32,
    /// Stored attachment data that no emitted message referred to.
    pub unused_attachment_data: u32,
    /// Timers cancelled beyond the number of changes that one callback may make.
    pub timer_changes: u32,
    /// Log lines beyond the number or bytes that one callback may write.
    pub log_lines: u32,
}

/// What a callback did to the world.
///
/// When the callback failed, everything that is still inside the host is dropped: only `had_side_effects`, `retry_after`,
/// `upstream` and `dropped` can then be set, and `workspace` when a guest wants its reply to be tried again
/// ([`GuestFailure::Temporary`](super::guest_failure::GuestFailure::Temporary)).
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Messages for the agent, in the order they were emitted.
    pub messages: Vec<Emitted>,
    /// Writes to the channel's workspace and the versions that they depend on.
    pub workspace: WorkspaceChanges,
    /// Timers set and cancelled, in order.
    pub timers: Vec<TimerChange>,
    /// An HTTP request or a socket frame went out: running the callback again would repeat it.
    pub had_side_effects: bool,
    /// The longest `Retry-After` that an upstream server responded with.
    pub retry_after: Option<Duration>,
    /// What its outbound requests came to.
    pub upstream: UpstreamOutcome,
    /// What was over a limit.
    pub dropped: Dropped,
}

/// What a callback used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Units of fuel, host calls included.
    pub fuel: u64,
    /// The most memory that the callback took at once, in bytes: the guest's linear memory, and what the host copied out
    /// of it.
    pub peak_memory: usize,
    /// From the worker's first instruction to its last; waiting in queues is not in it.
    pub elapsed: Duration,
    /// `http-request` calls.
    pub http_calls: u32,
    /// Bytes of the bodies of these requests.
    pub sent_bytes: u64,
}

/// One line that a guest wrote, cleaned of control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How severe the guest says it is. Lines on standard output are `Info`, on standard error `Warn`.
    pub level: LogLevel,
    /// The text, without line breaks.
    pub message: String,
}

/// Everything that is known about a callback after it ended, well or not.
#[derive(Debug)]
pub struct CallbackReport {
    /// Which callback it was.
    pub kind: CallbackKind,
    /// What it returned, or why it failed.
    pub result: Result<CallbackValue, WasmChannelError>,
    /// What it did.
    pub effects: Effects,
    /// What it used.
    pub usage: Usage,
    /// What it logged; already handed to the `log` crate.
    pub logs: Vec<LogLine>,
    /// The share of the memory budget that the result and the effects take, released when this is dropped.
    #[expect(dead_code, reason = "held, not read")]
    pub memory: Option<MemoryReservation>,
}

impl CallbackReport {
    /// The report of a callback that could not even begin.
    #[must_use]
    pub fn failed(kind: CallbackKind, error: WasmChannelError) -> Self {
        Self {
            kind,
            result: Err(error),
            effects: Effects::default(),
            usage: Usage::default(),
            logs: Vec::new(),
            memory: None,
        }
    }
}
