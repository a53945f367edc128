//! What an operator changes about a published capability file without touching it.

use serde_json::{Map, Value};

use super::file::ChannelCapabilitiesFile;
use super::{CapabilityError, review};
use crate::channel::ChannelName;
use crate::model::diagnostic::Diagnostic;
use crate::model::document::{Comments, read};

/// Fields of a capability file's `capabilities` that an operator replaces, and whether these may change what the channel
/// can reach.
///
/// Objects are merged field by field, every other value is replaced. A webhook's `auth` replaces all that the file says
/// about authentication. Where the channel can connect to, and which secrets it can use, only changes with
/// [`extend_rights`](Self::extend_rights).
///
/// ```
/// use serde_json::json;
/// use tinclaw::channel::{CapabilityOverrides, ChannelCapabilitiesFile, ChannelName};
///
/// let name = ChannelName::new("feishu")?;
/// let published = br#"{"capabilities": {"channel": {"allowed_paths": ["/a"]}}}"#;
/// let file = ChannelCapabilitiesFile::parse("feishu.capabilities.json", &name, published)?;
/// let mut overrides = CapabilityOverrides::default();
/// overrides.capabilities.insert("channel".into(), json!({"allowed_paths": ["/b"]}));
/// let file = file.with_overrides(&name, &overrides)?;
/// assert!(file.capabilities.is_path_allowed("/b"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CapabilityOverrides {
    /// The fields, as they stand below `capabilities` in a file.
    pub capabilities: Map<String, Value>,
    /// Whether they may change outbound rights and the use of secrets.
    pub extend_rights: bool,
}

/// Fields that decide what a channel can reach: outbound requests, sockets, secrets.
const RIGHTS: [&[&str]; 6] = [
    &["http", "allowlist"],
    &["http", "credentials"],
    &["secrets"],
    &["workspace"],
    &["websocket"],
    &["tool_invoke", "aliases"],
];

/// What published files say about authentication beside `auth`.
const PUBLISHED_AUTH: [&str; 7] = [
    "secret_header",
    "secret_name",
    "signature_key_secret_name",
    "hmac_secret_name",
    "managed_by_host",
    "verify_token_param",
    "tolerance_secs",
];

/// The operator's configuration changes what a channel can reach without saying so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("capabilities.{field} needs `extend_rights = true`, because it changes what the {guest} can reach")]
pub(crate) struct RightsChanged {
    /// The field, below `capabilities`.
    field: String,
    /// What is changed: a channel or a tool.
    guest: &'static str,
}

impl CapabilityOverrides {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.capabilities.is_empty()
    }

    /// Refuses fields that change what the channel can reach, unless that is said explicitly.
    ///
    /// # Errors
    /// The field, and what to write to allow it.
    pub(crate) fn check(&self) -> Result<(), RightsChanged> {
        self.check_for("channel")
    }

    /// The same for a `"channel"` or a `"tool"`.
    pub(crate) fn check_for(&self, guest: &'static str) -> Result<(), RightsChanged> {
        let changed = RIGHTS.iter().find(|path| at(&self.capabilities, path).is_some());
        match changed {
            Some(path) if !self.extend_rights => Err(RightsChanged { field: path.join("."), guest }),
            _ => Ok(()),
        }
    }

    /// Puts the fields into the file of a tool, each where the file has its section: at the top, or under `capabilities`.
    pub(super) fn put_into_tool(&self, document: &mut Map<String, Value>) {
        for (section, fields) in &self.capabilities {
            let inner = document.get_mut("capabilities").and_then(|inner| inner.get_mut(section));
            match inner {
                Some(own) => merge(own, fields),
                None => merge(document.entry(section.clone()).or_insert(Value::Null), fields),
            }
        }
    }

    /// What the operator changed, for `check` and the log.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let mut places = Vec::new();
        leaves(&self.capabilities, "capabilities", &mut places);
        let overridden = |place: String| {
            Diagnostic::note("overridden", "the configuration overrides the capability file").at(place)
        };
        places.into_iter().map(overridden).collect()
    }
}

