//! Why a capability file is refused.

use crate::model::document::{DocumentError, DocumentProblem, Expected, FoundValue, one_of};

/// Why a capability file is refused. Each error names the file, the place in it, and what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapabilityError {
    /// The file is larger than 256 KiB.
    #[error("{file}: {bytes} bytes are more than the {limit} that a capability file may have")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The file is not JSON.
    #[error("{file}: not JSON: {reason}")]
    NotJson {
        /// The file.
        file: String,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// A field is not known. Nothing that is not understood is skipped: it could be a right that was meant to be
    /// narrower.
    #[error("{file}: unknown field `{path}`{}", suggestion(nearest, known))]
    UnknownField {
        /// The file.
        file: String,
        /// Where: `capabilities.chanel`.
        path: String,
        /// The known field whose name is nearest.
        nearest: Option<String>,
        /// Every field that is known there.
        known: Vec<String>,
    },
    /// A field stands twice in one object.
    #[error("{file}: duplicate field `{path}`; remove one")]
    Duplicate {
        /// The file.
        file: String,
        /// Where.
        path: String,
    },
    /// A field that must be there is not.
    #[error("{file}: `{path}` is missing")]
    Missing {
        /// The file.
        file: String,
        /// Where.
        path: String,
    },
    /// A value that is not accepted.
    #[error("{file}: `{path}` is {found}: accepted is {accepted}")]
    Invalid {
        /// The file.
        file: String,
        /// Where; `.` is the whole file.
        path: String,
        /// What is there.
        found: String,
        /// What would be accepted.
        accepted: String,
    },
    /// What the operator's configuration changes about the file is not allowed.
    #[error("{file}: {reason}")]
    Override {
        /// The table of the configuration and the file.
        file: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The file says another name than its own.
    #[error(
        "{file}: `name` is {name:?}, but the channel of this file is `{channel}`: rename the file or change `name`"
    )]
    NameDiffers {
        /// The file.
        file: String,
        /// What the file says.
        name: String,
        /// What follows from the file's name.
        channel: String,
    },
}

fn suggestion(nearest: &Option<String>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None if known.is_empty() => "; there are no fields here".to_owned(),
        None => format!("; known here are {}", known.join(", ")),
    }
}

impl CapabilityError {
    /// What is wrong with the document, as an error of this file.
    pub(super) fn of(file: &str, error: DocumentError) -> Self {
        let nearest = error.nearest().map(str::to_owned);
        let (file, mut path) = (file.to_owned(), error.place());
        if path.is_empty() {
            path.push('.');
        }
        let invalid = |found: String, accepted: String| Self::Invalid {
            file: file.clone(),
            path: path.clone(),
            found,
            accepted,
        };
        match error.problem {
            DocumentProblem::Missing => Self::Missing { file, path },
            DocumentProblem::Unknown { known } => {
                let known = known.into_iter().map(str::to_owned).collect();
                Self::UnknownField { file, path, nearest, known }
            }
            DocumentProblem::TwoNames => {
                invalid("there under two names".to_owned(), "one of them".to_owned())
            }
            DocumentProblem::Invalid { expected, found } => {
                let nearest = expected.nearest(&found);
                let nearest = nearest.map(|word| format!("; did you mean \"{word}\"?")).unwrap_or_default();
                invalid(found_text(&found), accepted(&expected) + &nearest)
            }
            DocumentProblem::Other(accepted) => invalid("not acceptable".to_owned(), accepted),
        }
    }
}

fn found_text(found: &FoundValue) -> String {
    match found {
        FoundValue::Null | FoundValue::Flag(_) => format!("`{found}`"),
        FoundValue::Number(number) => format!("the number {number}"),
        FoundValue::Object => "an object".to_owned(),
        FoundValue::Text | FoundValue::List | FoundValue::Words(_) => found.to_string(),
    }
}

fn accepted(expected: &Expected) -> String {
    let words = match expected {
        Expected::Text => "a string",
        Expected::Flag => "`true` or `false`",
        Expected::Number => "a number",
        Expected::Whole { max: u64::MAX } => "a whole number, not negative",
        Expected::Whole { max } => return format!("a whole number from 0 to {max}"),
        Expected::List => "a list",
        Expected::Object => "an object",
        Expected::OneOf(words) => return one_of(words),
        Expected::Words(words) | Expected::OneOfOr { text: words, .. } => words,
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
                "unknown field `colour`; known here are type, name, version, wit_version, description, auth, setup, capabilities, config",
            ),
            (json!({"capabilites": {}}), "unknown field `capabilites`; did you mean `capabilities`?"),
            (json!({"type": 3}), "`type` is the number 3: accepted is \"channel\""),
            (
                json!({"name": "x", "config": null, "setup": "hunter2"}),
                "`setup` is a string: accepted is an object",
            ),
            (
                http(json!({"allowlist": [{"host": "a"}, {"hots": "a"}]})),
                "unknown field `capabilities.http.allowlist[1].hots`; did you mean `host`?",
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
                "unknown field `capabilities.http.credentials.a.locaton`; did you mean `location`?",
            ),
            (location(json!({})), "`capabilities.http.credentials[\"a b\"].location.type` is missing"),
            (
                location(json!({"type": "header", "nam": "X"})),
                "unknown field `capabilities.http.credentials[\"a b\"].location.nam`; did you mean `name`?",
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
