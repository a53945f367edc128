//! A value that is erased after use and cannot be printed by accident.

use std::fmt;

use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::SecretError;

/// The longest value that a backend takes, in bytes: 64 KiB, far above any key or certificate.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The value of a secret.
///
/// It has no `Display`, its `Debug` prints `Secret(***)`, it is compared in constant time, and its memory is
/// overwritten when it is dropped. It is text, because every place that it goes to (a header, a URL, an HMAC key given
/// by a provider) takes text; binary keys are stored in the encoding that their provider gave them in.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a value. The caller's string is moved, not copied, so no second copy stays behind.
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// Takes over bytes that must be UTF-8; they are erased when they are not.
    pub(crate) fn from_utf8(mut bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        std::str::from_utf8(&bytes).ok()?;
        String::from_utf8(std::mem::take(&mut *bytes)).ok().map(Self::new)
    }

    /// A new value: so many random bytes, as hexadecimal text of twice that length. It is what `auto_generate` in a
    /// capability file asks for.
    ///
    /// # Errors
    /// [`SecretError::NoRandomness`].
    pub fn random(bytes: u32) -> Result<Self, SecretError> {
        let mut random = Zeroizing::new(vec![0; bytes as usize]);
        SystemRandom::new().fill(&mut random).map_err(|_| SecretError::NoRandomness)?;
        let mut text = String::with_capacity(random.len() * 2);
        for byte in random.iter() {
            let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
            text.extend([digit(byte >> 4), digit(byte & 15)]);
        }
        Ok(Self::new(text))
    }

    /// The value itself, for the moment in which it is used. Never log it, never put it into an error.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The value's length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the value is the empty string.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Constant time for values of equal length; the length itself is not hidden.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_value() {
        assert_eq!(format!("{:?}", Secret::from("hunter2hunter2")), "Secret(***)");
    }

    #[test]
    fn equality_is_that_of_the_values() {
        assert_eq!(Secret::from("a"), Secret::from("a"));
        assert_ne!(Secret::from("a"), Secret::from("b"));
        assert_ne!(Secret::from("a"), Secret::from("aa"));
    }

    #[test]
    fn random_values_are_hexadecimal_text_and_never_the_same() {
        let made = Secret::random(32).unwrap();
        assert_eq!(made.len(), 64);
        assert!(made.expose().bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        assert_ne!(made, Secret::random(32).unwrap());
        assert!(Secret::random(0).unwrap().is_empty());
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert!(Secret::from_utf8(Zeroizing::new(vec![0xff, 0xfe])).is_none());
        assert_eq!(Secret::from_utf8(Zeroizing::new(b"ok".to_vec())).unwrap().expose(), "ok");
    }
}