impl ChannelCapabilitiesFile {
    /// The same file as the operator wants it.
    ///
    /// # Errors
    /// [`CapabilityError`]: the overrides have an unknown field or a value that is not accepted, or change what the channel
    /// can reach without saying so.
    pub fn with_overrides(
        &self,
        channel: &ChannelName,
        overrides: &CapabilityOverrides,
    ) -> Result<Self, CapabilityError> {
        self.overridden(channel, channel, overrides)
    }

    /// The same for a channel that has another name than its files: one of several accounts of a guest.
    pub(crate) fn overridden(
        &self,
        guest: &ChannelName,
        channel: &ChannelName,
        overrides: &CapabilityOverrides,
    ) -> Result<Self, CapabilityError> {
        if overrides.is_empty() {
            return Ok(self.clone());
        }
        let file = format!("[channel.{channel}] over {guest}.capabilities.json");
        overrides
            .check()
            .map_err(|error| CapabilityError::Override { file: file.clone(), reason: error.to_string() })?;
        let mut document = self.source().clone();
        let own = document.entry("capabilities").or_insert_with(|| Value::Object(Map::new()));
        if own.is_null() {
            *own = Value::Object(Map::new());
        }
        replace_auth(own, &overrides.capabilities);
        merge(own, &Value::Object(overrides.capabilities.clone()));
        let parsed: Self = read(Value::Object(document.clone()), Comments::Skipped)
            .map_err(|error| CapabilityError::of(&file, error))?;
        review::check(&file, guest, &parsed)?;
        Ok(parsed.with_source(document))
    }
}

fn at<'a>(fields: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(fields.get(*first)?, |value, name| value.get(name))
}

/// Takes out what the file says about authentication when the operator says all of it again.
fn replace_auth(own: &mut Value, overrides: &Map<String, Value>) {
    if at(overrides, &["channel", "webhook", "auth"]).is_none() {
        return;
    }
    if let Some(webhook) = own.pointer_mut("/channel/webhook").and_then(Value::as_object_mut) {
        webhook.retain(|name, _| !PUBLISHED_AUTH.contains(&name.as_str()) && name != "auth");
    }
}

