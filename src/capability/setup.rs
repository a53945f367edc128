//! `auth` and `setup`: what the person who sets a channel up reads, and the secrets that it needs.

use serde::Deserialize;
use serde_json::Value;

/// Bytes of a generated secret when `auto_generate` does not say how many.
pub const DEFAULT_GENERATED_BYTES: u32 = 32;
/// The most bytes that a generated secret may have.
pub(super) const MAX_GENERATED_BYTES: u32 = 1024;

/// The `auth` section. The host shows its texts and acts on `env_var` alone.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct AuthSection {
    /// The secret that this section is about.
    pub secret_name: Option<String>,
    /// What the service is called.
    pub display_name: Option<String>,
    /// How to get the secret.
    pub instructions: Option<String>,
    /// Where to get the secret.
    pub setup_url: Option<String>,
    /// What the secret looks like.
    pub token_hint: Option<String>,
    /// An environment variable that may hold the value of `secret_name`.
    pub env_var: Option<String>,
    /// The name of the service that gives the secret.
    pub provider: Option<String>,
    /// Parameters of an OAuth flow; free-form, kept and not used.
    pub oauth: Option<Value>,
    /// Where the secret could be tried out, as a URL or an object; free-form, kept and not used.
    pub validation_endpoint: Option<Value>,
}

impl AuthSection {
    /// The environment variable that may hold the value of this secret.
    pub fn env_var_for(&self, secret: &str) -> Option<&str> {
        let named = self.secret_name.as_deref()?;
        self.env_var.as_deref().filter(|_| named.eq_ignore_ascii_case(secret))
    }
}

/// The `setup` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SetupSection {
    /// The secrets that the operator is asked for.
    pub required_secrets: Vec<RequiredSecret>,
    /// Secrets that the guest gets as values of its configuration.
    pub secret_config_mappings: Vec<SecretConfigMapping>,
    /// A URL that responds with 2xx when the secrets are right; `{secret_name}` stands for a secret's value.
    pub validation_endpoint: Option<String>,
    /// Where to read how the channel is set up.
    pub setup_url: Option<String>,
}

impl SetupSection {
    /// The required secret of this name, compared in lower case.
    pub fn required_secret(&self, name: &str) -> Option<&RequiredSecret> {
        self.required_secrets.iter().find(|secret| secret.name.eq_ignore_ascii_case(name))
    }
}

/// One secret that a channel needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RequiredSecret {
    /// The secret's name; names are compared in lower case.
    pub name: String,
    /// What the operator is asked.
    #[serde(default)]
    pub prompt: String,
    /// Whether the channel works without it.
    #[serde(default)]
    pub optional: bool,
    /// A regular expression that the value must match.
    #[serde(default)]
    pub validation: Option<String>,
    /// Makes a random value when the operator gives none.
    #[serde(default)]
    pub auto_generate: Option<AutoGenerate>,
}

/// How a secret is generated: random bytes, stored as hexadecimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct AutoGenerate {
    /// Random bytes, 1 to 1024; the text is twice as long.
    pub length: u32,
}

impl Default for AutoGenerate {
    /// [`DEFAULT_GENERATED_BYTES`].
    fn default() -> Self {
        Self { length: DEFAULT_GENERATED_BYTES }
    }
}

/// Puts the value of a secret into the configuration that `on-start` gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SecretConfigMapping {
    /// The key of the configuration. Never one of those that the host fills in itself.
    pub config_key: String,
    /// The secret; must be listed in `required_secrets`.
    pub secret_name: String,
}

impl RequiredSecret {
    /// Whether a value matches `validation`. Any value does when there is no pattern, or none that can be used here:
    /// look-around and back-references are not supported.
    pub fn accepts(&self, value: &str) -> bool {
        let pattern = self.validation.as_deref().and_then(|pattern| regex_lite::Regex::new(pattern).ok());
        pattern.is_none_or(|pattern| pattern.is_match(value))
    }

    /// Whether there is a pattern that cannot be used.
    pub(super) fn has_unusable_pattern(&self) -> bool {
        self.validation.as_deref().is_some_and(|pattern| regex_lite::Regex::new(pattern).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_held_against_the_pattern() {
        let table: &[(&str, Option<&str>, &str, bool)] = &[
            ("matches", Some("^[0-9]+:[A-Za-z0-9_-]+$"), "123:abc", true),
            ("does not", Some("^[0-9]+:[A-Za-z0-9_-]+$"), "abc", false),
            ("no pattern", None, "abc", true),
            ("a pattern of another dialect", Some("^(?!x)"), "abc", true),
        ];
        for (case, pattern, value, expected) in table {
            let secret = RequiredSecret { validation: pattern.map(str::to_owned), ..Default::default() };
            assert_eq!(secret.accepts(value), *expected, "{case}");
        }
    }

    #[test]
    fn the_environment_variable_is_for_the_named_secret_only() {
        let auth = AuthSection {
            secret_name: Some("Slack_Token".into()),
            env_var: Some("SLACK".into()),
            ..Default::default()
        };
        assert_eq!(auth.env_var_for("slack_token"), Some("SLACK"));
        assert_eq!(auth.env_var_for("other"), None);
        assert_eq!(
            AuthSection { env_var: Some("SLACK".into()), ..Default::default() }.env_var_for("slack_token"),
            None
        );
    }
}
