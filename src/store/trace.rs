//! What happened to messages and replies, step by step, as `tinclaw trace` shows it.
//!
//! A step is written in the batch that changes what it is about, so it costs a row of some 30 bytes and no commit of its own.
//! Where the state of a message or a reply says the same, nothing is written here.

use super::record::{DedupeId, MessageId, ReplyId};

/// How many steps are kept, of all messages and replies together. They also go when they are older than
/// [`Retention::completed`](super::Retention::completed).
#[cfg(any(feature = "sqlite", test))]
pub const MAX_STEPS: u64 = 50_000;

/// How many a store in memory keeps.
pub(super) const MAX_STEPS_IN_MEMORY: usize = 1_000;

/// The longest text of a step, in bytes.
const MAX_TEXT_BYTES: usize = 300;

/// Most messages that are found for one id of a provider.
#[cfg(any(feature = "cli", test))]
pub const MAX_FOUND: usize = 20;

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TraceSubject {
    /// A message on its way to the agent.
    Message(MessageId),
    /// A reply on its way to a service.
    Reply(ReplyId),
}

#[cfg(any(feature = "sqlite", test))]
impl TraceSubject {
    /// One number for both kinds, as it is stored.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Message(id) => id.0 * 2,
            Self::Reply(id) => id.0 * 2 + 1,
        }
    }
}

/// What happened. The numbers are those of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TraceKind {
    /// A guest emitted the message, and it is durable. The text is what the guest was called for.
    Accepted = 0,
    /// The agent got the message and acknowledged it.
    Acknowledged = 1,
    /// The agent got the message and failed at it. The text is why.
    AgentFailed = 2,
    /// The service has the reply. The text is its response.
    Sent = 3,
    /// An attempt to send the reply failed. The text is why.
    NotSent = 4,
    /// The agent could not be asked, which is no attempt: the step counts these tries instead. The text is why.
    AgentUnavailable = 5,
}

#[cfg(any(feature = "cli", test))]
impl TraceKind {
    const ALL: [Self; 6] = [
        Self::Accepted,
        Self::Acknowledged,
        Self::AgentFailed,
        Self::Sent,
        Self::NotSent,
        Self::AgentUnavailable,
    ];

    /// The kind of this number.
    pub(super) fn of_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i64 == number)
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// What it is about.
    pub subject: TraceSubject,
    /// What happened.
    pub kind: TraceKind,
    /// When it ended, in Unix milliseconds.
    pub at_ms: u64,
    /// Which attempt it was, counted from 1; 0 where there are no attempts.
    pub attempt: u32,
    /// The fuel of the callback; 0 where none ran.
    pub fuel: u64,
    /// How long it took, in microseconds: the callback, or the agent.
    pub took_us: u64,
    /// The request that caused it, where requests are recognised by an id.
    pub request: Option<DedupeId>,
    /// See [`TraceKind`].
    pub text: String,
}

impl TraceStep {
    /// A step without numbers. A text that is too long is cut.
    pub fn new(subject: TraceSubject, kind: TraceKind, at_ms: u64, text: &str) -> Self {
        let text = crate::model::prefix::prefix(text, MAX_TEXT_BYTES).replace('\0', "");
        Self { subject, kind, at_ms, attempt: 0, fuel: 0, took_us: 0, request: None, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_replies_with_the_same_id_are_told_apart() {
        let numbers = [
            TraceSubject::Message(MessageId(1)),
            TraceSubject::Reply(ReplyId(1)),
            TraceSubject::Message(MessageId(2)),
        ];
        assert_eq!(numbers.map(TraceSubject::number), [2, 3, 4]);
    }

    #[test]
    fn every_kind_is_found_by_its_number_and_no_other() {
        for kind in TraceKind::ALL {
            assert_eq!(TraceKind::of_number(kind as i64), Some(kind));
        }
        assert_eq!((TraceKind::of_number(6), TraceKind::of_number(-1)), (None, None));
    }

    #[test]
    fn a_text_is_kept_up_to_its_limit() {
        for (length, kept) in [(MAX_TEXT_BYTES, MAX_TEXT_BYTES), (MAX_TEXT_BYTES + 1, MAX_TEXT_BYTES)] {
            let subject = TraceSubject::Reply(ReplyId(1));
            let step = TraceStep::new(subject, TraceKind::NotSent, 0, &"x".repeat(length));
            assert_eq!(step.text.len(), kept);
        }
    }
}
