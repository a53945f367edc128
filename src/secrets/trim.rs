//! What stands around a secret's value without being part of it: one rule for every source.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use super::Secret;
use super::sealed::MIN_KEY_FILE_BYTES;

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

/// Trims the values of one source, and says once for each name that it did.
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
