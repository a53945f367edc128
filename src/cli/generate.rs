//! Makes the secrets that a channel lets the host choose, before it runs.

use crate::WasmChannel;
use crate::capability::RequiredSecret;
use crate::secrets::{Secret, SecretStore, normalise_name};
use crate::webhook::AuthPlan;

use super::config::{SecretSources, Settings};
use super::outcome::Failure;
use crate::model::escape::escaped;

/// Stores a random value for every secret that a channel declares with `auto_generate` and that is nowhere yet. The log
/// gets names only. What cannot be made is logged and stays missing, which the channel's health shows.
pub fn generate_missing(settings: &Settings, channels: &[WasmChannel]) -> Result<(), Failure> {
    if !settings.secrets.generates {
        return Ok(());
    }
    let store = settings.secrets.store()?;
    // By name, each for the first channel that wants it.
    let mut wanted: Vec<(String, &str, RequiredSecret)> = Vec::new();
    for channel in channels {
        let (entered, generated): (Vec<_>, Vec<_>) =
            to_generate(channel, &*store, settings.secrets.takes_any_variable())
                .into_iter()
                .partition(|(name, _)| is_entered_elsewhere(channel, name));
        for (name, _) in entered {
            log::warn!(
                target: channel.name().as_str(),
                "channel {}: secret {name} is missing and is not generated, because it must be the same at the provider: \
                 store it with `tinclaw secrets set {name}`",
                channel.name()
            );
        }
        for (name, secret) in generated {
            if let Err(place) = wanted.binary_search_by(|(known, ..)| known.cmp(&name)) {
                wanted.insert(place, (name, channel.name().as_str(), secret));
            }
        }
    }
    for (name, channel, secret) in wanted {
        match generate(&settings.secrets, &name, &secret) {
            Ok(true) => log::info!(
                target: channel,
                "channel {channel}: secret {name} was not stored, and the channel lets the host choose it: a random one is in {} now; where \
                 a provider has to know it, store one of your own with `tinclaw secrets set {name}`",
                settings.secrets.file.display()
            ),
            Ok(false) => {}
            Err(reason) => {
                log::warn!(target: channel, "channel {channel}: no secret {name} is made: {reason}")
            }
        }
    }
    Ok(())
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
        .filter(|(name, _)| matches!(store.get(name), Ok(None)) && !by_variable(name))
        .collect()
}

/// Whether it was this call that stored one.
fn generate(sources: &SecretSources, name: &str, secret: &RequiredSecret) -> Result<bool, String> {
    let length = secret.auto_generate.unwrap_or_default().length;
    let value = Secret::random(length).map_err(|error| error.to_string())?;
    if !secret.accepts(value.expose()) {
        let pattern = escaped(secret.validation.as_deref().unwrap_or_default());
        return Err(format!("its channel expects {pattern}; store one with `tinclaw secrets set {name}`"));
    }
    let (editor, made) = sources.editor().map_err(|failure| failure.to_string())?;
    if let Some(key) = made {
        log::info!("a new key for {} is in {}", sources.file.display(), key.display());
    }
    editor.set_missing(name, value).map_err(|error| error.to_string())
}
