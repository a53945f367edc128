//! Which lanes may have something to start, in the order in which they got it: pure bookkeeping.

use std::collections::VecDeque;

use crate::channel::lane::LaneKind;

/// Lanes that may have something to start. Kept by kind, so that nothing is looked at whose kind cannot start: with a
/// thousand channels that wait for a worker, looking at each of them at every event took most of a core.
#[derive(Debug)]
pub struct Runnable<K> {
    queues: [VecDeque<RunnableLane<K>>; LaneKind::COUNT],
    /// The lanes that found no memory, the first one first. They are looked at again when memory was freed.
    starved: VecDeque<RunnableLane<K>>,
    memory_was_freed: bool,
    last_number: u64,
}

/// A lane, and since when it is runnable.
#[derive(Clone, Debug)]
pub struct RunnableLane<K> {
    number: u64,
    pub key: K,
    pub lane: LaneKind,
}

impl<K> Default for Runnable<K> {
    fn default() -> Self {
        Self { queues: Default::default(), starved: VecDeque::new(), memory_was_freed: false, last_number: 0 }
    }
}

impl<K> Runnable<K> {
    /// Adds a lane after all others.
    pub fn push(&mut self, key: K, lane: LaneKind) {
        self.last_number += 1;
        self.queues[lane as usize].push_back(RunnableLane { number: self.last_number, key, lane });
    }

    /// Takes the lane that has been runnable for longest among the kinds that can start. Those that waited for memory come
    /// first once some was freed.
    pub fn pop(&mut self, can_start: impl Fn(LaneKind) -> bool) -> Option<RunnableLane<K>> {
        if std::mem::take(&mut self.memory_was_freed) {
            for entry in std::mem::take(&mut self.starved).into_iter().rev() {
                self.queues[entry.lane as usize].push_front(entry);
            }
        }
        let fronts = LaneKind::ALL.into_iter().filter(|kind| can_start(*kind));
        let oldest = fronts
            .filter_map(|kind| self.queues[kind as usize].front().map(|entry| (entry.number, kind)))
            .min_by_key(|(number, _)| *number);
        self.queues[oldest?.1 as usize].pop_front()
    }

    /// Keeps a lane that found no memory until some is freed.
    pub fn starve(&mut self, entry: RunnableLane<K>) {
        let at = self.starved.partition_point(|other| other.number < entry.number);
        self.starved.insert(at, entry);
    }

    /// Whether a lane that was runnable before this one still waits for memory: none may overtake it there, or a large
    /// guest would wait for ever.
    pub fn is_behind_a_starved_one(&self, entry: &RunnableLane<K>) -> bool {
        self.starved.front().is_some_and(|first| first.number < entry.number)
    }

    /// A callback has ended.
    pub fn memory_was_freed(&mut self) {
        self.memory_was_freed = !self.starved.is_empty();
    }

    /// Whether no lane has anything to start.
    pub fn is_empty(&self) -> bool {
        self.starved.is_empty() && self.queues.iter().all(VecDeque::is_empty)
    }

    /// Forgets all lanes.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use LaneKind::{Inbound, Outbound, Poll};

    use super::*;

    fn filled() -> Runnable<char> {
        let mut runnable = Runnable::default();
        for (key, lane) in [('a', Poll), ('b', Inbound), ('c', Poll), ('d', Outbound)] {
            runnable.push(key, lane);
        }
        runnable
    }

    fn popped(runnable: &mut Runnable<char>, can_start: impl Fn(LaneKind) -> bool) -> String {
        std::iter::from_fn(|| runnable.pop(&can_start)).map(|entry| entry.key).collect()
    }

    #[test]
    fn lanes_come_out_in_the_order_in_which_they_became_runnable() {
        assert_eq!(popped(&mut filled(), |_| true), "abcd");
    }

    #[test]
    fn kinds_that_cannot_start_keep_their_places_and_hold_up_no_other() {
        let mut runnable = filled();
        assert_eq!(popped(&mut runnable, |kind| kind != Poll), "bd");
        runnable.push('e', Inbound);
        assert_eq!(popped(&mut runnable, |_| true), "ace");
        assert!(runnable.is_empty());
    }

    #[test]
    fn a_lane_without_memory_waits_until_some_is_freed_and_is_then_the_first() {
        let mut runnable = filled();
        let second = {
            runnable.pop(|_| true);
            runnable.pop(|_| true).unwrap()
        };
        let third = runnable.pop(|_| true).unwrap();
        assert!(!runnable.is_behind_a_starved_one(&third));
        runnable.starve(third);
        runnable.starve(second);
        let later = runnable.pop(|_| true).unwrap();
        assert_eq!(later.key, 'd');
        assert!(runnable.is_behind_a_starved_one(&later));
        assert!(!runnable.is_empty() && runnable.pop(|_| true).is_none());
        runnable.memory_was_freed();
        runnable.push('e', Inbound);
        assert_eq!(popped(&mut runnable, |_| true), "bce");
    }
}
