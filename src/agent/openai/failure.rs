//! What a failure means for the message, and what the sender is told. No I/O.

use std::time::Duration;

use super::client::{AskError, AskErrorKind};
use super::server_error::ServerErrorKind;

/// Why a message has no reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoReply {
    /// For the operator.
    pub error: String,
    pub then: FailureAction,
}

/// What becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureAction {
    /// It waits; this is no attempt. Without a time, the wait grows with the failures in a row.
    Wait(Option<Duration>),
    /// It is tried again a few times. When it becomes a dead letter, the sender is told this.
    TryAgain(&'static str),
    /// Trying again would not help: the sender is told this at once.
    GiveUp(&'static str),
    /// The host stops.
    Stop,
}

impl NoReply {
    /// The store did not keep or give what the agent remembers.
    pub fn of_store(error: impl std::fmt::Display) -> Self {
        let wait = Duration::from_secs(2);
        Self {
            error: format!("the conversation cannot be kept: {error}"),
            then: FailureAction::Wait(Some(wait)),
        }
    }
}

impl From<AskError> for NoReply {
    fn from(AskError { kind, error }: AskError) -> Self {
        Self { error, then: then(kind) }
    }
}

fn then(kind: AskErrorKind) -> FailureAction {
    use ServerErrorKind::{
        Failed, Invalid, Key, MaxCompletionTokens, NoCredit, NoTools, RateLimited, Redirect, TooLong,
        Unavailable, UnknownModel,
    };
    match kind {
        AskErrorKind::Refused(RateLimited | Unavailable, wait) => FailureAction::Wait(wait),
        AskErrorKind::Refused(Failed, _) => {
            FailureAction::TryAgain("The language model failed to reply to this message.")
        }
        AskErrorKind::Refused(TooLong, _) => {
            FailureAction::GiveUp("This message is too long for the language model.")
        }
        AskErrorKind::Refused(UnknownModel, _) => FailureAction::GiveUp(
            "The language model that this bot is set to is not on its server; the operator can change that.",
        ),
        AskErrorKind::Refused(Key, _) => FailureAction::GiveUp(
            "The language model's server does not accept this bot's key; the operator can change that.",
        ),
        AskErrorKind::Refused(NoCredit, _) => FailureAction::GiveUp(
            "This bot has no credit left at the language model's server; the operator can change that.",
        ),
        AskErrorKind::Refused(Redirect, _) => FailureAction::GiveUp(
            "The language model's server is at another address; the operator can change that.",
        ),
        AskErrorKind::Refused(Invalid | MaxCompletionTokens | NoTools, _) => {
            FailureAction::GiveUp("The language model refused this message.")
        }
        AskErrorKind::Cut => FailureAction::TryAgain("The language model's reply did not arrive."),
        AskErrorKind::TimedOut => FailureAction::TryAgain("The language model took too long to reply."),
        AskErrorKind::NotUnderstood => {
            FailureAction::TryAgain("The language model's reply could not be read.")
        }
        AskErrorKind::Stopped => FailureAction::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_errors_are_retried_and_permanent_ones_are_reported_at_once() {
        let refused = |kind| AskErrorKind::Refused(kind, None);
        for (kind, is_final, waits) in [
            (refused(ServerErrorKind::RateLimited), false, true),
            (refused(ServerErrorKind::Unavailable), false, true),
            (refused(ServerErrorKind::Failed), false, false),
            (refused(ServerErrorKind::TooLong), true, false),
            (refused(ServerErrorKind::UnknownModel), true, false),
            (refused(ServerErrorKind::Key), true, false),
            (refused(ServerErrorKind::NoCredit), true, false),
            (refused(ServerErrorKind::Redirect), true, false),
            (refused(ServerErrorKind::Invalid), true, false),
            (AskErrorKind::Cut, false, false),
            (AskErrorKind::TimedOut, false, false),
            (AskErrorKind::NotUnderstood, false, false),
        ] {
            let then = then(kind);
            assert_eq!(matches!(then, FailureAction::GiveUp(_)), is_final, "{kind:?}");
            assert_eq!(matches!(then, FailureAction::Wait(_)), waits, "{kind:?}");
        }
    }
}
