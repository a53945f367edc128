//! Text of guests, senders and servers, made safe for a terminal and for a log.

use std::borrow::Cow;

/// The text on one line: every character that moves the cursor, reorders what stands beside it or cannot be seen is
/// written as an escape (`\n`, `\u{202e}`). What is escaped once is not changed again.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_deceptive(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// The text with its line breaks, each line as [`escaped`] has it.
#[cfg(any(feature = "cli", test))]
pub fn escaped_lines(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

/// A JSON document with the same characters written as `\\uXXXX`: it means the same.
#[cfg(any(feature = "cli", test))]
pub fn escaped_json(document: &str) -> Cow<'_, str> {
    if !document.chars().any(is_deceptive) {
        return Cow::Borrowed(document);
    }
    let mut safe = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        // A line break stands between tokens only.
        if is_deceptive(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe += &format!("\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Control characters, and those of Unicode's category Cf that hide or reorder text (Unicode Technical Report 36, 2.7).
/// The joiners U+200C and U+200D stay: Persian and emoji need them.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_bidirectional_characters_are_escaped() {
        for (case, text, expected) in [
            ("plain", "Grüße, 你好 \u{1f600}", "Grüße, 你好 \u{1f600}"),
            ("a joined emoji", "\u{1f468}\u{200d}\u{1f469}", "\u{1f468}\u{200d}\u{1f469}"),
            ("line breaks", "a\r\nb\tc", "a\\r\\nb\\tc"),
            ("terminal control", "\u{1b}[2J\u{7}\u{9b}", "\\u{1b}[2J\\u{7}\\u{9b}"),
            ("right to left override", "gpj\u{202e}exe", "gpj\\u{202e}exe"),
            ("isolates", "\u{2066}a\u{2069}", "\\u{2066}a\\u{2069}"),
            ("marks", "\u{200e}\u{200f}\u{61c}", "\\u{200e}\\u{200f}\\u{61c}"),
            ("separators", "a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            ("nothing to see", "a\u{200b}\u{feff}\u{ad}b", "a\\u{200b}\\u{feff}\\u{ad}b"),
            ("tags", "a\u{e0061}", "a\\u{e0061}"),
            ("escaped before", "a\\u{202e}", "a\\u{202e}"),
        ] {
            assert_eq!(escaped(text), expected, "{case}");
            assert_eq!(escaped(&escaped(text)), expected, "{case}, twice");
        }
        assert_eq!(escaped_lines("a\nb\u{1b}"), "a\nb\\u{1b}");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let value = serde_json::json!({"a\u{202e}": "b\u{9b}\u{e0061}\n", "c": 1});
        let text = value.to_string();
        let safe = escaped_json(&text);
        assert!(!safe.chars().any(is_deceptive), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
