//! The secrets of one account of a guest, under names of their own.

use std::sync::Arc;

use super::{Secret, SecretError, SecretStore};

/// Between the name of an account and that of a secret. No channel's name has it.
const SEPARATOR: char = '.';
/// Before the names of all other secrets, which can be searched for and never be used: no secret's name begins so.
const OTHER: char = '/';

/// The name under which an account has a secret that its guest calls `secret`.
pub(crate) fn account_secret_name(account: &str, secret: &str) -> String {
    format!("{account}{SEPARATOR}{}", secret.to_ascii_lowercase())
}

/// A store as the guest of an account sees it: `bot_token` is `ACCOUNT.bot_token` of the host's store.
pub(crate) struct AccountSecrets {
    store: Arc<dyn SecretStore>,
    account: String,
}

impl AccountSecrets {
    /// The secrets of an account.
    pub fn new(store: Arc<dyn SecretStore>, account: &str) -> Self {
        Self { store, account: account.to_owned() }
    }
}

impl SecretStore for AccountSecrets {
    fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        match name.strip_prefix(OTHER) {
            Some(other) => self.store.get(other),
            None => self.store.get(&account_secret_name(&self.account, name)),
        }
    }

    fn names(&self) -> Result<Vec<String>, SecretError> {
        let own = format!("{}{SEPARATOR}", self.account);
        let seen = |name: String| match name.strip_prefix(&own) {
            Some(name) => name.to_owned(),
            None => format!("{OTHER}{name}"),
        };
        Ok(self.store.names()?.into_iter().map(seen).collect())
    }

    fn revision(&self) -> Option<u64> {
        self.store.revision()
    }

    fn stored_name(&self, name: &str) -> String {
        account_secret_name(&self.account, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{AllowedNames, MemorySecrets};

    #[test]
    fn an_account_uses_its_own_secrets_and_knows_all_others_to_search_for() {
        let store =
            MemorySecrets::from([("token", "first"), ("work.token", "second"), ("other.token", "third")]);
        let work = AccountSecrets::new(Arc::new(store), "work");
        let value = |name: &str| work.get(name).unwrap().map(|value| value.expose().to_owned());
        assert_eq!(value("TOKEN").as_deref(), Some("second"));
        assert_eq!(value("other.token"), None);
        let mut names = work.names().unwrap();
        names.sort();
        assert_eq!(names, ["/other.token", "/token", "token"]);
        assert_eq!(value("/token").as_deref(), Some("first"), "to be searched for");
        assert!(!AllowedNames::new(["*"]).exists(&work, "/token").unwrap(), "and not to be used");
        assert_eq!(work.stored_name("Token"), "work.token");
    }
}
