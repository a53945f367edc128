//! Everything that can go wrong between a guest's bytes and the end of its callback; and how a callback is ended from inside a
//! host call, and what that means for whoever asked for the callback.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmi::errors::HostError;
use wit_abi::abi_version::World;
use wit_abi::guest::GuestError;

use super::memory::GrowthRefusal;
use crate::event::callback::CallbackKind;
use crate::model::human_duration::HumanDuration;
use crate::net::channel_response::UnusableResponse;

/// Why a guest could not be prepared, instantiated or run to its end.
///
/// Every variant names the channel. None carries a secret: what guests write is not quoted except in
/// [`GuestError`](Self::GuestError), and secrets never reach a guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WasmChannelError {
    /// The engine cannot run channels: it was set up otherwise than
    /// [`WasmChannelRuntime::engine_config`](super::WasmChannelRuntime::engine_config), or wasmi was built with both
    /// optimisation and debug assertions, in which case a guest's loop would overflow the native stack.
    #[error("the wasmi engine cannot run channels: {reason}")]
    UnsuitableEngine {
        /// Which setting is missing.
        reason: String,
    },

    /// The configuration that `on-start` gets could not be made.
    #[error("channel `{channel}` has no configuration to start with: {reason}")]
    StartConfig {
        /// The channel.
        channel: String,
        /// What could not be read.
        reason: String,
    },

    /// The file is no guest of a known ABI version, or imports something that the host does not have.
    #[error("channel `{channel}` cannot be loaded: {reason}")]
    NotLoadable {
        /// The channel.
        channel: String,
        /// What is wrong and what would be accepted.
        reason: String,
    },

    /// The file is a tool of the same system.
    #[error("`{channel}` is a tool, not a channel: it exports `{export}`")]
    Tool {
        /// What the file is called.
        channel: String,
        /// What it exports instead of a channel's interface.
        export: String,
    },

    /// wasmi does not accept the guest's code.
    #[error("channel `{channel}` is not valid WebAssembly for this host: {reason}")]
    InvalidModule {
        /// The channel.
        channel: String,
        /// What wasmi says.
        reason: String,
    },

    /// The guest could not be instantiated, because its initial state does not fit.
    #[error("channel `{channel}` could not be instantiated: {reason}")]
    Instantiation {
        /// The channel.
        channel: String,
        /// What does not fit.
        reason: String,
    },

    /// The guest lacks an export that every channel must have.
    #[error(
        "channel `{channel}` does not export `{export}`, which every channel must; build it for a known ABI version"
    )]
    MissingExport {
        /// The channel.
        channel: String,
        /// The export's name.
        export: String,
    },

    /// The callback used all of its fuel.
    #[error(
        "channel `{channel}`: {callback} used up its fuel of {limit} units: it loops, or does more work than one \
         callback may; report it to the channel's author, or raise capabilities.channel.fuel"
    )]
    OutOfFuel {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
        /// Units that it had.
        limit: u64,
    },

    /// The callback was still running at its deadline.
    #[error(
        "channel `{channel}`: {callback} was stopped at its deadline after {}; if a slow service is \
         the reason, raise capabilities.channel.callback_timeout_secs",
        HumanDuration(*elapsed)
    )]
    DeadlineExceeded {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
        /// How long it had run.
        elapsed: Duration,
    },

    /// The host asked for the callback to end.
    #[error(
        "channel `{channel}`: {callback} was stopped because the host is shutting down or the channel is removed"
    )]
    Stopped {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
    },

    /// The guest asked for more memory than a callback may have, was told no, and gave up.
    #[error(
        "channel `{channel}`: {callback} needs {wanted} bytes of memory and may have {limit}; raise \
         capabilities.channel.memory_mb if the machine has the room"
    )]
    OutOfMemory {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
        /// Bytes that it asked for.
        wanted: usize,
        /// Bytes that it may have.
        limit: usize,
    },

    /// The guest asked for more table elements than a callback may have, was told no, and gave up.
    #[error(
        "channel `{channel}`: {callback} needs {wanted} table elements and may have {limit}; raise \
         capabilities.channel.table_elements"
    )]
    TableLimit {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
        /// Elements that it asked for.
        wanted: usize,
        /// Elements that it may have.
        limit: usize,
    },

    /// The callback returned more than the host takes.
    #[error(
        "channel `{channel}`: {callback} returned {wanted} bytes or more and may return {limit}; report it to the channel's \
         author"
    )]
    ResultTooLarge {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
        /// Bytes of what it returned, as far as the host looked.
        wanted: usize,
        /// Bytes that it may return.
        limit: usize,
    },

    /// The guest is within its own limit, but all running callbacks together are at theirs.
    #[error(
        "channel `{channel}`: {callback} found no room for {wanted} bytes of memory: all callbacks together may have \
         {budget}; it is tried again, and fewer callbacks at once or a larger budget make room"
    )]
    HostMemoryExhausted {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
        /// Bytes that it asked for.
        wanted: usize,
        /// Bytes that all callbacks may have together.
        budget: usize,
    },

    /// The guest responded to a request with what cannot be sent: a status that is none, or headers that are not a JSON
    /// object of strings.
    #[error(
        "channel `{channel}`: on-http-request responded with {reason}; report it to the channel's author"
    )]
    UnusableResponse {
        /// The channel.
        channel: String,
        /// What is wrong with the response.
        reason: String,
    },

    /// Other callbacks have filled the workspace while this one ran.
    #[error("channel `{channel}`: {callback} found its workspace filled up by other callbacks: {reason}")]
    WorkspaceFull {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
        /// Which limit, and what would be over it.
        reason: String,
    },

    /// The guest's code trapped.
    #[error(
        "channel `{channel}`: {callback} trapped: {reason}; the guest has a bug: report it to the channel's author with what \
         `tinclaw call` prints for it"
    )]
    Trap {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
        /// The trap in words, such as ``wasm `unreachable` instruction executed``.
        reason: String,
    },

    /// The guest called an import that exists in the world but is not given to channels.
    #[error(
        "channel `{channel}`: {callback} called `{import}`, which this host does not give to channels; ask the channel's \
         author for a build without it"
    )]
    ImportNotGiven {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
        /// The import's module and name.
        import: String,
    },

    /// The guest broke the canonical ABI: a pointer outside of its memory, text that is not UTF-8 and the like.
    #[error(
        "channel `{channel}`: {callback} broke the calling convention: {reason}; build the guest again with the tools for \
         its ABI version, or ask the channel's author for another build"
    )]
    AbiViolation {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
        /// What was wrong, with the value's place.
        reason: String,
    },

    /// The callback ended in good order and returned an error.
    #[error("channel `{channel}`: {callback} failed: {message}")]
    GuestError {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
        /// The guest's own words.
        message: String,
    },

    /// The host itself failed while it ran the callback. This is a bug in the host.
    #[error("channel `{channel}`: the host failed while it ran {callback}: {reason}; please report this")]
    HostFailure {
        /// The channel.
        channel: String,
        /// What was running.
        callback: CallbackKind,
        /// What is known about it.
        reason: String,
    },
}

