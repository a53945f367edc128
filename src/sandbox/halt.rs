//! How a callback is ended from inside a host call, and what that means for whoever asked for the callback.

use std::fmt;
use std::sync::Arc;

use wasmi::errors::HostError;

use super::error::WasmChannelError;
use super::memory::GrowthRefusal;
use crate::event::callback::CallbackKind;

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
pub(super) struct Circumstances<'a> {
    pub(super) channel: &'a str,
    pub(super) callback: CallbackKind,
    pub(super) fuel_limit: u64,
    pub(super) elapsed: std::time::Duration,
    /// The last growth of memory, if it was refused.
    pub(super) refusal: Option<GrowthRefusal>,
}

impl Halt {
    /// The error that the rest of the host sees.
    pub(super) fn explain(self, facts: &Circumstances<'_>) -> WasmChannelError {
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
            (Self::Abi(reason), _) => WasmChannelError::AbiViolation { channel, callback, reason },
            (Self::Host(reason), _) => WasmChannelError::HostFailure { channel, callback, reason },
            (halt @ (Self::Exit(_) | Self::Trap(_)), _) => {
                WasmChannelError::Trap { channel, callback, reason: halt.to_string() }
            }
        }
    }
}
