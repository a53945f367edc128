//! Names of secrets: what they may be, which of them a channel may ask about (`secrets.allowed_names`), and the name under
//! which the value before is stored while a secret is being exchanged.

use super::{Secret, SecretError, SecretStore};

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

/// The compiled `capabilities.secrets.allowed_names`: exact names, or a beginning followed by `*`.
///
/// The default allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNames {
    exact: Vec<String>,
    beginnings: Vec<String>,
}

impl AllowedNames {
    /// Compiles the patterns of a capability file. A `*` has its meaning only as the last character.
    pub fn new<I>(patterns: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut names = Self::default();
        for pattern in patterns {
            let pattern = pattern.as_ref().to_ascii_lowercase();
            match pattern.strip_suffix('*') {
                Some(beginning) => names.beginnings.push(beginning.to_owned()),
                None => names.exact.push(pattern),
            }
        }
        names
    }

    /// Whether the channel may ask about (and use) this name. Compared in lower case.
    pub fn allows(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.exact.contains(&name) || self.beginnings.iter().any(|beginning| name.starts_with(beginning))
    }

    /// The names that are written out, without the patterns.
    pub fn exact(&self) -> impl Iterator<Item = &str> {
        self.exact.iter().map(String::as_str)
    }

    /// What the import `secret-exists` returns: true only for an allowed name that is stored.
    ///
    /// # Errors
    /// When the store cannot be read. A name that no secret can have is no error, it simply does not exist.
    pub fn exists(&self, store: &dyn SecretStore, name: &str) -> Result<bool, SecretError> {
        if !self.allows(name) || normalise_name(name).is_err() {
            return Ok(false);
        }
        Ok(store.get(name)?.is_some())
    }
}

/// What is appended to a secret's name for the value that it had before.
pub const PREVIOUS_SUFFIX: &str = "_previous";

/// The values that are accepted for a secret: the stored one, and while `NAME_previous` is stored that one too. Empty when
/// neither is. It is for what comes in; requests are made with the current value only.
///
/// # Errors
/// When the source cannot be read.
pub fn accepted_values(store: &dyn SecretStore, name: &str) -> Result<Vec<Secret>, SecretError> {
    let current = store.get(name)?;
    let previous = match format!("{name}{PREVIOUS_SUFFIX}") {
        // A name at the limit has no room for the suffix, so nothing can be stored under it.
        longer if super::normalise_name(&longer).is_err() => None,
        longer => store.get(&longer)?,
    };
    Ok(current.into_iter().chain(previous).collect())
}

/// The secret that this name belongs to: `NAME_previous` is used as `NAME` is.
pub(crate) fn current_name(name: &str) -> &str {
    name.strip_suffix(PREVIOUS_SUFFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MemorySecrets;

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

    #[test]
    fn patterns_are_exact_or_end_in_a_star() {
        let rows: &[(&str, &[&str], &str, bool)] = &[
            ("exact", &["slack_token"], "slack_token", true),
            ("exact in another case", &["Slack_Token"], "SLACK_token", true),
            ("beginning of an exact name", &["slack_token"], "slack", false),
            ("more than an exact name", &["slack_token"], "slack_token2", false),
            ("star", &["slack_*"], "slack_anything", true),
            ("star matches nothing more", &["slack_*"], "slack_", true),
            ("star elsewhere", &["slack_*"], "discord_token", false),
            ("star in the middle is no pattern", &["a*c"], "abc", false),
            ("no patterns", &[], "slack_token", false),
        ];
        for (what, patterns, name, expected) in rows {
            assert_eq!(AllowedNames::new(*patterns).allows(name), *expected, "{what}");
        }
    }

    #[test]
    fn exists_only_when_allowed_and_stored() {
        let store = MemorySecrets::from([("slack_token", "v"), ("other", "v"), ("slack_empty", "")]);
        let allowed = AllowedNames::new(["slack_*"]);
        let rows = [
            ("slack_token", true),
            ("slack_missing", false),
            ("slack_empty", false),
            ("other", false),
            ("slack_/", false),
        ];
        for (name, expected) in rows {
            assert_eq!(allowed.exists(&store, name).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn the_previous_value_is_accepted_while_it_is_stored() {
        let store = MemorySecrets::from([("key", "new"), ("key_previous", "old"), ("gone_previous", "old")]);
        let values = |name: &str| -> Vec<String> {
            let values = accepted_values(&store, name).unwrap();
            values.iter().map(|value| value.expose().to_owned()).collect()
        };
        assert_eq!(values("key"), ["new", "old"]);
        assert_eq!(values("KEY"), ["new", "old"]);
        assert_eq!(values("gone"), ["old"]);
        assert_eq!(values("other"), [""; 0]);
        store.remove("key_previous");
        assert_eq!(values("key"), ["new"]);
        let longest = "x".repeat(MAX_NAME_BYTES);
        store.set(&longest, Secret::from("v")).unwrap();
        assert_eq!(values(&longest), ["v"]);
    }
}
