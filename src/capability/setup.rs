//! `setup`: the secrets that a channel needs, and how they come to be.

use crate::fields::Fields;

/// Bytes of a generated secret when `auto_generate` does not say how many.
pub const DEFAULT_GENERATED_BYTES: u32 = 32;
/// The most bytes that a generated secret may have.
pub(super) const MAX_GENERATED_BYTES: u32 = 1024;

/// The `setup` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(default))]
pub struct SetupSection {
    /// The secrets that the operator is asked for.
    pub required_secrets: Vec<RequiredSecret>,
    /// Secrets that the guest gets as values of its configuration.
    pub secret_config_mappings: Vec<SecretConfigMapping>,
    /// A URL that answers 2xx when the secrets are right; `{secret_name}` stands for a secret's value.
    pub validation_endpoint: Option<String>,
    /// Where to read how the channel is set up.
    pub setup_url: Option<String>,
}

impl SetupSection {
    pub(super) fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            required_secrets: fields.inner_list("required_secrets", RequiredSecret::read),
            secret_config_mappings: fields.inner_list("secret_config_mappings", SecretConfigMapping::read),
            validation_endpoint: fields.text("validation_endpoint"),
            setup_url: fields.text("setup_url"),
        })
    }

    /// The required secret of this name, compared in lower case.
    pub fn required_secret(&self, name: &str) -> Option<&RequiredSecret> {
        self.required_secrets.iter().find(|secret| secret.name.eq_ignore_ascii_case(name))
    }
}

/// One secret that a channel needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RequiredSecret {
    /// The secret's name; names are compared in lower case.
    pub name: String,
    /// What the operator is asked.
    #[cfg_attr(test, schemars(default))]
    pub prompt: String,
    /// Whether the channel works without it.
    #[cfg_attr(test, schemars(default))]
    pub optional: bool,
    /// A regular expression that the value must match.
    #[cfg_attr(test, schemars(default))]
    pub validation: Option<String>,
    /// Makes a random value when the operator gives none.
    #[cfg_attr(test, schemars(default))]
    pub auto_generate: Option<AutoGenerate>,
}

/// How a secret is generated: random bytes, stored as hexadecimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(default))]
pub struct AutoGenerate {
    /// Random bytes, 1 to 1024; the text is twice as long.
    pub length: u32,
}

impl AutoGenerate {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { length: fields.u32("length").unwrap_or(DEFAULT_GENERATED_BYTES) })
    }
}

impl Default for AutoGenerate {
    /// [`DEFAULT_GENERATED_BYTES`].
    fn default() -> Self {
        Self { length: DEFAULT_GENERATED_BYTES }
    }
}

/// Puts the value of a secret into the configuration that `on-start` gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SecretConfigMapping {
    /// The key of the configuration. Never one of those that the host fills in itself.
    pub config_key: String,
    /// The secret; must be listed in `required_secrets`.
    pub secret_name: String,
}

impl SecretConfigMapping {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            config_key: fields.needed_text("config_key"),
            secret_name: fields.needed_text("secret_name"),
        })
    }
}

impl RequiredSecret {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            name: fields.needed_text("name"),
            prompt: fields.text("prompt").unwrap_or_default(),
            optional: fields.flag("optional").unwrap_or_default(),
            validation: fields.text("validation"),
            auto_generate: fields.inner("auto_generate", AutoGenerate::read),
        })
    }

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
}
