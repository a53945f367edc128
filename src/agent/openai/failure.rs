//! What a failure means for the message, and what the person is told. No I/O.

use std::time::Duration;

use super::client::{AskError, AskErrorKind};
use super::refusal::Refusal;

/// Why a message has no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoAnswer {
    /// For the operator.
    pub error: String,
    pub then: Then,
}

/// What becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It waits; this is no attempt. Without a time, the wait grows with the failures in a row.
    Wait(Option<Duration>),
    /// It is tried again a few times. When it becomes a dead letter, the person is told this.
    TryAgain(&'static str),
    /// Trying again would not help: the person is told this at once.
    GiveUp(&'static str),
    /// The host stops.
    Stop,
}

impl NoAnswer {
    /// The store did not keep or give what the agent remembers.
    pub fn of_store(error: impl std::fmt::Display) -> Self {
        let wait = Duration::from_secs(2);
        Self { error: format!("the conversation cannot be kept: {error}"), then: Then::Wait(Some(wait)) }
    }
}

impl From<AskError> for NoAnswer {
    fn from(AskError { kind, error }: AskError) -> Self {
        Self { error, then: then(kind) }
    }
}

fn then(kind: AskErrorKind) -> Then {
    use Refusal::{
        Failed, Invalid, Key, MaxCompletionTokens, NoTools, RateLimited, TooLong, Unavailable, UnknownModel,
    };
    match kind {
        AskErrorKind::Refused(RateLimited | Unavailable, wait) => Then::Wait(wait),
        AskErrorKind::Refused(Failed, _) => {
            Then::TryAgain("The language model failed to answer this message.")
        }
        AskErrorKind::Refused(TooLong, _) => Then::GiveUp("This message is too long for the language model."),
        AskErrorKind::Refused(UnknownModel, _) => Then::GiveUp(
            "The language model that this bot is set to is not on its server; the operator can change that.",
        ),
        AskErrorKind::Refused(Key, _) => Then::GiveUp(
            "The language model's server does not accept this bot's key; the operator can change that.",
        ),
        AskErrorKind::Refused(Invalid | MaxCompletionTokens | NoTools, _) => {
            Then::GiveUp("The language model refused this message.")
        }
        AskErrorKind::Cut => Then::TryAgain("The language model's answer did not arrive."),
        AskErrorKind::TimedOut => Then::TryAgain("The language model took too long to answer."),
        AskErrorKind::NotUnderstood => Then::TryAgain("The language model's answer could not be read."),
        AskErrorKind::Stopped => Then::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_told_at_once() {
        let refused = |refusal| AskErrorKind::Refused(refusal, None);
        for (kind, is_final, waits) in [
            (refused(Refusal::RateLimited), false, true),
            (refused(Refusal::Unavailable), false, true),
            (refused(Refusal::Failed), false, false),
            (refused(Refusal::TooLong), true, false),
            (refused(Refusal::UnknownModel), true, false),
            (refused(Refusal::Key), true, false),
            (refused(Refusal::Invalid), true, false),
            (AskErrorKind::Cut, false, false),
            (AskErrorKind::TimedOut, false, false),
            (AskErrorKind::NotUnderstood, false, false),
        ] {
            let then = then(kind);
            assert_eq!(matches!(then, Then::GiveUp(_)), is_final, "{kind:?}");
            assert_eq!(matches!(then, Then::Wait(_)), waits, "{kind:?}");
        }
    }
}
