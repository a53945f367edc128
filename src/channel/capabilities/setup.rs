//! `setup`: the secrets that a channel needs, and how they come to be.

use serde::Deserialize;

/// Bytes of a generated secret when `auto_generate` does not say how many.
pub const DEFAULT_GENERATED_BYTES: u32 = 32;
/// The most bytes that a generated secret may have.
pub(super) const MAX_GENERATED_BYTES: u32 = 1024;

/// The `setup` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
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

/// One secret that a channel needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[serde(default)]
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
pub struct SecretConfigMapping {
    /// The key of the configuration. Never one of those that the host fills in itself.
    pub config_key: String,
    /// The secret; must be listed in `required_secrets`.
    pub secret_name: String,
}

impl SetupSection {
    /// The required secret of this name, compared in lower case.
    pub fn required_secret(&self, name: &str) -> Option<&RequiredSecret> {
        self.required_secrets.iter().find(|secret| secret.name.eq_ignore_ascii_case(name))
    }
}
