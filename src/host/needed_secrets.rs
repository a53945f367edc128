//! Secrets that a channel needs and the host does not have.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::capability::{RequiredSecret, SetupSection};
use crate::secrets::normalise_name;
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

    /// What is missing or cannot be used, in words that say what stores it. It asks the secrets' store, so it may block.
    pub fn missing(&self) -> Vec<String> {
        let stored = |name: &str| self.access.secrets.get(name).ok().flatten();
        let lookup = |name: &str| match self.access.secrets.get(name) {
            Ok(secret) => Ok(secret.map(|secret| Zeroizing::new(secret.expose().as_bytes().to_vec()))),
            Err(_) => Err(SecretProblem::Unreadable),
        };
        let webhook = self.access.plan.secret_problems(&lookup);
        let of_webhooks = webhook.iter().map(|(name, problem)| {
            format!("secret {name}: {problem}; webhooks answer 503; {}", self.remedy(name))
        });
        // What webhooks need has been told already.
        let is_told = |required: &RequiredSecret| {
            webhook.iter().any(|(name, _)| name.eq_ignore_ascii_case(&required.name))
        };
        let lacking = |required: &&RequiredSecret| {
            !required.optional && !is_told(required) && stored(&required.name).is_none()
        };
        let of_setup = self.required.iter().filter(lacking).map(|required| {
            let RequiredSecret { name, prompt, .. } = required;
            let about = if prompt.is_empty() { String::new() } else { format!(" ({prompt})") };
            format!("secret {name}: it is not stored{about}; {}", self.remedy(name))
        });
        of_webhooks.chain(of_setup).collect()
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
