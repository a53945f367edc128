//! The configuration that `on-start` gets, and what it returns.

use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

pub use wit_abi::types::{ChannelConfig, HttpEndpointConfig, PollConfig};

use super::capabilities::{ChannelCapabilitiesFile, Remark, SecretConfigMapping, SetupSection};

/// The keys of a channel's configuration that the host fills in; no secret can be mapped to them.
pub const HOST_KEYS: &[&str] = &["tunnel_url", "webhook_secret", "owner_id", "bot_username"];

/// What the host knows and adds to a channel's configuration. What it does not know stays as the file has it.
#[derive(Clone, Default)]
pub struct HostConfig {
    /// The public base URL of this host, without a slash at the end.
    pub tunnel_url: Option<String>,
    /// The secret that webhooks of this channel carry. Only added when [`gives_webhook_secret`] says so.
    pub webhook_secret: Option<Zeroizing<String>>,
    /// Who owns the bot. Keeps its JSON type: some guests take a number, some a string.
    pub owner_id: Option<Value>,
    /// What the bot is called.
    pub bot_username: Option<String>,
}

impl fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostConfig")
            .field("tunnel_url", &self.tunnel_url)
            .field("webhook_secret", &self.webhook_secret.as_ref().map(|_| "…"))
            .field("owner_id", &self.owner_id)
            .field("bot_username", &self.bot_username)
            .finish()
    }
}

/// The text that `on-start` gets. It may hold secrets, so it cannot be printed and is erased when it is dropped.
pub struct StartConfig {
    json: Zeroizing<String>,
    keys: Vec<String>,
    remarks: Vec<Remark>,
}

impl StartConfig {
    /// The JSON object, as text.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Mappings that were not honoured, and why.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }
}

impl fmt::Debug for StartConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartConfig").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// Puts together the configuration of a channel. Later ones win, key by key and not deeper: the file's `config`, the
/// operator's `settings` for this channel, what the host knows, the secrets that the file maps.
///
/// `secret` gives the value of a secret, or nothing when it is not stored; it is asked only for names that the file
/// lists in `setup.required_secrets`. A mapping to a key of [`HOST_KEYS`] or of another secret is ignored and told in
/// [`StartConfig::remarks`].
pub fn start_config(
    file: &ChannelCapabilitiesFile,
    settings: &Map<String, Value>,
    host: &HostConfig,
    secret: &dyn Fn(&str) -> Option<Zeroizing<String>>,
) -> StartConfig {
    let mut config = file.config.clone();
    config.extend(settings.iter().map(|(key, value)| (key.clone(), value.clone())));
    add_host_values(&mut config, file, host);
    let remarks =
        file.setup.as_ref().map(|setup| add_mapped_secrets(&mut config, setup, secret)).unwrap_or_default();
    let keys = config.keys().cloned().collect();
    let mut document = Value::Object(config);
    let json = Zeroizing::new(document.to_string());
    erase(&mut document);
    StartConfig { json, keys, remarks }
}

fn add_host_values(config: &mut Map<String, Value>, file: &ChannelCapabilitiesFile, host: &HostConfig) {
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(key.to_owned(), value);
        }
    };
    put("tunnel_url", host.tunnel_url.clone().map(Value::from));
    put("owner_id", host.owner_id.clone());
    put("bot_username", host.bot_username.clone().map(Value::from));
    if gives_webhook_secret(file) {
        put("webhook_secret", host.webhook_secret.as_ref().map(|secret| Value::from(secret.as_str())));
    }
}

fn add_mapped_secrets(
    config: &mut Map<String, Value>,
    setup: &SetupSection,
    secret: &dyn Fn(&str) -> Option<Zeroizing<String>>,
) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for (index, mapping) in setup.secret_config_mappings.iter().enumerate() {
        if let Some(problem) = mapping_problem(setup, mapping) {
            let path = format!("setup.secret_config_mappings[{index}]");
            remarks.push(Remark { path, text: problem.to_string() });
        } else if let Some(value) = secret(&mapping.secret_name) {
            config.insert(mapping.config_key.clone(), Value::from(value.as_str()));
        }
    }
    remarks
}

/// Erases every text of a document, because some of them were secrets.
fn erase(value: &mut Value) {
    match value {
        Value::String(text) => zeroize::Zeroize::zeroize(text),
        Value::Array(items) => items.iter_mut().for_each(erase),
        Value::Object(fields) => fields.values_mut().for_each(erase),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Why a mapping is not honoured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RefusedMapping {
    /// The host fills in this key itself.
    HostKey(String),
    /// The secret is not one that the file declares.
    UndeclaredSecret(String),
}

/// Why a mapping is not honoured; nothing when it is.
pub(crate) fn mapping_problem(setup: &SetupSection, mapping: &SecretConfigMapping) -> Option<RefusedMapping> {
    if HOST_KEYS.contains(&mapping.config_key.as_str()) {
        return Some(RefusedMapping::HostKey(mapping.config_key.clone()));
    }
    match setup.required_secret(&mapping.secret_name) {
        Some(_) => None,
        None => Some(RefusedMapping::UndeclaredSecret(mapping.secret_name.clone())),
    }
}

/// The header with Telegram's shared secret, in lower case. The only way to set that secret is Telegram's `setWebhook`,
/// which the guest calls (<https://core.telegram.org/bots/api#setwebhook>, `secret_token`).
const TELEGRAM_SECRET_HEADER: &str = "x-telegram-bot-api-secret-token";

/// Whether the guest gets the secret that its webhooks carry, as `webhook_secret` of its configuration.
///
/// A guest sees no secret, with this one exception: a guest that registers its own webhook must tell its provider
/// which secret to send. A file says so with `webhook.give_secret_to_guest`. Published files cannot have that field;
/// among them the guests of Telegram need the secret, and they are recognised by the header that carries it. Nobody
/// else gets it: other providers are told the secret by a person.
pub fn gives_webhook_secret(file: &ChannelCapabilitiesFile) -> bool {
    let Some(webhook) = file.capabilities.webhook() else { return false };
    webhook.give_secret_to_guest.unwrap_or_else(|| {
        let header = webhook.secret_header.as_deref();
        webhook.managed_by_host
            && header.is_some_and(|header| header.eq_ignore_ascii_case(TELEGRAM_SECRET_HEADER))
    })
}
