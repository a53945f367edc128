//! The configuration that `on-start` gets, and what it returns.

use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::capability::{ChannelCapabilitiesFile, SecretConfigMapping, SetupSection};

/// The keys of a channel's configuration that the host fills in; no secret can be mapped to them.
pub(crate) const HOST_KEYS: &[&str] = &["tunnel_url", "webhook_secret", "owner_id", "bot_username"];

/// What the host knows and adds to a channel's configuration. What it does not know stays as the file has it.
#[derive(Clone, Default)]
pub(crate) struct HostConfig {
    /// The public base URL of this host, without a slash at the end.
    pub tunnel_url: Option<String>,
    /// The secret that webhooks of this channel carry. A guest sees no secret, with this one exception: a guest that
    /// registers its own webhook must tell its provider which secret to send.
    /// [`AuthPlan::guest_secret_name`](crate::webhook::AuthPlan::guest_secret_name) says which guests that are.
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
pub(crate) struct StartConfig {
    json: Zeroizing<String>,
    keys: Vec<String>,
}

impl StartConfig {
    /// The JSON object, as text.
    pub fn json(&self) -> &str {
        &self.json
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
/// lists in `setup.required_secrets`. A mapping to a key of [`HOST_KEYS`] or of another secret is ignored, which
/// [`ChannelCapabilitiesFile::inspect`] reports.
pub(crate) fn start_config(
    file: &ChannelCapabilitiesFile,
    settings: &Map<String, Value>,
    host: &HostConfig,
    secret: &dyn Fn(&str) -> Option<Zeroizing<String>>,
) -> StartConfig {
    let mut config = file.config.clone();
    config.extend(settings.iter().map(|(key, value)| (key.clone(), value.clone())));
    add_host_values(&mut config, host);
    if let Some(setup) = &file.setup {
        add_mapped_secrets(&mut config, setup, secret);
    }
    let keys = config.keys().cloned().collect();
    let mut document = Value::Object(config);
    let json = Zeroizing::new(document.to_string());
    erase(&mut document);
    StartConfig { json, keys }
}

fn add_host_values(config: &mut Map<String, Value>, host: &HostConfig) {
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(key.to_owned(), value);
        }
    };
    put("tunnel_url", host.tunnel_url.clone().map(Value::from));
    put("owner_id", host.owner_id.clone());
    put("bot_username", host.bot_username.clone().map(Value::from));
    put("webhook_secret", host.webhook_secret.as_ref().map(|secret| Value::from(secret.as_str())));
}

fn add_mapped_secrets(
    config: &mut Map<String, Value>,
    setup: &SetupSection,
    secret: &dyn Fn(&str) -> Option<Zeroizing<String>>,
) {
    for mapping in &setup.secret_config_mappings {
        if mapping_problem(setup, mapping).is_none()
            && let Some(value) = secret(&mapping.secret_name)
        {
            config.insert(mapping.config_key.clone(), Value::from(value.as_str()));
        }
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::channel::ChannelName;

    fn file(document: Value) -> ChannelCapabilitiesFile {
        let name = ChannelName::new("test").unwrap();
        ChannelCapabilitiesFile::parse("test.capabilities.json", &name, document.to_string().as_bytes())
            .unwrap()
    }

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(fields) => fields,
            other => panic!("not an object: {other}"),
        }
    }

    fn host() -> HostConfig {
        HostConfig {
            tunnel_url: Some("https://example.org".into()),
            webhook_secret: Some(Zeroizing::new("hook-secret".into())),
            owner_id: Some(json!(12345678901234567u64)),
            bot_username: Some("clawbot".into()),
        }
    }

    fn stored(name: &str) -> Option<Zeroizing<String>> {
        (name != "missing").then(|| Zeroizing::new(format!("value of {name}")))
    }

    fn start(document: Value, settings: Value, host: &HostConfig) -> (Value, Vec<String>) {
        let file = file(document);
        let config = start_config(&file, &object(settings), host, &stored);
        let found = file.inspect().iter().map(ToString::to_string).collect();
        (serde_json::from_str(config.json()).unwrap(), found)
    }

