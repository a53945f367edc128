//! What types cannot say about a capability file: values that depend on each other or on the channel's name.

use std::fmt;

use super::rights::LEAST_PARTIAL_REPLY_INTERVAL_MS;
use super::setup::{MAX_GENERATED_BYTES, is_unusable_pattern};
use super::{
    CapabilityError, ChannelCapabilitiesFile, ChannelSection, DEFAULT_MIN_POLL_INTERVAL_MS, RequiredSecret,
    SetupSection, WebsocketCapability, WebsocketProtocol,
};
use crate::capability::limits::{LIMITS, Sections};
use crate::channel::ChannelName;
use crate::channel::config::{RefusedMapping, mapping_problem};
use crate::channel::endpoints::path_problem;
use crate::model::diagnostic::Diagnostic;
use crate::model::document::shortened;
use crate::secrets::normalise_name;

/// Refuses a file whose values cannot be meant.
pub(super) fn check(
    file: &str,
    channel: &ChannelName,
    parsed: &ChannelCapabilitiesFile,
) -> Result<(), CapabilityError> {
    check_name(file, channel, parsed.name.as_deref())?;
    let refuse = |(path, found, accepted): RuleError| CapabilityError::Invalid {
        file: file.into(),
        path,
        found,
        accepted,
    };
    if let Some(section) = &parsed.capabilities.channel {
        check_section(channel, section).map_err(refuse)?;
    }
    check_limits(&(&parsed.capabilities).into()).map_err(refuse)?;
    if let Some(setup) = &parsed.setup {
        check_setup(setup).map_err(refuse)?;
    }
    if let Some(websocket) = &parsed.capabilities.websocket {
        check_websocket_url(websocket).map_err(refuse)?;
    }
    Ok(())
}

/// Path, what was found, what is accepted.
pub(super) type RuleError = (String, String, String);

fn check_name(file: &str, channel: &ChannelName, name: Option<&str>) -> Result<(), CapabilityError> {
    match name {
        Some(name) if ChannelName::new(name).as_ref() != Ok(channel) => Err(CapabilityError::NameDiffers {
            file: file.into(),
            name: shortened(name),
            channel: channel.to_string(),
        }),
        _ => Ok(()),
    }
}

fn check_section(channel: &ChannelName, section: &ChannelSection) -> Result<(), RuleError> {
    if let Some(prefix) = &section.workspace_prefix
        && *prefix != channel.workspace_prefix()
    {
        let path = "capabilities.channel.workspace_prefix".to_owned();
        return Err((path, quoted(prefix), quoted(&channel.workspace_prefix())));
    }
    for (place, name) in webhook_secrets(section) {
        check_secret_name(place, name)?;
    }
    let interval = section.partial_reply_interval_ms;
    if let Some(asked) = interval.filter(|asked| *asked < LEAST_PARTIAL_REPLY_INTERVAL_MS) {
        let place = "capabilities.channel.partial_reply_interval_ms".to_owned();
        return Err((
            place,
            asked.to_string(),
            format!("{LEAST_PARTIAL_REPLY_INTERVAL_MS} or more milliseconds"),
        ));
    }
    for (index, path) in section.allowed_paths.iter().enumerate() {
        if let Some(problem) = path_problem(path) {
            let place = format!("capabilities.channel.allowed_paths[{index}]");
            return Err((place, quoted(path), problem.accepted().to_owned()));
        }
    }
    Ok(())
}

pub(super) fn check_limits(capabilities: &Sections<'_>) -> Result<(), RuleError> {
    for limit in LIMITS {
        if let Some(asked) = (limit.asked)(capabilities).filter(|asked| *asked < limit.min) {
            let place = format!("capabilities.{}", limit.field);
            return Err((place, asked.to_string(), format!("{} or more {}", limit.min, limit.unit)));
        }
    }
    Ok(())
}

pub(super) fn check_setup(setup: &SetupSection) -> Result<(), RuleError> {
    for (index, secret) in setup.required_secrets.iter().enumerate() {
        check_secret_name(&format!("setup.required_secrets[{index}].name"), Some(&secret.name))?;
        if let Some(generate) = secret.auto_generate
            && !(1..=MAX_GENERATED_BYTES).contains(&generate.length)
        {
            let place = format!("setup.required_secrets[{index}].auto_generate.length");
            return Err((place, generate.length.to_string(), format!("1 to {MAX_GENERATED_BYTES} bytes")));
        }
    }
    Ok(())
}

/// Refuses a name that would break the lines in which it is shown.
fn check_secret_name(place: &str, name: Option<&String>) -> Result<(), RuleError> {
    match name.filter(|name| name.contains(char::is_control)) {
        Some(name) => Err((place.to_owned(), quoted(name), "a name without control characters".to_owned())),
        None => Ok(()),
    }
}

