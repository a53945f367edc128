//! Requests that came before: the first one runs, duplicates get its response.

use std::collections::HashMap;
use std::time::Duration;

use crate::event::arrival::RequestIdentity;
use crate::event::response::ResponseSender;
use crate::model::clock::{millis, remaining, was_unset};
use crate::store::{DedupeId, DedupeRecord};
use crate::webhook::{DedupeKey, DedupeMemory, Known};

/// Requests of one channel that can be recognised.
pub struct RecentRequests {
    known: DedupeMemory<Option<DedupeId>>,
    /// Duplicates that came before the response to the first one.
    waiting: HashMap<DedupeKey, Vec<ResponseSender>>,
}

/// Duplicates of one request that wait for its response; more are told to come back.
const MAX_WAITING: usize = 8;

/// What a request is.
pub enum Arrival {
    /// The first of its kind: it is to be run.
    New(ResponseSender),
    /// A duplicate of one that has its response.
    Duplicate { responder: ResponseSender, id: Option<DedupeId> },
    /// A duplicate of one that still runs; it gets the same response.
    Waits,
    /// A duplicate too many, or there is no room to remember it.
    Refused(ResponseSender),
}

impl Default for RecentRequests {
    fn default() -> Self {
        Self { known: DedupeMemory::new(DedupeMemory::<()>::DEFAULT_MAX_ENTRIES), waiting: HashMap::new() }
    }
}

impl RecentRequests {
    /// Takes in what was seen before a restart.
    pub fn load(&mut self, record: &DedupeRecord, now_ms: u64) {
        // Not beyond its own window, should the clock have been ahead when it was seen; and for a window from now on, should
        // it not have been set yet.
        let window = Duration::from_millis(record.expires_ms.saturating_sub(record.at_ms));
        let left = match was_unset(record.at_ms, now_ms) {
            true => window,
            false => remaining(record.expires_ms, now_ms, window),
        };
        // What has expired keeps its moment: by another clock, which may be the right one, it has not.
        let expires_ms = if left.is_zero() { record.expires_ms } else { now_ms.saturating_add(millis(left)) };
        self.known.restore(DedupeKey::from_bytes(record.key), Some(record.id), expires_ms);
    }

    /// A request has come. It is a duplicate when any of its identities is known.
    pub fn arrive(
        &mut self,
        identities: &[RequestIdentity],
        responder: ResponseSender,
        now_ms: u64,
    ) -> Arrival {
        for (index, identity) in identities.iter().enumerate() {
            match self.known.begin(identity.key, identity.expires_ms, now_ms) {
                Known::New => {}
                known => {
                    let arrival = match known {
                        Known::Done(id) if identity.keep_response => {
                            Arrival::Duplicate { responder, id: *id }
                        }
                        Known::Done(_) | Known::New => Arrival::Duplicate { responder, id: None },
                        Known::Full => Arrival::Refused(responder),
                        Known::InFlight => self.wait_for(identity.key, responder),
                    };
                    // The others were taken in just now, for a request that is not going to run.
                    for begun in &identities[..index] {
                        self.known.forget(begun.key);
                    }
                    return arrival;
                }
            }
        }
        Arrival::New(responder)
    }

    fn wait_for(&mut self, key: DedupeKey, responder: ResponseSender) -> Arrival {
        let waiting = self.waiting.entry(key).or_default();
        if waiting.len() >= MAX_WAITING {
            return Arrival::Refused(responder);
        }
        waiting.push(responder);
        Arrival::Waits
    }

    /// The first one has its response. `stored` says where its identities are kept, in their order. Returns the duplicates that
    /// waited for it.
    pub fn done(&mut self, identities: &[RequestIdentity], stored: &[DedupeId]) -> Vec<ResponseSender> {
        for (index, identity) in identities.iter().enumerate() {
            self.known.done(identity.key, stored.get(index).copied());
        }
        self.take_waiting(identities)
    }

    /// The first one failed: the next one runs. Returns the duplicates that waited for it.
    pub fn forget(&mut self, identities: &[RequestIdentity]) -> Vec<ResponseSender> {
        for identity in identities {
            self.known.forget(identity.key);
        }
        self.take_waiting(identities)
    }

    /// Duplicates that wait for a request whose response takes longer; the request itself stays known.
    pub fn take_waiting(&mut self, identities: &[RequestIdentity]) -> Vec<ResponseSender> {
        identities.iter().filter_map(|identity| self.waiting.remove(&identity.key)).flatten().collect()
    }

