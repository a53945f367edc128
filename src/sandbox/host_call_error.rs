//! Why a host call of a guest failed. The guest reads the text; it names limits and fields, and quotes no secrets.

use thiserror::Error;

use super::context::MAX_TIMER_CHANGES;
use crate::channel::workspace::{PathError, WorkspaceError};

/// Why a host call failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostCallError {
    /// Only guests of the other world import this function.
    #[error("this guest's world does not have this function")]
    NotInWorld,
    /// One attachment is too large.
    #[error("the attachment has {size} bytes and may have {limit} (max_stored_attachment_bytes)")]
    AttachmentTooLarge {
        /// Bytes of the attachment.
        size: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// The attachments of the callback are too large together.
    #[error(
        "the attachments of this callback would have {total} bytes and may have {limit} \
         (max_attachment_bytes_per_callback)"
    )]
    AttachmentsTooLarge {
        /// Bytes of all attachments, with their ids.
        total: usize,
        /// Bytes that they may have.
        limit: usize,
    },
    /// The callback has stored as many attachments as it may emit.
    #[error("this callback has stored its {0} attachments")]
    TooManyAttachments(usize),
    /// A timer's name is empty or too long.
    #[error("a timer's name has 1 to {limit} bytes, this one {size} (max_timer_name_bytes)")]
    TimerName {
        /// Bytes of the name.
        size: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// A timer's payload is too long.
    #[error("a timer's payload has at most {limit} bytes, this one {size} (max_timer_payload_bytes)")]
    TimerPayload {
        /// Bytes of the payload.
        size: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// A timer is too far ahead.
    #[error("a timer can be set at most {0} days ahead (max_timer_delay_days)")]
    TimerDelay(u64),
    /// The channel has as many timers as it may.
    #[error("this channel may have {0} timers (max_timers)")]
    TooManyTimers(usize),
    /// The callback has changed timers as often as it may.
    #[error("this callback has made its {MAX_TIMER_CHANGES} timer changes")]
    TooManyTimerChanges,
    /// The callback has made as many HTTP requests as it may.
    #[error("this callback has made its {0} requests (http.max_requests_per_callback)")]
    TooManyRequests(u32),
    /// The call has invoked as many tools as it may.
    #[error("this call has invoked its {0} tools (tool.max_invokes_per_call)")]
    TooManyInvokes(u32),
    /// The path is not one of the workspace.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The workspace has no room for the file.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The service behind the function refused or failed, in its words.
    #[error("{0}")]
    Service(String),
}

impl HostCallError {
    /// The service behind the function refused or failed.
    pub fn service(error: impl std::fmt::Display) -> Self {
        Self::Service(error.to_string())
    }
}
