//! What a secret may be called.

use super::SecretError;

/// The longest name of a secret, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// Brings a name into the form in which names are compared: lower case.
///
/// A name has 1 to 128 characters out of `a-z`, `0-9`, `_`, `-` and `.`, and does not begin with a dot, so
/// that it can be a file's name in a directory of secrets.
///
/// # Errors
/// [`SecretError::BadName`] for anything else.
pub fn normalise_name(name: &str) -> Result<String, SecretError> {
    let lower = name.to_ascii_lowercase();
    let permitted = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
    if lower.is_empty()
        || lower.len() > MAX_NAME_BYTES
        || lower.starts_with('.')
        || !lower.bytes().all(permitted)
    {
        return Err(SecretError::BadName { name: name.escape_default().take(MAX_NAME_BYTES).collect() });
    }
    Ok(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_cased_and_checked() {
        let longest = "x".repeat(MAX_NAME_BYTES);
        let too_long = "x".repeat(MAX_NAME_BYTES + 1);
        let rows: &[(&str, &str, Option<&str>)] = &[
            ("upper case", "TELEGRAM_BOT_TOKEN", Some("telegram_bot_token")),
            ("dots and dashes inside", "a.b-c_9", Some("a.b-c_9")),
            ("longest", &longest, Some(&longest)),
            ("one past the longest", &too_long, None),
            ("empty", "", None),
            ("hidden file", ".netrc", None),
            ("parent directory", "..", None),
            ("path", "a/b", None),
            ("backslash", "a\\b", None),
            ("nul", "a\0b", None),
            ("space", "a b", None),
            ("not ascii", "schlüssel", None),
        ];
        for (what, input, expected) in rows {
            assert_eq!(normalise_name(input).ok().as_deref(), *expected, "{what}");
        }
    }
}
