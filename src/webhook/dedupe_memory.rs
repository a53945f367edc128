//! A bounded memory of requests that were handled: for replays (minutes) and for dedupe (a day) alike.
//!
//! Only a request that succeeded is remembered. One that failed is forgotten, so that the provider's next try runs.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;

use ring::digest;

/// A hashed id or signature: the same size whatever the provider sends, and nothing of the original in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DedupeKey([u8; 16]);

impl DedupeKey {
    /// The key of `what`; keys of different `kind`s never meet.
    pub fn derive(kind: &str, what: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&(kind.len() as u64).to_le_bytes());
        context.update(kind.as_bytes());
        context.update(what);
        let mut key = [0; 16];
        // Half of the digest: 128 bits are plenty to tell requests apart, and are stored for each.
        key.copy_from_slice(&context.finish().as_ref()[..16]);
        Self(key)
    }

    /// The key as it is stored.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A key that was stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for DedupeKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DedupeKey({:02x}{:02x}{:02x}{:02x}…)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// What is known about a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Known<'a, A> {
    /// Nothing: it is now in flight, and the caller must call [`DedupeMemory::done`] or [`DedupeMemory::forget`].
    New,
    /// The first request with this key has not finished.
    InFlight,
    /// The first request succeeded with this response.
    Done(&'a A),
    /// As many requests as the memory holds are in flight; nothing was remembered. Respond with 503.
    Full,
}

/// Keys of one channel, with what became of them. `A` is the response that a duplicate gets.
#[derive(Debug)]
pub struct DedupeMemory<A> {
    entries: HashMap<DedupeKey, DedupeEntry<A>>,
    /// Finished keys that had not expired when it was last looked, the next to expire first.
    by_expiry: BTreeMap<(u64, u64), DedupeKey>,
    /// Finished keys that had, with their serial, in the order in which that was noticed; some of them are forgotten since. They are
    /// known again when the clock is put back: it may have been wrong.
    expired: VecDeque<(DedupeKey, u64)>,
    max_entries: usize,
    next_serial: u64,
}

#[derive(Debug)]
enum DedupeEntry<A> {
    InFlight { expires_ms: u64 },
    Done { response: A, expires_ms: u64, serial: u64 },
}

impl<A> DedupeMemory<A> {
    /// Entries per channel when nothing else is configured.
    pub const DEFAULT_MAX_ENTRIES: usize = 10_000;

    /// How many expired keys are kept, the newest.
    pub const MAX_EXPIRED: usize = 1000;

    /// How long ids for dedupe are kept, in milliseconds: 24 hours.
    pub const DEDUPE_MS: u64 = 24 * 60 * 60 * 1000;

    /// A memory of at most `max_entries` keys (at least one). When it is full, the finished key that expires first
    /// makes room.
    pub fn new(max_entries: usize) -> Self {
        Self {
            entries: HashMap::new(),
            by_expiry: BTreeMap::new(),
            expired: VecDeque::new(),
            max_entries: max_entries.max(1),
            next_serial: 0,
        }
    }

