//! Puts requests back into the order in which they were complete at the front.
//!
//! Between the front and the handler lie tiny_http's threads, which overtake each other. Guests keep the highest id that
//! they have seen, so a swapped pair of webhooks would lose one of the two although both got 200.

use std::collections::{BTreeMap, BTreeSet};

/// Holds back what came early. Numbers start at 0 and leave no gaps: every one arrives or is given up.
#[derive(Debug)]
pub(crate) struct Sequence<T> {
    next: u64,
    early: BTreeMap<u64, T>,
    given_up: BTreeSet<u64>,
}

impl<T> Sequence<T> {
    pub(crate) fn new() -> Self {
        Sequence { next: 0, early: BTreeMap::new(), given_up: BTreeSet::new() }
    }

    /// Takes in what has arrived. Gives it back when its number had been given up (or seen) already: then it must not be
    /// handled, because the client was told so.
    pub(crate) fn arrive(&mut self, number: u64, item: T) -> Result<(), T> {
        if number < self.next || self.given_up.contains(&number) || self.early.contains_key(&number) {
            return Err(item);
        }
        self.early.insert(number, item);
        Ok(())
    }

    /// Gives up a number, once, so that its successors need not wait for it. False when it has arrived: it is, or will
    /// be, handled.
    pub(crate) fn give_up(&mut self, number: u64) -> bool {
        let arrived = number < self.next || self.early.contains_key(&number);
        if !arrived {
            self.given_up.insert(number);
        }
        !arrived
    }

    /// The next in order, when it is there.
    pub(crate) fn next(&mut self) -> Option<(u64, T)> {
        while self.given_up.remove(&self.next) {
            self.next += 1;
        }
        let item = self.early.remove(&self.next)?;
        self.next += 1;
        Some((self.next - 1, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ready(sequence: &mut Sequence<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| sequence.next().map(|(_, item)| item)).collect()
    }

    #[test]
    fn an_early_one_waits_for_its_predecessors() {
        let mut sequence = Sequence::new();
        assert_eq!(sequence.arrive(2, "c"), Ok(()));
        assert_eq!(sequence.arrive(1, "b"), Ok(()));
        assert_eq!(ready(&mut sequence), Vec::<&str>::new());
        assert_eq!(sequence.arrive(0, "a"), Ok(()));
        assert_eq!(ready(&mut sequence), ["a", "b", "c"]);
    }

    #[test]
    fn a_number_that_was_given_up_holds_nothing_back() {
        let mut sequence = Sequence::new();
        assert_eq!(sequence.arrive(1, "b"), Ok(()));
        assert!(sequence.give_up(0));
        assert_eq!(ready(&mut sequence), ["b"]);
    }

    #[test]
    fn an_abandoned_request_that_arrives_late_is_returned() {
        let mut sequence = Sequence::new();
        assert!(sequence.give_up(0));
        assert_eq!(sequence.arrive(0, "a"), Err("a"));
        assert_eq!(ready(&mut sequence), Vec::<&str>::new());
        assert_eq!(sequence.arrive(0, "a"), Err("a"));
    }

    #[test]
    fn what_has_arrived_cannot_be_given_up() {
        let mut sequence = Sequence::new();
        assert_eq!(sequence.arrive(0, "a"), Ok(()));
        assert!(!sequence.give_up(0));
        assert_eq!(ready(&mut sequence), ["a"]);
        assert!(!sequence.give_up(0));
    }

    proptest! {
        /// Whatever overtakes whatever, and whatever is given up: each number that arrived first is handled exactly
        /// once, in order, and none is left waiting at the end.
        #[test]
        fn nothing_is_swapped_lost_or_stuck(order in Just((0_u64..40).collect::<Vec<_>>()).prop_shuffle(), lost: [bool; 40]) {
            let mut sequence = Sequence::new();
            let mut handled = Vec::new();
            for number in order {
                if lost[number as usize] {
                    prop_assert!(sequence.give_up(number));
                } else {
                    prop_assert_eq!(sequence.arrive(number, ()), Ok(()));
                }
                handled.extend(std::iter::from_fn(|| sequence.next()).map(|(number, ())| number));
            }
            let expected: Vec<u64> = (0..40).filter(|number| !lost[*number as usize]).collect();
            prop_assert_eq!(handled, expected);
        }
    }
}
