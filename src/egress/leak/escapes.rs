//! Undoing JSON's escapes and percent-encoding in a text of unknown structure.

use std::ops::Range;

use zeroize::Zeroizing;

/// The text with every escape of a JSON string (RFC 8259, section 7) undone, wherever it stands. What is no escape stays.
pub(super) fn undo(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(backslash) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..backslash]);
        let length = match read(&rest[backslash + 1..]) {
            Some((character, length)) => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                length
            }
            None => {
                out.push(b'\\');
                0
            }
        };
        rest = &rest[backslash + 1 + length..];
    }
    out.extend_from_slice(rest);
    out
}

/// The ranges of a text from which ranges of the text without escapes came. These are in order, not empty, and apart.
pub(super) fn origins(text: &[u8], places: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut origins: Vec<Range<usize>> = Vec::with_capacity(places.len());
    let mut places = places.iter();
    let (mut place, mut undone) = (places.next(), 0);
    undo_each(text, |bytes, from| {
        let piece = undone..undone + bytes.len();
        undone = piece.end;
        // One character may be the end of a place and the beginning of the next one.
        while let Some(wanted) = place {
            if piece.contains(&wanted.start) {
                origins.push(from.clone());
            }
            if piece.end < wanted.end {
                break;
            }
            if let Some(origin) = origins.last_mut() {
                origin.end = from.end;
            }
            place = places.next();
        }
    });
    origins
}

/// Gives the text without escapes piece by piece, each with the range of the text that it stands for.
fn undo_each(text: &[u8], mut emit: impl FnMut(&[u8], Range<usize>)) {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let escape = if byte == b'\\' { read(&text[at + 1..]) } else { None };
        let end = at + 1 + escape.map_or(0, |(_, length)| length);
        match escape {
            Some((character, _)) => emit(character.encode_utf8(&mut [0; 4]).as_bytes(), at..end),
            None => emit(&[byte], at..end),
        }
        at = end;
    }
}

/// A text with its escapes undone that knows which byte came from where.
pub(super) struct Decoded {
    text: Zeroizing<Vec<u8>>,
    /// For each byte of the text, the range of the original that it stands for.
    origins: Vec<(u32, u32)>,
}

impl Decoded {
    /// The original itself, of less than 4 GiB.
    pub(super) fn plain(text: &[u8]) -> Self {
        let origins = (0_u32..).zip(1_u32..).take(text.len()).collect();
        Self { text: Zeroizing::new(text.to_vec()), origins }
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The range of the original from which a range of the text, which is not empty, came.
    pub(super) fn origin_of(&self, range: Range<usize>) -> Range<usize> {
        self.origins[range.start].0 as usize..self.origins[range.end - 1].1 as usize
    }

    pub(super) fn without_json_escapes(&self) -> Self {
        let mut decoded = self.with_room();
        undo_each(&self.text, |bytes, from| decoded.push(bytes, &self.origins[from]));
        decoded
    }

    pub(super) fn percent_decoded(&self) -> Self {
        let mut decoded = self.with_room();
        let mut at = 0;
        while let Some(&byte) = self.text.get(at) {
            let digit = |at: usize| char::from(*self.text.get(at)?).to_digit(16);
            let value = if byte == b'%' { digit(at + 1).zip(digit(at + 2)) } else { None };
            match value.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
                Some(value) => {
                    decoded.push(&[value], &self.origins[at..at + 3]);
                    at += 3;
                }
                None => {
                    decoded.push(&[byte], &self.origins[at..=at]);
                    at += 1;
                }
            }
        }
        decoded
    }

    fn with_room(&self) -> Self {
        Self {
            text: Zeroizing::new(Vec::with_capacity(self.text.len())),
            origins: Vec::with_capacity(self.text.len()),
        }
    }

    /// Adds bytes that stand for a piece of the text, which is not empty.
    fn push(&mut self, bytes: &[u8], from: &[(u32, u32)]) {
        let origin = (from[0].0, from[from.len() - 1].1);
        self.text.extend_from_slice(bytes);
        self.origins.extend(std::iter::repeat_n(origin, bytes.len()));
    }
}

/// What the escape after a backslash stands for, and its length without the backslash.
fn read(after: &[u8]) -> Option<(char, usize)> {
    let simple = |character| Some((character, 1));
    match after.first()? {
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'/' => simple('/'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'u' => {
            let high = unit(after.get(1..5)?)?;
            if let Some(character) = char::from_u32(high) {
                return Some((character, 5));
            }
            let low = after.get(5..11)?.strip_prefix(b"\\u").and_then(unit)?;
            let pair = [u16::try_from(high).ok()?, u16::try_from(low).ok()?];
            let character = char::decode_utf16(pair).next()?.ok()?;
            Some((character, 11))
        }
        _ => None,
    }
}

fn unit(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_undone_and_other_backslashes_stay() {
        let rows = [
            (r"a\u0041\u0062c", "aAbc"),
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"\ud83d\ude00", "😀"),
            (r"\ud83d", r"\ud83d"),
            (r"\ud83d\u0041", r"\ud83dA"),
            (r"\u00", r"\u00"),
            (r"\u00g0", r"\u00g0"),
            (r"\x41", r"\x41"),
            ("\\", "\\"),
        ];
        for (text, expected) in rows {
            assert_eq!(String::from_utf8(undo(text.as_bytes())).unwrap(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn serde_escapes_are_decoded(value in any::<String>()) {
            let json = serde_json::Value::from(value.as_str()).to_string();
            let inner = &json[1..json.len() - 1];
            prop_assert_eq!(undo(inner.as_bytes()), value.as_bytes());
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(undo(&bytes).len() <= bytes.len());
        }
    }
}
