//! A value that is erased after use and cannot be printed by accident; and what stands around a stored value without being
//! part of it: one rule for every source.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::SecretError;
use super::sealed::MIN_KEY_FILE_BYTES;

/// The value of a secret.
///
/// It has no `Display`, its `Debug` prints `Secret(***)`, it is compared in constant time, and its memory is
/// overwritten when it is dropped. It is text, because every place that it goes to (a header, a URL, an HMAC key given
/// by a provider) takes text; binary keys are stored in the encoding that their provider gave them in.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The longest value that a backend takes, in bytes: 64 KiB, far above any key or certificate.
    pub const MAX_BYTES: u64 = 64 * 1024;

    /// Takes over a value. A `String` is moved, not copied, so no second copy stays behind.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
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

/// A value without a byte order mark at its beginning, white space at its ends, and then one pair of quotes around it. No
/// provider gives credentials that begin or end with these; editors, `echo` and files of variables put them there.
fn trim(text: &str) -> &str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    let within = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(text)
}

/// The same for a key, which may be text or any bytes: bytes that are no text stay as they are, but for one line break after
/// a key that is long enough without it.
pub(super) fn trim_text(bytes: &mut Zeroizing<Vec<u8>>) {
    let trimmed = match std::str::from_utf8(bytes) {
        Ok(text) => Zeroizing::new(trim(text).as_bytes().to_vec()),
        Err(_) if bytes.len() <= MIN_KEY_FILE_BYTES => return,
        Err(_) => Zeroizing::new(bytes.strip_suffix(b"\n").unwrap_or(bytes).to_vec()),
    };
    *bytes = trimmed;
}

/// Whether nothing but one line break at the end was left out, which every editor writes.
fn is_line_break(text: &str, trimmed: &str) -> bool {
    text.strip_prefix(trimmed).is_some_and(|rest| matches!(rest, "\n" | "\r\n"))
}

/// Trims the values of one source, and says once for each name that it did. The names of which it was said are behind a lock, because
/// workers read secrets at the same time; it is held to add one.
#[derive(Clone, Debug, Default)]
pub(super) struct Trimmer(Arc<Mutex<BTreeSet<String>>>);

impl Trimmer {
    /// The value as it is used; `None` when nothing is left of it.
    pub(super) fn apply(&self, name: &str, value: Secret) -> Option<Secret> {
        let trimmed = trim(value.expose());
        if trimmed.len() != value.len() {
            if !is_line_break(value.expose(), trimmed) {
                self.warn(name);
            }
            return Some(Secret::from(trimmed)).filter(|value| !value.is_empty());
        }
        Some(value).filter(|value| !value.is_empty())
    }

    fn warn(&self, name: &str) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
            log::warn!(
                target: "tinclaw::secrets",
                "secret '{name}': white space, quotes or a byte order mark around its value are left out"
            );
        }
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

    // A key file that was written with a byte order mark, quotes or a second line break gave another key than its text.
    #[test]
    fn a_key_of_text_is_trimmed_and_one_of_bytes_keeps_them() {
        for (bytes, expected) in [
            (&b"\xef\xbb\xbf'key'\r\n\n"[..], &b"key"[..]),
            (b"key", b"key"),
            (b"\xff 23456789 123456789 123456789 1 \n", b"\xff 23456789 123456789 123456789 1 "),
            (b"\xff 23456789 123456789 123456789 1\n\n", b"\xff 23456789 123456789 123456789 1\n"),
            // Of 256 generated keys one ends with the byte of a line break. It lost that, and was refused as too short.
            (b"\xff 23456789 123456789 123456789 \n", b"\xff 23456789 123456789 123456789 \n"),
        ] {
            let mut key = Zeroizing::new(bytes.to_vec());
            trim_text(&mut key);
            assert_eq!(&key[..], expected, "{bytes:?}");
        }
    }

    // A token with a second line break, a blank or quotes was sent to its provider as it stood, and every request was
    // refused with 401.
    #[test]
    fn surrounding_whitespace_is_trimmed_and_inner_whitespace_kept() {
        let rows = [
            ("plain", "value", "value", false),
            ("line break", "value\n", "value", false),
            ("Windows line break", "value\r\n", "value", false),
            ("two line breaks", "value\n\n", "value", true),
            ("blanks", " \tvalue ", "value", true),
            ("byte order mark", "\u{feff}value\n", "value", true),
            ("double quotes", "\"value\"\n", "value", true),
            ("single quotes", "'value'", "value", true),
            ("blanks within quotes", "\" value \"", " value ", true),
            ("one quote", "\"value", "\"value", false),
            ("different quotes", "\"value'", "\"value'", false),
            ("inside", "a \"b\"\nc", "a \"b\"\nc", false),
            ("a quote alone", "\"", "\"", false),
        ];
        for (what, text, expected, warns) in rows {
            let trimmer = Trimmer::default();
            let value = trimmer.apply("name", Secret::from(text)).unwrap();
            assert_eq!(value.expose(), expected, "{what}");
            assert_eq!(!trimmer.0.lock().unwrap().is_empty(), warns, "{what}");
        }
        for nothing in ["", "\n", " ", "\"\"", "\u{feff}"] {
            assert_eq!(Trimmer::default().apply("name", Secret::from(nothing)), None, "{nothing:?}");
        }
    }
}
