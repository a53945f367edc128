//! The batches that are not known to be durable, in order: what an engine that was reopened is sent again. Pure
//! bookkeeping.
//!
//! Each batch has a number, which the engine keeps in the same transaction as the batch. After a failure nobody guesses:
//! the number that the engine shows when it was reopened says which batches it has, and the others are sent again.

use std::collections::VecDeque;

use super::change::{Batch, NumberedBatch};
use super::error::StoreError;

/// Batches in the order in which they were sent, each with its owner `T`.
pub(super) struct Journal<T> {
    /// Apart from their owners, because an engine takes a slice of them.
    entries: VecDeque<NumberedBatch>,
    owners: VecDeque<T>,
    /// The number that was given last.
    last: u64,
    /// Every batch up to this number was kept, or was told that it never will be.
    durable: u64,
}

impl<T> Journal<T> {
    /// An empty journal, for an engine that shows this number.
    pub fn after(durable: u64) -> Self {
        Self { entries: VecDeque::new(), owners: VecDeque::new(), last: durable, durable }
    }

    /// Adds a batch at the end.
    pub fn push(&mut self, batch: Batch, owner: T) {
        self.last += 1;
        self.entries.push_back(NumberedBatch { number: self.last, batch });
        self.owners.push_back(owner);
    }

    /// Whether nothing waits to be committed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The batches of the next transaction: so many of the first ones, and none after those that have so many bytes.
    pub fn group(&mut self, batches: usize, bytes: u64) -> &[NumberedBatch] {
        let mut sum = 0;
        let fits = |entry: &&NumberedBatch| {
            let has_room = sum < bytes;
            sum += entry.batch.bytes();
            has_room
        };
        let count = self.entries.iter().take(batches.max(1)).take_while(fits).count();
        &self.entries.make_contiguous()[..count]
    }

    /// The engine has kept every batch up to this number. [`Journal::pop_durable`] gives their owners.
    pub fn committed(&mut self, number: u64) {
        self.durable = self.durable.max(number);
    }

    /// Takes out the first batch if it is durable; its owner.
    pub fn pop_durable(&mut self) -> Option<T> {
        let is_durable = self.entries.front().is_some_and(|first| first.number <= self.durable);
        if !is_durable {
            return None;
        }
        self.entries.pop_front();
        self.owners.pop_front()
    }

    /// Takes out a batch that can never be kept, by its place; its owner.
    pub fn reject(&mut self, place: usize) -> Option<T> {
        self.entries.remove(place)?;
        self.owners.remove(place)
    }

    /// Owners in the order of their batches.
    pub fn owners(&mut self) -> impl Iterator<Item = &mut T> {
        self.owners.iter_mut()
    }

    /// An engine was reopened and shows this number: the batches up to it are durable, those after it are not.
    ///
    /// # Errors
    /// [`StoreError::OtherStore`]: it shows less than was promised, or a number that was never given. It is not the store
    /// that took these batches.
    pub fn reopened(&mut self, found: u64) -> Result<(), StoreError> {
        if (self.durable..=self.last).contains(&found) {
            self.durable = found;
            return Ok(());
        }
        Err(StoreError::OtherStore { promised: self.durable, last: self.last, found })
    }

