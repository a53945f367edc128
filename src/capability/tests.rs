//! Capability files as they are published load as they are, and whatever else a file holds is an error, never a panic.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Map, Value};

use crate::channel::{CapabilityError, ChannelCapabilitiesFile, ChannelLimits, ChannelName, LimitCaps};
use crate::{ManagerConfig, WasmChannel, WasmChannelRuntime, WasmChannelRuntimeConfig};

const ENDING: &str = ".capabilities.json";

/// A file of `tests/published_capabilities`.
#[derive(Clone, Debug)]
struct Published {
    channel: ChannelName,
    text: String,
    document: Value,
}

/// A file with fields that are this project's own.
fn with_our_fields() -> Published {
    let document = serde_json::json!({
        "name": "ours",
        "capabilities": {
            "http": {
                "allowlist": [{"host": "api.example.com", "port": 8443}],
                "max_concurrent_requests": 2, "max_requests_per_callback": 10,
            },
            "channel": {
                "allowed_paths": ["/ours"],
                "webhook": {
                    "auth": {"scheme": "hmac", "header": "X-Signature", "template": "{timestamp}.{body}"},
                    "dedupe": {"header": "X-Delivery"},
                    "tolerance_secs": 60, "give_secret_to_guest": false, "max_body_bytes": 1000,
                },
                "message_id_from_metadata": true, "inbound_concurrency": 4, "outbound_concurrency": 2,
                "callback_timeout_secs": 60, "fuel": 1_000_000_000u64, "memory_mb": 64, "max_log_bytes": 1000,
                "max_messages_per_callback": 5, "workspace_max_bytes": 1000, "workspace_max_files": 10,
                "workspace_max_file_bytes": 100, "max_timers": 1,
            },
        },
    });
    Published { channel: ChannelName::new("ours").unwrap(), text: document.to_string(), document }
}

/// Read once: the property tests ask thousands of times.
fn published() -> &'static [Published] {
    static FILES: LazyLock<Vec<Published>> = LazyLock::new(read_all);
    &FILES
}

fn read_all() -> Vec<Published> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published_capabilities");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Published {
    let stem = path.file_name().unwrap().to_str().unwrap().strip_suffix(ENDING).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let document = serde_json::from_str(&text).unwrap();
    Published { channel: ChannelName::new(stem).unwrap(), text, document }
}

fn parse(channel: &ChannelName, text: &[u8]) -> Result<ChannelCapabilitiesFile, CapabilityError> {
    ChannelCapabilitiesFile::parse(&format!("{channel}{ENDING}"), channel, text)
}