    #[test]
    fn without_anything_the_configuration_is_an_empty_object() {
        assert_eq!(start(json!({}), json!({}), &HostConfig::default()), (json!({}), vec![]));
    }

    #[test]
    fn the_files_own_text_reaches_the_guest_as_it_is() {
        let config =
            json!({"owner_id": null, "z": 1, "a": {"deep": [1.5, "x", null]}, "_note": true, "x-y": 2});
        let file = file(json!({ "config": config }));
        let start = start_config(&file, &Map::new(), &HostConfig::default(), &stored);
        assert_eq!(start.json(), config.to_string(), "with the order of its keys");
    }

    #[test]
    fn the_operator_overrides_the_file_key_by_key() {
        let config = json!({"dm_policy": "open", "list": [1, 2], "nested": {"a": 1, "b": 2}});
        let settings = json!({"dm_policy": "pairing", "nested": {"a": 3}, "new": true});
        let (result, _) = start(json!({ "config": config }), settings, &HostConfig::default());
        assert_eq!(result, json!({"dm_policy": "pairing", "list": [1, 2], "nested": {"a": 3}, "new": true}));
    }

    #[test]
    fn the_host_fills_in_what_it_knows_and_leaves_the_rest() {
        let config = json!({"tunnel_url": null, "owner_id": "from file", "bot_username": null});
        let (result, _) = start(json!({ "config": config.clone() }), json!({}), &HostConfig::default());
        assert_eq!(result, config);
        let (result, _) = start(json!({ "config": config }), json!({"owner_id": "from operator"}), &host());
        assert_eq!(result["tunnel_url"], "https://example.org");
        assert_eq!(result["bot_username"], "clawbot");
        assert_eq!(result["owner_id"], json!(12345678901234567u64));
        assert_eq!(result["webhook_secret"], "hook-secret");
        let config = json!({"webhook_secret": null});
        let (result, _) = start(json!({ "config": config.clone() }), json!({}), &HostConfig::default());
        assert_eq!(result, config);
    }

    #[test]
    fn the_owners_id_keeps_its_json_type() {
        for owner in [json!(42), json!("42"), json!(-1), json!(18446744073709551615u64), json!(["a", 1])] {
            let host = HostConfig { owner_id: Some(owner.clone()), ..Default::default() };
            assert_eq!(start(json!({}), json!({}), &host).0["owner_id"], owner);
            assert_eq!(
                start(json!({}), json!({ "owner_id": owner }), &HostConfig::default()).0["owner_id"],
                owner
            );
        }
    }

    #[test]
    fn declared_secrets_are_mapped_and_others_are_not() {
        let setup = json!({
            "required_secrets": [{"name": "app_id"}, {"name": "missing", "optional": true}],
            "secret_config_mappings": [
                {"config_key": "app", "secret_name": "APP_ID"},
                {"config_key": "kept", "secret_name": "missing"},
                {"config_key": "other", "secret_name": "undeclared"},
                {"config_key": "owner_id", "secret_name": "app_id"},
                {"config_key": "tunnel_url", "secret_name": "app_id"},
                {"config_key": "webhook_secret", "secret_name": "app_id"},
                {"config_key": "bot_username", "secret_name": "app_id"},
            ],
        });
        let document = json!({"setup": setup, "config": {"kept": 1, "owner_id": null}});
        let (result, found) = start(document, json!({}), &HostConfig::default());
        assert_eq!(result, json!({"kept": 1, "owner_id": null, "app": "value of APP_ID"}));
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found[0].contains("[2]") && found[0].contains("not listed"), "{found:?}");
        assert!(found[1].contains("[3]") && found[1].contains("by the host"), "{found:?}");
    }

    #[test]
    fn secrets_are_not_printed() {
        let start = start_config(&file(json!({})), &Map::new(), &host(), &stored);
        assert!(start.json().contains("hook-secret"));
        for text in [format!("{start:?}"), format!("{:?}", host())] {
            assert!(!text.contains("hook-secret"), "{text}");
        }
    }
}