    /// Takes out the batches that are not durable and whose owners want it so.
    pub fn withdraw(&mut self, mut is_wanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let (mut entries, mut owners, mut withdrawn) = (VecDeque::new(), VecDeque::new(), Vec::new());
        for (entry, owner) in self.entries.drain(..).zip(self.owners.drain(..)) {
            if entry.number <= self.durable || is_wanted(&owner) {
                entries.push_back(entry);
                owners.push_back(owner);
            } else {
                withdrawn.push(owner);
            }
        }
        (self.entries, self.owners) = (entries, owners);
        withdrawn
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::change::Change;
    use super::*;

    fn batch(text: &str) -> Batch {
        Batch::of(Change::PutFile { channel: "a".into(), path: "p".into(), content: text.into() })
    }

    fn filled(count: u32) -> Journal<u32> {
        let mut journal = Journal::after(10);
        (0..count).for_each(|owner| journal.push(batch("x"), owner));
        journal
    }

    fn numbers(entries: &[NumberedBatch]) -> Vec<u64> {
        entries.iter().map(|entry| entry.number).collect()
    }

    fn durable(journal: &mut Journal<u32>) -> Vec<u32> {
        std::iter::from_fn(|| journal.pop_durable()).collect()
    }

    #[test]
    fn a_group_is_bounded_in_number_and_in_bytes() {
        let one = batch("x").bytes();
        for (case, batches, bytes, expected) in [
            ("by number", 2, u64::MAX, vec![11, 12]),
            ("by bytes, at the limit", 9, 2 * one, vec![11, 12]),
            ("by bytes, one past it", 9, 2 * one + 1, vec![11, 12, 13]),
            ("never less than one", 0, 1, vec![11]),
            ("by neither", 9, u64::MAX, vec![11, 12, 13]),
        ] {
            assert_eq!(numbers(filled(3).group(batches, bytes)), expected, "{case}");
        }
    }

    #[test]
    fn the_last_durable_batch_decides_which_batches_are_resent() {
        for (case, found, kept, again) in [
            ("nothing of it", 10, vec![], vec![11, 12, 13]),
            ("a part of it", 12, vec![0, 1], vec![13]),
            ("all of it", 13, vec![0, 1, 2], vec![]),
        ] {
            let mut journal = filled(3);
            assert_eq!(journal.reopened(found), Ok(()), "{case}");
            assert_eq!(durable(&mut journal), kept, "{case}");
            assert_eq!(numbers(journal.group(9, u64::MAX)), again, "{case}");
        }
    }

    #[test]
    fn a_store_that_shows_less_than_was_promised_or_more_than_was_sent_is_another_one() {
        let mut journal = filled(3);
        journal.committed(11);
        for found in [0, 10, 14] {
            let other = StoreError::OtherStore { promised: 11, last: 13, found };
            assert_eq!(journal.reopened(found), Err(other));
        }
        assert_eq!(journal.reopened(11), Ok(()));
    }

    #[test]
    fn a_batch_that_is_withdrawn_or_rejected_leaves_the_numbers_of_the_others() {
        let mut journal = filled(4);
        journal.committed(11);
        assert_eq!(journal.withdraw(|owner| *owner != 0 && *owner != 2), [2], "the first is durable");
        assert_eq!(durable(&mut journal), [0]);
        assert_eq!(journal.reject(0), Some(1));
        assert_eq!(numbers(journal.group(9, u64::MAX)), [14]);
        assert_eq!((journal.len(), journal.is_empty()), (1, false));
    }

    /// What an engine does with a group.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Kept,
        LostWithAnError,
        KeptWithAnError,
    }

    proptest! {
        // The property that the store rests on: whatever fails, every batch is kept once, in order, and told once.
        #[test]
        fn every_batch_is_kept_once_and_in_order(
            steps in prop::collection::vec(
                (0_u32..4, 1_usize..4, prop::sample::select(vec![Fate::Kept, Fate::LostWithAnError, Fate::KeptWithAnError])),
                1..40,
            ),
        ) {
            let (mut journal, mut sent) = (Journal::after(0), 0);
            let (mut stored, mut number, mut told) = (Vec::new(), 0, Vec::new());
            let quiet_end = std::iter::repeat_n((0, 200, Fate::Kept), 2);
            for (arrive, size, fate) in steps.into_iter().chain(quiet_end) {
                for _ in 0..arrive {
                    journal.push(batch(&sent.to_string()), sent);
                    sent += 1;
                }
                let group = journal.group(size, u64::MAX).to_vec();
                let Some(last) = group.last() else { continue };
                if !matches!(fate, Fate::LostWithAnError) {
                    stored.extend(group.iter().map(|entry| entry.batch.clone()));
                    number = last.number;
                }
                match fate {
                    Fate::Kept => journal.committed(last.number),
                    Fate::LostWithAnError | Fate::KeptWithAnError => prop_assert_eq!(journal.reopened(number), Ok(())),
                }
                told.extend(std::iter::from_fn(|| journal.pop_durable()));
            }
            prop_assert_eq!(&told, &(0..sent).collect::<Vec<_>>());
            prop_assert_eq!(stored, (0..sent).map(|each| batch(&each.to_string())).collect::<Vec<_>>());
        }
    }
}