/// Every field that published files have. `*` is a name of the author's choice, `[]` an element of a list.
const PUBLISHED_FIELDS: &[&str] = &[
    "type",
    "name",
    "version",
    "wit_version",
    "description",
    "auth.secret_name",
    "auth.display_name",
    "auth.instructions",
    "auth.setup_url",
    "auth.token_hint",
    "auth.env_var",
    "auth.provider",
    "auth.oauth",
    "auth.validation_endpoint",
    "setup.required_secrets[].name",
    "setup.required_secrets[].prompt",
    "setup.required_secrets[].optional",
    "setup.required_secrets[].validation",
    "setup.required_secrets[].auto_generate.length",
    "setup.secret_config_mappings[].config_key",
    "setup.secret_config_mappings[].secret_name",
    "setup.validation_endpoint",
    "setup.setup_url",
    "capabilities.http.allowlist[].host",
    "capabilities.http.allowlist[].path_prefix",
    "capabilities.http.allowlist[].methods",
    "capabilities.http.credentials.*.secret_name",
    "capabilities.http.credentials.*.location.type",
    "capabilities.http.credentials.*.location.username",
    "capabilities.http.credentials.*.location.name",
    "capabilities.http.credentials.*.location.header_name",
    "capabilities.http.credentials.*.location.prefix",
    "capabilities.http.credentials.*.location.placeholder",
    "capabilities.http.credentials.*.host_patterns",
    "capabilities.http.credentials.*.path_patterns",
    "capabilities.http.credentials.*.optional",
    "capabilities.http.rate_limit.requests_per_minute",
    "capabilities.http.rate_limit.requests_per_hour",
    "capabilities.http.max_request_bytes",
    "capabilities.http.max_response_bytes",
    "capabilities.http.timeout_secs",
    "capabilities.secrets.allowed_names",
    "capabilities.workspace.allowed_prefixes",
    "capabilities.channel.allowed_paths",
    "capabilities.channel.allow_polling",
    "capabilities.channel.min_poll_interval_ms",
    "capabilities.channel.workspace_prefix",
    "capabilities.channel.durable_workspace_paths",
    "capabilities.channel.emit_rate_limit.messages_per_minute",
    "capabilities.channel.emit_rate_limit.messages_per_hour",
    "capabilities.channel.max_message_size",
    "capabilities.channel.callback_timeout_secs",
    "capabilities.channel.webhook.secret_header",
    "capabilities.channel.webhook.secret_name",
    "capabilities.channel.webhook.signature_key_secret_name",
    "capabilities.channel.webhook.hmac_secret_name",
    "capabilities.channel.webhook.managed_by_host",
    "capabilities.channel.webhook.methods",
    "capabilities.channel.webhook.verify_token_param",
    "capabilities.websocket.url",
    "capabilities.websocket.connect_on_start",
    "capabilities.websocket.protocol",
    "capabilities.websocket.identify",
    "capabilities.websocket.identify_secret_name",
    "capabilities.websocket.bot_id_secret_name",
    "capabilities.websocket.bot_secret_name",
    "capabilities.websocket.heartbeat_interval_ms",
    "capabilities.websocket.max_missed_heartbeat_acks",
    "config",
];

/// The fields of a document as [`PUBLISHED_FIELDS`] writes them, down to where it is free-form.
fn fields_of(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    if ["auth.oauth", "auth.validation_endpoint", "capabilities.websocket.identify", "config"].contains(&path)
    {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(name, _)| !is_comment(name)) {
                let name = if path == "capabilities.http.credentials" { "*" } else { name };
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                found.insert(path.clone());
                fields_of(value, &path, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields_of(item, &format!("{path}[]"), found)),
        _ => {}
    }
}

fn is_comment(name: &str) -> bool {
    name == "$schema" || name.starts_with('_') || name.starts_with("x-")
}

#[test]
fn published_files_load_as_they_are() {
    for file in published() {
        let parsed = parse(&file.channel, file.text.as_bytes()).unwrap();
        let config = file.document.get("config").cloned().unwrap_or(Value::Object(Map::new()));
        assert_eq!(
            Value::Object(parsed.config),
            config,
            "{}: the configuration is kept as it is",
            file.channel
        );
    }
}

#[test]
fn the_files_here_have_every_published_field() {
    let mut found = BTreeSet::new();
    for file in published() {
        fields_of(&file.document, "", &mut found);
    }
    let missing: Vec<_> = PUBLISHED_FIELDS.iter().filter(|field| !found.contains(**field)).collect();
    assert!(missing.is_empty(), "no file has {missing:?}");
}

#[test]
fn published_files_get_what_they_ask_for() {
    for file in published().iter().chain([&with_our_fields()]) {
        let parsed = parse(&file.channel, file.text.as_bytes()).unwrap();
        let (limits, clamped) = ChannelLimits::resolve(&parsed.capabilities, &LimitCaps::default());
        assert_eq!(clamped, [], "{}", file.channel);
        let asked =
            file.document.pointer("/capabilities/channel/callback_timeout_secs").and_then(Value::as_u64);
        assert_eq!(limits.callback_timeout.as_secs(), asked.unwrap_or(30), "{}", file.channel);
    }
}

/// What is free-form, and so not checked.
fn is_free(path: &str) -> bool {
    let free = ["/config", "/auth/oauth", "/auth/validation_endpoint", "/capabilities/websocket/identify"];
    free.iter().any(|free| path.starts_with(free)) || path == "/capabilities/http/credentials"
}

/// The JSON pointers of every object in a document.
fn objects_of(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(path.to_owned());
            for (name, value) in fields.iter().filter(|(name, _)| !is_comment(name)) {
                objects_of(value, &format!("{path}/{name}"), found);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| objects_of(item, &format!("{path}/{n}"), found));
        }
        _ => {}
    }
}

