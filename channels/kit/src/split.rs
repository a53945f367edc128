//! Cuts a text that is longer than a service takes.
//!
//! A part ends with a paragraph, else a line, else a sentence, else a word; never inside an emoji, an accented letter or a
//! surrogate pair. A code block that is cut is closed at the end of the part and opened again in the next one.

use crate::cluster::first_cluster;

/// What a service counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// UTF-16 code units (Telegram, Signal).
    Utf16,
    /// Unicode characters (Discord, Slack, WhatsApp).
    Chars,
    /// Bytes of UTF-8 (Matrix).
    Bytes,
}

impl Unit {
    /// How long a text is.
    pub fn count(self, text: &str) -> usize {
        match self {
            Self::Utf16 => text.chars().map(char::len_utf16).sum(),
            Self::Chars => text.chars().count(),
            Self::Bytes => text.len(),
        }
    }
}

/// Cuts a Markdown text into parts of at most `limit` units, which must be at least 16. An empty text has no part.
pub fn split(text: &str, limit: usize, unit: Unit) -> Vec<String> {
    let limit = limit.max(16);
    let mut parts = Vec::new();
    let mut rest = text.trim_end();
    let mut open: Option<Fence> = None;
    while !rest.is_empty() {
        let opening = open.as_ref().map(|fence| fence.opening(limit, unit)).unwrap_or_default();
        let taken = unit.count(&opening);
        if taken + unit.count(rest) <= limit {
            parts.push(opening + rest);
            break;
        }
        let cut = cut_of(rest, limit - taken, unit, open.as_ref());
        let (part, next) = rest.split_at(cut);
        let after = fence_after(part, open.as_ref());
        let part = if after.is_some() { part.trim_end_matches('\n') } else { part.trim_end() };
        if !part.is_empty() {
            parts.push(match &after {
                Some(fence) => format!("{opening}{part}\n{}", fence.marker),
                None => opening + part,
            });
        }
        // Indentation of the next line is part of a code block, and otherwise the gap between two parts.
        rest = if after.is_some() { next.trim_start_matches('\n') } else { next.trim_start() };
        open = after;
    }
    parts
}

/// A code block that is open (CommonMark 0.31, section 4.5).
#[derive(Clone, Debug, PartialEq)]
struct Fence {
    marker: String,
    info: String,
}

impl Fence {
    /// The line that opens it again; without what it says about the language when that would fill the part.
    fn opening(&self, limit: usize, unit: Unit) -> String {
        let whole = format!("{}{}\n", self.marker, self.info);
        if unit.count(&whole) <= limit / 4 { whole } else { format!("{}\n", self.marker) }
    }

    fn read(line: &str) -> Option<Self> {
        let line = unindented(line)?;
        let kind = line.chars().next().filter(|kind| matches!(kind, '`' | '~'))?;
        let info = line.trim_start_matches(kind);
        let length = line.len() - info.len();
        if length < 3 || (kind == '`' && info.contains('`')) {
            return None;
        }
        // A longer marker than any text has is no marker: closing it must fit into a part.
        let marker: String = std::iter::repeat_n(kind, length.min(5)).collect();
        Some(Self { marker, info: info.trim().to_owned() })
    }

    fn is_closed_by(&self, line: &str) -> bool {
        unindented(line).is_some_and(|line| {
            let kind = self.marker.chars().next().unwrap_or('`');
            let tail = line.trim_start_matches(kind);
            line.len() - tail.len() >= self.marker.len() && tail.trim().is_empty()
        })
    }
}

/// A line that is indented by three spaces at most; one that is indented further neither opens nor closes a block.
fn unindented(line: &str) -> Option<&str> {
    let trimmed = line.trim_start_matches(' ');
    (line.len() - trimmed.len() <= 3).then_some(trimmed)
}

/// The code block that is open at the end of `text`, when `open` was at its beginning.
fn fence_after(text: &str, open: Option<&Fence>) -> Option<Fence> {
    let mut open = open.cloned();
    for line in text.lines() {
        match &open {
            Some(fence) if fence.is_closed_by(line) => open = None,
            Some(_) => {}
            None => open = Fence::read(line),
        }
    }
    open
}

