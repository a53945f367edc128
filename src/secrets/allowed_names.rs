//! Which secrets a channel may ask about: `secrets.allowed_names`.

use super::{SecretError, SecretStore, normalise_name};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MemorySecrets;

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
}
