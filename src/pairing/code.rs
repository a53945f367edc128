//! Codes that a person can read out and type in.

use ring::rand::{SecureRandom, SystemRandom};

/// Characters of a code.
pub(super) const CODE_LENGTH: usize = 8;

/// No `0 O`, no `1 I L`, no `5 S`, no `8 B`, no `2 Z`, no `U V` side by side: what looks alike is left out.
const ALPHABET: &[u8] = b"34679ACDEFGHJKMNPQRTWXY";

/// A random code, or none when the system gives no randomness.
pub(super) fn random_code() -> Option<String> {
    let random = SystemRandom::new();
    let mut code = String::with_capacity(CODE_LENGTH);
    // The largest multiple of the alphabet's size: bytes above it would make some characters likelier than others.
    let fair = 256 / ALPHABET.len() * ALPHABET.len();
    while code.len() < CODE_LENGTH {
        let mut bytes = [0; 16];
        random.fill(&mut bytes).ok()?;
        let fair_bytes = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
        code.extend(
            fair_bytes.map(|byte| char::from(ALPHABET[byte % ALPHABET.len()])).take(CODE_LENGTH - code.len()),
        );
    }
    Some(code)
}

/// A code as a person typed it: in capitals, without blanks and hyphens.
pub(super) fn normalised(typed: &str) -> String {
    typed.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_eight_characters_and_no_look_alikes() {
        for _ in 0..200 {
            let code = random_code().expect("randomness");
            assert_eq!(code.len(), CODE_LENGTH);
            assert!(!code.contains(|c: char| "0O1IL5S8B2ZUV".contains(c)), "{code}");
        }
    }

    #[test]
    fn a_typed_code_may_have_blanks_hyphens_and_small_letters() {
        assert_eq!(normalised(" acdE-fghj "), "ACDEFGHJ");
    }
}