#[test]
fn an_unknown_field_is_refused_in_every_object_and_a_comment_in_none() {
    for file in published().iter().chain([&with_our_fields()]) {
        let mut objects = Vec::new();
        objects_of(&file.document, "", &mut objects);
        for pointer in objects.iter().filter(|pointer| !is_free(pointer)) {
            let with = |name: &str| {
                let mut document = file.document.clone();
                let object = document.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
                object.insert(name.to_owned(), Value::from(1));
                parse(&file.channel, document.to_string().as_bytes())
            };
            for name in ["_comment", "x-vendor", "$schema"] {
                assert_eq!(with(name).err(), None, "{}: {name} in {pointer}", file.channel);
            }
            let error = with("surprise").expect_err(pointer);
            let expected = format!("{}/surprise", &pointer[..]);
            let CapabilityError::UnknownField { path, .. } = &error else { panic!("{pointer}: {error}") };
            assert_eq!(path.replace(['[', '.'], "/").replace(']', ""), expected[1..], "{error}");
        }
    }
}

#[test]
fn every_field_that_is_misspelt_by_one_letter_is_suggested() {
    for field in PUBLISHED_FIELDS.iter().filter(|field| !field.contains(['[', '*'])) {
        let (parent, name) = field.rsplit_once('.').unwrap_or(("", field));
        let mut document = serde_json::json!({ format!("{name}s"): null });
        for step in parent.rsplit('.').filter(|step| !step.is_empty()) {
            document = serde_json::json!({ step: document });
        }
        let error = parse(&ChannelName::new("a").unwrap(), document.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().ends_with(&format!("did you mean `{name}`?")), "{field}: {error}");
    }
}

#[test]
fn a_field_that_stands_twice_is_refused() {
    let name = ChannelName::new("a").unwrap();
    let text = r#"{"capabilities": {"http": {"allowlist": [], "allowlist": [{"host": "evil.example"}]}}}"#;
    let error = parse(&name, text.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.capabilities.json: duplicate field `capabilities.http.allowlist`; remove one"
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any_name(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Mostly names that mean something somewhere.
fn any_name() -> impl Strategy<Value = String> {
    let known: Vec<String> = PUBLISHED_FIELDS
        .iter()
        .flat_map(|field| field.split('.'))
        .map(|name| name.trim_end_matches("[]").to_owned())
        .collect();
    prop_oneof![4 => prop::sample::select(known), 1 => ".{0,12}"]
}

/// One place of a document, by a number, replaced.
fn replace_nth(value: &mut Value, n: &mut usize, replacement: &Value) {
    if *n == 0 {
        *value = replacement.clone();
    }
    *n = n.wrapping_sub(1);
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| replace_nth(value, n, replacement)),
        Value::Array(items) => items.iter_mut().for_each(|value| replace_nth(value, n, replacement)),
        _ => {}
    }
}

/// Reads a text as every published channel's file. That nothing panics is the test; an error or diagnostic must be one short
/// line without control characters.
fn read_as_all(text: &[u8]) -> Result<(), TestCaseError> {
    for name in ["telegram", "slack", "discord", "a"] {
        let name = ChannelName::new(name).unwrap();
        let said: Vec<String> = match parse(&name, text) {
            Ok(file) => {
                ChannelLimits::resolve(&file.capabilities, &LimitCaps::default());
                file.inspect().iter().map(|found| found.to_string()).collect()
            }
            Err(error) => vec![error.to_string()],
        };
        for line in said {
            let fits = !line.contains(char::is_control) && line.len() < 4096;
            prop_assert!(fits, "as the file of {}: {} bytes: {:?}", name, line.len(), line);
        }
    }
    Ok(())
}

/// The text of a file, so that a failure shows it as one.
struct Text(Vec<u8>);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

fn with_a_place_replaced() -> impl Strategy<Value = Text> {
    (prop::sample::select(published()), 0usize..120, any_json()).prop_map(|(file, mut place, replacement)| {
        let mut document = file.document.clone();
        replace_nth(&mut document, &mut place, &replacement);
        Text(document.to_string().into_bytes())
    })
}

fn with_bytes_changed() -> impl Strategy<Value = Text> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
    (prop::sample::select(published()), edits).prop_map(|(file, edits)| {
        let mut text = file.text.clone().into_bytes();
        for (place, byte) in edits {
            let place = place.index(text.len());
            text[place] = byte;
        }
        Text(text)
    })
}

