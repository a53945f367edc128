//! What a change does to a message or a reply, by the state that it is in: one function for each, which every engine follows. Pure
//! decisions.

use super::change::Change;
use super::record::{MessageId, MessageState, ReplyId, ReplyState};

/// What decides about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageStatus {
    /// Where it stands.
    pub state: MessageState,
    /// How often it was delivered to the agent.
    pub attempt: u32,
}

/// What decides about a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplyStatus {
    /// Where it stands.
    pub state: ReplyState,
    /// How often it has been tried since `since_ms`.
    pub attempts: u32,
    /// How many of these attempts have trapped.
    pub traps: u32,
    /// When its present row of attempts began.
    pub since_ms: u64,
    /// Not to be tried before.
    pub next_ms: u64,
    /// An attempt was begun and has no outcome yet.
    pub in_flight: bool,
    /// The outcome of an earlier attempt is unknown.
    pub redelivery: bool,
}

/// The message that a change is about, and when it happened.
pub(super) fn changed_message(change: &Change) -> Option<(MessageId, u64)> {
    match change {
        Change::MessageAttempt { id, at_ms, .. }
        | Change::MessageAcked { id, at_ms }
        | Change::MessageDead { id, at_ms, .. }
        | Change::MessageDropped { id, at_ms }
        | Change::MessageRequeued { id, at_ms } => Some((*id, *at_ms)),
        _ => None,
    }
}

/// The reply that a change is about, and when it happened.
pub(super) fn changed_reply(change: &Change) -> Option<(ReplyId, u64)> {
    match change {
        Change::ReplyAttempt { id, at_ms, .. }
        | Change::ReplyRetry { id, at_ms, .. }
        | Change::ReplyDelivered { id, at_ms }
        | Change::ReplyDead { id, at_ms, .. }
        | Change::ReplyRequeued { id, at_ms }
        | Change::ReplyDropped { id, at_ms } => Some((*id, *at_ms)),
        _ => None,
    }
}

/// What a change says went wrong.
pub(super) fn error_of(change: &Change) -> Option<&str> {
    match change {
        Change::MessageDead { error, .. }
        | Change::ReplyRetry { error, .. }
        | Change::ReplyDead { error, .. } => Some(error),
        _ => None,
    }
}

/// What a change makes of a message; none when its state does not allow it.
pub(super) fn message_after(before: MessageStatus, change: &Change) -> Option<MessageStatus> {
    use MessageState::{Acked, Dead, Dropped, Pending};
    let MessageStatus { state, attempt } = before;
    // Whatever ends a message says that it was delivered.
    let delivered = attempt.max(1);
    let (state, attempt) = match (change, state) {
        (Change::MessageAttempt { attempt, .. }, Pending) => (Pending, *attempt),
        (Change::MessageAcked { .. }, Pending) => (Acked, delivered),
        (Change::MessageDead { .. }, Pending) => (Dead, delivered),
        (Change::MessageDropped { .. }, Pending | Dead) => (Dropped, attempt),
        (Change::MessageRequeued { .. }, Acked | Dropped) => (Pending, attempt),
        (Change::MessageRequeued { .. }, Dead) => (Pending, 0),
        _ => return None,
    };
    Some(MessageStatus { state, attempt })
}

