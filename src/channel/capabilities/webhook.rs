//! `capabilities.channel.webhook`: how authentic webhooks are recognised.

use serde::Deserialize;

/// The `capabilities.channel.webhook` section.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct WebhookCapability {
    /// The header that carries the shared secret.
    pub secret_header: Option<String>,
    /// The shared secret's name.
    pub secret_name: Option<String>,
    /// Whether the host authenticates requests.
    pub managed_by_host: bool,
    /// HTTP methods, when `on-start` names none.
    pub methods: Vec<String>,
    /// Whether the guest gets the secret in its configuration.
    pub give_secret_to_guest: Option<bool>,
}

impl Default for WebhookCapability {
    fn default() -> Self {
        Self {
            secret_header: None,
            secret_name: None,
            managed_by_host: true,
            methods: vec!["POST".to_owned()],
            give_secret_to_guest: None,
        }
    }
}
