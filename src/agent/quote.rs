//! What an agent said, as it may stand in a log line or an error. No I/O.

use std::borrow::Cow;

use crate::model::escape::escaped;
use crate::secrets::Secret;

/// The most that is quoted, in characters.
const MAX_QUOTED_CHARS: usize = 200;
/// Shorter secrets are not looked for: they would be found in ordinary words.
const MIN_REDACTED_BYTES: usize = 8;

/// The beginning of what an agent said: escaped, on one line, and without the values of the agent's own secrets, which a
/// server may repeat in an error.
pub(super) fn quote(text: &str, secrets: &[Secret]) -> String {
    let text = redacted(text.trim(), secrets);
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        None => escaped(&text).into_owned(),
        Some((end, _)) => format!("{}…", escaped(&text[..end])),
    }
}

/// A text without the values of these secrets. Only exact values are found: a secret that was cut or encoded is not.
pub(super) fn redacted<'a>(text: &'a str, secrets: &[Secret]) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    for secret in secrets.iter().filter(|secret| secret.len() >= MIN_REDACTED_BYTES) {
        if text.contains(secret.expose()) {
            text = Cow::Owned(text.replace(secret.expose(), "[redacted]"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_one_short_line_without_secrets() {
        let secrets = [Secret::from("hunter2-hunter2"), Secret::from("short")];
        let long = "ä".repeat(MAX_QUOTED_CHARS);
        for (text, expected) in [
            (" {\"reply\":\"x\"}\n", "{\"reply\":\"x\"}".to_owned()),
            ("a\nb\u{1b}[2J\u{202e}", "a\\nb\\u{1b}[2J\\u{202e}".to_owned()),
            ("no Bearer hunter2-hunter2, short", "no Bearer [redacted], short".to_owned()),
            (&long, long.clone()),
            (&format!("{long}ä"), format!("{long}…")),
        ] {
            assert_eq!(quote(text, &secrets), expected, "{text}");
        }
    }
}
