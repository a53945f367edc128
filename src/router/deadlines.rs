//! The heap of deadlines: what is due next, without threads and without clocks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// Deadlines by key. Setting a key again replaces its deadline.
///
/// A replaced or cancelled entry stays in the heap until it would have been due, and is then skipped; the map says
/// which entry of a key is the valid one. The heap is rebuilt when more than half of it is stale, so a key that is
/// replaced for ever does not grow it.
#[derive(Debug)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
    keys: HashMap<u64, K>,
    valid: HashMap<K, (u64, Instant)>,
    next_entry: u64,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), keys: HashMap::new(), valid: HashMap::new(), next_entry: 0 }
    }
}

impl<K: Clone + Eq + Hash> Deadlines<K> {
    /// Sets or replaces the deadline of `key`.
    pub fn set(&mut self, key: K, at: Instant) {
        self.cancel(&key);
        let entry = self.next_entry;
        self.next_entry += 1;
        self.keys.insert(entry, key.clone());
        self.valid.insert(key, (entry, at));
        self.heap.push(Reverse((at, entry)));
        if self.heap.len() > 64 && self.heap.len() > 2 * self.valid.len() {
            self.rebuild();
        }
    }

    /// Forgets `key`; false when it had no deadline.
    pub fn cancel(&mut self, key: &K) -> bool {
        match self.valid.remove(key) {
            Some((entry, _)) => self.keys.remove(&entry).is_some(),
            None => false,
        }
    }

    /// Forgets every key that `matches`.
    pub fn cancel_all(&mut self, matches: impl Fn(&K) -> bool) {
        let Self { keys, valid, .. } = self;
        valid.retain(|key, (entry, _)| {
            let stays = !matches(key);
            if !stays {
                keys.remove(entry);
            }
            stays
        });
    }

    /// The earliest deadline.
    pub fn next(&mut self) -> Option<Instant> {
        self.drop_stale();
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out the earliest key whose deadline is not after `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, entry)) = self.heap.pop()?;
        let key = self.keys.remove(&entry)?;
        self.valid.remove(&key);
        Some(key)
    }

    fn drop_stale(&mut self) {
        while let Some(Reverse((_, entry))) = self.heap.peek() {
            if self.keys.contains_key(entry) {
                return;
            }
            self.heap.pop();
        }
    }

    fn rebuild(&mut self) {
        self.heap = self.valid.values().map(|(entry, at)| Reverse((*at, *entry))).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn keys_come_out_in_the_order_of_their_deadlines_and_not_before() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.set("b", after(start, 2));
        deadlines.set("a", after(start, 1));
        assert_eq!(deadlines.pop_due(start), None);
        assert_eq!(deadlines.pop_due(after(start, 3)), Some("a"));
        assert_eq!(deadlines.pop_due(after(start, 3)), Some("b"));
        assert_eq!(deadlines.pop_due(after(start, 3)), None);
    }

    #[test]
    fn setting_a_key_again_replaces_its_deadline() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.set("a", after(start, 1));
        deadlines.set("a", after(start, 5));
        assert_eq!(deadlines.pop_due(after(start, 4)), None);
        assert_eq!(deadlines.next(), Some(after(start, 5)));
        assert_eq!(deadlines.pop_due(after(start, 5)), Some("a"));
    }

    #[test]
    fn a_cancelled_key_never_comes_out() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.set("a", start);
        assert!(deadlines.cancel(&"a"));
        assert!(!deadlines.cancel(&"a"));
        assert_eq!(deadlines.pop_due(after(start, 9)), None);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn keys_that_are_cancelled_together_leave_the_others() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        ["a1", "b1", "a2"].into_iter().for_each(|key| deadlines.set(key, start));
        deadlines.cancel_all(|key| key.starts_with('a'));
        assert_eq!(deadlines.pop_due(start), Some("b1"));
        assert_eq!((deadlines.pop_due(after(start, 9)), deadlines.keys.len()), (None, 0));
        deadlines.set("a1", start);
        assert_eq!(deadlines.pop_due(start), Some("a1"));
    }

    #[test]
    fn replacing_one_key_for_ever_does_not_grow_the_heap() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        for second in 0..10_000 {
            deadlines.set("a", after(start, second));
        }
        assert!(deadlines.heap.len() <= 65, "{}", deadlines.heap.len());
        assert_eq!(deadlines.pop_due(after(start, 10_000)), Some("a"));
    }
}
