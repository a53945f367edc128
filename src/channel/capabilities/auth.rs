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

impl AuthSection {
    /// The environment variable that may hold the value of this secret.
    pub fn env_var_for(&self, secret: &str) -> Option<&str> {
        let named = self.secret_name.as_deref()?;
        self.env_var.as_deref().filter(|_| named.eq_ignore_ascii_case(secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
