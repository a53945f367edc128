//! Recognising a request that was captured and is sent again while its signature is still good.
//!
//! The key comes from what was *computed or verified*, never from how the header spelt it: a header with a second,
//! bogus signature or a changed unsigned id is still the same request. The router remembers keys of requests that
//! succeeded in a [`DedupeMemory`](super::DedupeMemory) and responds to a duplicate with 200 without running the guest.

use super::dedupe_memory::DedupeKey;
use super::timestamp::Timestamp;

/// What to remember about an authentic request, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayKey {
    /// The key, already hashed.
    pub key: DedupeKey,
    /// Unix time in milliseconds after which the signature is no longer accepted anyway (or, where no time is
    /// signed, after which the request counts as a new one).
    pub expires_ms: u64,
}

/// The key for a request that is told apart by its signature. `None` where the capability switched this off with a
/// tolerance of 0.
pub(super) fn by_signature(
    signature: &[u8],
    timestamp: Option<Timestamp<'_>>,
    now_ms: u64,
    tolerance_secs: u64,
) -> Option<ReplayKey> {
    replay_key("replay signature", signature, timestamp, now_ms, tolerance_secs)
}

/// The key for a request that carries a signed id. Such an id stays the same when the provider tries again.
pub(super) fn by_id(
    id: &str,
    timestamp: Option<Timestamp<'_>>,
    now_ms: u64,
    tolerance_secs: u64,
) -> Option<ReplayKey> {
    replay_key("replay id", id.as_bytes(), timestamp, now_ms, tolerance_secs)
}

fn replay_key(
    kind: &str,
    what: &[u8],
    timestamp: Option<Timestamp<'_>>,
    now_ms: u64,
    tolerance_secs: u64,
) -> Option<ReplayKey> {
    if tolerance_secs == 0 {
        return None;
    }
    // A timestamp ahead of the clock stays acceptable for longer than the tolerance from now on.
    let from_ms = timestamp.map_or(now_ms, |timestamp| timestamp.ms);
    Some(ReplayKey {
        key: DedupeKey::derive(kind, what),
        expires_ms: from_ms.saturating_add(tolerance_secs * 1000),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_as_long_as_its_signature_is_good() {
        let ahead = Timestamp { text: "1100", ms: 1_100_000 };
        let expires = |timestamp| by_signature(b"s", timestamp, 1_000_000, 300).unwrap().expires_ms;
        assert_eq!(expires(None), 1_300_000);
        assert_eq!(expires(Some(ahead)), 1_400_000);
    }

    #[test]
    fn id_and_signature_never_share_a_key() {
        let id = by_id("same", None, 0, 300).unwrap();
        let signature = by_signature(b"same", None, 0, 300).unwrap();
        assert_ne!(id.key, signature.key);
        assert_eq!(id.key, by_id("same", None, 99, 300).unwrap().key);
    }

    #[test]
    fn a_tolerance_of_zero_remembers_nothing() {
        assert_eq!(by_signature(b"s", None, 0, 0), None);
    }
}