    /// Whether a message that carries its own id is the first with it. It counts as seen from now on.
    pub fn is_first_message(&mut self, key: DedupeKey, now_ms: u64) -> bool {
        let is_new = matches!(
            self.known.begin(key, now_ms.saturating_add(DedupeMemory::<()>::DEDUPE_MS), now_ms),
            Known::New
        );
        if is_new {
            self.known.done(key, None);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::response::{WebhookRefusal, WebhookResponse};

    const IDENTITY: fn() -> RequestIdentity =
        || RequestIdentity { key: DedupeKey::derive("id", b"1"), expires_ms: 60_000, keep_response: true };

    fn sender() -> ResponseSender {
        ResponseSender::new(|_| {})
    }

    #[test]
    fn a_message_is_the_first_with_its_id_once_within_its_window() {
        let mut recent = RecentRequests::default();
        let key = || DedupeKey::derive("message", b"1");
        assert!(recent.is_first_message(key(), 0));
        assert!(!recent.is_first_message(key(), DedupeMemory::<()>::DEDUPE_MS - 1));
        assert!(recent.is_first_message(DedupeKey::derive("message", b"2"), 0), "another one");
        assert!(recent.is_first_message(key(), DedupeMemory::<()>::DEDUPE_MS + 1), "it is forgotten");
    }

    #[test]
    fn a_duplicate_waits_for_the_first_and_gets_its_response() {
        let mut recent = RecentRequests::default();
        assert!(matches!(recent.arrive(&[IDENTITY()], sender(), 0), Arrival::New(_)));
        assert!(matches!(recent.arrive(&[IDENTITY()], sender(), 0), Arrival::Waits));
        assert_eq!(recent.done(&[IDENTITY()], &[DedupeId(7)]).len(), 1);
        assert!(matches!(
            recent.arrive(&[IDENTITY()], sender(), 0),
            Arrival::Duplicate { id: Some(DedupeId(7)), .. }
        ));
    }

    // A board that boots in 1970 forgot at its next start what it had recent before it heard of the year: duplicates ran again.
    #[test]
    fn dedupe_keys_from_before_the_clock_was_set_expire_a_window_after_the_restart() {
        const NOW_MS: u64 = 1_800_000_000_000;
        let record = DedupeRecord {
            id: DedupeId(7),
            channel: "a".into(),
            key: [1; 16],
            at_ms: 63_072_000_000,
            expires_ms: 63_072_060_000,
        };
        assert!(
            record.is_known(NOW_MS) && record.is_known(63_072_059_999) && !record.is_known(63_072_060_000)
        );
        let mut recent = RecentRequests::default();
        recent.load(&record, NOW_MS);
        let identity = RequestIdentity { key: DedupeKey::from_bytes([1; 16]), ..IDENTITY() };
        let mut arrive = |now_ms| recent.arrive(&[identity], sender(), now_ms);
        assert!(matches!(arrive(NOW_MS + 60_000), Arrival::Duplicate { .. }));
        assert!(matches!(arrive(NOW_MS + 60_001), Arrival::New(_)));
    }

    // A clock that was a year ahead for a minute made ids be remembered for a year.
    #[test]
    fn dedupe_keys_from_before_a_restart_expire_after_their_window() {
        let record = DedupeRecord {
            id: DedupeId(7),
            channel: "a".into(),
            key: [1; 16],
            at_ms: 900_000,
            expires_ms: 960_000,
        };
        let identity = RequestIdentity { key: DedupeKey::from_bytes([1; 16]), ..IDENTITY() };
        for (case, loaded_ms, forgotten_ms) in
            [("the clock is right", 910_000, 960_000), ("the clock was ahead", 100_000, 160_000)]
        {
            let mut recent = RecentRequests::default();
            recent.load(&record, loaded_ms);
            let mut arrive = |now_ms| recent.arrive(&[identity], sender(), now_ms);
            assert!(matches!(arrive(forgotten_ms), Arrival::Duplicate { .. }), "{case}");
            assert!(matches!(arrive(forgotten_ms + 1), Arrival::New(_)), "{case}");
        }
    }

    // A captured request ran again when the host had been started with its clock an hour ahead, and the clock was put right later.
    #[test]
    fn what_had_expired_by_a_clock_that_was_ahead_at_the_restart_is_known_when_the_clock_is_right() {
        let (at_ms, expires_ms) = (900_000, 960_000);
        let record = DedupeRecord { id: DedupeId(7), channel: "a".into(), key: [1; 16], at_ms, expires_ms };
        let identity = RequestIdentity { key: DedupeKey::from_bytes([1; 16]), ..IDENTITY() };
        let mut recent = RecentRequests::default();
        recent.load(&record, at_ms + 3_600_000);
        let other = RequestIdentity { key: DedupeKey::from_bytes([2; 16]), ..IDENTITY() };
        assert!(matches!(recent.arrive(&[other], sender(), at_ms + 3_600_000), Arrival::New(_)));
        assert!(matches!(recent.arrive(&[identity], sender(), at_ms + 1000), Arrival::Duplicate { .. }));
        assert!(matches!(recent.arrive(&[identity], sender(), expires_ms + 1), Arrival::New(_)));
    }

    #[test]
    fn a_request_that_failed_runs_again() {
        let mut recent = RecentRequests::default();
        assert!(matches!(recent.arrive(&[IDENTITY()], sender(), 0), Arrival::New(_)));
        assert!(recent.forget(&[IDENTITY()]).is_empty());
        assert!(matches!(recent.arrive(&[IDENTITY()], sender(), 0), Arrival::New(_)));
    }

    #[test]
    fn a_captured_request_with_another_id_is_a_duplicate_by_its_signature() {
        let signed =
            RequestIdentity { key: DedupeKey::derive("signature", b"s"), keep_response: false, ..IDENTITY() };
        let other_id = RequestIdentity { key: DedupeKey::derive("id", b"2"), ..IDENTITY() };
        let mut recent = RecentRequests::default();
        recent.arrive(&[IDENTITY(), signed], sender(), 0);
        recent.done(&[IDENTITY(), signed], &[DedupeId(7), DedupeId(8)]);
        assert!(matches!(
            recent.arrive(&[other_id, signed], sender(), 0),
            Arrival::Duplicate { id: None, .. }
        ));
        assert!(
            matches!(recent.arrive(&[other_id], sender(), 0), Arrival::New(_)),
            "the other id is not taken"
        );
    }

    #[test]
    fn eight_duplicates_wait_and_the_ninth_is_refused() {
        let mut recent = RecentRequests::default();
        recent.arrive(&[IDENTITY()], sender(), 0);
        for _ in 0..MAX_WAITING {
            assert!(matches!(recent.arrive(&[IDENTITY()], sender(), 0), Arrival::Waits));
        }
        let Arrival::Refused(responder) = recent.arrive(&[IDENTITY()], sender(), 0) else {
            panic!("not refused")
        };
        responder.send(WebhookResponse::Refused(WebhookRefusal::Busy));
    }
}
