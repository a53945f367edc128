//! What a link logs in with.

use zeroize::Zeroizing;

use super::protocol::Login;
use crate::secrets::{SecretError, SecretStore};

/// The names of the secrets that a protocol logs in with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginSecrets {
    /// `identify_secret_name`.
    pub token: Option<String>,
    /// `bot_id_secret_name`.
    pub bot_id: Option<String>,
    /// `bot_secret_name`.
    pub bot_secret: Option<String>,
}

/// Why there is nothing to log in with.
#[derive(Debug, thiserror::Error)]
pub enum NoLogin {
    /// One of the secrets is not stored.
    #[error(
        "the secret '{name}' is not set; store it where the host takes secrets from (the daemon: `tinclaw secrets set {name}`)"
    )]
    Missing {
        /// The secret's name.
        name: String,
    },
    /// The secrets cannot be read.
    #[error("the secrets cannot be read: {0}")]
    Unreadable(#[from] SecretError),
}

impl LoginSecrets {
    /// Reads the secrets that are named.
    ///
    /// # Errors
    /// One is missing, or the store cannot be read.
    pub fn read(&self, secrets: &dyn SecretStore) -> Result<Login, NoLogin> {
        let value = |name: &Option<String>| -> Result<Zeroizing<String>, NoLogin> {
            let Some(name) = name else { return Ok(Zeroizing::default()) };
            let secret = secrets.get(name)?.ok_or_else(|| NoLogin::Missing { name: name.clone() })?;
            Ok(Zeroizing::new(secret.expose().to_owned()))
        };
        Ok(Login {
            token: value(&self.token)?,
            bot_id: value(&self.bot_id)?,
            bot_secret: value(&self.bot_secret)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{MemorySecrets, Secret};

    #[test]
    fn a_missing_secret_is_named() {
        let secrets = MemorySecrets::new();
        secrets.set("bot_id", Secret::new("b-1".to_owned())).expect("a name");
        let names = LoginSecrets {
            token: None,
            bot_id: Some("BOT_ID".to_owned()),
            bot_secret: Some("bot_secret".to_owned()),
        };
        let error = names.read(&secrets).expect_err("one is missing").to_string();
        assert!(error.contains("`tinclaw secrets set bot_secret`"), "{error}");
        secrets.set("bot_secret", Secret::new("s-1".to_owned())).expect("a name");
        let login = names.read(&secrets).expect("both are there");
        assert_eq!(
            (login.bot_id.as_str(), login.bot_secret.as_str(), login.token.as_str()),
            ("b-1", "s-1", "")
        );
    }
}