/// Where to cut `rest`, which is longer than `room`.
fn cut_of(rest: &str, room: usize, unit: Unit, open: Option<&Fence>) -> usize {
    // Room for closing a code block is kept only when one is open there.
    let whole = fitting(rest, room, unit);
    let window = match fence_after(&rest[..whole], open) {
        Some(fence) => fitting(rest, room.saturating_sub(fence.marker.len() + 1).max(1), unit),
        None => whole,
    };
    let window = &rest[..window];
    let cut = break_in(window, rest, open);
    match before_empty_block(&window[..cut], open) {
        Some(before) if before > 0 => before,
        _ => cut,
    }
}

/// The bytes of `rest` that have at most `room` units, in whole clusters; at least one character.
fn fitting(rest: &str, room: usize, unit: Unit) -> usize {
    let (mut bytes, mut units) = (0, 0);
    while bytes < rest.len() {
        let cluster = first_cluster(&rest[bytes..]);
        units += unit.count(&rest[bytes..bytes + cluster]);
        if units > room {
            break;
        }
        bytes += cluster;
    }
    if bytes > 0 {
        return bytes;
    }
    // One cluster that is longer than a part: as many of its characters as fit.
    let (mut bytes, mut units) = (0, 0);
    for c in rest.chars() {
        units += unit.count(c.encode_utf8(&mut [0; 4]));
        if units > room && bytes > 0 {
            break;
        }
        bytes += c.len_utf8();
    }
    bytes
}

/// The best place for a cut in `window`, the beginning of `rest`. A place in its first third is not taken: the parts would
/// be many and short.
fn break_in(window: &str, rest: &str, open: Option<&Fence>) -> usize {
    let least = window.len() / 3;
    let late = |at: &usize| *at > least;
    if rest[window.len()..].starts_with('\n') {
        return window.len();
    }
    let paragraph = window
        .rmatch_indices("\n\n")
        .map(|(at, gap)| at + gap.len())
        .filter(late)
        .find(|at| fence_after(&window[..*at], open).is_none());
    // A sentence or a word may end exactly where the window does.
    let ends_here = rest[window.len()..].starts_with(char::is_whitespace);
    if ends_here && paragraph.is_none() && window.ends_with(['.', '!', '?', '…']) {
        return window.len();
    }
    let line = || window.rfind('\n').map(|at| at + 1).filter(late);
    let sentence = || sentence_end(window).filter(late);
    let gap = || window.rfind(char::is_whitespace).map(|at| after_char(window, at));
    let word = || if ends_here { Some(window.len()) } else { gap().filter(late) };
    paragraph.or_else(line).or_else(sentence).or_else(word).unwrap_or(window.len())
}

/// The end of the last sentence that is followed by a space, or that ends with a mark which stands without one.
fn sentence_end(window: &str) -> Option<usize> {
    window.char_indices().rev().find_map(|(at, c)| {
        let end = at + c.len_utf8();
        let followed = window[end..].starts_with(char::is_whitespace);
        match c {
            '.' | '!' | '?' | '…' if followed => Some(end),
            '。' | '！' | '？' => Some(end),
            _ => None,
        }
    })
}

fn after_char(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(0, char::len_utf8)
}

