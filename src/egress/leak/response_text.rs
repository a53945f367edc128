//! Secrets in what a server sent, also behind JSON escapes.

use std::ops::Range;

use zeroize::Zeroizing;

use super::escapes;
use super::guest_text::replace;
use super::matcher::SecretMatcher;

/// How often JSON escapes are undone: JSON stands inside of JSON.
const MAX_UNESCAPE_ROUNDS: usize = 3;

impl SecretMatcher {
    /// The text with every secret replaced, whatever mixture of JSON escapes it is written in, and whether there was one. What
    /// is replaced ends between two escapes, so JSON stays JSON.
    pub(in crate::egress) fn redact_received(&self, text: Vec<u8>) -> (Vec<u8>, bool) {
        let (text, changed) = self.redact(text);
        let hidden = if self.is_empty() { Vec::new() } else { self.hidden_by_escapes(&text) };
        if hidden.is_empty() {
            return (text, changed);
        }
        let redacted = replace(&text, &hidden);
        drop(Zeroizing::new(text));
        (redacted, true)
    }

    /// Where secrets stand that show only once escapes are undone, in the order of their beginnings.
    fn hidden_by_escapes(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut hidden = Vec::new();
        // The text after each round.
        let mut views: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        for _ in 0..MAX_UNESCAPE_ROUNDS {
            let last = views.last().map_or(text, |view| view.as_slice());
            if !last.contains(&b'\\') {
                break;
            }
            let view = Zeroizing::new(escapes::undo(last));
            if view.len() == last.len() {
                break;
            }
            let mut places: Vec<Range<usize>> = self.places(&view).map(|(place, _)| place).collect();
            for before in views.iter().rev().map(|view| view.as_slice()).chain([text]) {
                places = escapes::origins(before, &places);
            }
            hidden.extend(places);
            views.push(view);
        }
        hidden.sort_unstable_by_key(|range| range.start);
        hidden
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secrets::Secret;

    const KEY: &str = "sk-Zq7xY9ab/Def+hIjKlMn0PqRsTuVw4";

    fn matcher(value: &str) -> SecretMatcher {
        SecretMatcher::new([("key".to_owned(), Secret::from(value))])
    }

    fn all_escaped(text: &str) -> String {
        text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
    }

    // A server that gave the key back with one character escaped, or with all of them, gave it to the guest.
    #[test]
    fn a_secret_is_replaced_in_any_mixture_of_escapes_and_json_stays_json() {
        let all = all_escaped(KEY);
        let slashes = KEY.replace('/', "\\/");
        let nested = |inner: &str| serde_json::Value::from(format!("{{\"t\":\"{inner}\"}}")).to_string();
        let rows = [
            ("one character", KEY.replace('+', "\\u002b")),
            ("capital digits", KEY.replace('+', "\\u002B").replace('/', "\\u002F")),
            ("two kinds", slashes.replace('+', "\\u002b")),
            ("every character", all.clone()),
            ("every character, capital digits", all.to_uppercase().replace("\\U", "\\u")),
            ("the last character", KEY.replace("w4", "w\\u0034")),
            ("the first character", KEY.replace("sk", "\\u0073k")),
        ];
        for (case, form) in rows {
            let text = format!("{{\"a\":\"\\n\",\"t\":\"<{form}>\",\"u\":\"\\u00e9\"}}");
            let (redacted, changed) = matcher(KEY).redact_received(text.into_bytes());
            let expected = "{\"a\":\"\\n\",\"t\":\"<[redacted]>\",\"u\":\"\\u00e9\"}";
            assert_eq!((String::from_utf8_lossy(&redacted).as_ref(), changed), (expected, true), "{case}");
            let (redacted, _) = matcher(KEY).redact_received(nested(&form).into_bytes());
            let outer: String = serde_json::from_slice(&redacted).expect(case);
            assert_eq!(outer, "{\"t\":\"[redacted]\"}", "{case}, inside of another JSON text");
        }
    }

    #[test]
    fn a_text_without_a_secret_stays_as_it_is() {
        for text in ["", "\\", "{\"a\":\"\\u0073k-Zq7xY9ab\\\\\"}", "\\ud83d\\ud83d", "C:\\temp\\u00zz"] {
            let received = text.as_bytes().to_vec();
            assert_eq!(matcher(KEY).redact_received(received), (text.as_bytes().to_vec(), false), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_choice_of_escapes_hides_a_secret_and_json_stays_json(
            mask in any::<u64>(), before in "[ -~é😀\n]{0,9}", after in "[ -~é😀\n]{0,9}",
        ) {
            let form: String = KEY.char_indices().map(|(at, c)| match mask >> at & 1 {
                1 => format!("\\u{:04X}", u32::from(c)),
                _ => c.to_string(),
            }).collect();
            let quoted = |text: &str| serde_json::Value::from(text).to_string().trim_matches('"').to_owned();
            // What ends in a quotation mark would be trimmed with it.
            prop_assume!(!before.contains('"') && !after.contains('"'));
            let json = format!("\"{}{form}{}\"", quoted(&before), quoted(&after));
            let (redacted, changed) = matcher(KEY).redact_received(json.into_bytes());
            let text: String = serde_json::from_slice(&redacted).expect("JSON");
            prop_assert_eq!((text, changed), (format!("{before}[redacted]{after}"), true));
        }
    }
}