fn merge(own: &mut Value, other: &Value) {
    match (own, other) {
        (Value::Object(own), Value::Object(other)) => {
            for (name, value) in other {
                merge(own.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (own, other) => *own = other.clone(),
    }
}

/// The places of all values that are not objects.
fn leaves(fields: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
    for (name, value) in fields {
        let path = format!("{path}.{name}");
        match value {
            Value::Object(fields) => leaves(fields, &path, found),
            _ => found.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::webhook::{AuthPlan, Requirement};

    fn published(name: &str) -> (ChannelName, ChannelCapabilitiesFile) {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published_capabilities");
        let bytes = std::fs::read(root.join(format!("{name}.capabilities.json"))).unwrap();
        let name = ChannelName::new(name).unwrap();
        let file = ChannelCapabilitiesFile::parse("a", &name, &bytes).unwrap();
        (name, file)
    }

    fn overrides(capabilities: Value, extend_rights: bool) -> CapabilityOverrides {
        let Value::Object(capabilities) = capabilities else { panic!("an object") };
        CapabilityOverrides { capabilities, extend_rights }
    }

    /// A published WhatsApp file that only names its verify token refuses every POST of Meta, and Feishu's has no
    /// authentication of the host at all: both can be used by what the configuration says, and stay as they were published.
    #[test]
    fn a_published_file_gets_another_authentication() {
        let (name, file) = published("whatsapp");
        let webhook = json!({"channel": {"webhook": {
            "auth": {"scheme": "hmac", "header": "X-Hub-Signature-256", "prefix": "sha256=", "secret_name": "app"},
            "verify_token_param": "hub.verify_token", "secret_name": "token",
        }}});
        let changed = file.with_overrides(&name, &overrides(webhook, false)).unwrap();
        let plan = AuthPlan::from(changed.capabilities.webhook().unwrap(), name.as_str()).unwrap();
        assert_eq!(plan.secret_names(), ["app", "token"]);
        assert_eq!(changed.capabilities.webhook().unwrap().methods, ["GET", "POST"], "the file's");
        assert_eq!(changed.capabilities.http, file.capabilities.http);

        let (name, file) = published("feishu");
        let open = overrides(json!({"channel": {"webhook": {"auth": "none"}}}), false);
        let changed = file.with_overrides(&name, &open).unwrap();
        let plan = AuthPlan::from(changed.capabilities.webhook().unwrap(), name.as_str()).unwrap();
        assert_eq!(plan.requirement(), Requirement::Open);
        let again = changed.with_overrides(&name, &open).unwrap();
        assert_eq!(again, changed, "applying the same twice changes nothing");
    }

    #[test]
    fn limits_and_methods_are_replaced_and_the_rest_stays() {
        let (name, file) = published("telegram");
        let changes = json!({
            "channel": {"callback_timeout_secs": 7, "webhook": {"methods": ["PUT"]}},
            "http": {"max_request_bytes": 9, "rate_limit": {"requests_per_minute": 3}},
        });
        let changed = file.with_overrides(&name, &overrides(changes, false)).unwrap();
        let (http, section) =
            (changed.capabilities.http.as_ref().unwrap(), changed.capabilities.channel.as_ref().unwrap());
        assert_eq!((section.callback_timeout_secs, http.max_request_bytes), (Some(7), Some(9)));
        assert_eq!(http.rate_limit.unwrap().requests_per_minute, 3);
        assert_eq!(section.webhook.as_ref().unwrap().methods, ["PUT"]);
        assert_eq!(http.allowlist, file.capabilities.http.as_ref().unwrap().allowlist);
        assert_eq!(changed.config, file.config);
    }

    #[test]
    fn rights_are_extended_only_when_that_is_asked_for() {
        let (name, file) = published("telegram");
        for capabilities in [
            json!({"http": {"allowlist": [{"host": "evil.example"}]}}),
            json!({"http": {"credentials": {}}}),
            json!({"secrets": {"allowed_names": ["*"]}}),
            json!({"websocket": {"url": "wss://evil.example/"}}),
            json!({"workspace": {}}),
        ] {
            let refused = file.with_overrides(&name, &overrides(capabilities.clone(), false)).unwrap_err();
            assert!(refused.to_string().contains("needs `extend_rights = true`"), "{refused}");
            file.with_overrides(&name, &overrides(capabilities, true)).unwrap();
        }
        for rights in RIGHTS {
            let value = rights.iter().rev().fold(json!({}), |value, name| json!({ *name: value }));
            assert!(overrides(value, false).check().is_err(), "{rights:?}");
        }
    }

    #[test]
    fn unknown_fields_of_an_override_are_refused_with_their_place() {
        let (name, file) = published("telegram");
        let changes = overrides(json!({"channel": {"webhook": {"methds": ["PUT"]}}}), false);
        let error = file.with_overrides(&name, &changes).unwrap_err().to_string();
        assert_eq!(
            error,
            "[channel.telegram] over telegram.capabilities.json: unknown field \
             `capabilities.channel.webhook.methds`; did you mean `methods`?"
        );
        let found = changes.diagnostics();
        assert_eq!(found[0].field.as_deref(), Some("capabilities.channel.webhook.methds"));
    }

    #[test]
    fn a_channel_without_a_file_can_be_given_what_lies_within_the_host() {
        let name = ChannelName::new("a").unwrap();
        let changes = overrides(json!({"channel": {"allow_polling": true}}), false);
        let file = ChannelCapabilitiesFile::default().with_overrides(&name, &changes).unwrap();
        assert!(file.capabilities.allows_polling());
    }
}