impl WasmChannelError {
    /// A file that could not be read as a channel.
    #[cold]
    pub(super) fn unread(channel: &str, error: &GuestError) -> Self {
        let channel = channel.to_owned();
        if let GuestError::OtherWorld { world: World::Channel, exports } = error
            && let Some(export) = exports.iter().find(|export| export.contains(World::Tool.interface()))
        {
            return Self::Tool { channel, export: export.clone() };
        }
        Self::NotLoadable { channel, reason: error.to_string() }
    }

    /// Says first what a compiler can do about a file that cannot be loaded, when that is known.
    #[cold]
    pub(super) fn with_advice(mut self, advice: impl FnOnce() -> Option<String>) -> Self {
        if let Self::NotLoadable { reason, .. } | Self::InvalidModule { reason, .. } = &mut self
            && let Some(advice) = advice()
        {
            *reason = format!("{advice} ({reason})");
        }
        self
    }
}

/// Why a callback ends before it returned. Travels through wasmi as a host error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// The fuel of the whole callback is used up.
    OutOfFuel,
    /// The deadline has passed.
    Deadline,
    /// The stop flag is set.
    Stopped,
    /// An import was called that exists but is not given.
    NotGiven(Arc<str>),
    /// The guest broke the canonical ABI.
    Abi(String),
    /// It returned a response that cannot be sent.
    Response(UnusableResponse),
    /// The guest ended its own program.
    Exit(i32),
    /// The guest trapped, with wasmi's words for it.
    Trap(String),
    /// The host is at fault.
    Host(String),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfFuel => f.write_str("out of fuel"),
            Self::Deadline => f.write_str("deadline exceeded"),
            Self::Stopped => f.write_str("stopped"),
            Self::NotGiven(import) => write!(f, "`{import}` is not given to channels"),
            Self::Exit(code) => write!(f, "the guest ended its program with exit code {code}"),
            Self::Response(reason) => write!(f, "it responded with {reason}"),
            Self::Abi(reason) | Self::Trap(reason) | Self::Host(reason) => f.write_str(reason),
        }
    }
}

