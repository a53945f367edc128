//! Why the store could not be read.

use std::sync::Arc;
use std::time::Duration;

use super::handle::CommitError;

/// Why messages, replies or a channel's state could not be read. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store cannot be read at present, for all channels alike: its disk is full or away, for instance. The host opens
    /// it again by itself; the reason says what the operator can do meanwhile.
    #[error("the store cannot be read at present: {reason}")]
    Unavailable {
        /// What happened, and what an operator can do.
        reason: Arc<str>,
        /// When to try again.
        retry_after: Duration,
    },
    /// The store works, but not for this query: what it holds cannot be understood.
    #[error("the store could not be read: {reason}")]
    Failed {
        /// What happened.
        reason: String,
    },
    /// The host is shutting down. What was stored can be read when it runs again.
    #[error("the store has been stopped: the host is shutting down")]
    Stopped,
}

impl From<CommitError> for ReadError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Unavailable { reason, retry_after } => Self::Unavailable { reason, retry_after },
            CommitError::Rejected { reason } => Self::Failed { reason },
            CommitError::Stopped => Self::Stopped,
        }
    }
}
