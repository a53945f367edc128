//! `auth`: texts for the person who sets a channel up.

use serde::Deserialize;
use serde_json::Value;

/// The `auth` section. The host shows its texts and acts on `env_var` alone.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
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