/// What a text is broken with, and what a message must not repeat as it is.
const PIECES: &[&str] = &[
    r"\u0085",
    r"\u0000",
    r"\n",
    r"\u001b[2J",
    r"\ud800",
    "\u{85}",
    "\u{9b}2J",
    "\u{202e}",
    "\n",
    "\0",
    "\\",
    "\"",
    "\"\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "-1",
    "1e400",
    "99999999999999999999",
    "true",
    r#""a":1,"#,
    r#"{"a":{"a":{"a":"#,
    "[[[[[[[[",
];

fn with_pieces_put_in() -> impl Strategy<Value = Text> {
    let piece = prop_oneof![
        9 => prop::sample::select(PIECES).prop_map(str::to_owned),
        1 => (4000usize..6000).prop_map(|length| "x".repeat(length)),
        1 => (100usize..300).prop_map(|depth| "[".repeat(depth)),
    ];
    let pieces = prop::collection::vec((any::<prop::sample::Index>(), piece), 1..5);
    (prop::sample::select(published()), pieces).prop_map(|(file, pieces)| {
        let mut text = file.text.clone().into_bytes();
        for (place, piece) in pieces {
            let place = place.index(text.len());
            text.splice(place..place, piece.bytes());
        }
        Text(text)
    })
}

proptest! {
    // What failed once is tried again by every later run: the seeds are kept beside this file.
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        read_as_all(&bytes)?;
    }

    #[test]
    fn any_json_is_read_without_a_panic(document in any_json()) {
        read_as_all(document.to_string().as_bytes())?;
    }

    #[test]
    fn a_published_file_with_one_place_replaced_is_read_without_a_panic(text in with_a_place_replaced()) {
        read_as_all(&text.0)?;
    }

    #[test]
    fn a_published_file_with_bytes_changed_is_read_without_a_panic(text in with_bytes_changed()) {
        read_as_all(&text.0)?;
    }
    #[test]
    fn a_published_file_with_pieces_put_in_is_read_without_a_panic(text in with_pieces_put_in()) {
        read_as_all(&text.0)?;
    }
}

/// A misspelt key of `[channel.NAME.config]` changed nothing, and nobody was told.
#[test]
fn keys_that_a_channel_does_not_declare_are_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let wasm = std::fs::read(root.join("echo.wasm")).unwrap();
    let runtime = WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).unwrap();
    let name: ChannelName = "team".parse().unwrap();
    let found = |file: Value, config: Value| {
        let file = Some(file.to_string());
        let file = file.as_deref().map(str::as_bytes);
        let channel = WasmChannel::from_bytes(&runtime, name.clone(), &wasm, file).unwrap();
        let mut manager = ManagerConfig::default();
        let settings = manager.channels.entry(name.clone()).or_default();
        settings.config = config.as_object().unwrap().clone();
        let found = manager.inspect_channel_settings(&[channel], &[]);
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let declaring = serde_json::json!({
        "setup": {
            "required_secrets": [{"name": "app"}],
            "secret_config_mappings": [{"config_key": "app_key", "secret_name": "app"}],
        },
        "config": {"dm_policy": "pairing"},
    });
    let known = serde_json::json!({"dm_policy": "open", "app_key": "k", "owner_id": 7, "bot_username": "b", "_why": 1});
    assert_eq!(found(declaring.clone(), known), [""; 0]);
    let [misspelt] = &found(declaring, serde_json::json!({"dm_polcy": "open"}))[..] else { panic!("one") };
    assert!(
        misspelt.contains("channel.team.config.dm_polcy") && misspelt.contains("did you mean `dm_policy`?")
    );
    let undeclaring = serde_json::json!({});
    assert_eq!(found(undeclaring, serde_json::json!({"anything": 1})), [""; 0]);
}
