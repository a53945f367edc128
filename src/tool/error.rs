//! Why a tool is not loaded, or its call has no result.

use std::time::Duration;

use super::runtime::EXECUTE;
use super::state::KeepError;
use crate::capability::CapabilityError;
use crate::channel::LoadError;
use crate::model::human_duration::HumanDuration;
use crate::sandbox::WasmChannelError;

/// Why a tool could not be loaded or called. None carries a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// The engine or the settings of outbound requests cannot be used, or the directory that tools read is not there.
    #[error("tools cannot run: {reason}")]
    Settings {
        /// Which setting, and what would be accepted.
        reason: String,
    },
    /// Its files cannot be found or read.
    #[error(transparent)]
    Files(#[from] LoadError),
    /// Its capability file is wrong.
    #[error("tool {tool}: {source}")]
    Capabilities {
        /// The tool.
        tool: String,
        /// What is wrong.
        source: Box<CapabilityError>,
    },
    /// The file is no tool for this host, or its guest is not valid.
    #[error("tool {tool} cannot be loaded: {reason}")]
    NotLoadable {
        /// The tool.
        tool: String,
        /// What is wrong and what would be accepted.
        reason: String,
    },
    /// What the guest says about its parameters cannot be used, so nobody could call it.
    #[error("tool {tool} cannot be loaded: its schema cannot be used: {reason}")]
    Schema {
        /// The tool.
        tool: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tool of this name is there already.
    #[error("there are two tools with the name {tool}: rename one")]
    NameTaken {
        /// The name.
        tool: String,
    },
    /// There is no such tool.
    #[error("there is no tool `{tool}`{}", others(.known))]
    Unknown {
        /// The name that was called.
        tool: String,
        /// The tools that are there.
        known: Vec<String>,
    },
    /// The parameters are not what the tool's schema asks for. The guest has not run.
    #[error("tool {tool}: the parameters do not fit its schema: {}", .problems.join("; "))]
    Parameters {
        /// The tool.
        tool: String,
        /// Each names a field and what is wrong with it.
        problems: Vec<String>,
    },
    /// Too many calls at a time, no memory for another one, or what it wrote cannot be kept now. Trying again later helps.
    #[error("tool {tool}: nothing was done, because {reason}: try again later")]
    Busy {
        /// The tool.
        tool: String,
        /// What there is too much of.
        reason: String,
    },
    /// The tool ended in good order and said that it failed.
    #[error("{message}")]
    Failed {
        /// The tool.
        tool: String,
        /// The tool's own words.
        message: String,
    },
    /// The call was ended before the tool was done.
    #[error("tool {tool}: {function}: {failure}")]
    Ended {
        /// The tool.
        tool: String,
        /// Which function: `execute`, `schema` or `description`.
        function: &'static str,
        /// Why.
        failure: ToolFailure,
    },
}

/// Why a call was ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolFailure {
    /// It used all of its fuel.
    #[error(
        "it used up its fuel of {limit} units: it loops, or does more work than one call may (tool.call_fuel sets it)"
    )]
    OutOfFuel {
        /// Units that it had.
        limit: u64,
    },
    /// It was still running at its deadline.
    #[error("it was stopped at its deadline after {} (tool.call_timeout_secs sets it)", HumanDuration(*.elapsed))]
    DeadlineExceeded {
        /// How long it had run.
        elapsed: Duration,
    },
    /// The caller, or the host, asked for the end.
    #[error("it was stopped, because whoever called it or the host ended")]
    Stopped,
    /// It asked for more memory than a call may have, was told no, and gave up.
    #[error("it needs {wanted} bytes of memory and may have {limit} (tool.call_memory_mb sets it)")]
    OutOfMemory {
        /// Bytes that it asked for.
        wanted: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// All running guests together are at their limit.
    #[error("there was no room for {wanted} bytes of memory: all running guests together may have {budget}")]
    HostMemoryExhausted {
        /// Bytes that it asked for.
        wanted: usize,
        /// Bytes that all may have together.
        budget: usize,
    },
    /// It returned more than it may.
    #[error("it returned {bytes} bytes and may return {limit} ({field} sets it)")]
    ResultTooLarge {
        /// Bytes of what it returned.
        bytes: usize,
        /// Bytes that it may return.
        limit: usize,
        /// The field of the capability file.
        field: &'static str,
    },
    /// It trapped, broke the calling convention, or could not be instantiated.
    #[error("{reason}")]
    Trap {
        /// What happened, in words.
        reason: String,
    },
    /// The host itself failed. This is a bug in the host.
    #[error("the host failed: {reason}")]
    Host {
        /// What is known about it.
        reason: String,
    },
}

