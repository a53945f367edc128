//! What an operator gives while a channel is set up, held against what its capability file declares.

use super::setup::{AskedSetting, AuthSection, RequiredSecret};

impl AuthSection {
    /// The environment variable that may hold the value of this secret.
    pub fn env_var_for(&self, secret: &str) -> Option<&str> {
        let named = self.secret_name.as_deref()?;
        self.env_var.as_deref().filter(|_| named.eq_ignore_ascii_case(secret))
    }
}

/// Why a channel does not accept a value, and what it would accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// It is none of the values that there are.
    #[error("give {}", .choices.join(" or "))]
    Choice {
        /// Those that there are.
        choices: Vec<String>,
    },
    /// It does not match a regular expression.
    #[error("the channel expects {pattern}")]
    Pattern {
        /// The expression.
        pattern: String,
    },
}

impl NotAccepted {
    /// What would be accepted, in words that follow `give`.
    pub fn expected(&self) -> String {
        match self {
            Self::Choice { choices } => choices.join(" or "),
            Self::Pattern { pattern } => format!("what matches {pattern}"),
        }
    }
}

impl AskedSetting {
    /// Whether a value is accepted.
    ///
    /// # Errors
    /// What would be accepted.
    pub fn check(&self, value: &str) -> Result<(), NotAccepted> {
        if !self.choices.is_empty() && !self.choices.iter().any(|choice| choice == value) {
            return Err(NotAccepted::Choice { choices: self.choices.clone() });
        }
        match &self.validation {
            Some(pattern) if !matches(Some(pattern), value) => {
                Err(NotAccepted::Pattern { pattern: pattern.clone() })
            }
            _ => Ok(()),
        }
    }
}

impl RequiredSecret {
    /// Whether a value matches `validation`. Any value does when there is no pattern, or none that can be used here:
    /// look-around and back-references are not supported.
    pub fn accepts(&self, value: &str) -> bool {
        matches(self.validation.as_deref(), value)
    }
}

/// Whether a value matches a pattern; any does when there is none that can be used.
fn matches(pattern: Option<&str>, value: &str) -> bool {
    let pattern = pattern.and_then(|pattern| regex_lite::Regex::new(pattern).ok());
    pattern.is_none_or(|pattern| pattern.is_match(value))
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
