//! What a call is for.

use serde_json::{Map, Value};

/// What the host says of a call beside its parameters.
#[derive(Clone, Debug, Default)]
pub struct Call(Map<String, Value>);

impl Call {
    /// Reads the context of a request; one that is no JSON object says nothing.
    pub(crate) fn of(context: Option<&str>) -> Self {
        let context = context.and_then(|text| serde_json::from_str(text).ok());
        match context {
            Some(Value::Object(fields)) => Self(fields),
            _ => Self::default(),
        }
    }

    /// A call with these settings, for tests.
    #[must_use]
    pub fn with_settings(settings: Value) -> Self {
        Self(Map::from_iter([("settings".to_owned(), settings)]))
    }

    /// The channel that the person writes in.
    pub fn channel(&self) -> Option<&str> {
        self.0.get("channel")?.as_str()
    }

    /// The person, as the channel knows them.
    pub fn user(&self) -> Option<&str> {
        self.0.get("user")?.as_str()
    }

    /// A setting: `config` of the capability file, and what the operator has set over it.
    pub fn setting(&self, name: &str) -> Option<&Value> {
        self.0.get("settings")?.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_says_who_it_is_for_and_what_the_operator_has_set() {
        let call = Call::of(Some(r#"{"channel":"webchat","user":"ann","settings":{"url":"http://a"}}"#));
        assert_eq!((call.channel(), call.user()), (Some("webchat"), Some("ann")));
        assert_eq!(call.setting("url").and_then(Value::as_str), Some("http://a"));
        for nothing in [None, Some(""), Some("[]"), Some("{}")] {
            assert!(Call::of(nothing).user().is_none() && Call::of(nothing).setting("url").is_none());
        }
    }
}