impl HostError for Halt {}

impl From<Halt> for wasmi::Error {
    fn from(halt: Halt) -> Self {
        Self::host(halt)
    }
}

impl From<wasmi::Error> for Halt {
    /// What wasmi reports is the guest's doing, unless the host put a [`Halt`] into it.
    fn from(error: wasmi::Error) -> Self {
        match error.downcast_ref::<Self>() {
            Some(halt) => halt.clone(),
            None => Self::Trap(error.to_string()),
        }
    }
}

/// What is known about a callback when it has to be explained.
pub(super) struct CallbackFacts<'a> {
    pub(super) channel: &'a str,
    pub(super) callback: CallbackKind,
    pub(super) fuel_limit: u64,
    pub(super) elapsed: std::time::Duration,
    /// The last growth of memory, if it was refused.
    pub(super) refusal: Option<GrowthRefusal>,
}

impl Halt {
    /// The error that the rest of the host sees.
    pub(super) fn explain(self, facts: &CallbackFacts<'_>) -> WasmChannelError {
        let (channel, callback) = (facts.channel.to_owned(), facts.callback);
        match (self, facts.refusal) {
            // A guest that was told no by `memory.grow` usually has nothing better to do than to trap or exit, or its
            // allocator returns a pointer to nowhere.
            (
                Self::Trap(_) | Self::Exit(_) | Self::Abi(_),
                Some(GrowthRefusal::OverLimit { wanted, limit }),
            ) => WasmChannelError::OutOfMemory { channel, callback, wanted, limit },
            (
                Self::Trap(_) | Self::Exit(_) | Self::Abi(_),
                Some(GrowthRefusal::OverBudget { wanted, budget }),
            ) => WasmChannelError::HostMemoryExhausted { channel, callback, wanted, budget },
            (Self::Trap(_) | Self::Exit(_) | Self::Abi(_), Some(GrowthRefusal::Table { wanted, limit })) => {
                WasmChannelError::TableLimit { channel, callback, wanted, limit }
            }
            (Self::Abi(_), Some(GrowthRefusal::Result { wanted, limit })) => {
                WasmChannelError::ResultTooLarge { channel, callback, wanted, limit }
            }
            (Self::OutOfFuel, _) => {
                WasmChannelError::OutOfFuel { channel, callback, limit: facts.fuel_limit }
            }
            (Self::Deadline, _) => {
                WasmChannelError::DeadlineExceeded { channel, callback, elapsed: facts.elapsed }
            }
            (Self::Stopped, _) => WasmChannelError::Stopped { channel, callback },
            (Self::NotGiven(import), _) => {
                WasmChannelError::ImportNotGiven { channel, callback, import: import.to_string() }
            }
            (Self::Response(reason), _) => {
                WasmChannelError::UnusableResponse { channel, reason: reason.to_string() }
            }
            (Self::Abi(reason), _) => WasmChannelError::AbiViolation { channel, callback, reason },
            (Self::Host(reason), _) => WasmChannelError::HostFailure { channel, callback, reason },
            (halt @ (Self::Exit(_) | Self::Trap(_)), _) => {
                WasmChannelError::Trap { channel, callback, reason: halt.to_string() }
            }
        }
    }
}
