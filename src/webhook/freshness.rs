//! Whether a signed request is of now and is the first: signed timestamps in whole seconds of Unix time, how far from the
//! host's clock they may be, and the key by which a request that is sent again is recognised while its signature is good.
//!
//! The key comes from what was *computed or verified*, never from how the header spelt it: a header with a second,
//! bogus signature or a changed unsigned id is still the same request. The router remembers keys of requests that
//! succeeded in a [`DedupeMemory`](super::DedupeMemory) and responds to a duplicate with 200 without running the guest.

use super::dedupe_memory::DedupeKey;
use super::verify::AuthFailure;

/// Tolerance when none is configured, in seconds. Slack, Stripe and Standard Webhooks all recommend five minutes.
pub(super) const DEFAULT_TOLERANCE_SECS: u64 = 300;

/// Largest tolerance, in seconds: seven days. A clock that is further off must be set, not tolerated.
pub(super) const MAX_TOLERANCE_SECS: u64 = 7 * 24 * 60 * 60;

/// Digits that a timestamp may have; 12 last for 30,000 years, and milliseconds (13 digits) are told apart by it.
const MAX_DIGITS: usize = 12;

/// A timestamp header that was read and found recent enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timestamp<'a> {
    /// Exactly as it was sent, since that is what was signed.
    pub text: &'a str,
    /// Unix time in milliseconds.
    pub ms: u64,
}

/// Reads a timestamp and compares it with the clock. Only ASCII digits are accepted: no sign, blank or fraction.
pub(super) fn recent(text: &str, now_ms: u64, tolerance_secs: u64) -> Result<Timestamp<'_>, AuthFailure> {
    if text.is_empty() || text.len() > MAX_DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AuthFailure::TimestampMalformed);
    }
    let ms = text.parse::<u64>().map_err(|_| AuthFailure::TimestampMalformed)? * 1000;
    if now_ms.abs_diff(ms) > tolerance_secs * 1000 {
        let skew_secs = (i128::from(ms) - i128::from(now_ms)) / 1000;
        return Err(AuthFailure::TimestampOutsideTolerance { skew_secs: skew_secs as i64 });
    }
    Ok(Timestamp { text, ms })
}

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
pub(super) fn replay_by_signature(
    signature: &[u8],
    timestamp: Option<Timestamp<'_>>,
    now_ms: u64,
    tolerance_secs: u64,
) -> Option<ReplayKey> {
    replay_key("replay signature", signature, timestamp, now_ms, tolerance_secs)
}

/// The key for a request that carries a signed id. Such an id stays the same when the provider tries again.
pub(super) fn replay_by_id(
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
    fn the_tolerance_holds_at_its_edge_in_both_directions_and_not_past_it() {
        let now = 1_700_000_000_000;
        let cases = [
            ("1700000000", true),
            ("1699999700", true),
            ("1699999699", false),
            ("1700000300", true),
            ("1700000301", false),
            ("0", false),
            ("999999999999", false),
        ];
        for (text, accepted) in cases {
            assert_eq!(recent(text, now, 300).is_ok(), accepted, "{text}");
        }
        assert!(recent("1699999700", now + 1, 300).is_err(), "one millisecond past the edge");
    }

    #[test]
    fn the_tolerances_are_five_minutes_and_at_most_a_week() {
        assert_eq!((DEFAULT_TOLERANCE_SECS, MAX_TOLERANCE_SECS), (300, 604_800));
        let now = MAX_TOLERANCE_SECS * 1000;
        assert!(recent("0", now, MAX_TOLERANCE_SECS).is_ok());
        assert!(recent("0", now + 1, MAX_TOLERANCE_SECS).is_err());
    }

    #[test]
    fn twelve_digits_are_a_time_and_thirteen_are_not() {
        let twelve = recent("999999999999", 999_999_999_999_000, 300);
        assert_eq!(twelve, Ok(Timestamp { text: "999999999999", ms: 999_999_999_999_000 }));
        assert_eq!(recent("1000000000000", 1_000_000_000_000_000, 300), Err(AuthFailure::TimestampMalformed));
    }

    #[test]
    fn the_clock_difference_is_reported_with_its_direction() {
        let skew = |text| recent(text, 1_700_000_000_000, 300).unwrap_err();
        assert_eq!(skew("1700000400"), AuthFailure::TimestampOutsideTolerance { skew_secs: 400 });
        assert_eq!(skew("1699999000"), AuthFailure::TimestampOutsideTolerance { skew_secs: -1000 });
    }

    #[test]
    fn only_plain_digits_are_a_timestamp() {
        let spellings = [
            "",
            "+1700000000",
            "-1",
            " 1700000000",
            "1700000000 ",
            "1700000000.0",
            "1.7e9",
            "0x6553f100",
            "١٧٠٠٠٠٠٠٠٠",
            "1700000000000",
            "99999999999999999999999999",
        ];
        for text in spellings {
            assert_eq!(
                recent(text, 1_700_000_000_000, 300),
                Err(AuthFailure::TimestampMalformed),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_key_is_remembered_as_long_as_its_signature_is_good() {
        let ahead = Timestamp { text: "1100", ms: 1_100_000 };
        let expires = |timestamp| replay_by_signature(b"s", timestamp, 1_000_000, 300).unwrap().expires_ms;
        assert_eq!(expires(None), 1_300_000);
        assert_eq!(expires(Some(ahead)), 1_400_000);
    }

    #[test]
    fn id_and_signature_never_share_a_key() {
        let id = replay_by_id("same", None, 0, 300).unwrap();
        let signature = replay_by_signature(b"same", None, 0, 300).unwrap();
        assert_ne!(id.key, signature.key);
        assert_eq!(id.key, replay_by_id("same", None, 99, 300).unwrap().key);
    }

    #[test]
    fn a_tolerance_of_zero_remembers_nothing() {
        assert_eq!(replay_by_signature(b"s", None, 0, 0), None);
    }
}
