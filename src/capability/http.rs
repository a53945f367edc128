//! `capabilities.http`: where a channel's outbound requests may go, and with which credentials.
//!
//! These are the words of the file. What they mean is decided in [`crate::egress`], which compiles them when the
//! channel is loaded.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::limits::ChannelLimits;

/// `capabilities.http`. Absent from a file: no outbound requests at all.
///
/// The fields that set a limit are optional; [`LIMITS`](crate::capability::limits::LIMITS) has their defaults and bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct HttpCapability {
    /// Where requests may go. Empty: nowhere.
    pub allowlist: Vec<AllowlistEntry>,
    /// Credentials that the host puts into requests, by an identifier of the author's choice.
    pub credentials: BTreeMap<String, HttpCredential>,
    /// How many requests the channel may make.
    pub rate_limit: Option<HttpRateLimit>,
    /// The longest request body, in bytes (50 MiB).
    pub max_request_bytes: Option<u64>,
    /// The longest response body, in bytes (10 MiB). A longer one is an error, nothing of it is given to the guest.
    pub max_response_bytes: Option<u64>,
    /// The time for a whole request, in seconds, when the guest does not name one (30). A guest's own time
    /// (Telegram's long poll asks for 35 s) replaces it; neither is ever more than what is left of the callback.
    pub timeout_secs: Option<u64>,
    /// How many requests of the channel may be under way at once (8).
    pub max_concurrent_requests: Option<u64>,
    /// How many requests one callback may make (50).
    pub max_requests_per_callback: Option<u64>,
}

/// `http.allowlist[]`: one place that requests may go to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AllowlistEntry {
    /// The host: exact (`api.example.com`), or any real subdomain (`*.example.com`, which is not `example.com` itself).
    /// May name a port (`api.example.com:8443`). `{setting}` stands for the server that the operator names in that setting
    /// of the channel's `config`, as a base URL: its scheme, port and address are allowed as they are written there.
    pub host: String,
    /// The port, 443 when neither this field nor `host` names one.
    #[serde(default)]
    pub port: Option<u16>,
    /// What the path must begin with. Absent: any path. With a trailing slash it ends on a segment boundary; without one
    /// it also matches inside a segment, so that `/bot` matches `/bot123:ABC/getMe` (and `/bottle`).
    #[serde(default)]
    pub path_prefix: Option<String>,
    /// The methods, in any case. Empty or absent: any.
    #[serde(default)]
    pub methods: Vec<String>,
}

/// `http.credentials.ID`: a secret and where it is put.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HttpCredential {
    /// The secret's name.
    pub secret_name: String,
    /// Where in a request the host puts it.
    pub location: CredentialLocation,
    /// The hosts that it may be sent to, as in [`AllowlistEntry::host`], `{setting}` included. Empty: none.
    #[serde(default)]
    pub host_patterns: Vec<String>,
    /// The paths that it may be sent to. Empty: every path of those hosts. A pattern is a path prefix as in
    /// [`AllowlistEntry::path_prefix`]; `*` in it stands for any characters, and then the whole path must match.
    #[serde(default)]
    pub path_patterns: Vec<String>,
    /// Whether requests go out without it, and with the guest's own header, when the secret is missing. Default false:
    /// they fail and name the secret when `setup.required_secrets` lists it; one that is not listed there is optional.
    #[serde(default)]
    pub optional: bool,
}

/// `http.credentials.ID.location`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(tag = "type"))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum CredentialLocation {
    /// `Authorization: Bearer SECRET` (RFC 6750).
    Bearer {},
    /// `Authorization: Basic base64(username:SECRET)` (RFC 7617).
    Basic {
        /// The user's name; must not contain a colon.
        username: String,
    },
    /// `NAME: PREFIXSECRET`.
    Header {
        /// The header's name; `header_name` in some published files.
        #[serde(alias = "header_name")]
        name: String,
        /// Put directly before the secret, with no space added. Default empty.
        #[serde(default)]
        prefix: Option<String>,
    },
    /// `?NAME=SECRET`, replacing a parameter of that name.
    QueryParam {
        /// The parameter's name.
        name: String,
    },
    /// A field of the request's body, a JSON object, replacing a field of that name.
    JsonField {
        /// The field's name.
        name: String,
    },
    /// The guest writes a placeholder into the URL's path, and the host replaces it.
    UrlPath {
        /// The placeholder with its braces, such as `{TELEGRAM_BOT_TOKEN}`.
        placeholder: String,
    },
}

