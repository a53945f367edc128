//! `auth` and `setup`: what the person who sets a channel up reads, and the secrets that it needs.

use serde::Deserialize;
use serde_json::{Map, Value};

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
    /// The method of `validation_endpoint`: GET without this, or POST.
    pub validation_method: Option<String>,
    /// The body that it is asked with, when it is asked with POST: a JSON object, in whose texts `{setting}` is filled in.
    pub validation_body: Option<Value>,
    /// Where the response of `validation_endpoint` has the account's name: a JSON pointer (RFC 6901).
    pub account: Option<String>,
    /// Whether the channel works only where its service reaches this host, so that `public_url` is asked for.
    pub needs_public_url: bool,
    /// What is asked for beside the secrets: values of `config`.
    pub settings: Vec<AskedSetting>,
    /// What the person does at the service, in order.
    pub steps: Vec<SetupStep>,
    /// What `tinclaw status` asks the service, beside `validation_endpoint`.
    pub status: Vec<StatusQuery>,
}

/// Whether something concerns a host with a public address, or one without; without this, both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The host has a `public_url`: services can call it.
    PublicUrl,
    /// It has none: it polls, or opens a link.
    NoPublicUrl,
}

impl Reach {
    /// Whether this is the case on a host that has a public address, or has none.
    pub fn applies(when: Option<Self>, has_public_url: bool) -> bool {
        when.is_none_or(|when| (when == Self::PublicUrl) == has_public_url)
    }
}

/// A value of the channel's `config` that the operator is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AskedSetting {
    /// The key of `config`, or `owner_id`.
    pub name: String,
    /// What the operator is asked.
    pub prompt: String,
    /// Where it is found.
    #[serde(default)]
    pub url: Option<String>,
    /// Whether the channel works without it.
    #[serde(default)]
    pub optional: bool,
    /// A regular expression that the value must match.
    #[serde(default)]
    pub validation: Option<String>,
    /// The values that there are; any without this.
    #[serde(default)]
    pub choices: Vec<String>,
    /// Where it is needed.
    #[serde(default)]
    pub when: Option<Reach>,
}

/// Something to do at the service.
///
/// In `text` and in the texts of `json`, `{public_url}`, `{webhook_url}` (the address of the channel's first path), `{name}` (the
/// channel's name) and settings in braces are filled in, after the questions also `{/pointer}`: a place in the response of
/// `validation_endpoint`. `{secret_name}` shows a secret that was generated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SetupStep {
    /// What to do, with the address where.
    pub text: String,
    /// What to paste there, shown as a document of JSON.
    #[serde(default)]
    pub json: Option<Value>,
    /// Where it is needed.
    #[serde(default)]
    pub when: Option<Reach>,
    /// Whether it comes after the questions, once everything else is known.
    #[serde(default)]
    pub after: bool,
}

/// What the service itself says about the channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StatusQuery {
    /// Asked with GET, unless `method` says otherwise; as `validation_endpoint`.
    pub url: String,
    /// GET or POST.
    #[serde(default)]
    pub method: Option<String>,
    /// The body of a POST, as `validation_body`.
    #[serde(default)]
    pub body: Option<Value>,
    /// What is shown of the response: a label, and where it stands as a JSON pointer. What is missing or empty there is left out.
    pub show: Map<String, Value>,
    /// Where it is asked.
    #[serde(default)]
    pub when: Option<Reach>,
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
    /// Where it is found.
    #[serde(default)]
    pub url: Option<String>,
    /// Where it is needed.
    #[serde(default)]
    pub when: Option<Reach>,
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
    /// Whether a host that has a public address, or has none, needs it.
    pub fn applies(&self, has_public_url: bool) -> bool {
        Reach::applies(self.when, has_public_url)
    }

    /// Whether there is a pattern that cannot be used.
    pub(super) fn has_unusable_pattern(&self) -> bool {
        self.validation.as_deref().is_some_and(is_unusable_pattern)
    }
}

/// Whether a text is no regular expression that values can be checked with.
pub(super) fn is_unusable_pattern(pattern: &str) -> bool {
    regex_lite::Regex::new(pattern).is_err()
}