impl ToolError {
    /// A guest that could not be prepared.
    pub(super) fn unprepared(tool: &str, error: WasmChannelError) -> Self {
        let tool = tool.to_owned();
        match error {
            WasmChannelError::NotLoadable { reason, .. } => Self::NotLoadable { tool, reason },
            WasmChannelError::InvalidModule { reason, .. } => Self::NotLoadable {
                tool,
                reason: format!("it is not valid WebAssembly for this host: {reason}"),
            },
            other => Self::NotLoadable { tool, reason: failure_of(other).to_string() },
        }
    }

    /// A call that was ended.
    pub(super) fn ended(tool: &str, function: &'static str, error: WasmChannelError) -> Self {
        Self::Ended { tool: tool.to_owned(), function, failure: failure_of(error) }
    }
}

impl ToolError {
    /// A call whose state is not kept, so that nothing of it is left.
    pub(super) fn not_kept(tool: &str, error: KeepError) -> Self {
        let (tool, reason) = (tool.to_owned(), error.to_string());
        match error {
            KeepError::Changed | KeepError::NotStored(_) => Self::Busy { tool, reason },
            KeepError::Full(_) => {
                Self::Ended { tool, function: EXECUTE, failure: ToolFailure::Trap { reason } }
            }
        }
    }
}

/// The same failure, as it is told of tools.
fn failure_of(error: WasmChannelError) -> ToolFailure {
    use WasmChannelError as Error;
    let trap = |reason: String| ToolFailure::Trap { reason };
    match error {
        Error::OutOfFuel { limit, .. } => ToolFailure::OutOfFuel { limit },
        Error::DeadlineExceeded { elapsed, .. } => ToolFailure::DeadlineExceeded { elapsed },
        Error::Stopped { .. } => ToolFailure::Stopped,
        Error::OutOfMemory { wanted, limit, .. } => ToolFailure::OutOfMemory { wanted, limit },
        Error::TableLimit { wanted, limit, .. } => {
            trap(format!("it needs {wanted} table elements and may have {limit}"))
        }
        Error::ResultTooLarge { wanted, limit, .. } => {
            trap(format!("it returned {wanted} bytes or more and may return {limit}"))
        }
        Error::HostMemoryExhausted { wanted, budget, .. } => {
            ToolFailure::HostMemoryExhausted { wanted, budget }
        }
        Error::Trap { reason, .. } => trap(format!("it trapped: {reason}")),
        Error::AbiViolation { reason, .. } => trap(format!("it broke the calling convention: {reason}")),
        Error::ImportNotGiven { import, .. } => {
            trap(format!("it called `{import}`, which this host does not give to tools"))
        }
        Error::Instantiation { reason, .. } => trap(format!("it could not be instantiated: {reason}")),
        Error::HostFailure { reason, .. } => ToolFailure::Host { reason },
        // None of these comes of a call to a tool.
        other => ToolFailure::Host { reason: other.to_string() },
    }
}

fn others(names: &[String]) -> String {
    match names {
        [] => ": no tool is loaded".to_owned(),
        names => format!(": there are {}", names.join(", ")),
    }
}
