//! One request to the API, before it goes anywhere: the command line makes it for the running host, or for the store when
//! none runs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Where the API is.
pub(crate) const PREFIX: &str = "/api/v1";

/// What stands as itself in a path or a query (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request to a resource of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiCall {
    pub(crate) method: &'static str,
    /// The path with [`PREFIX`], encoded.
    pub(crate) path: String,
    /// Encoded; without the `?`.
    pub(crate) query: String,
    /// What is sent along.
    pub(crate) body: Option<Value>,
}

impl ApiCall {
    /// Reads a resource; each part of the path is encoded.
    pub(crate) fn get(path: &[&str]) -> Self {
        Self::new("GET", path)
    }

    /// Changes something.
    pub(crate) fn post(path: &[&str]) -> Self {
        Self::new("POST", path)
    }

    fn new(method: &'static str, path: &[&str]) -> Self {
        let path = path.iter().map(|part| format!("/{}", encoded(part))).collect::<String>();
        Self { method, path: format!("{PREFIX}{path}"), query: String::new(), body: None }
    }

    /// Adds a parameter of the query, when there is a value.
    pub(crate) fn with(mut self, name: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            let separator = if self.query.is_empty() { "" } else { "&" };
            self.query += &format!("{separator}{name}={}", encoded(&value.to_string()));
        }
        self
    }

    /// Sends a JSON body along.
    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Whether the response comes only when something has changed.
    pub(crate) fn waits(&self) -> bool {
        self.path.ends_with("/changes")
    }

    /// Path and query, as they stand in a request.
    pub(crate) fn target(&self) -> String {
        let separator = if self.query.is_empty() { "" } else { "?" };
        format!("{}{separator}{}", self.path, self.query)
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_path_and_parameters_are_encoded() {
        let call = ApiCall::get(&["pairing", "a/b", "\u{fc} ?"]);
        assert_eq!(call.target(), "/api/v1/pairing/a%2Fb/%C3%BC%20%3F");
        let call = ApiCall::get(&["messages"]).with("channel", Some("a&b")).with("state", None::<&str>);
        assert_eq!(call.with("limit", Some(3)).target(), "/api/v1/messages?channel=a%26b&limit=3");
    }
}
