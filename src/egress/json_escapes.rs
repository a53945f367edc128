//! Undoing JSON's escapes in a text of unknown structure.

/// The text with every escape of a JSON string (RFC 8259, section 7) undone, wherever it stands. What is no escape stays.
pub(super) fn undo(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escape = if byte == b'\\' { read(after) } else { None };
        match escape {
            Some((character, length)) => {
                let mut buffer = [0; 4];
                out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                rest = &after[length..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
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
    use super::*;
    use proptest::prelude::*;

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
        fn what_serde_escapes_is_undone(value in any::<String>()) {
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