/// The secrets that `webhook` names, with their fields.
fn webhook_secrets(section: &ChannelSection) -> Vec<(&'static str, Option<&String>)> {
    let Some(webhook) = &section.webhook else { return Vec::new() };
    vec![
        ("capabilities.channel.webhook.secret_name", webhook.secret_name.as_ref()),
        ("capabilities.channel.webhook.hmac_secret_name", webhook.hmac_secret_name.as_ref()),
        (
            "capabilities.channel.webhook.signature_key_secret_name",
            webhook.signature_key_secret_name.as_ref(),
        ),
    ]
}

fn check_websocket_url(websocket: &WebsocketCapability) -> Result<(), RuleError> {
    let (schemes, accepted): (&[&str], _) = match websocket.protocol {
        Some(WebsocketProtocol::SlackSocketMode) => {
            (&["https"], "the https:// URL of apps.connections.open, without user and password")
        }
        _ => (&["ws", "wss"], "a ws:// or wss:// URL with a host and without user and password"),
    };
    // A setting stands for the whole host.
    let url = websocket.url.replace(['{', '}'], "");
    let good = url::Url::parse(&url).is_ok_and(|url| {
        schemes.contains(&url.scheme())
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if good {
        Ok(())
    } else {
        Err(("capabilities.websocket.url".into(), "another text".into(), accepted.into()))
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

/// What is worth saying about a file that is accepted.
pub(super) fn inspect(file: &ChannelCapabilitiesFile) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if let Some(setup) = &file.setup {
        for (index, secret) in setup.required_secrets.iter().enumerate() {
            if secret.has_unusable_pattern() {
                let text = "not a regular expression that can be used here: values are not checked with it";
                let place = format!("setup.required_secrets[{index}].validation");
                found.push(Diagnostic::warning("unusable-pattern", text).at(place));
            }
        }
        found.extend(inspect_secret_names(setup));
        for (index, setting) in setup.settings.iter().enumerate() {
            if setting.validation.as_deref().is_some_and(is_unusable_pattern) {
                let text = "not a regular expression that can be used here: values are not checked with it";
                let place = format!("setup.settings[{index}].validation");
                found.push(Diagnostic::warning("unusable-pattern", text).at(place));
            }
        }
        for (index, mapping) in setup.secret_config_mappings.iter().enumerate() {
            if let Some(problem) = mapping_problem(setup, mapping) {
                let place = format!("setup.secret_config_mappings[{index}]");
                found.push(Diagnostic::warning("ignored-mapping", problem.to_string()).at(place));
            }
        }
    }
    let section = file.capabilities.channel.as_ref();
    for (place, name) in section.map(webhook_secrets).unwrap_or_default() {
        found.extend(name.and_then(|name| unusable_name(place.to_owned(), name)));
    }
    if let Some(asked) = file.capabilities.channel.as_ref().and_then(|section| section.min_poll_interval_ms)
        && asked < DEFAULT_MIN_POLL_INTERVAL_MS
    {
        let text = format!(
            "{asked} ms is below {DEFAULT_MIN_POLL_INTERVAL_MS} ms: only a host whose own minimum is lower polls so often"
        );
        let place = "capabilities.channel.min_poll_interval_ms";
        found.push(Diagnostic::note("short-poll-interval", text).at(place));
    }
    if let Some(websocket) = &file.capabilities.websocket {
        found.extend(inspect_websocket(websocket));
    }
    found
}

/// Names under which no secret can be stored, and names that mean the same one.
fn inspect_secret_names(setup: &SetupSection) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (index, secret) in setup.required_secrets.iter().enumerate() {
        let place = format!("setup.required_secrets[{index}].name");
        let is_same = |other: &&RequiredSecret| other.name.eq_ignore_ascii_case(&secret.name);
        if let Some(first) = setup.required_secrets[..index].iter().find(is_same) {
            let text = format!(
                "this is the same secret as {}: names are compared in lower case",
                quoted(&first.name)
            );
            found.push(Diagnostic::warning("secret-twice", text).at(place.clone()));
        }
        found.extend(unusable_name(place, &secret.name));
    }
    found
}

fn unusable_name(place: String, name: &str) -> Option<Diagnostic> {
    let error = normalise_name(name).err()?;
    Some(Diagnostic::warning("unusable-secret-name", error.to_string()).at(place))
}

/// A websocket that the host will not open as the file wants it.
fn inspect_websocket(websocket: &WebsocketCapability) -> Option<Diagnostic> {
    if websocket.connect_on_start == Some(false) {
        let text = "connect_on_start is false: the websocket is never opened, and nothing arrives through it";
        return Some(
            Diagnostic::warning("websocket-closed", text).at("capabilities.websocket.connect_on_start"),
        );
    }
    let is_plain = websocket.url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("ws://"));
    is_plain.then(|| {
        let text = "only wss:// websockets are opened: use wss://, or name the server in http_rewrite";
        Diagnostic::warning("websocket-not-encrypted", text).at("capabilities.websocket.url")
    })
}

impl fmt::Display for RefusedMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostKey(key) => write!(f, "`{key}` is filled in by the host: the mapping is ignored"),
            Self::UndeclaredSecret(name) => {
                write!(
                    f,
                    "the secret {} is not listed in `required_secrets`: the mapping is ignored",
                    quoted(name)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(document: &Value) -> Result<ChannelCapabilitiesFile, CapabilityError> {
        let name = ChannelName::new("my_bot").unwrap();
        ChannelCapabilitiesFile::parse("my-bot.capabilities.json", &name, document.to_string().as_bytes())
    }

    fn with_channel(field: &str, value: Value) -> Value {
        json!({"capabilities": {"channel": {field: value}}})
    }

    /// Nothing was said about secrets that nobody can store, and about patterns of settings.
    #[test]
    fn names_and_patterns_that_can_never_work_are_told() {
        let file = json!({
            "setup": {
                "required_secrets": [{"name": "a"}, {"name": "../x"}, {"name": "A"}, {"name": ""}],
                "settings": [{"name": "b", "prompt": "b", "validation": "("}],
            },
            "capabilities": {"channel": {"webhook": {"secret_name": "../x"}}},
        });
        let found: Vec<(&str, Option<String>)> =
            parse(&file).unwrap().inspect().into_iter().map(|found| (found.code, found.field)).collect();
        let at = |code, place: &str| (code, Some(place.to_owned()));
        assert_eq!(
            found,
            [
                at("unusable-secret-name", "setup.required_secrets[1].name"),
                at("secret-twice", "setup.required_secrets[2].name"),
                at("unusable-secret-name", "setup.required_secrets[3].name"),
                at("unusable-pattern", "setup.settings[0].validation"),
                at("unusable-secret-name", "capabilities.channel.webhook.secret_name"),
            ]
        );
    }

    #[test]
    fn invalid_values_are_refused_with_what_would_be_accepted() {
        let table: &[(&str, Value, &str)] = &[
            (
                "another name",
                json!({"name": "telegram"}),
                "`name` is \"telegram\", but the channel of this file is `my_bot`",
            ),
            (
                "an interval below the least",
                with_channel("partial_reply_interval_ms", json!(99)),
                "`capabilities.channel.partial_reply_interval_ms` is 99: accepted is 100 or more milliseconds",
            ),
            // Names with line ends were shown as they are, in lines of their own.
            (
                "a secret's name of two lines",
                json!({"setup": {"required_secrets": [{"name": "a\nb"}]}}),
                r#"`setup.required_secrets[0].name` is "a\nb": accepted is a name without control characters"#,
            ),
            (
                "a webhook's secret of two lines",
                with_channel("webhook", json!({"secret_name": "a\u{1b}"})),
                "`capabilities.channel.webhook.secret_name` is \"a\\u{1b}\"",
            ),
            ("a name of control characters", json!({"name": "a\n\u{1b}"}), r#"`name` is "a\n\u{1b}""#),
            ("a name that is none", json!({"name": "My Bot"}), "`name` is \"My Bot\""),
            ("a tool", json!({"type": "tool"}), r#"`type` is "tool": accepted is "channel""#),
            (
                "another's files",
                with_channel("workspace_prefix", json!("channels/telegram/")),
                r#"is "channels/telegram/": accepted is "channels/my_bot/""#,
            ),
            ("all files", with_channel("workspace_prefix", json!("")), r#"accepted is "channels/my_bot/""#),
            (
                "out of the folder",
                with_channel("workspace_prefix", json!("channels/my_bot/../")),
                r#"accepted is "channels/my_bot/""#,
            ),
            (
                "relative path",
                with_channel("allowed_paths", json!(["/a", "b"])),
                "allowed_paths[1]` is \"b\": accepted is a path",
            ),
            ("host's path", with_channel("allowed_paths", json!(["/metrics"])), "does not use itself"),
            (
                "no time",
                with_channel("callback_timeout_secs", json!(0)),
                "`capabilities.channel.callback_timeout_secs` is 0: accepted is 1 or more seconds",
            ),
            ("no lane", with_channel("inbound_concurrency", json!(0)), "1 or more callbacks"),
            (
                "secret of no bytes",
                json!({"setup": {"required_secrets": [{"name": "a", "auto_generate": {"length": 0}}]}}),
                "setup.required_secrets[0].auto_generate.length",
            ),
            (
                "secret of very many bytes",
                json!({"setup": {"required_secrets": [{"name": "a", "auto_generate": {"length": 1025}}]}}),
                "1 to 1024 bytes",
            ),
            (
                "http for a socket",
                json!({"capabilities": {"websocket": {"url": "https://example.org/"}}}),
                "ws:// or wss://",
            ),
            (
                "password in a URL",
                json!({"capabilities": {"websocket": {"url": "wss://u:p@example.org/"}}}),
                "ws:// or wss://",
            ),
            (
                "unknown protocol",
                json!({"capabilities": {"websocket": {"url": "wss://example.org/", "protocol": "irc"}}}),
                r#""discord-gateway" or "wecom-aibot""#,
            ),
        ];
        for (case, document, part) in table {
            let error = parse(document).expect_err(case).to_string();
            assert!(
                error.starts_with("my-bot.capabilities.json: ") && error.contains(part),
                "{case}: {error}"
            );
        }
    }

    #[test]
    fn values_at_the_bound_are_accepted() {
        let documents = [
            json!({"name": "my-bot"}),
            json!({"name": "my_bot", "type": "channel"}),
            with_channel("workspace_prefix", json!("channels/my_bot/")),
            with_channel("allowed_paths", json!(["/", "/webhook/my-bot"])),
            with_channel("callback_timeout_secs", json!(1)),
            with_channel("partial_reply_interval_ms", json!(100)),
            json!({"setup": {"required_secrets": [{"name": "a", "auto_generate": {"length": 1024}}]}}),
            json!({"setup": {"required_secrets": [{"name": "a", "auto_generate": {"length": 1}}]}}),
            json!({"setup": {"required_secrets": [{"name": "a", "auto_generate": {}}]}}),
            json!({"capabilities": {"websocket": {"url": "ws://127.0.0.1:1/"}}}),
        ];
        for document in documents {
            assert_eq!(parse(&document).err(), None, "{document}");
        }
    }

    #[test]
    fn ignored_fields_are_reported() {
        let table: &[(&str, Value, Option<&str>)] = &[
            ("nothing", json!({}), None),
            (
                "a websocket that is never opened",
                json!({"capabilities": {"websocket": {"url": "wss://example.org/", "connect_on_start": false}}}),
                Some("connect_on_start is false"),
            ),
            (
                "a websocket without TLS",
                json!({"capabilities": {"websocket": {"url": "ws://example.org/"}}}),
                Some("only wss:// websockets are opened"),
            ),
            ("a websocket", json!({"capabilities": {"websocket": {"url": "wss://example.org/"}}}), None),
            (
                "fast polls",
                with_channel("min_poll_interval_ms", json!(29_999)),
                Some("29999 ms is below 30000 ms"),
            ),
            ("slow polls", with_channel("min_poll_interval_ms", json!(30_000)), None),
            (
                "pattern of another dialect",
                json!({"setup": {"required_secrets": [{"name": "a", "validation": "(?=x)"}]}}),
                Some("regular expression"),
            ),
            (
                "mapping of another secret",
                json!({"setup": {"secret_config_mappings": [{"config_key": "a", "secret_name": "b"}]}}),
                Some("\"b\" is not listed"),
            ),
            (
                "mapping to the host's key",
                json!({"setup": {"secret_config_mappings": [{"config_key": "owner_id", "secret_name": "b"}]}}),
                Some("filled in by the host"),
            ),
        ];
        for (case, document, expected) in table {
            let found: Vec<String> =
                parse(document).unwrap().inspect().iter().map(Diagnostic::to_string).collect();
            assert_eq!(found.len(), usize::from(expected.is_some()), "{case}: {found:?}");
            assert!(expected.is_none_or(|part| found[0].contains(part)), "{case}: {found:?}");
        }
    }

    #[test]
    fn a_file_may_be_as_large_as_the_limit_and_no_larger() {
        let name = ChannelName::new("a").unwrap();
        let text = |bytes: usize| format!("{{}}{}", " ".repeat(bytes - 2));
        let limit = crate::capability::MAX_FILE_BYTES;
        assert!(ChannelCapabilitiesFile::parse("a", &name, text(limit).as_bytes()).is_ok());
        let error = ChannelCapabilitiesFile::parse("a", &name, text(limit + 1).as_bytes()).unwrap_err();
        assert_eq!(error, CapabilityError::TooLarge { file: "a".into(), bytes: limit + 1, limit });
    }
}
