//! Values of the operator's `config`, held against what a capability file declares.

use serde_json::Value;

use super::file::ChannelCapabilitiesFile;

impl ChannelCapabilitiesFile {
    /// What the file wants in place of this value of `config`; nothing when the value may be right. A value has the type that it has in
    /// the file, and is one of those that `setup.settings` allows. Null stands for the channel's own default.
    pub(crate) fn expected(&self, key: &str, value: &Value) -> Option<String> {
        if value.is_null() {
            return None;
        }
        let expected = match self.config.get(key) {
            Some(Value::String(_)) if !value.is_string() => "a text",
            Some(Value::Bool(_)) if !value.is_boolean() => "true or false",
            Some(Value::Number(_)) if !value.is_number() => "a number",
            Some(Value::Array(_)) if !value.is_array() => "a list",
            Some(Value::Object(_)) if !value.is_object() => "a table",
            _ => return self.expected_by_setup(key, value),
        };
        Some(expected.to_owned())
    }

    /// The same by what the operator is asked.
    #[cfg(feature = "cli")]
    fn expected_by_setup(&self, key: &str, value: &Value) -> Option<String> {
        let asked = self.setup.iter().flat_map(|setup| &setup.settings).find(|asked| asked.name == key)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        asked.check(&text).err().map(|error| error.expected())
    }

    #[cfg(not(feature = "cli"))]
    #[expect(clippy::unused_self, reason = "patterns are read in the daemon only")]
    fn expected_by_setup(&self, _: &str, _: &Value) -> Option<String> {
        None
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::name::ChannelName;

    // `dm_policy = "foo"` was accepted by `setup` and `config check`; the guest then failed at each start, without a key in its error.
    #[test]
    fn a_value_of_another_type_or_none_of_the_choices_is_not_accepted() {
        let file = json!({
            "setup": {"settings": [
                {"name": "policy", "prompt": "", "choices": ["open", "closed"]},
                {"name": "number", "prompt": "", "validation": "^[0-9]+$"},
            ]},
            "config": {"policy": "open", "interval": 5, "flag": true, "list": [], "table": {}, "number": null},
        });
        let name = ChannelName::new("a").unwrap();
        let file = ChannelCapabilitiesFile::parse("a", &name, file.to_string().as_bytes()).unwrap();
        for (key, value, expected) in [
            ("policy", json!("closed"), None),
            ("policy", json!("foo"), Some("open or closed")),
            ("policy", json!(1), Some("a text")),
            ("policy", Value::Null, None),
            ("interval", json!("5"), Some("a number")),
            ("flag", json!("yes"), Some("true or false")),
            ("list", json!("a"), Some("a list")),
            ("table", json!([]), Some("a table")),
            ("number", json!("12"), None),
            ("number", json!(12), None),
            ("number", json!("x"), Some("what matches ^[0-9]+$")),
            ("other", json!("x"), None),
        ] {
            assert_eq!(file.expected(key, &value).as_deref(), expected, "{key} = {value}");
        }
    }
}
