//! Secrets from environment variables.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use super::secret::Trimmer;
use super::{Secret, SecretError, SecretStore, normalise_name};

/// Variables that begin with this are secrets by their name alone: `TINCLAW_SECRET_SLACK_TOKEN` is `slack_token`.
pub const SECRET_ENV_PREFIX: &str = "TINCLAW_SECRET_";

/// Reads secrets from environment variables.
///
/// A secret `slack_token` is looked for, in this order, in
/// 1. `TINCLAW_SECRET_SLACK_TOKEN`: nobody sets that by accident, so it wins;
/// 2. the variable that a capability file's `auth.env_var` names for it (see [`EnvSecrets::map`]);
/// 3. `SLACK_TOKEN`, only when [`EnvSecrets::with_unprefixed`] turned that on.
///
/// In variable names, `-` and `.` of a secret's name are `_`. The third place means that a capability file can name any
/// variable of the process as a secret for its own hosts, so it is off by default. The variables are read at every use: a process's environment
/// does not change from outside, but nothing is kept that need not be.
pub struct EnvSecrets {
    source: Box<dyn EnvSource>,
    mapped: BTreeMap<String, String>,
    bare: bool,
    trimmer: Trimmer,
}

/// The environment, exchangeable because a test cannot change that of its process.
trait EnvSource: Send + Sync {
    fn var(&self, name: &str) -> Option<OsString>;
    fn names(&self) -> Vec<OsString>;
}

struct ProcessEnv;

impl EnvSource for ProcessEnv {
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn names(&self) -> Vec<OsString> {
        std::env::vars_os().map(|(name, _)| name).collect()
    }
}

impl EnvSource for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<OsString> {
        self.get(name).map(OsString::from)
    }

    fn names(&self) -> Vec<OsString> {
        self.keys().map(OsString::from).collect()
    }
}

impl Default for EnvSecrets {
    fn default() -> Self {
        Self::new()
    }
}

impl EnvSecrets {
    /// Secrets from this process's environment.
    pub fn new() -> Self {
        Self {
            source: Box::new(ProcessEnv),
            mapped: BTreeMap::new(),
            bare: false,
            trimmer: Trimmer::default(),
        }
    }

    /// Secrets from a table instead of the process's environment, for tests and for embedding.
    pub fn from_table<I, K, V>(variables: I) -> Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<String>,
        V: Into<String>,
    {
        let table: BTreeMap<String, String> =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { source: Box::new(table), mapped: BTreeMap::new(), bare: false, trimmer: Trimmer::default() }
    }

    /// Also looks for `secret` in the variable `variable`, as a capability file's `auth.env_var` says.
    ///
    /// # Errors
    /// [`SecretError::BadName`] when `secret` is no name for a secret.
    pub fn map(mut self, secret: &str, variable: &str) -> Result<Self, SecretError> {
        self.mapped.insert(normalise_name(secret)?, variable.to_owned());
        Ok(self)
    }

    /// Also takes a secret from the variable that has its name alone, without the prefix. A capability file can
    /// then name any variable of the process as a secret for its own hosts.
    pub fn with_unprefixed(mut self) -> Self {
        self.bare = true;
        self
    }

    fn candidates(&self, name: &str) -> impl Iterator<Item = String> {
        let upper = variable_name(name);
        let prefixed = format!("{SECRET_ENV_PREFIX}{upper}");
        [Some(prefixed), self.mapped.get(name).cloned(), self.bare.then_some(upper)].into_iter().flatten()
    }
}

fn variable_name(name: &str) -> String {
    name.chars().map(|c| if c == '-' || c == '.' { '_' } else { c.to_ascii_uppercase() }).collect()
}

