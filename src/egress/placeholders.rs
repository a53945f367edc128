//! `{UPPER_CASE}` placeholders in what a guest writes.
//!
//! A URL is parsed with its placeholders standing for themselves, so each is first exchanged for a marker that no URL
//! parser changes, and the marker is exchanged for the value (or for what the guest wrote) at the very end. That way a
//! guest's `%7BTOKEN%7D`, which is text, is never taken for `{TOKEN}`, which is a placeholder.

use std::ops::Range;

/// Finds the placeholders of a text: `{`, a capital letter, then capital letters, digits and `_`, then `}`.
pub(super) fn find(text: &str) -> Vec<(Range<usize>, &str)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(open) = text[from..].find('{').map(|at| from + at) {
        from = open + 1;
        let length = text[from..].bytes().take_while(|b| is_name_byte(*b)).count();
        let close = from + length;
        if is_name(&text[from..close]) && text[close..].starts_with('}') {
            found.push((open..close + 1, &text[from..close]));
            from = close + 1;
        }
    }
    found
}

/// Whether a placeholder may have this name (without its braces).
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

/// The name of the placeholder that stands for a secret: its name in upper case, with `_` for `-` and `.`.
pub(super) fn name_of_secret(secret: &str) -> String {
    secret.chars().map(|c| if c == '-' || c == '.' { '_' } else { c.to_ascii_uppercase() }).collect()
}

/// A placeholder that was exchanged for a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// What stands in the text now: small letters and digits only.
    pub(super) marker: String,
    /// The placeholder's name, without braces.
    pub(super) name: String,
}

/// Exchanges every placeholder for a marker that occurs nowhere else in the text.
pub(super) fn protect(text: &str) -> (String, Vec<Placeholder>) {
    let found = find(text);
    if found.is_empty() {
        return (text.to_owned(), Vec::new());
    }
    let stem = unused_stem(text);
    let mut out = String::with_capacity(text.len() + found.len() * (stem.len() + 4));
    let mut slots = Vec::with_capacity(found.len());
    let mut copied = 0;
    for (range, name) in found {
        let marker = format!("{stem}{}x", slots.len());
        out.push_str(&text[copied..range.start]);
        out.push_str(&marker);
        copied = range.end;
        slots.push(Placeholder { marker, name: name.to_owned() });
    }
    out.push_str(&text[copied..]);
    (out, slots)
}

/// A beginning for markers that does not occur in the text. There are more of them than a text has places.
fn unused_stem(text: &str) -> String {
    (0_usize..)
        .map(|n| format!("zzslot{n}x"))
        .find(|stem| !text.contains(stem.as_str()))
        .expect("a finite text cannot contain every number")
}

/// Exchanges markers for what `value` says.
pub(super) fn fill(
    text: &str,
    slots: &[Placeholder],
    mut value: impl FnMut(&Placeholder) -> String,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    for slot in slots {
        // Slots are in the order of the text; one that the parser dropped (in a fragment) is passed over.
        if let Some((before, after)) = rest.split_once(slot.marker.as_str()) {
            out.push_str(before);
            out.push_str(&value(slot));
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_upper_case_names_in_braces_are_placeholders() {
        let rows: &[(&str, &[&str])] = &[
            ("/bot{TELEGRAM_BOT_TOKEN}/getMe", &["TELEGRAM_BOT_TOKEN"]),
            ("{A}{B2}", &["A", "B2"]),
            ("{{A}}", &["A"]),
            ("{a}", &[]),
            ("{2A}", &[]),
            ("{_A}", &[]),
            ("{}", &[]),
            ("{A", &[]),
            ("{A B}", &[]),
            ("{\"A\":1}", &[]),
            ("%7BA%7D", &[]),
            ("{A{B}", &["B"]),
        ];
        for (text, expected) in rows {
            let names: Vec<&str> = find(text).into_iter().map(|(_, name)| name).collect();
            assert_eq!(names, *expected, "{text}");
        }
    }

    #[test]
    fn a_guest_cannot_write_a_marker_itself() {
        let (text, slots) = protect("zzslot0x0x/{A}/zzslot1x");
        assert_eq!(fill(&text, &slots, |_| "value".into()), "zzslot0x0x/value/zzslot1x");
    }

    proptest! {
        #[test]
        fn protecting_and_filling_gives_the_text_back(text in "[{}A-Bzslotx0-2/]{0,60}") {
            let (protected, slots) = protect(&text);
            prop_assert!(find(&protected).is_empty());
            prop_assert_eq!(fill(&protected, &slots, |slot| format!("{{{}}}", slot.name)), text);
        }
    }
}
