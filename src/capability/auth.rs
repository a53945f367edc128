//! `auth`: texts for the person who sets a channel up.

use serde_json::Value;

use crate::fields::Fields;

/// The `auth` section. The host shows its texts and acts on `env_var` alone.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(default))]
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
    pub(super) fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            secret_name: fields.text("secret_name"),
            display_name: fields.text("display_name"),
            instructions: fields.text("instructions"),
            setup_url: fields.text("setup_url"),
            token_hint: fields.text("token_hint"),
            env_var: fields.text("env_var"),
            provider: fields.text("provider"),
            oauth: fields.any("oauth"),
            validation_endpoint: fields.any("validation_endpoint"),
        })
    }

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
