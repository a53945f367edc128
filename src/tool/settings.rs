//! What the operator decides about a tool.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::capability::{CapabilityOverrides, ToolCapabilities};

/// What stands about a tool in the operator's configuration, under `[tool.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ToolSettings {
    /// Settings of the tool, over those of its file. They are what its calls are told, and name hosts (`{setting}`).
    pub(crate) config: Map<String, Value>,
    /// Fields over those of its capability file.
    pub(crate) capabilities: Map<String, Value>,
    /// Whether `capabilities` may change where the tool can connect to, which secrets it can use, and what it can read or
    /// invoke.
    pub(crate) extend_rights: bool,
}

impl ToolSettings {
    /// What is changed about its capability file.
    pub(crate) fn overrides(&self) -> CapabilityOverrides {
        CapabilityOverrides { capabilities: self.capabilities.clone(), extend_rights: self.extend_rights }
    }
}

/// The settings that a tool's calls are told: those of its file, with the operator's over them.
pub(super) fn merged(capabilities: &ToolCapabilities, config: &Map<String, Value>) -> Map<String, Value> {
    let mut settings = capabilities.config.clone();
    settings.extend(config.iter().map(|(name, value)| (name.clone(), value.clone())));
    settings
}

/// The context of a call as its guest gets it: with the tool's settings, where it has some. A context that is no JSON
/// object stays as it is.
pub(super) fn with_settings(context: Option<String>, settings: &Map<String, Value>) -> Option<String> {
    if settings.is_empty() {
        return context;
    }
    let mut fields = match context.as_deref().map(serde_json::from_str) {
        None => Map::new(),
        Some(Ok(Value::Object(fields))) => fields,
        Some(_) => return context,
    };
    fields.insert("settings".to_owned(), Value::Object(settings.clone()));
    Some(Value::Object(fields).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_operator_s_settings_go_over_those_of_the_file_into_the_context() {
        let file = json!({"config": {"url": "http://file", "unit": "C"}}).to_string();
        let capabilities = ToolCapabilities::read(file.as_bytes()).unwrap();
        let Value::Object(config) = json!({"url": "http://operator"}) else { unreachable!() };
        let settings = merged(&capabilities, &config);
        let told = |context: Option<&str>| with_settings(context.map(str::to_owned), &settings);
        let expected = r#"{"settings":{"url":"http://operator","unit":"C"}}"#;
        assert_eq!(told(None).as_deref(), Some(expected));
        let of_ann: Value =
            serde_json::from_str(&told(Some(r#"{"user":"ann","settings":1}"#)).unwrap()).unwrap();
        assert_eq!((&of_ann["user"], &of_ann["settings"]["unit"]), (&json!("ann"), &json!("C")));
        for other in ["[]", "x", ""] {
            assert_eq!(told(Some(other)).as_deref(), Some(other));
        }
        let nothing = Map::new();
        assert_eq!(
            with_settings(Some("{}".into()), &nothing).as_deref(),
            Some("{}"),
            "published tools get what they got"
        );
        assert_eq!(with_settings(None, &nothing), None);
    }
}
