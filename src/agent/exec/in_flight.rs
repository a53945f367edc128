//! The messages that a process has, and until when it may be silent about each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::inbox::Delivery;
use crate::model::deadline::deadline_after;

/// How long a delivery lasts beyond the time in which the process must say something, so that only one of the two ends.
const LEASE_MARGIN: Duration = Duration::from_secs(60);

/// Messages that a process has, by their ids.
pub(super) struct InFlightMessages<D = Delivery>(HashMap<u64, InFlight<D>>);

struct InFlight<D> {
    delivery: D,
    since: Instant,
    until: Instant,
}

impl<D> Default for InFlightMessages<D> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<D> InFlightMessages<D> {
    /// The process gets a message and may be silent about it for `timeout`.
    pub fn insert(&mut self, id: u64, delivery: D, now: Instant, timeout: Duration) {
        self.0.insert(id, InFlight { delivery, since: now, until: deadline_after(now, timeout) });
    }

    /// It has said something about a message, whose time begins again.
    pub fn touch(&mut self, id: u64, now: Instant, timeout: Duration) -> Option<&D> {
        let open = self.0.get_mut(&id)?;
        (open.since, open.until) = (now, deadline_after(now, timeout));
        Some(&open.delivery)
    }

    /// It has dealt with a message.
    pub fn remove(&mut self, id: u64) -> Option<D> {
        self.0.remove(&id).map(|open| open.delivery)
    }

    /// The message whose time has been over for longest, and since when the process was silent about it.
    pub fn remove_expired(&mut self, now: Instant) -> Option<(u64, D, Instant)> {
        let expired = self.0.iter().filter(|(_, open)| open.until <= now);
        let id = expired.min_by_key(|(_, open)| open.until).map(|(id, _)| *id)?;
        self.0.remove(&id).map(|open| (id, open.delivery, open.since))
    }

    /// When the next time is over.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.0.values().map(|open| open.until).min()
    }

    /// Whether the process has this message.
    pub fn contains(&self, id: u64) -> bool {
        self.0.contains_key(&id)
    }

    /// The message that it has, when it is one alone.
    pub fn only_one(&self) -> Option<u64> {
        let mut ids = self.0.keys();
        ids.next().copied().filter(|_| ids.next().is_none())
    }

    /// How many it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub fn drain(&mut self) -> Vec<(u64, D)> {
        self.0.drain().map(|(id, open)| (id, open.delivery)).collect()
    }
}

/// How long a delivery is to last that a process may be silent about for `timeout`.
pub(super) fn lease(timeout: Duration) -> Duration {
    timeout.saturating_add(LEASE_MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_expires_when_its_process_was_silent_about_it_for_the_whole_time() {
        let (now, timeout) = (Instant::now(), Duration::from_secs(10));
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut open = InFlightMessages::default();
        open.insert(1, "one", now, timeout);
        open.insert(2, "two", now, timeout);
        assert_eq!(open.touch(1, after(5), timeout), Some(&"one"));
        assert_eq!(open.touch(3, now, timeout), None);
        assert_eq!(open.next_expiry(), Some(after(10)));
        assert_eq!(open.remove_expired(after(9)), None);
        assert_eq!(open.remove_expired(after(10)), Some((2, "two", now)));
        assert_eq!(open.remove_expired(after(14)), None);
        assert_eq!(open.remove_expired(after(15)), Some((1, "one", after(5))));
        assert_eq!((open.len(), open.next_expiry()), (0, None));
    }
}
