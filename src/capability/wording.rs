//! What is wrong with a field, as an error of the capability file.

use super::CapabilityError;
use crate::fields::{Expected, Found, Problem, Wrong, one_of};

/// Why the file is refused.
pub(super) fn refusal(file: &str, wrong: Wrong) -> CapabilityError {
    let nearest = wrong.nearest().map(str::to_owned);
    let (file, mut path) = (file.to_owned(), wrong.place());
    if path.is_empty() {
        path.push('.');
    }
    match wrong.problem {
        Problem::Missing => CapabilityError::Missing { file, path },
        Problem::Unknown { known } => {
            let known = known.into_iter().map(str::to_owned).collect();
            CapabilityError::UnknownField { file, path, nearest, known }
        }
        Problem::Invalid { expected, found } => {
            CapabilityError::Invalid { file, path, found: found_text(&found), accepted: accepted(&expected) }
        }
        Problem::Other(accepted) => {
            CapabilityError::Invalid { file, path, found: "not acceptable".to_owned(), accepted }
        }
    }
}

fn found_text(found: &Found) -> String {
    match found {
        Found::Null | Found::Flag(_) => format!("`{found}`"),
        Found::Number(number) => format!("the number {number}"),
        Found::Object => "an object".to_owned(),
        Found::Text | Found::List | Found::Words(_) => found.to_string(),
    }
}

fn accepted(expected: &Expected) -> String {
    let words = match expected {
        Expected::Text => "a string",
        Expected::Flag => "`true` or `false`",
        Expected::Number => "a number",
        Expected::Whole { most: u64::MAX } => "a whole number, not negative",
        Expected::Whole { most } => return format!("a whole number from 0 to {most}"),
        Expected::List => "a list",
        Expected::Object => "an object",
        Expected::OneOf(words) => return one_of(words),
        Expected::Words(words) => words,
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::capability::ChannelCapabilitiesFile;
    use crate::channel::ChannelName;

    #[test]
    fn a_refusal_names_the_place_what_is_there_and_what_would_be_accepted() {
        let http = |fields: Value| json!({"capabilities": {"http": fields}});
        let location = |location: Value| {
            http(json!({"credentials": {"a b": {"secret_name": "a", "location": location}}}))
        };
        for (document, expected) in [
            (json!([]), "`.` is a list: accepted is an object"),
            (
                json!({"colour": 1}),
                "unknown field `colour`: known here are type, name, version, wit_version, description, auth, setup, capabilities, config",
            ),
            (json!({"capabilites": {}}), "unknown field `capabilites`: did you mean `capabilities`?"),
            (json!({"type": 3}), "`type` is the number 3: accepted is \"channel\""),
            (
                json!({"name": "x", "config": null, "setup": "hunter2"}),
                "`setup` is a string: accepted is an object",
            ),
            (
                http(json!({"allowlist": [{"host": "a"}, {"hots": "a"}]})),
                "unknown field `capabilities.http.allowlist[1].hots`: did you mean `host`?",
            ),
            (
                http(json!({"allowlist": [{"path_prefix": "/"}]})),
                "`capabilities.http.allowlist[0].host` is missing",
            ),
            (
                http(json!({"allowlist": [{"host": "a", "port": 65_536}]})),
                "`capabilities.http.allowlist[0].port` is the number 65536: accepted is a whole number from 0 to 65535",
            ),
            (
                http(json!({"allowlist": [{"host": "a", "methods": [null]}]})),
                "`capabilities.http.allowlist[0].methods[0]` is `null`: accepted is a string",
            ),
            (
                http(json!({"timeout_secs": -1})),
                "`capabilities.http.timeout_secs` is the number -1: accepted is a whole number, not negative",
            ),
            (
                http(json!({"credentials": {"a": {"secret_name": "a"}}})),
                "`capabilities.http.credentials.a.location` is missing",
            ),
            (
                http(json!({"credentials": {"a": {"secret_name": "a", "locaton": {}}}})),
                "unknown field `capabilities.http.credentials.a.locaton`: did you mean `location`?",
            ),
            (location(json!({})), "`capabilities.http.credentials[\"a b\"].location.type` is missing"),
            (
                location(json!({"type": "header", "nam": "X"})),
                "unknown field `capabilities.http.credentials[\"a b\"].location.nam`: did you mean `name`?",
            ),
            (
                location(json!({"type": "header", "name": "X", "header_name": "X"})),
                "`capabilities.http.credentials[\"a b\"].location.name` is there under two names: accepted is one of them",
            ),
            (
                json!({"capabilities": {"channel": {"allow_polling": "yes"}}}),
                "`capabilities.channel.allow_polling` is a string: accepted is `true` or `false`",
            ),
            (
                json!({"capabilities": {"channel": {"allowed_paths": true}}}),
                "`capabilities.channel.allowed_paths` is `true`: accepted is a list",
            ),
            (
                json!({"capabilities": {"channel": {"webhook": {"auth": {"preset": "slak"}}}}}),
                "`capabilities.channel.webhook.auth.preset` is \"slak\": accepted is \"none\" or \"secret\" or",
            ),
        ] {
            let channel = ChannelName::new("a").unwrap();
            let error = ChannelCapabilitiesFile::parse("a.json", &channel, document.to_string().as_bytes());
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with(&format!("a.json: {expected}")), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