/// Where the last line of `part` begins, when it opens a code block that has nothing in it yet.
fn before_empty_block(part: &str, open: Option<&Fence>) -> Option<usize> {
    let trimmed = part.trim_end_matches('\n');
    let start = trimmed.rfind('\n').map_or(0, |at| at + 1);
    let is_outside = fence_after(&trimmed[..start], open).is_none();
    (is_outside && Fence::read(&trimmed[start..]).is_some()).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: [Unit; 3] = [Unit::Utf16, Unit::Chars, Unit::Bytes];

    #[test]
    fn a_text_at_the_limit_is_one_part_and_one_past_it_two() {
        for unit in UNITS {
            let text = "a".repeat(40);
            assert_eq!(split(&text, 40, unit), std::slice::from_ref(&text));
            assert_eq!(split(&text, 39, unit).len(), 2);
        }
        assert_eq!(split("", 40, Unit::Chars), [""; 0]);
    }

    #[test]
    fn the_units_are_those_of_the_service() {
        let text = "😀".repeat(20);
        assert_eq!(UNITS.map(|unit| unit.count(&text)), [40, 20, 80]);
        assert_eq!(UNITS.map(|unit| split(&text, 40, unit).len()), [1, 1, 2]);
    }

    #[test]
    fn a_part_ends_with_a_paragraph_else_a_sentence_else_a_word() {
        for (case, text, expected) in [
            (
                "paragraph",
                "First one. Here\n\nsecond paragraph x",
                &["First one. Here", "second paragraph x"][..],
            ),
            ("line", "First line of text\nsecond line of it", &["First line of text", "second line of it"]),
            ("sentence", "One sentence here. Another one here", &["One sentence here.", "Another one here"]),
            (
                "sentence at the edge",
                "A sentence fits exactly. The next one",
                &["A sentence fits exactly.", "The next one"],
            ),
            (
                "word at the edge",
                "a word ends exactly here and more",
                &["a word ends exactly here", "and more"],
            ),
            ("word", "many words without an end at all yes", &["many words without an", "end at all yes"]),
            (
                "no space",
                "一二三四五六七八九十一二三四五六七八九十一二三四五六",
                &["一二三四五六七八九十一二三四五六七八九十一二三四", "五六"],
            ),
        ] {
            assert_eq!(split(text, 24, Unit::Chars), expected, "{case}");
        }
    }

    #[test]
    fn no_emoji_is_torn_apart() {
        let family = "👨‍👩‍👧‍👦";
        let text = family.repeat(9);
        for part in split(&text, 30, Unit::Utf16) {
            assert_eq!(part.len() % family.len(), 0, "{part}");
        }
        let flags = "🇩🇪🇫🇷🇮🇹🇪🇸🇵🇱🇨🇿🇦🇹🇧🇪🇳🇱";
        for part in split(flags, 18, Unit::Utf16) {
            assert_eq!(part.chars().count() % 2, 0, "{part}");
        }
    }

    #[test]
    fn a_code_block_is_closed_and_opened_again() {
        let text = "Look:\n\n```rust\nlet a = 1;\nlet b = 2;\nlet c = 3;\nlet d = 4;\n```\n\nDone.";
        let parts = split(text, 44, Unit::Chars);
        let expected = [
            "Look:\n\n```rust\nlet a = 1;\nlet b = 2;\n```",
            "```rust\nlet c = 3;\nlet d = 4;\n```\n\nDone.",
        ];
        assert_eq!(parts, expected);
    }

    #[test]
    fn indentation_in_a_code_block_is_kept() {
        let text = "```\nif x {\n    one();\n    two();\n    three();\n}\n```";
        let parts = split(text, 30, Unit::Chars);
        assert!(parts[1].starts_with("```\n    "), "{parts:?}");
    }

    #[test]
    fn a_code_block_does_not_begin_at_the_end_of_a_part() {
        let text = format!("{}\n\n```\n{}\n```", "a".repeat(30), "b".repeat(30));
        let parts = split(&text, 40, Unit::Chars);
        assert_eq!(parts, ["a".repeat(30), format!("```\n{}\n```", "b".repeat(30))]);
    }

    /// Texts made of pieces that are hard to cut, in an order that a small generator chooses.
    fn texts() -> impl Iterator<Item = String> {
        let pieces = [
            "word ",
            "Sentence. ",
            "\n",
            "\n\n",
            "```\n",
            "```rust\n",
            "~~~~\n",
            "👩🏽‍🚀",
            "e\u{301}",
            "  indented\n",
            "漢字。",
            "x",
            "`code` ",
            "\u{1f1e9}\u{1f1ea}",
            "averyveryverylongword",
            "\t",
            "    ```\n",
            "``````\n",
        ];
        let mut seed = 1u64;
        (0..300).map(move |_| {
            let mut text = String::new();
            for _ in 0..40 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text += pieces[(seed >> 33) as usize % pieces.len()];
            }
            text
        })
    }

    fn letters(text: &str) -> String {
        text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '`' | '~')).collect()
    }

    #[test]
    fn every_part_fits_and_nothing_is_lost() {
        for text in texts() {
            for unit in UNITS {
                for limit in [40, 64, 100] {
                    let parts = split(&text, limit, unit);
                    for part in &parts {
                        assert!(unit.count(part) <= limit, "{limit} {unit:?}: {part:?} of {text:?}");
                        assert!(!part.trim().is_empty(), "{parts:?}");
                    }
                    let joined: String = parts.concat();
                    // The language of a code block is said again in each part.
                    let plain = |text: &str| letters(text).replace(['r', 'u', 's', 't'], "");
                    assert_eq!(plain(&joined), plain(&text), "{parts:?}");
                }
            }
        }
    }

    #[test]
    fn a_cluster_that_is_longer_than_a_part_is_cut_between_characters() {
        let text = format!("e{}", "\u{301}".repeat(60));
        let parts = split(&text, 20, Unit::Chars);
        assert_eq!(parts.concat(), text);
        assert!(parts.iter().all(|part| part.chars().count() <= 20));
    }
}
