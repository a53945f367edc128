use serde_json::{Value, json};

use super::*;

fn file(capabilities: Value) -> ChannelCapabilitiesFile {
    document(json!({ "capabilities": capabilities }))
}

fn document(document: Value) -> ChannelCapabilitiesFile {
    let text = document.to_string();
    ChannelCapabilitiesFile::parse("a.capabilities.json", &name(), text.as_bytes()).expect("a good file")
}

fn name() -> ChannelName {
    "a".parse().expect("a name")
}

fn added(old: &ChannelCapabilitiesFile, new: &ChannelCapabilitiesFile) -> Vec<String> {
    rights_added(&name(), old, new).iter().map(ToString::to_string).collect()
}

fn http(entry: Value) -> Value {
    json!({"http": {"allowlist": [entry]}})
}

fn credential(change: Value) -> Value {
    let mut credential = json!({
        "secret_name": "token", "location": {"type": "bearer"}, "host_patterns": ["a.example"],
    });
    for (key, value) in change.as_object().into_iter().flatten() {
        credential[key] = value.clone();
    }
    json!({"http": {"allowlist": [{"host": "a.example"}], "credentials": {"c": credential}}})
}

fn channel(section: Value) -> Value {
    json!({ "channel": section })
}

fn socket(change: Value) -> Value {
    let mut socket = json!({"url": "wss://a.example/", "identify_secret_name": "token"});
    for (key, value) in change.as_object().into_iter().flatten() {
        socket[key] = value.clone();
    }
    json!({ "websocket": socket })
}

