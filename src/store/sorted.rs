//! Lists that are kept in order by what their records are called. They are short or seldom changed, and a list is a tenth
//! of the code of a tree.

use super::record::{ChannelKey, PairedIdentity, PairingLock, PairingRequest, TimerRecord};

/// What a record is sorted by: two texts, of which the second is empty where one is enough.
pub type Key<'a> = (&'a str, &'a str);

/// Has a key.
pub trait Keyed {
    /// The record's key.
    fn key(&self) -> Key<'_>;
}

impl Keyed for TimerRecord {
    fn key(&self) -> Key<'_> {
        (&self.name, "")
    }
}

impl Keyed for PairingRequest {
    fn key(&self) -> Key<'_> {
        (&self.channel, &self.external_id)
    }
}

impl Keyed for PairedIdentity {
    fn key(&self) -> Key<'_> {
        (&self.channel, &self.external_id)
    }
}

impl Keyed for (ChannelKey, String) {
    fn key(&self) -> Key<'_> {
        (&self.0, &self.1)
    }
}

impl Keyed for PairingLock {
    fn key(&self) -> Key<'_> {
        (&self.channel, "")
    }
}

/// Puts a record where it belongs, in the place of the one that has the same key.
pub fn put<T: Keyed>(sorted: &mut Vec<T>, record: T) {
    match place(sorted, record.key()) {
        Ok(place) => sorted[place] = record,
        Err(place) => sorted.insert(place, record),
    }
}

/// Removes the record with this key; false when there is none.
pub fn remove<T: Keyed>(sorted: &mut Vec<T>, key: Key<'_>) -> bool {
    place(sorted, key).map(|place| drop(sorted.remove(place))).is_ok()
}

/// The record with this key.
pub fn find<'a, T: Keyed>(sorted: &'a [T], key: Key<'_>) -> Option<&'a T> {
    place(sorted, key).ok().map(|place| &sorted[place])
}

fn place<T: Keyed>(sorted: &[T], key: Key<'_>) -> Result<usize, usize> {
    sorted.binary_search_by(|each| each.key().cmp(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(channel: &str, entry: &str) -> (ChannelKey, String) {
        (channel.into(), entry.to_owned())
    }

    #[test]
    fn records_are_found_in_order_and_one_for_each_key() {
        let mut sorted = Vec::new();
        for each in [entry("b", "1"), entry("a", "2"), entry("b", "1"), entry("a", "1")] {
            put(&mut sorted, each);
        }
        assert_eq!(sorted, [entry("a", "1"), entry("a", "2"), entry("b", "1")]);
        assert_eq!(find(&sorted, ("a", "2")), Some(&entry("a", "2")));
        assert_eq!(find(&sorted, ("b", "2")), None);
    }

    #[test]
    fn what_is_removed_is_gone_and_nothing_else() {
        let mut sorted = vec![entry("a", "1"), entry("b", "1")];
        assert!(!remove(&mut sorted, ("a", "2")));
        assert!(remove(&mut sorted, ("a", "1")));
        assert_eq!(sorted, [entry("b", "1")]);
    }
}
