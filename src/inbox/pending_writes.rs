//! Changes of messages that could not be stored yet: pure bookkeeping.

use std::collections::BTreeMap;

use crate::store::{Batch, Change, MessageId};

/// Changes in one batch.
const MAX_BATCH: usize = 512;

/// The last change of each message. However long an outage lasts and however often a message is delivered in it, that is
/// one for each message that was there when it began.
#[derive(Debug, Default)]
pub(super) struct PendingWrites {
    changes: BTreeMap<MessageId, Change>,
    /// Whether the router was asked to store them and has not yet.
    pub is_announced: bool,
}

impl PendingWrites {
    /// Keeps a change in place of an earlier one of the same message. A change of something else is not kept.
    pub fn add(&mut self, change: Change) {
        let Some((id, rank)) = rank(&change) else { return };
        let known = self.changes.get(&id).and_then(self::rank);
        if known.is_none_or(|(_, known)| known < rank) {
            self.changes.insert(id, change);
        }
    }

    /// All of them, in batches of a size that leaves room for other work.
    pub fn take(&mut self) -> Vec<Batch> {
        self.is_announced = false;
        let changes: Vec<Change> = std::mem::take(&mut self.changes).into_values().collect();
        changes.chunks(MAX_BATCH).map(|changes| Batch { changes: changes.to_vec() }).collect()
    }
}

/// Which message, and which of two changes says more: the later attempt, and the end of the message in any case.
fn rank(change: &Change) -> Option<(MessageId, u64)> {
    match change {
        Change::MessageAttempt { id, attempt, .. } => Some((*id, u64::from(*attempt))),
        Change::MessageAcked { id, .. } | Change::MessageDead { id, .. } => Some((*id, u64::MAX)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(id: u64, attempt: u32) -> Change {
        Change::MessageAttempt { id: MessageId(id), attempt, at_ms: 0 }
    }

    fn acked(id: u64) -> Change {
        Change::MessageAcked { id: MessageId(id), at_ms: 0 }
    }

    #[test]
    fn the_last_change_of_each_message_is_kept() {
        let cases = [
            ("a later attempt", vec![attempt(1, 1), attempt(1, 2)], attempt(1, 2)),
            ("an attempt that is reported late", vec![attempt(1, 2), attempt(1, 1)], attempt(1, 2)),
            ("an acknowledgement", vec![attempt(1, 1), acked(1)], acked(1)),
            ("an attempt before it that is reported late", vec![acked(1), attempt(1, 1)], acked(1)),
        ];
        for (case, changes, last) in cases {
            let mut pending = PendingWrites::default();
            changes.into_iter().for_each(|change| pending.add(change));
            assert_eq!(pending.take(), [Batch::of(last)], "{case}");
            assert!(pending.take().is_empty(), "{case}");
        }
    }

    #[test]
    fn a_message_that_is_delivered_over_and_over_takes_no_more_room() {
        let mut pending = PendingWrites::default();
        for number in 0..100_000 {
            pending.add(attempt(u64::from(number % 10), number));
        }
        assert_eq!(pending.changes.len(), 10);
    }

    #[test]
    fn many_changes_come_in_few_batches() {
        let mut pending = PendingWrites::default();
        (0..=2 * MAX_BATCH as u64).for_each(|id| pending.add(acked(id)));
        let sizes: Vec<usize> = pending.take().iter().map(|batch| batch.changes.len()).collect();
        assert_eq!(sizes, [MAX_BATCH, MAX_BATCH, 1]);
    }
}
