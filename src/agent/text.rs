//! Bytes that should have been JSON: what programs really write. No I/O.

use std::borrow::Cow;

/// Text from an agent: without a byte order mark, and with U+FFFD in place of what is not UTF-8.
pub(super) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

/// JSON with `\ufffd` in place of every escape that is half a character. Python writes such halves when it cuts a text
/// within an emoji; the JSON reader would refuse the whole line.
pub(super) fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut repaired: Option<String> = None;
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        at += match escaped_unit(bytes, at) {
            // Not a `\u` escape: a backslash and the character after it.
            None => 2,
            Some(unit) if is_high(unit) && escaped_unit(bytes, at + 6).is_some_and(is_low) => 12,
            Some(unit) if is_high(unit) || is_low(unit) => {
                let repaired = repaired.get_or_insert_default();
                repaired.push_str(&json[copied..at]);
                repaired.push_str("\\ufffd");
                copied = at + 6;
                6
            }
            Some(_) => 6,
        };
        at = at.min(bytes.len());
    }
    match repaired {
        None => Cow::Borrowed(json),
        Some(repaired) => Cow::Owned(repaired + &json[copied..]),
    }
}

/// The code unit of a `\uXXXX` escape that begins at `at`.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    // `from_str_radix` takes a sign, JSON does not.
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u16::from_str_radix(digits, 16).ok()
}

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_low(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_characters_are_replaced_and_whole_ones_stay() {
        for (json, expected) in [
            (r#""plain""#, r#""plain""#),
            (r#""cut \ud83c""#, r#""cut \ufffd""#),
            (r#""\ud83c\udf4c""#, r#""\ud83c\udf4c""#),
            (r#""\uD83C\uDF4C\uD83C""#, r#""\uD83C\uDF4C\ufffd""#),
            (r#""\udf4c\ud83c""#, r#""\ufffd\ufffd""#),
            (r#""\ud83c\ud83c\udf4c""#, r#""\ufffd\ud83c\udf4c""#),
            (r#""\\ud83c""#, r#""\\ud83c""#),
            (r#""\\\ud83c""#, r#""\\\ufffd""#),
            (r#""\ud83c\n""#, r#""\ufffd\n""#),
            (r#""\u00e4\u+fff""#, r#""\u00e4\u+fff""#),
            (r#""\ud83"#, r#""\ud83"#),
            ("\\", "\\"),
            (r#""ä\ud83cä""#, r#""ä\ufffdä""#),
        ] {
            assert_eq!(without_lone_surrogates(json), expected, "{json}");
        }
    }

    #[test]
    fn a_mark_of_the_byte_order_goes_and_foreign_bytes_become_the_replacement_character() {
        for (bytes, expected) in [
            (b"\xef\xbb\xbf{}".as_slice(), "{}"),
            (b"{}\xef\xbb\xbf", "{}\u{feff}"),
            (b"caf\xe9", "caf\u{fffd}"),
            (b"", ""),
        ] {
            assert_eq!(lossy(bytes), expected);
        }
    }

    proptest! {
        #[test]
        fn what_json_writes_is_left_as_it_is(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(without_lone_surrogates(&json), json.as_str());
        }

        /// Any sequence of code units, all of them escaped, can be read after the repair.
        #[test]
        fn every_string_of_escapes_can_be_read(units in proptest::collection::vec(0xd700_u16..0xe100, 0..20)) {
            let escapes: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let json = format!("\"{escapes}\"");
            let read: String = serde_json::from_str(&without_lone_surrogates(&json)).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"[\\ud8cäx"]{0,30}"#) {
            without_lone_surrogates(&text);
        }
    }
}