/// What a change makes of a reply; none when its state does not allow it.
pub(super) fn reply_after(before: ReplyStatus, change: &Change) -> Option<ReplyStatus> {
    use ReplyState::{Dead, Delivered, Dropped, Pending};
    let ended = ReplyStatus { in_flight: false, ..before };
    Some(match (change, before.state) {
        // An attempt that follows one without an outcome: from now on the reply is a redelivery.
        (Change::ReplyAttempt { attempt, .. }, Pending) => ReplyStatus {
            attempts: *attempt,
            in_flight: true,
            redelivery: before.redelivery || before.in_flight,
            ..before
        },
        (Change::ReplyRetry { next_ms, uncertain, traps, .. }, Pending) => ReplyStatus {
            next_ms: *next_ms,
            traps: *traps,
            redelivery: before.redelivery || *uncertain,
            ..ended
        },
        // It is what happened.
        (Change::ReplyDelivered { .. }, _) => ReplyStatus { state: Delivered, ..ended },
        (Change::ReplyDead { uncertain, .. }, Pending) => {
            ReplyStatus { state: Dead, redelivery: before.redelivery || *uncertain, ..ended }
        }
        (Change::ReplyRequeued { at_ms, .. }, state) => ReplyStatus {
            state: Pending,
            attempts: 0,
            traps: 0,
            since_ms: *at_ms,
            next_ms: *at_ms,
            redelivery: before.redelivery || state == Delivered,
            ..before
        },
        (Change::ReplyDropped { .. }, Pending | Dead) => ReplyStatus { state: Dropped, ..ended },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_in_every_message_state_has_its_result() {
        use MessageState::{Acked, Dead, Dropped, Pending};
        let id = MessageId(1);
        let changes = [
            Change::MessageAttempt { id, attempt: 5, at_ms: 9 },
            Change::MessageAcked { id, at_ms: 9 },
            Change::MessageDead { id, at_ms: 9, error: String::new() },
            Change::MessageDropped { id, at_ms: 9 },
            Change::MessageRequeued { id, at_ms: 9 },
        ];
        for (state, expected) in [
            (Pending, [Some((Pending, 5)), Some((Acked, 2)), Some((Dead, 2)), Some((Dropped, 2)), None]),
            (Acked, [None, None, None, None, Some((Pending, 2))]),
            (Dropped, [None, None, None, None, Some((Pending, 2))]),
            (Dead, [None, None, None, Some((Dropped, 2)), Some((Pending, 0))]),
        ] {
            for (change, expected) in changes.iter().zip(expected) {
                let after = message_after(MessageStatus { state, attempt: 2 }, change);
                let expected = expected.map(|(state, attempt)| MessageStatus { state, attempt });
                assert_eq!(after, expected, "{state:?}: {change:?}");
                assert_eq!(changed_message(change), Some((id, 9)));
            }
        }
        let never = MessageStatus { state: Pending, attempt: 0 };
        assert_eq!(message_after(never, &changes[1]).map(|after| after.attempt), Some(1), "it was delivered");
    }

    #[test]
    fn which_state_each_change_leads_a_reply_to() {
        use ReplyState::{Dead, Delivered, Dropped, Pending};
        let id = ReplyId(1);
        let error = String::new;
        let changes = [
            Change::ReplyAttempt { id, attempt: 5, at_ms: 9 },
            Change::ReplyRetry { id, at_ms: 9, next_ms: 20, error: error(), uncertain: false, traps: 1 },
            Change::ReplyDelivered { id, at_ms: 9 },
            Change::ReplyDead { id, at_ms: 9, error: error(), uncertain: false },
            Change::ReplyRequeued { id, at_ms: 9 },
            Change::ReplyDropped { id, at_ms: 9 },
        ];
        let sent = Some(Delivered);
        for (state, expected) in [
            (Pending, [Some(Pending), Some(Pending), sent, Some(Dead), Some(Pending), Some(Dropped)]),
            (Delivered, [None, None, sent, None, Some(Pending), None]),
            (Dead, [None, None, sent, None, Some(Pending), Some(Dropped)]),
            (Dropped, [None, None, sent, None, Some(Pending), None]),
        ] {
            for (change, expected) in changes.iter().zip(expected) {
                let after = reply_after(status(state), change);
                assert_eq!(after.map(|after| after.state), expected, "{state:?}: {change:?}");
                assert_eq!(changed_reply(change), Some((id, 9)));
                let doubt = after.map(|after| after.redelivery);
                let was_delivered = state == Delivered && matches!(change, Change::ReplyRequeued { .. });
                assert!(doubt.is_none_or(|doubt| doubt == was_delivered), "{state:?}: {change:?}");
            }
        }
    }

    #[test]
    fn an_attempt_without_an_outcome_puts_the_next_one_in_doubt() {
        let attempt = |attempt| Change::ReplyAttempt { id: ReplyId(1), attempt, at_ms: 9 };
        let first = reply_after(status(ReplyState::Pending), &attempt(1)).unwrap();
        assert!(first.in_flight && !first.redelivery);
        let second = reply_after(first, &attempt(2)).unwrap();
        assert!(second.in_flight && second.redelivery && second.attempts == 2);
    }

    fn status(state: ReplyState) -> ReplyStatus {
        let (since_ms, next_ms) = (3, 4);
        ReplyStatus { state, attempts: 2, traps: 0, since_ms, next_ms, in_flight: false, redelivery: false }
    }
}