    /// Keys that are remembered, expired ones included until something needs their place.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Says what is known about `key`, and takes an unknown one in as in flight. Once it is [`done`](Self::done), it
    /// is remembered until `expires_ms` (Unix time in milliseconds).
    pub fn begin(&mut self, key: DedupeKey, expires_ms: u64, now_ms: u64) -> Known<'_, A> {
        self.retire_expired(now_ms);
        if matches!(self.entries.get(&key), Some(DedupeEntry::Done { expires_ms, .. }) if *expires_ms < now_ms)
        {
            self.forget(key);
        }
        // Looked up twice, because the borrow checker does not let a returned borrow end in the other branch.
        if self.entries.contains_key(&key) {
            return match &self.entries[&key] {
                DedupeEntry::InFlight { .. } => Known::InFlight,
                DedupeEntry::Done { response, .. } => Known::Done(response),
            };
        }
        if !self.make_room() {
            return Known::Full;
        }
        self.entries.insert(key, DedupeEntry::InFlight { expires_ms });
        Known::New
    }

    /// The request succeeded: a duplicate gets `response`. Does nothing for a key that is not in flight.
    pub fn done(&mut self, key: DedupeKey, response: A) {
        if let Some(&DedupeEntry::InFlight { expires_ms }) = self.entries.get(&key) {
            self.insert_done(key, response, expires_ms);
        }
    }

    /// The request failed: the next one with this key runs.
    pub fn forget(&mut self, key: DedupeKey) {
        if let Some(DedupeEntry::Done { expires_ms, serial, .. }) = self.entries.remove(&key) {
            self.by_expiry.remove(&(expires_ms, serial));
        }
    }

    /// Takes in a finished key that was stored by an earlier process.
    pub fn restore(&mut self, key: DedupeKey, response: A, expires_ms: u64) {
        self.forget(key);
        if self.make_room() {
            self.insert_done(key, response, expires_ms);
        }
    }

    fn insert_done(&mut self, key: DedupeKey, response: A, expires_ms: u64) {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.by_expiry.insert((expires_ms, serial), key);
        self.entries.insert(key, DedupeEntry::Done { response, expires_ms, serial });
    }

    /// Sets aside what has expired by this clock.
    fn retire_expired(&mut self, now_ms: u64) {
        while let Some(entry) = self.by_expiry.first_entry() {
            let (expires_ms, serial) = *entry.key();
            if expires_ms >= now_ms {
                break;
            }
            let key = entry.remove();
            self.expired.push_back((key, serial));
            if self.expired.len() > DedupeMemory::<()>::MAX_EXPIRED {
                self.drop_oldest_expired();
            }
        }
    }

    /// Forgets the key that expired first; false when there is none.
    fn drop_oldest_expired(&mut self) -> bool {
        let Some((key, retired)) = self.expired.pop_front() else { return false };
        // It may have been used again since.
        if matches!(self.entries.get(&key), Some(DedupeEntry::Done { serial, .. }) if *serial == retired) {
            self.entries.remove(&key);
        }
        true
    }

    /// Whether there is room for one more, after dropping the finished key that expires first if need be.
    fn make_room(&mut self) -> bool {
        while self.entries.len() >= self.max_entries {
            if self.drop_oldest_expired() {
                continue;
            }
            let Some((_, oldest)) = self.by_expiry.pop_first() else { return false };
            self.entries.remove(&oldest);
        }
        true
    }
}

