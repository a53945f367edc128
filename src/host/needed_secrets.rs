//! Secrets that a channel needs and the host does not have.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::capability::{RequiredSecret, SetupSection};
use crate::model::diagnostic::Diagnostic;
use crate::secrets::{SecretError, normalise_name};
use crate::server::ChannelAccess;
use crate::webhook::SecretProblem;

/// What a channel needs. Asked anew each time, because an operator stores secrets while the host runs.
pub(super) struct NeededSecrets {
    required: Vec<RequiredSecret>,
    access: Arc<ChannelAccess>,
}

impl NeededSecrets {
    pub fn new(setup: Option<&SetupSection>, access: Arc<ChannelAccess>) -> Self {
        Self { required: setup.map(|setup| setup.required_secrets.clone()).unwrap_or_default(), access }
    }

    /// The name of each that is missing or cannot be used, and what to do about it. It asks the secrets' store, so it
    /// may block.
    pub fn missing(&self) -> Vec<(String, Diagnostic)> {
        // What cannot be read is not missing, and storing it again would be the wrong advice.
        if let Some((name, error)) = self.unreadable() {
            let text = format!("the secrets cannot be read: {error}");
            return vec![(name, Diagnostic::error("unreadable-secrets", text))];
        }
        let stored = |name: &str| self.access.secrets.get(name).ok().flatten();
        let lookup = |name: &str| match self.access.secrets.get(name) {
            Ok(secret) => Ok(secret.map(|secret| Zeroizing::new(secret.expose().as_bytes().to_vec()))),
            Err(_) => Err(SecretProblem::Unreadable),
        };
        let webhook = self.access.plan.secret_problems(&lookup);
        let of_webhooks = webhook.iter().map(|(name, problem)| {
            let text = format!("secret {name}: {problem}; webhooks respond with 503");
            (name.clone(), Diagnostic::warning("missing-secret", text).help(self.remedy(name)))
        });
        // Secrets of webhooks have been reported already.
        let is_reported = |required: &RequiredSecret| {
            webhook.iter().any(|(name, _)| name.eq_ignore_ascii_case(&required.name))
        };
        let lacking = |required: &&RequiredSecret| {
            !required.optional && !is_reported(required) && stored(&required.name).is_none()
        };
        let of_setup = self.required.iter().filter(lacking).map(|required| {
            let RequiredSecret { name, prompt, .. } = required;
            let about = if prompt.is_empty() { String::new() } else { format!(" ({prompt})") };
            let text = format!("secret {name}: it is not stored{about}");
            (name.clone(), Diagnostic::warning("missing-secret", text).help(self.remedy(name)))
        });
        of_webhooks.chain(of_setup).collect()
    }

    /// The first secret that cannot be read, and why.
    fn unreadable(&self) -> Option<(String, SecretError)> {
        let webhook = self.access.plan.secret_names().into_iter();
        let setup = self.required.iter().map(|required| required.name.as_str());
        let read = |name: &str| Some((name.to_owned(), self.access.secrets.get(name).err()?));
        webhook.chain(setup).filter(|name| normalise_name(name).is_ok()).find_map(read)
    }

    fn remedy(&self, name: &str) -> String {
        let declared = self.required.iter().find(|secret| secret.name.eq_ignore_ascii_case(name));
        // A command to be copied holds nothing but a secret's name.
        match (normalise_name(name), declared.is_some_and(|secret| secret.auto_generate.is_some())) {
            (Err(error), _) => error.to_string(),
            (Ok(name), true) => format!("`tinclaw secrets set {name} --generate` makes one"),
            (Ok(name), false) => format!("`tinclaw secrets set {name}` stores it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::WebhookCapability;
    use crate::secrets::{Secret, SecretStore};
    use crate::webhook::AuthPlan;

    struct Broken;

    impl SecretStore for Broken {
        fn get(&self, _: &str) -> Result<Option<Secret>, SecretError> {
            Err(SecretError::NoRandomness)
        }

        fn names(&self) -> Result<Vec<String>, SecretError> {
            Err(SecretError::NoRandomness)
        }
    }

    // A secrets file that could not be decrypted was reported as a secret that is not stored.
    #[test]
    fn secrets_that_cannot_be_read_are_not_reported_as_missing() {
        let webhook = WebhookCapability::default();
        let access = ChannelAccess {
            plan: AuthPlan::from(&webhook, "team").unwrap(),
            secrets: Arc::new(Broken),
            max_body_bytes: webhook.max_body_bytes,
            content_types: webhook.content_types.clone(),
        };
        let setup: SetupSection =
            serde_json::from_value(serde_json::json!({"required_secrets": [{"name": "team_token"}]}))
                .unwrap();
        let missing = NeededSecrets::new(Some(&setup), Arc::new(access)).missing();
        let texts: Vec<String> = missing.iter().map(|(_, found)| found.to_string()).collect();
        assert_eq!(
            texts,
            [
                "the secrets cannot be read: the system gave no random bytes: see that the program may read /dev/urandom or call getrandom(2)"
            ]
        );
    }
}
