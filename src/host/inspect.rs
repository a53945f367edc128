//! What can be said about a channel before it runs. `check`, the log and health show the same.

use crate::capability::WebhookCapability;
use crate::channel::WasmChannel;
use crate::model::diagnostic::Diagnostic;
use crate::sandbox::PreparedChannelModule;
use crate::webhook::AuthPlan;

use super::config::ManagerConfig;
use super::error::HostError;
use super::harness::ChannelHarness;

/// Everything that is found about a channel with this configuration, the most severe first: its files, its guest, its
/// secrets, its paths and its limits. Nothing of the guest is run.
///
/// # Errors
/// What would keep a host from running the channel.
pub fn inspect(channel: &WasmChannel, config: &ManagerConfig) -> Result<Vec<Diagnostic>, HostError> {
    let trial = ChannelHarness::new(channel, config.clone())?;
    let mut found = trial.diagnostics().to_vec();
    found.sort_by_key(|diagnostic| diagnostic.severity);
    Ok(found)
}

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
