//! Text from guests, made safe to keep and to print.

use std::fmt::Write;

use crate::model::prefix::prefix;

/// What stands at the end of a text that was cut.
pub(super) const CUT_MARK: &str = "…[truncated]";

/// Cuts `text` to at most `limit` bytes, mark included, between two characters. True when it was too long.
pub(super) fn cut(text: &mut String, limit: usize) -> bool {
    if text.len() <= limit {
        return false;
    }
    let end = prefix(text, limit.saturating_sub(CUT_MARK.len())).len();
    text.truncate(end);
    text.shrink_to_fit();
    // A limit that is smaller than the mark gets no mark.
    if end + CUT_MARK.len() <= limit {
        text.push_str(CUT_MARK);
    }
    true
}

/// At most `limit` bytes of `text` as one printable line.
pub(super) fn short_line(text: &str, limit: usize) -> String {
    // The limit is for what is kept, so a huge text is not cleaned as a whole.
    let mut line = one_line(prefix(text, limit.saturating_add(4)));
    cut(&mut line, limit);
    line
}

/// One printable line: control characters, and the ones that turn the direction of writing, are escaped, so that a
/// guest can neither forge lines of the host's log nor send commands to a terminal.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim_end_matches(['\n', '\r']).chars() {
        match c {
            '\t' => line.push(' '),
            '\n' => line.push_str("\\n"),
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                escape(&mut line, c)
            }
            c if c.is_control() => escape(&mut line, c),
            c => line.push(c),
        }
    }
    line
}

fn escape(line: &mut String, c: char) {
    // Writing to a string cannot fail.
    let _ = write!(line, "{}", c.escape_unicode());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_marked() {
        let room = CUT_MARK.len();
        let rows: &[(&str, &str, usize, String)] = &[
            ("fits exactly", "abcdef", 6, "abcdef".into()),
            ("one byte too long", &"a".repeat(21), 20, format!("{}{CUT_MARK}", "a".repeat(20 - room))),
            ("inside a two-byte character", &"ä".repeat(20), room + 3, format!("ä{CUT_MARK}")),
            ("inside a four-byte character", &"🦀".repeat(20), room + 7, format!("🦀{CUT_MARK}")),
            ("no room for the mark", "abcdef", 3, String::new()),
            ("nothing allowed", "abc", 0, String::new()),
        ];
        for (name, text, limit, expected) in rows {
            let mut cut_text = (*text).to_owned();
            assert_eq!(cut(&mut cut_text, *limit), text.len() > *limit, "{name}");
            assert_eq!(cut_text, *expected, "{name}");
            assert!(cut_text.len() <= *limit, "{name}");
        }
    }

    #[test]
    fn a_line_stays_a_line() {
        let rows = [
            ("plain", "hello", "hello"),
            ("final line break", "hello\r\n", "hello"),
            ("forged line", "a\n[ERROR] b", "a\\n[ERROR] b"),
            ("terminal command", "\u{1b}[2J", "\\u{1b}[2J"),
            ("right to left override", "a\u{202e}b", "a\\u{202e}b"),
            ("tab", "a\tb", "a b"),
            ("letters of all kinds", "äß漢🦀", "äß漢🦀"),
        ];
        for (name, text, expected) in rows {
            assert_eq!(one_line(text), expected, "{name}");
        }
    }

    // What happened: a cut text kept the room that the whole one had, so a hundred messages of 47 MB took 4.7 GB.
    #[test]
    fn a_text_that_was_cut_takes_no_more_room_than_its_limit() {
        let mut text = "a".repeat(1_000_000);
        assert!(cut(&mut text, 100));
        assert_eq!(text.len(), 100);
        assert!(text.capacity() <= 200, "{}", text.capacity());
    }
}