impl SecretStore for EnvSecrets {
    fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        let name = normalise_name(name)?;
        let found = self
            .candidates(&name)
            .find_map(|variable| self.source.var(&variable).filter(|value| !value.is_empty()));
        let Some(value) = found else { return Ok(None) };
        if value.len() as u64 > Secret::MAX_BYTES {
            return Err(SecretError::TooLarge { name, limit: Secret::MAX_BYTES });
        }
        match value.into_string() {
            Ok(text) => Ok(self.trimmer.apply(&name, Secret::new(text))),
            Err(_) => Err(SecretError::NotText { name }),
        }
    }

    /// The variables with the prefix and the mapped ones that are set; others cannot be told from ordinary variables.
    fn names(&self) -> Result<Vec<String>, SecretError> {
        let prefixed = self.source.names();
        let prefixed = prefixed
            .iter()
            .filter_map(|variable| OsStr::to_str(variable)?.strip_prefix(SECRET_ENV_PREFIX))
            .filter_map(|name| normalise_name(name).ok());
        let mapped = self.mapped.iter().filter(|(_, variable)| self.source.var(variable).is_some());
        let mut names = BTreeSet::new();
        names.extend(prefixed.chain(mapped.map(|(name, _)| name.clone())));
        Ok(names.into_iter().collect())
    }

    /// A process's environment does not change from outside.
    fn revision(&self) -> Option<u64> {
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefixed_variable_wins_then_the_mapped_then_the_bare_one() {
        let all = [("TINCLAW_SECRET_TOKEN", "prefixed"), ("BOT_KEY", "mapped"), ("TOKEN", "bare")];
        for (skip, expected) in [(0, Some("prefixed")), (1, Some("mapped")), (2, Some("bare")), (3, None)] {
            let store = EnvSecrets::from_table(all[skip..].to_vec())
                .with_unprefixed()
                .map("token", "BOT_KEY")
                .unwrap();
            assert_eq!(store.get("Token").unwrap(), expected.map(Secret::from), "{expected:?}");
        }
    }

    // A capability file could name any variable of the process as its secret, and send it to its own hosts.
    #[test]
    fn variables_without_the_prefix_are_no_secrets_by_default() {
        let store = EnvSecrets::from_table([("HOME", "/root"), ("TINCLAW_SECRET_A", "x")]);
        assert_eq!(store.get("home").unwrap(), None);
        assert_eq!(store.get("a").unwrap(), Some(Secret::from("x")));
    }

    // A capability file could name any variable of the process as its secret, and send it to its own hosts.
    #[test]
    fn no_variable_of_this_process_without_the_prefix_is_a_secret() {
        let names: Vec<String> =
            std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        assert!(names.iter().any(|name| name == "PATH"), "cargo sets it");
        for name in names.iter().filter(|name| !name.starts_with(SECRET_ENV_PREFIX)) {
            if let Ok(found) = EnvSecrets::new().get(name) {
                assert!(found.is_none(), "{name}");
            }
        }
    }

    #[test]
    fn an_empty_variable_is_no_secret_and_the_next_place_is_asked() {
        let store =
            EnvSecrets::from_table([("TINCLAW_SECRET_TOKEN", ""), ("TOKEN", "bare")]).with_unprefixed();
        assert_eq!(store.get("token").unwrap(), Some(Secret::from("bare")));
    }

    #[test]
    fn dashes_and_dots_are_underscores_in_a_variable() {
        let store = EnvSecrets::from_table([("TINCLAW_SECRET_A_B_C", "x")]);
        assert_eq!(store.get("a-b.c").unwrap(), Some(Secret::from("x")));
    }

    #[test]
    fn only_variables_that_are_certainly_secrets_are_listed() {
        let store = EnvSecrets::from_table([
            ("PATH", "/bin"),
            ("TINCLAW_SECRET_B", "x"),
            ("BOT", "y"),
            ("TINCLAW_SECRET_", "no name"),
        ])
        .map("bot_token", "BOT")
        .unwrap()
        .map("absent", "NOT_SET")
        .unwrap();
        assert_eq!(store.names().unwrap(), ["b", "bot_token"]);
    }

    #[test]
    fn a_value_at_the_size_limit_is_taken_and_one_past_it_is_not() {
        let limit = usize::try_from(Secret::MAX_BYTES).unwrap();
        let store = EnvSecrets::from_table([("A", "x".repeat(limit)), ("B", "x".repeat(limit + 1))])
            .with_unprefixed();
        assert_eq!(store.get("a").unwrap().unwrap().len(), limit);
        assert!(matches!(store.get("b"), Err(SecretError::TooLarge { .. })));
    }
}