impl<A> Default for DedupeMemory<A> {
    fn default() -> Self {
        Self::new(Self::DEFAULT_MAX_ENTRIES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> DedupeKey {
        DedupeKey::derive("test", &number.to_le_bytes())
    }

    #[test]
    fn a_duplicate_gets_the_response_to_the_first_until_it_expires() {
        let mut memory = DedupeMemory::new(10);
        assert_eq!(memory.begin(key(1), 1000, 0), Known::New);
        assert_eq!(memory.begin(key(1), 1000, 0), Known::InFlight);
        memory.done(key(1), "first");
        assert_eq!(memory.begin(key(1), 5000, 1000), Known::Done(&"first"));
        assert_eq!(memory.begin(key(1), 5000, 1001), Known::New);
    }

    // A host that was started with its clock an hour ahead forgot signatures of a minute ago, and a captured request ran again when
    // the clock was put right.
    #[test]
    fn a_key_that_expired_by_a_clock_that_was_ahead_is_known_when_the_clock_is_right() {
        const HOUR_MS: u64 = 3_600_000;
        let mut memory = DedupeMemory::new(10);
        memory.begin(key(1), 1000, 0);
        memory.done(key(1), "first");
        assert_eq!(memory.begin(key(2), HOUR_MS + 1000, HOUR_MS), Known::New);
        assert_eq!(memory.begin(key(1), 1000, 10), Known::Done(&"first"));
        assert_eq!(memory.begin(key(1), 5000, 1001), Known::New, "it has expired by the right clock as well");
    }

    #[test]
    fn expired_keys_are_kept_up_to_a_number_and_make_room_first() {
        const MAX: u32 = DedupeMemory::<()>::MAX_EXPIRED as u32;
        let finish = |memory: &mut DedupeMemory<()>, number, expires_ms, now_ms| {
            assert_eq!(memory.begin(key(number), expires_ms, now_ms), Known::New);
            memory.done(key(number), ());
        };
        let mut memory = DedupeMemory::new(10_000);
        (0..MAX + 5).for_each(|number| finish(&mut memory, number, u64::from(number), 0));
        finish(&mut memory, 100_000, 50_000, 10_000);
        assert_eq!(memory.len(), MAX as usize + 1);
        assert_eq!(memory.begin(key(4), 4, 0), Known::New, "the oldest are forgotten");
        assert_eq!(memory.begin(key(5), 5, 0), Known::Done(&()));

        let mut memory = DedupeMemory::new(2);
        finish(&mut memory, 1, 5, 0);
        finish(&mut memory, 2, 500, 0);
        finish(&mut memory, 3, 500, 100);
        assert_eq!(memory.begin(key(2), 500, 100), Known::Done(&()));
        // One that was used again after it had expired is not forgotten as the one from before.
        let mut memory = DedupeMemory::new(2);
        finish(&mut memory, 1, 5, 0);
        finish(&mut memory, 1, 500, 100);
        finish(&mut memory, 2, 600, 100);
        finish(&mut memory, 3, 700, 100);
        assert_eq!(memory.begin(key(3), 700, 100), Known::Done(&()));
        assert_eq!(memory.len(), 2);
    }

    #[test]
    fn a_key_is_shown_by_its_beginning() {
        let key = DedupeKey::from_bytes([0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(format!("{key:?}"), "DedupeKey(ab010203…)");
    }

    #[test]
    fn keys_that_expire_at_the_same_moment_all_expire() {
        let mut memory = DedupeMemory::new(10);
        for number in 1..=3 {
            assert_eq!(memory.begin(key(number), 1000, 0), Known::New);
            memory.done(key(number), ());
        }
        for number in 1..=3 {
            assert_eq!(memory.begin(key(number), 5000, 1001), Known::New, "{number}");
        }
    }

    #[test]
    fn a_failed_request_is_forgotten_so_that_the_next_try_runs() {
        let mut memory = DedupeMemory::<()>::new(10);
        assert_eq!(memory.begin(key(1), 1000, 0), Known::New);
        memory.forget(key(1));
        assert_eq!(memory.begin(key(1), 1000, 1), Known::New);
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn keys_in_flight_do_not_expire() {
        let mut memory = DedupeMemory::<()>::new(10);
        memory.begin(key(1), 1000, 0);
        assert_eq!(memory.begin(key(1), 9000, 5000), Known::InFlight);
    }

    #[test]
    fn a_full_memory_drops_the_finished_key_that_expires_first() {
        let mut memory = DedupeMemory::new(3);
        for number in 0..3 {
            assert_eq!(memory.begin(key(number), 1000 + u64::from(number), 0), Known::New);
            memory.done(key(number), number);
        }
        assert_eq!(memory.begin(key(2), 0, 0), Known::Done(&2), "three of three are held");
        assert_eq!(memory.begin(key(3), 1003, 0), Known::New, "a fourth takes the place of the first");
        assert_eq!(memory.len(), 3);
        assert_eq!(memory.begin(key(1), 0, 0), Known::Done(&1));
        assert_eq!(memory.begin(key(0), 1004, 0), Known::New);
    }

    #[test]
    fn a_memory_full_of_running_requests_takes_no_more() {
        let mut memory = DedupeMemory::<()>::new(2);
        memory.begin(key(0), 1000, 0);
        memory.begin(key(1), 1000, 0);
        assert_eq!(memory.begin(key(2), 1000, 0), Known::Full);
        assert_eq!(memory.len(), 2);
        memory.forget(key(0));
        assert_eq!(memory.begin(key(2), 1000, 0), Known::New);
    }

    #[test]
    fn stored_keys_come_back_and_stay_bounded() {
        let mut memory = DedupeMemory::new(2);
        for number in 0..5 {
            memory.restore(key(number), number, 1000 + u64::from(number));
        }
        memory.restore(key(4), 40, 2000);
        assert_eq!(memory.len(), 2);
        assert_eq!(memory.by_expiry.len(), 2);
        assert_eq!(memory.begin(key(3), 0, 0), Known::Done(&3));
        assert_eq!(memory.begin(key(4), 0, 1500), Known::Done(&40), "restored twice: the later time counts");
        assert_eq!(DedupeKey::from_bytes(*key(3).as_bytes()), key(3));
    }

    #[test]
    fn finishing_an_unknown_or_finished_key_changes_nothing() {
        let mut memory = DedupeMemory::new(2);
        memory.done(key(1), 1);
        assert_eq!(memory.len(), 0);
        memory.begin(key(1), 1000, 0);
        memory.done(key(1), 1);
        memory.done(key(1), 2);
        assert_eq!(memory.begin(key(1), 1000, 0), Known::Done(&1));
    }

    #[test]
    fn kinds_and_contents_are_kept_apart() {
        assert_ne!(DedupeKey::derive("a", b"bc"), DedupeKey::derive("ab", b"c"));
        assert_ne!(DedupeKey::derive("a", b"x"), DedupeKey::derive("b", b"x"));
    }
}
