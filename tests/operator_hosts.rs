//! Servers that the operator names in a channel's settings.

mod support;

use serde_json::{Value, json};
use support::upstream::{Upstream, ok};
use support::{client, eventually, fixtures};
use tinclaw::Host;
use tinclaw::host::{ChannelSettings, ChannelState};

/// A host whose channel may reach the server of its setting `server`.
fn host(setting: Option<&str>) -> Host {
    let runtime = fixtures::runtime();
    let channel = fixtures::channel_with(&runtime, "everything", |file| {
        file["capabilities"]["http"] = json!({
            "allowlist": [{"host": "{server}", "path_prefix": "/api/"}],
            "credentials": {"key": {
                "secret_name": "server_key",
                "location": {"type": "bearer"},
                "host_patterns": ["{server}"],
            }},
        });
        // What the file itself says opens nothing.
        file["config"]["server"] = json!("http://127.0.0.1:1");
    });
    let mut settings = ChannelSettings::default();
    if let Some(setting) = setting {
        settings.config.insert("server".to_owned(), json!(setting));
    }
    let builder = fixtures::host(&["server_key"], &[]).channel(channel).configure(|config| {
        config.channels.insert("everything".parse().expect("a name"), settings);
    });
    let host = builder.start().expect("the host starts");
    eventually("the channel starts", || {
        (host.health().expect("health").channels[0].state == ChannelState::Ready).then_some(())
    });
    host
}

fn get(host: &Host, url: &str) -> Value {
    let task = json!({"do": "http-request", "method": "GET", "url": url, "headers_json": "{}"});
    let address = host.local_addr().expect("an address");
    let headers = [("content-type", "application/json")];
    client::request(address, "POST", "/webhook/everything", &headers, task.to_string().as_bytes()).json()
}

#[test]
fn a_setting_opens_its_server_with_its_scheme_port_and_private_address() {
    let server = Upstream::start(|_, _| ok());
    let host = host(Some(&server.url()));
    let response = get(&host, &format!("{}/api/states", server.url()));
    assert_eq!(response["ok"]["status"], 200, "{response}");
    let request = &server.requests()[0];
    assert_eq!(request.target, "/api/states");
    assert_eq!(request.header("authorization"), Some("Bearer value-of-server_key"));
}

#[test]
fn a_setting_opens_nothing_else() {
    let (server, other) = (Upstream::start(|_, _| ok()), Upstream::start(|_, _| ok()));
    let host = host(Some(&server.url()));
    let encrypted = server.url().replace("http://", "https://");
    for url in [
        format!("{}/other", server.url()),
        format!("{}/api/x", other.url()),
        "http://127.0.0.1/api/x".to_owned(),
        format!("{}/api/../other", server.url()),
    ] {
        let response = get(&host, &url);
        assert!(response["err"].is_string(), "{url}: {response}");
    }
    // The setting names the scheme too. An encrypted request to the same place was sent, and failed by its handshake.
    let response = get(&host, &format!("{encrypted}/api/x"));
    assert!(response["err"].as_str().is_some_and(|error| error.contains("named with http://")), "{response}");
    assert_eq!(other.requests().len(), 0);
    assert_eq!(server.requests().iter().filter(|request| request.target != "/api/states").count(), 0);
}

#[test]
fn a_missing_setting_is_named_and_nothing_is_reached() {
    let host = host(None);
    let health = host.health().expect("health");
    let problem = health.channels[0].problems.iter().find(|problem| problem.code == "missing-setting");
    assert!(problem.expect("a problem").message.contains("the setting server is missing"));
    assert!(get(&host, "http://127.0.0.1:1/api/x")["err"].is_string());
}