/// A case, what was approved, what is asked for, and what of that is new.
type Row = (&'static str, Value, Value, &'static [&'static str]);

#[test]
fn only_added_rights_are_found() {
    let path = |path: &str, webhook: Value| channel(json!({"allowed_paths": [path], "webhook": webhook}));
    let secret = || json!({"auth": "secret"});
    let rows: Vec<Row> = vec![
        ("the same", http(json!({"host": "a.example"})), http(json!({"host": "A.example."})), &[]),
        ("nothing any more", http(json!({"host": "a.example"})), json!({}), &[]),
        (
            "another host",
            http(json!({"host": "a.example"})),
            http(json!({"host": "b.example"})),
            &["sends any requests to b.example"],
        ),
        ("a subdomain", http(json!({"host": "*.a.example"})), http(json!({"host": "b.a.example"})), &[]),
        (
            "fewer subdomains",
            http(json!({"host": "*.a.example"})),
            http(json!({"host": "*.b.a.example"})),
            &[],
        ),
        (
            "the domain above its subdomains",
            http(json!({"host": "*.a.example"})),
            http(json!({"host": "a.example"})),
            &["sends any requests to a.example"],
        ),
        (
            "all subdomains",
            http(json!({"host": "b.a.example"})),
            http(json!({"host": "*.a.example"})),
            &["sends any requests to *.a.example"],
        ),
        (
            "a name that only ends alike",
            http(json!({"host": "*.a.example"})),
            http(json!({"host": "evila.example"})),
            &["sends any requests to evila.example"],
        ),
        (
            "another port",
            http(json!({"host": "a.example"})),
            http(json!({"host": "a.example:8443"})),
            &["sends any requests to a.example:8443"],
        ),
        (
            "the port said",
            http(json!({"host": "a.example:8443"})),
            http(json!({"host": "a.example", "port": 8443})),
            &[],
        ),
        (
            "a longer path",
            http(json!({"host": "a.example", "path_prefix": "/bot"})),
            http(json!({"host": "a.example", "path_prefix": "/bot1/"})),
            &[],
        ),
        (
            "a shorter path",
            http(json!({"host": "a.example", "path_prefix": "/bot/"})),
            http(json!({"host": "a.example", "path_prefix": "/"})),
            &["sends any requests to a.example"],
        ),
        (
            "fewer methods",
            http(json!({"host": "a.example", "methods": ["GET", "POST"]})),
            http(json!({"host": "a.example", "methods": ["post"]})),
            &[],
        ),
        (
            "any method",
            http(json!({"host": "a.example", "methods": ["GET"]})),
            http(json!({"host": "a.example"})),
            &["sends any requests to a.example"],
        ),
        ("the same credential", credential(json!({})), credential(json!({"secret_name": "TOKEN"})), &[]),
        (
            "another secret",
            credential(json!({})),
            credential(json!({"secret_name": "other"})),
            &["sends the secret other to a.example as a bearer token"],
        ),
        (
            "a secret to another host",
            credential(json!({})),
            credential(json!({"host_patterns": ["a.example", "b.example"]})),
            &["sends the secret token to b.example as a bearer token"],
        ),
        (
            "a secret in the URL",
            credential(json!({})),
            credential(json!({"location": {"type": "query_param", "name": "key"}})),
            &["sends the secret token to a.example in the parameter key"],
        ),
        (
            "a secret to all paths",
            credential(json!({"path_patterns": ["/v1/"]})),
            credential(json!({})),
            &["sends the secret token to a.example as a bearer token"],
        ),
        (
            "a secret to fewer paths",
            credential(json!({})),
            credential(json!({"path_patterns": ["/v1/"]})),
            &[],
        ),
        (
            "more names of secrets",
            json!({"secrets": {"allowed_names": ["a_*", "b"]}}),
            json!({"secrets": {"allowed_names": ["A_x", "b", "b_*"]}}),
            &["asks whether the secret b_* is stored"],
        ),
        ("the same path", path("/a", secret()), path("/a", secret()), &[]),
        ("another path", path("/a", secret()), path("/b", secret()), &["takes requests at /b"]),
        (
            "no authentication",
            path("/a", secret()),
            path("/a", json!({"auth": "none"})),
            &["takes requests from anybody, without authentication"],
        ),
        ("authentication at last", path("/a", json!({"auth": "none"})), path("/a", secret()), &[]),
        (
            "authentication by another secret",
            path("/a", secret()),
            path("/a", json!({"auth": "secret", "secret_name": "other"})),
            &["takes requests that are authenticated with the secret other"],
        ),
        (
            "old signatures",
            path("/a", json!({"auth": "slack"})),
            path("/a", json!({"auth": "slack", "tolerance_secs": 86_400})),
            &["takes requests that are authenticated with the secret a_webhook_secret"],
        ),
        (
            "the guest gets the secret",
            path("/a", secret()),
            path("/a", json!({"auth": "secret", "give_secret_to_guest": true})),
            &[
                "its guest gets the value of the secret a_webhook_secret",
                "takes requests that are authenticated with the secret a_webhook_secret",
            ],
        ),
        (
            "another method",
            path("/a", secret()),
            path("/a", json!({"auth": "secret", "methods": ["POST", "GET"]})),
            &["takes GET requests"],
        ),
        (
            "polls",
            channel(json!({})),
            channel(json!({"allow_polling": true})),
            &["is polled every 30 s or less often"],
        ),
        (
            "polls more often",
            channel(json!({"allow_polling": true, "min_poll_interval_ms": 60_000})),
            channel(json!({"allow_polling": true, "min_poll_interval_ms": 59_999})),
            &["is polled every 59999 ms or less often"],
        ),
        (
            "polls less often",
            channel(json!({"allow_polling": true})),
            channel(json!({"allow_polling": true, "min_poll_interval_ms": 60_000})),
            &[],
        ),
        (
            "a websocket",
            json!({}),
            socket(json!({})),
            &["keeps a websocket open to wss://a.example/, with the secret token"],
        ),
        ("a websocket that is never opened", json!({}), socket(json!({"connect_on_start": false})), &[]),
        (
            "another login",
            socket(json!({})),
            socket(json!({"bot_secret_name": "key"})),
            &["keeps a websocket open to wss://a.example/, with the secret token, key"],
        ),
        (
            "more memory",
            channel(json!({})),
            channel(json!({"memory_mb": 51})),
            &["may take 51 MiB (channel.memory_mb)"],
        ),
        ("less memory", channel(json!({"memory_mb": 60})), channel(json!({"memory_mb": 10})), &[]),
        ("the default said", channel(json!({})), channel(json!({"memory_mb": 50})), &[]),
        (
            "more memory than the default again",
            channel(json!({"memory_mb": 10})),
            channel(json!({})),
            &["may take 50 MiB (channel.memory_mb)"],
        ),
        (
            "more requests",
            json!({"http": {"rate_limit": {"requests_per_minute": 60}}}),
            json!({"http": {"rate_limit": {"requests_per_minute": 61}}}),
            &["may take 61 requests (http.rate_limit.requests_per_minute)"],
        ),
        (
            "comments and where an id is",
            path("/a", secret()),
            path(
                "/a",
                json!({"auth": "secret", "dedupe": {"header": "X-Id"}, "content_types": ["application/json"]}),
            ),
            &[],
        ),
    ];
    for (case, old, new, expected) in rows {
        assert_eq!(added(&file(old), &file(new)), expected, "{case}");
    }
}

#[test]
fn rights_outside_of_capabilities_are_compared_too() {
    let setup = |setup: Value| document(json!({ "setup": setup }));
    let secrets = json!([{"name": "token"}]);
    for (case, old, new, expected) in [
        (
            "the guest gets a secret",
            setup(json!({"required_secrets": secrets})),
            setup(json!({
                "required_secrets": secrets,
                "secret_config_mappings": [{"config_key": "k", "secret_name": "token"}],
            })),
            &["its guest gets the value of the secret token"][..],
        ),
        (
            "setup asks another server",
            setup(json!({"validation_endpoint": "https://a.example/{token}"})),
            setup(json!({"validation_endpoint": "https://b.example/{token}"})),
            &["setup and status ask GET https://b.example/{token}"],
        ),
        (
            "a variable of the environment",
            document(json!({"auth": {"secret_name": "token"}})),
            document(json!({"auth": {"secret_name": "token", "env_var": "AWS_KEY"}})),
            &["takes the environment variable AWS_KEY as the secret token"],
        ),
        (
            "texts",
            document(json!({"version": "1", "config": {"a": 1}})),
            document(json!({"version": "2", "description": "new", "config": {"a": 2}})),
            &[],
        ),
    ] {
        assert_eq!(added(&old, &new), expected, "{case}");
    }
}

#[test]
fn every_limit_counts_when_it_is_raised_by_one() {
    for limit in LIMITS.iter().filter(|limit| !limit.field.starts_with("tool")) {
        let asking = |value: u64| {
            let mut document: Value = value.into();
            for part in limit.field.rsplit('.') {
                document = json!({ part: document });
            }
            file(document)
        };
        let (old, new) = (asking(limit.default), asking(limit.default + 1));
        assert_eq!(added(&old, &new).len(), 1, "{}", limit.field);
        assert_eq!(added(&new, &old).len(), 0, "{}", limit.field);
    }
}

#[test]
fn defaults_are_not_shown_as_rights() {
    assert!(rights_of(&name(), &file(json!({}))).is_empty());
    let rights = rights_of(&name(), &file(channel(json!({"memory_mb": 51, "fuel": 1_000_000}))));
    assert_eq!(rights.len(), 1, "{rights:?}");
}
