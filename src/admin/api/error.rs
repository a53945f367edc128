//! Why a request to the API was not done.

use std::time::Duration;

use serde_json::{Value, json};

use crate::channel::ChannelName;
use crate::model::human_duration::HumanDuration;
use crate::model::value_error::ValueError;

/// Why a request was not done, as its client is told.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// No resource has this path.
    #[error("there is no resource {method} {path}")]
    NoResource {
        /// The method of the request.
        method: String,
        /// Its path.
        path: String,
    },
    /// The resource has other methods.
    #[error("there is no resource {method} {path}; its methods are {allowed}")]
    Method {
        /// The method of the request.
        method: String,
        /// Its path.
        path: String,
        /// Those that it has, as in `Allow`.
        allowed: String,
    },
    /// Nobody waits with the code that was given.
    #[error("{0}")]
    WrongCode(String),
    /// Too many codes were wrong.
    #[error("{0}")]
    Locked(String),
    /// The change names a channel that is not there.
    #[error("{0}")]
    UnknownChannel(String),
    /// The resource needs a running host, and there is none.
    #[error("no host is running")]
    NotRunning,
    /// There is nothing with this id.
    #[error("there is no {what} {id} (completed ones are kept for some days only)")]
    NoSuch {
        /// What was asked for.
        what: &'static str,
        /// Its id.
        id: u64,
    },
    /// A change that does not apply.
    #[error("{what} {id} was left as it is: {reason}")]
    Unchanged {
        /// What was to be changed.
        what: &'static str,
        /// Its id.
        id: u64,
        /// Why it was not.
        reason: &'static str,
    },
    /// No channel of the running host has this name.
    #[error("there is no channel {0} in the running host")]
    NoChannel(ChannelName),
    /// A channel of which no recording was begun.
    #[error("channel {0} is not being recorded")]
    NotRecorded(ChannelName),
    /// A channel that somebody records already.
    #[error(
        "channel {channel} is being recorded already, for {} at most; whoever records it gets the recording, and \
         `POST /api/v1/channels/{channel}/recording/stop` ends it",
        HumanDuration(*left)
    )]
    AlreadyRecorded {
        /// The channel.
        channel: ChannelName,
        /// How long.
        left: Duration,
    },
    /// Nobody has this approval.
    #[error("nobody is approved as {id} for channel {channel}")]
    NotApproved {
        /// Whose approval was to be withdrawn.
        id: String,
        /// For which channel.
        channel: ChannelName,
    },
    /// The request names something that is no channel.
    #[error("{name:?} is not a channel name: {source}")]
    ChannelName {
        /// What it names.
        name: String,
        /// What is wrong with it.
        source: ValueError,
    },
    /// A part of the request cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// What the host, its store or a part of it says.
    #[error("{0}")]
    Failed(String),
}

impl ApiError {
    /// What the host says.
    pub(crate) fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    /// The HTTP status and a word for programs. Words do not change.
    pub(crate) fn status(&self) -> (u16, &'static str) {
        match self {
            Self::NoResource { .. } => (404, "no_resource"),
            Self::Method { .. } => (405, "method_not_allowed"),
            Self::NoSuch { .. }
            | Self::NotApproved { .. }
            | Self::NoChannel(_)
            | Self::NotRecorded(_)
            | Self::UnknownChannel(_)
            | Self::WrongCode(_) => (404, "not_found"),
            Self::Locked(_) => (429, "locked"),
            Self::Unchanged { .. } | Self::AlreadyRecorded { .. } => (409, "unchanged"),
            Self::ChannelName { .. } | Self::Invalid(_) => (400, "invalid"),
            Self::NotRunning => (503, "not_running"),
            Self::Failed(_) => (500, "failed"),
        }
    }

    /// The methods that the resource has, when the request's was another.
    pub(crate) fn allowed(&self) -> Option<&str> {
        match self {
            Self::Method { allowed, .. } => Some(allowed),
            _ => None,
        }
    }

    /// The body of the response.
    pub(crate) fn to_json(&self) -> Value {
        json!({"error": self.status().1, "message": self.to_string()})
    }
}
