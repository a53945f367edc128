//! What is known of messages and could not be stored: pure bookkeeping.

use std::collections::BTreeMap;

use crate::store::{Batch, Change, MessageId};

/// Facts in one batch.
const MOST_IN_A_BATCH: usize = 512;

/// The last fact of each message. However long an outage lasts and however often a message is handed out in it, that is
/// one for each message that was there when it began.
#[derive(Debug, Default)]
pub(super) struct Owed {
    facts: BTreeMap<MessageId, Change>,
    /// Whether somebody has been told and has not come yet.
    pub is_told: bool,
}

impl Owed {
    /// Keeps a fact in place of an earlier one. What is not about a message is not kept.
    pub fn add(&mut self, fact: Change) {
        let Some((id, rank)) = rank(&fact) else { return };
        let known = self.facts.get(&id).and_then(self::rank);
        if known.is_none_or(|(_, known)| known < rank) {
            self.facts.insert(id, fact);
        }
    }

    /// All that is owed, in batches of a size that leaves room for other work.
    pub fn take(&mut self) -> Vec<Batch> {
        self.is_told = false;
        let facts: Vec<Change> = std::mem::take(&mut self.facts).into_values().collect();
        facts.chunks(MOST_IN_A_BATCH).map(|facts| Batch { changes: facts.to_vec() }).collect()
    }
}

/// Which message, and which of two facts says more: the later attempt, and an acknowledgement in any case.
fn rank(fact: &Change) -> Option<(MessageId, u64)> {
    match fact {
        Change::MessageAttempt { id, attempt, .. } => Some((*id, u64::from(*attempt))),
        Change::MessageAcked { id, .. } => Some((*id, u64::MAX)),
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
    fn one_fact_is_kept_of_each_message_and_it_is_the_last() {
        let cases = [
            ("a later attempt", vec![attempt(1, 1), attempt(1, 2)], attempt(1, 2)),
            ("an attempt that was told late", vec![attempt(1, 2), attempt(1, 1)], attempt(1, 2)),
            ("an acknowledgement", vec![attempt(1, 1), acked(1)], acked(1)),
            ("an attempt before it that was told late", vec![acked(1), attempt(1, 1)], acked(1)),
        ];
        for (case, facts, last) in cases {
            let mut owed = Owed::default();
            facts.into_iter().for_each(|fact| owed.add(fact));
            assert_eq!(owed.take(), [Batch::of(last)], "{case}");
            assert!(owed.take().is_empty(), "{case}");
        }
    }

    #[test]
    fn a_message_that_is_handed_out_over_and_over_takes_no_more_room() {
        let mut owed = Owed::default();
        for number in 0..100_000 {
            owed.add(attempt(u64::from(number % 10), number));
        }
        assert_eq!(owed.facts.len(), 10);
    }

    #[test]
    fn many_facts_come_in_few_batches() {
        let mut owed = Owed::default();
        (0..=2 * MOST_IN_A_BATCH as u64).for_each(|id| owed.add(acked(id)));
        let sizes: Vec<usize> = owed.take().iter().map(|batch| batch.changes.len()).collect();
        assert_eq!(sizes, [MOST_IN_A_BATCH, MOST_IN_A_BATCH, 1]);
    }
}