/// `http.rate_limit`. Zero allows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct HttpRateLimit {
    /// Requests per minute, 60 by default.
    pub requests_per_minute: u32,
    /// Requests per hour, 1,000 by default.
    pub requests_per_hour: u32,
}

impl Default for HttpRateLimit {
    fn default() -> Self {
        let ChannelLimits { http_requests_per_minute, http_requests_per_hour, .. } = ChannelLimits::default();
        Self { requests_per_minute: http_requests_per_minute, requests_per_hour: http_requests_per_hour }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::{Comments, DocumentError, read};

    fn parse(text: &str) -> Result<HttpCapability, DocumentError> {
        read(serde_json::from_str(text).unwrap(), Comments::Refused)
    }

    #[test]
    fn an_empty_object_allows_nothing() {
        let http = parse("{}").unwrap();
        assert_eq!(http, HttpCapability::default());
        assert!(http.allowlist.is_empty());
    }

    #[test]
    fn every_published_field_is_known() {
        let http = parse(
            r#"{
                "allowlist": [
                    {"host": "api.telegram.org", "path_prefix": "/bot"},
                    {"host": "*.slack.com:8443", "methods": ["GET", "POST"]},
                    {"host": "files.example.com", "port": 444, "path_prefix": "/f/"}
                ],
                "credentials": {
                    "a": {"secret_name": "a", "location": {"type": "bearer"}, "host_patterns": ["x.example"]},
                    "b": {"secret_name": "b", "location": {"type": "basic", "username": "u"}, "host_patterns": []},
                    "c": {"secret_name": "c", "location": {"type": "header", "name": "X-K", "prefix": "Bot "},
                          "path_patterns": ["/v1/*"], "optional": true},
                    "d": {"secret_name": "d", "location": {"type": "header", "header_name": "X-K"}},
                    "e": {"secret_name": "e", "location": {"type": "query_param", "name": "key"}},
                    "f": {"secret_name": "f", "location": {"type": "url_path", "placeholder": "{TOKEN}"}},
                    "g": {"secret_name": "g", "location": {"type": "json_field", "name": "app_secret"}}
                },
                "rate_limit": {"requests_per_minute": 5},
                "max_request_bytes": 1, "max_response_bytes": 2, "timeout_secs": 3
            }"#,
        )
        .unwrap();
        assert_eq!(http.credentials["a"].location, CredentialLocation::Bearer {});
        assert_eq!(
            http.credentials["d"].location,
            CredentialLocation::Header { name: "X-K".into(), prefix: None }
        );
        let rate_limit = http.rate_limit.unwrap();
        assert_eq!(rate_limit, HttpRateLimit { requests_per_minute: 5, requests_per_hour: 1000 });
    }

    #[test]
    fn a_field_that_is_not_known_is_an_error_wherever_it_stands() {
        let rows = [
            ("top", r#"{"allow_list": []}"#),
            ("entry", r#"{"allowlist": [{"host": "a", "path": "/"}]}"#),
            ("rate limit", r#"{"rate_limit": {"per_minute": 1}}"#),
            (
                "credential",
                r#"{"credentials": {"a": {"secret_name": "a", "location": {"type": "bearer"}, "hosts": []}}}"#,
            ),
            (
                "bearer",
                r#"{"credentials": {"a": {"secret_name": "a", "location": {"type": "bearer", "name": "x"}}}}"#,
            ),
            (
                "header",
                r#"{"credentials": {"a": {"secret_name": "a", "location": {"type": "header", "name": "x", "p": "y"}}}}"#,
            ),
            (
                "location type",
                r#"{"credentials": {"a": {"secret_name": "a", "location": {"type": "cookie"}}}}"#,
            ),
            ("number as text", r#"{"timeout_secs": "30"}"#),
            ("negative", r#"{"max_request_bytes": -1}"#),
        ];
        for (what, json) in rows {
            assert!(parse(json).is_err(), "{what}");
        }
    }

    // `preset` was taken for the name of the variant, and then refused as a field that no location has.
    #[test]
    fn a_location_without_its_type_is_an_error_that_names_it() {
        for location in
            [r#"{"preset": "bearer"}"#, r#"{"scheme": "header", "name": "X"}"#, r#"{"name": "X"}"#, "{}"]
        {
            let text =
                format!(r#"{{"credentials": {{"a": {{"secret_name": "a", "location": {location}}}}}}}"#);
            let error = parse(&text).unwrap_err().to_string();
            assert_eq!(error, "`credentials.a.location.type` is missing", "{location}");
        }
    }
}
