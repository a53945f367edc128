//! Makes the secrets that a channel lets the host choose, before it runs.

use std::sync::{Arc, Mutex, PoisonError};

use super::config::{SecretSources, Settings};
use super::output::Failure;
use crate::WasmChannel;
use crate::capability::RequiredSecret;
use crate::model::escape::escaped;
use crate::secrets::{Secret, SecretStore, normalise_name};
use crate::webhook::AuthPlan;

/// Makes secrets in the daemon's own file.
pub struct SecretGenerator {
    sources: SecretSources,
    /// Where secrets may be already; none when nothing is generated.
    store: Option<Arc<dyn SecretStore>>,
    /// Whether the host has a public address: some secrets are needed only with or only without one.
    has_public_url: bool,
    /// Held while secrets are stored, so that channels that are loaded at once make one key and one secret of a name.
    writing: Mutex<()>,
}

impl SecretGenerator {
    /// Opens the sources of secrets, when secrets are to be generated at all.
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        let sources = settings.secrets.clone();
        let store = sources.generates.then(|| sources.store()).transpose()?;
        let has_public_url = settings.public_url().is_some();
        Ok(Self { sources, store, has_public_url, writing: Mutex::new(()) })
    }

    /// Stores a random value for every secret that the channel declares with `auto_generate` and that is nowhere yet. The
    /// log gets names only. What cannot be made is logged and stays missing, which the channel's health shows.
    pub fn generate_missing(&self, channel: &WasmChannel) {
        let Some(store) = &self.store else { return };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (target, name) = (channel.name().as_str(), channel.name());
        let missing = to_generate(channel, &**store, self.sources.takes_any_variable());
        let needed = missing.into_iter().filter(|(_, declared)| declared.applies(self.has_public_url));
        for (secret, declared) in needed {
            // The diagnostics of the channel say that it is missing, and how to make one.
            if is_entered_elsewhere(channel, &secret) {
                continue;
            }
            let secret = channel.stored_secret_name(&secret);
            match generate(&self.sources, &secret, &declared) {
                Ok(true) => log::info!(
                    target: target,
                    "channel {name}: secret {secret} was not stored, and the channel lets the host choose it: a random one is \
                     in {} now; where a provider has to know it, store one of your own with `tinclaw secrets set {secret}`",
                    self.sources.file.display()
                ),
                Ok(false) => {}
                Err(reason) => {
                    log::warn!(target: target, "channel {name}: no secret {secret} is generated: {reason}");
                }
            }
        }
    }
}

/// Whether a person has to enter the secret at the provider: requests are checked with it, and the guest, which could tell
/// the provider, never sees it. A random value that nobody knows would refuse every request.
fn is_entered_elsewhere(channel: &WasmChannel, name: &str) -> bool {
    let file = channel.capabilities_file();
    let webhook = file.capabilities.webhook().cloned().unwrap_or_default();
    let Ok(plan) = AuthPlan::from(&webhook, channel.name().as_str()) else { return false };
    let mut mapped = file.setup.iter().flat_map(|setup| &setup.secret_config_mappings);
    let guest_has_it = plan.guest_secret_name() == Some(name)
        || mapped.any(|mapping| mapping.secret_name.eq_ignore_ascii_case(name));
    plan.secret_names().contains(&name) && !guest_has_it
}

/// Secrets of a channel that are not stored and that it lets the host choose.
fn to_generate(
    channel: &WasmChannel,
    store: &dyn SecretStore,
    any_variable: bool,
) -> Vec<(String, RequiredSecret)> {
    let file = channel.capabilities_file();
    let by_variable = |name: &str| {
        let variable = file.auth.as_ref().filter(|_| any_variable).and_then(|auth| auth.env_var_for(name));
        variable.is_some_and(|variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty()))
    };
    let declared = file.setup.iter().flat_map(|setup| &setup.required_secrets);
    declared
        .filter(|secret| secret.auto_generate.is_some())
        .filter_map(|secret| Some((normalise_name(&secret.name).ok()?, secret.clone())))
        // A source that cannot be read may have it.
        .filter(|(name, _)| {
            matches!(store.get(&channel.stored_secret_name(name)), Ok(None)) && !by_variable(name)
        })
        .collect()
}

/// Whether it was this call that stored one.
fn generate(sources: &SecretSources, name: &str, secret: &RequiredSecret) -> Result<bool, Failure> {
    let length = secret.auto_generate.unwrap_or_default().length;
    let value = Secret::random(length).map_err(Failure::problem)?;
    if !secret.accepts(value.expose()) {
        let pattern = escaped(secret.validation.as_deref().unwrap_or_default());
        let text = format!("its channel expects {pattern}; store one with `tinclaw secrets set {name}`");
        return Err(Failure::Problem(text));
    }
    let (editor, made) = sources.editor()?;
    if let Some(key) = made {
        log::info!("a new key for {} is in {}", sources.file.display(), key.display());
    }
    editor.set_missing(name, value).map_err(Failure::problem)
}
