//! What can be said about a channel before it runs, and which secrets it needs and the host does not have. `check`, the log
//! and health show the same.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::capability::{RequiredSecret, SetupSection, WebhookCapability};
use crate::channel::WasmChannel;
use crate::model::diagnostic::Diagnostic;
use crate::sandbox::PreparedChannelModule;
use crate::secrets::{SecretError, normalise_name};
use crate::server::ChannelAccess;
use crate::webhook::{AuthPlan, SecretProblem};

/// What its files and its guest say, whatever the host has.
pub(super) fn inspect_channel(channel: &WasmChannel) -> Vec<Diagnostic> {
    let mut found = channel.diagnostics().to_vec();
    found.extend(inspect_guest(channel.module()));
    if let Some(webhook) = channel.capabilities_file().capabilities.webhook() {
        found.extend(inspect_webhook(webhook, channel.name().as_str()));
    }
    found
}

fn inspect_guest(module: &PreparedChannelModule) -> Option<Diagnostic> {
    let abi_version = module.abi_version();
    (!abi_version.response_attachments).then(|| {
        let text = format!("the guest is built for {abi_version}, whose replies have no attachments");
        Diagnostic::warning("no-attachments", text)
            .help("replies are delivered without their attachments; build it for near:agent@0.3.0 or newer")
    })
}

/// A signature needs the provider's signing secret. Published files for Meta name only the verify token, which the
/// provider shows in its first request and never signs with.
fn inspect_webhook(webhook: &WebhookCapability, channel: &str) -> Option<Diagnostic> {
    let plan = AuthPlan::from(webhook, channel).ok()?;
    let name = plan.verify_token_as_key()?;
    let text = format!(
        "the verify token {name} is taken for the key of signatures: the provider signs with another secret, so every \
         signed webhook gets 401"
    );
    Some(Diagnostic::error("verify-token-as-key", text).at("capabilities.channel.webhook").help(
        format!(
            "store the provider's signing secret (Meta calls it the app secret) with `tinclaw secrets set`, and name it in \
             `hmac_secret_name`: in the capability file, or without touching that under `[channel.{channel}.capabilities.\
             channel.webhook]` in tinclaw.toml"
        ),
    ))
}

/// What a channel needs. Asked again each time, because an operator stores secrets while the host runs.
pub(super) struct NeededSecrets {
    required: Vec<RequiredSecret>,
    /// Whether the host has a public address: some secrets are needed only with or only without one.
    has_public_url: bool,
    access: Arc<ChannelAccess>,
    /// Messages may come through a websocket: then webhooks need not work.
    has_link: bool,
}

impl NeededSecrets {
    pub fn new(
        setup: Option<&SetupSection>,
        has_public_url: bool,
        has_link: bool,
        access: Arc<ChannelAccess>,
    ) -> Self {
        let required = setup.map(|setup| setup.required_secrets.clone()).unwrap_or_default();
        Self { required, has_public_url, has_link, access }
    }

    /// The name of each that is missing or cannot be used, as it is stored, and what to do about it. It asks the secrets' store, so it
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
        let mut webhook = self.access.plan.secret_problems(&lookup);
        let concerns_us =
            |name: &str| self.declared(name).is_none_or(|secret| secret.applies(self.has_public_url));
        let may_lack =
            |name: &str| self.has_link && self.declared(name).is_some_and(|secret| secret.optional);
        webhook.retain(|(name, problem)| {
            concerns_us(name) && !(matches!(problem, SecretProblem::Missing) && may_lack(name))
        });
        let of_webhooks = webhook.iter().map(|(name, problem)| {
            let name = self.access.secrets.stored_name(name);
            let text = format!("secret {name} {problem}; webhooks respond with 503");
            (name.clone(), Diagnostic::warning("missing-secret", text).help(self.remedy(&name)))
        });
        // Secrets of webhooks have been reported already.
        let is_reported = |required: &RequiredSecret| {
            webhook.iter().any(|(name, _)| name.eq_ignore_ascii_case(&required.name))
        };
        let lacking = |required: &&RequiredSecret| {
            !required.optional
                && required.applies(self.has_public_url)
                && !is_reported(required)
                && stored(&required.name).is_none()
        };
        let of_setup = self.required.iter().filter(lacking).map(|required| {
            let RequiredSecret { name, prompt, .. } = required;
            let name = self.access.secrets.stored_name(name);
            let about = if prompt.is_empty() { String::new() } else { format!(" ({prompt})") };
            let text = format!("secret {name} is not stored{about}");
            (name.clone(), Diagnostic::warning("missing-secret", text).help(self.remedy(&name)))
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

    fn declared(&self, name: &str) -> Option<&RequiredSecret> {
        self.required.iter().find(|secret| secret.name.eq_ignore_ascii_case(name))
    }

    /// What to do about a secret with this stored name.
    fn remedy(&self, name: &str) -> String {
        let stored_name = |secret: &RequiredSecret| self.access.secrets.stored_name(&secret.name);
        let declared = self.required.iter().find(|secret| stored_name(secret).eq_ignore_ascii_case(name));
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
    use crate::secrets::UnreadableSecrets;

    // A secrets file that could not be decrypted was reported as a secret that is not stored.
    #[test]
    fn secrets_that_cannot_be_read_are_not_reported_as_missing() {
        let webhook = WebhookCapability::default();
        let secrets = Arc::new(UnreadableSecrets);
        let access = ChannelAccess::new(&webhook, "team", secrets, String::new()).unwrap();
        let setup: SetupSection =
            serde_json::from_value(serde_json::json!({"required_secrets": [{"name": "team_token"}]}))
                .unwrap();
        let missing = NeededSecrets::new(Some(&setup), false, false, Arc::new(access)).missing();
        let texts: Vec<String> = missing.iter().map(|(_, found)| found.to_string()).collect();
        assert_eq!(
            texts,
            [
                "the secrets cannot be read: the system gave no random bytes: see that the program may read /dev/urandom or call getrandom(2)"
            ]
        );
    }
}
