//! Which secrets are searched for.

use super::MIN_RANDOM_BYTES;

/// The fewest different bytes of a random value. 16 random hexadecimal digits have fewer in one of 2,000 cases.
const MIN_DIFFERENT_BYTES: usize = 7;

/// What a secret is used for, as far as the search is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::egress) enum Use {
    /// The host puts it into this channel's requests.
    InRequests,
    /// It only checks inbound requests, or belongs to another channel.
    Other,
    /// The guest was given it on purpose.
    GivenToGuest,
}

/// Whether a value is searched for. A guest cannot steal what it was given, and a person's word is no secret that could
/// be recognised in a conversation.
pub(in crate::egress) fn is_guarded(value: &str, used: Use) -> bool {
    match used {
        Use::InRequests => true,
        Use::Other => looks_random(value),
        Use::GivenToGuest => false,
    }
}

/// Long, one word, many different characters, and letters with digits or in both cases: a key or a token, not something
/// that people write by chance.
fn looks_random(value: &str) -> bool {
    let bytes = value.as_bytes();
    let any = |is: fn(&u8) -> bool| bytes.iter().any(is);
    let (lower, upper) = (any(u8::is_ascii_lowercase), any(u8::is_ascii_uppercase));
    let kinds = [lower, upper, any(u8::is_ascii_digit)].into_iter().filter(|present| *present).count();
    let different = (0..=u8::MAX).filter(|byte| bytes.contains(byte)).count();
    bytes.len() >= MIN_RANDOM_BYTES
        && kinds >= 2
        && different >= MIN_DIFFERENT_BYTES
        && !any(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_other_uses_are_guarded_when_they_are_long_and_random() {
        let rows = [
            ("a greeting", "hello", false),
            ("a long word", "internationalisation", false),
            ("a sentence", "hello how are you today 2 of you", false),
            ("a short token", "k3y-0123456789a", false),
            ("a token at the length", "k3y-0123456789ab", true),
            ("hexadecimal", "9f86d081884c7d659a2feaa0c55ad015", true),
            ("base64", "bG9uZ2FuZHJhbmRvbQ==", true),
            ("repeated", "a1a1a1a1a1a1a1a1a1a1a1a1", false),
            ("a telephone number", "00498912345678901", false),
            ("empty", "", false),
        ];
        for (what, value, expected) in rows {
            assert_eq!(is_guarded(value, Use::Other), expected, "{what}");
            assert!(is_guarded(value, Use::InRequests), "{what}");
            assert!(!is_guarded(value, Use::GivenToGuest), "{what}");
        }
    }
}
