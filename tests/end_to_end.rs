//! The whole way: a request, a poll or a timer wakes a guest, its message reaches the agent, the agent's response leaves
//! through `on-respond` with the credential that the host puts in.

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::json;
use support::upstream::{Upstream, ok};
use support::{client, eventually, fixtures};
use tinclaw::secrets::{MemorySecrets, Secret, SecretError, SecretStore};
use tinclaw::{Delivery, Host, HostBuilder};
use wit_abi::types::{AgentResponse, StatusType, StatusUpdate};

fn reply(content: &str) -> AgentResponse {
    AgentResponse { content: content.to_owned(), ..AgentResponse::default() }
}

fn start(builder: HostBuilder) -> (Host, SocketAddr) {
    let host = builder.start().expect("the host starts");
    assert!(host.failed_channels().is_empty(), "{:?}", host.failed_channels());
    let address = host.local_addr().expect("an address");
    (host, address)
}

fn next(host: &Host) -> Delivery {
    host.messages().recv_timeout(Duration::from_secs(90)).expect("a message")
}

fn posted(host: SocketAddr, channel: &str, secret: &str, body: &serde_json::Value) -> client::Reply {
    eventually("the channel starts", || {
        let reply = client::webhook(host, &format!("/webhook/{channel}"), &fixtures::value_of(secret), body);
        (reply.status != 503).then_some(reply)
    })
}

fn broadcast(host: &Host, channel: &str) {
    host.broadcast(&channel.parse().expect("a channel's name"), "bob", reply("news"))
        .expect("the broadcast is kept");
}

#[test]
fn a_webhook_becomes_a_message_and_its_reply_and_a_broadcast_leave_with_the_credential() {
    for guest in ["echo", "echo_plain"] {
        let upstream = Upstream::start(|_, _| ok());
        let runtime = fixtures::runtime();
        let token = format!("{guest}_token");
        let secret = format!("{guest}_webhook_secret");
        let (host, address) = start(
            fixtures::host(
                &["echo_token", &token, &secret, "echo_webhook_secret"],
                &[("api.echo.example", upstream.url())],
            )
            .channel(fixtures::channel_with(&runtime, guest, |file| {
                file["config"]["path"] = json!(format!("/webhook/{guest}"));
                file["capabilities"]["channel"]["allowed_paths"] = json!([format!("/webhook/{guest}")]);
                file["capabilities"]["channel"]["webhook"]["secret_name"] = json!(secret);
            })),
        );
        let response =
            posted(address, guest, &secret, &json!({"user": "ann", "text": "hello", "thread": "7"}));
        assert_eq!((response.status, response.json()), (200, json!({"ok": true})), "{guest}");
        let delivery = next(&host);
        assert_eq!((delivery.channel().as_str(), delivery.attempt()), (guest, 1));
        assert_eq!(delivery.message().content, "hello");
        assert_eq!(delivery.message().thread_id.as_deref(), Some("7"));
        host.respond(&delivery, reply("you said hello")).expect("the reply is kept");
        delivery.ack();
        let sent = upstream.wait_for("the reply arrives", |request| request.target == "/messages");
        assert_eq!(sent.json()["text"], "you said hello");
        assert_eq!((&sent.json()["to"], &sent.json()["thread"]), (&json!("ann"), &json!("7")));
        let credential = sent.header("authorization").expect("the credential");
        assert!(credential.starts_with("Bearer value-of-"), "{guest}: {credential}");
        broadcast(&host, guest);
        let sent = upstream.wait_for("the broadcast arrives", |request| {
            request.target == "/messages" && request.json()["to"] == "bob"
        });
        assert_eq!(sent.json()["text"], "news");
        assert_eq!(sent.header("authorization"), Some(credential), "{guest}");
        host.shutdown();
    }
}

#[test]
fn a_poll_fetches_emits_and_moves_its_cursor() {
    for wasm in [fixtures::guest("feed"), fixtures::core_module("feed")] {
        let upstream = Upstream::start(|request, _| {
            let after: u64 =
                request.target.rsplit('=').next().and_then(|after| after.parse().ok()).unwrap_or(0);
            let item =
                json!({"items": [{"id": after + 1, "user": "ann", "text": format!("item {}", after + 1)}]});
            (200, Vec::new(), item.to_string().into_bytes())
        });
        let runtime = fixtures::runtime();
        let (host, _) = start(fixtures::host(&["feed_key"], &[("feed.example", upstream.url())]).channel(
            fixtures::channel_of(&runtime, "feed", &wasm, |file| {
                file["config"]["interval_ms"] = json!(50);
                file["capabilities"]["channel"]["min_poll_interval_ms"] = json!(50);
            }),
        ));
        for number in 1..=3 {
            let delivery = next(&host);
            assert_eq!(delivery.message().content, format!("item {number}"));
            delivery.ack();
        }
        let polled = upstream.wait_for("a poll", |request| request.target == "/items?after=2");
        assert_eq!(polled.header("x-feed-key"), Some("value-of-feed_key"));
    }
}

#[test]
fn a_timer_comes_back_and_a_broadcast_leaves() {
    for wasm in [fixtures::guest("reminder"), fixtures::core_module("reminder")] {
        let upstream = Upstream::start(|_, _| ok());
        let runtime = fixtures::runtime();
        let secrets = ["reminder_token", "reminder_webhook_secret"];
        let (host, address) = start(
            fixtures::host(&secrets, &[("api.reminder.example", upstream.url())])
                .channel(fixtures::channel_of(&runtime, "reminder", &wasm, |_| {})),
        );
        let text = json!({"user": "ann", "text": "in 30ms buy milk"});
        assert_eq!(posted(address, "reminder", "reminder_webhook_secret", &text).status, 200);
        let delivery = next(&host);
        assert!(delivery.message().content.contains("buy milk"), "{}", delivery.message().content);
        delivery.ack();
        broadcast(&host, "reminder");
        let sent = upstream.wait_for("the broadcast arrives", |request| request.method == "POST");
        assert_eq!(sent.target, "/botvalue-of-reminder_token/messages");
    }
}

#[test]
fn every_older_abi_version_takes_a_webhook_a_poll_a_status_a_reply_and_from_0_3_on_a_broadcast() {
    for version in 1..=8 {
        let name = format!("abi_v{version}");
        let secret = format!("{name}_webhook_secret");
        let upstream = Upstream::start(|_, _| ok());
        let runtime = fixtures::runtime();
        let (host, address) =
            start(fixtures::host(&["abi_token", &secret], &[("api.abi.example", upstream.url())]).channel(
                fixtures::channel_with(&runtime, &name, |file| {
                    file["config"]["poll_interval_ms"] = json!(3_600_000);
                }),
            ));
        let polled = next(&host);
        assert_eq!(polled.message().content, "poll 1, token true", "{name}");
        polled.ack();
        let response = posted(address, &name, &secret, &json!({"user": "ann", "text": "hello"}));
        assert_eq!(response.status, 200, "{name}");
        let delivery = next(&host);
        let metadata_json = delivery.message().metadata_json.clone();
        let channel = name.parse().unwrap();
        for status in [StatusType::Thinking, StatusType::AuthRequired, StatusType::Done] {
            let update = StatusUpdate { status, message: "m".into(), metadata_json: metadata_json.clone() };
            host.status_to(&channel, update).expect("the host runs");
        }
        host.respond(&delivery, reply("hello back")).expect("the reply is kept");
        delivery.ack();
        let sent =
            upstream.wait_for(&format!("the reply of {name} arrives"), |request| request.method == "POST");
        assert_eq!(sent.header("authorization"), Some("Bearer value-of-abi_token"), "{name}");
        if version >= 7 {
            broadcast(&host, &name);
            let sent = upstream.wait_for(&format!("the broadcast of {name} arrives"), |request| {
                request.method == "POST" && request.json()["to"] == "bob"
            });
            assert_eq!(sent.header("authorization"), Some("Bearer value-of-abi_token"), "{name}");
        }
        let health = host.health().expect("health");
        assert_eq!(health.channels[0].failed, 0, "{name}: {:?}", health.channels[0].problems);
    }
}

#[test]
fn a_guest_never_sees_the_header_that_carried_the_secret_and_a_wrong_secret_is_refused() {
    let runtime = fixtures::runtime();
    let (host, address) = start(
        fixtures::host(&["echo_token", "echo_webhook_secret"], &[])
            .channel(fixtures::channel(&runtime, "echo")),
    );
    let body = json!({"user": "ann", "text": "hello"});
    posted(address, "echo", "echo_webhook_secret", &body);
    next(&host).ack();
    let refused = client::webhook(address, "/webhook/echo", "wrong", &body);
    assert_eq!((refused.status, refused.json()), (401, json!({"error": "unauthorized"})));
    assert!(host.messages().try_recv().is_err());
}

#[test]
fn paths_of_no_channel_get_the_response_of_the_host() {
    let runtime = fixtures::runtime();
    let (_host, address) = start(
        fixtures::host(&["echo_token", "echo_webhook_secret"], &[])
            .channel(fixtures::channel(&runtime, "echo")),
    );
    posted(address, "echo", "echo_webhook_secret", &json!({"user": "ann", "text": "hello"}));
    for (method, target, status, code) in [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/webhook/echo/", 404, "not_found"),
        ("GET", "/webhook/echo", 405, "method_not_allowed"),
        ("POST", "/webhook/echo", 401, "unauthorized"),
    ] {
        let reply = client::request(address, method, target, &[], b"");
        assert_eq!((reply.status, reply.json()), (status, json!({"error": code})), "{method} {target}");
        if status == 405 {
            assert_eq!(reply.header("allow"), Some("POST"));
        }
    }
    assert_eq!(client::request(address, "GET", "/healthz", &[], b"").status, 200);
}

/// Secrets of which one takes as long to read as the test wants, as a passphrase's key or a slow disk does.
struct SlowSecrets {
    others: MemorySecrets,
    slow: &'static str,
    gate: (Mutex<bool>, Condvar),
    waited_in_vain: AtomicBool,
}

impl SlowSecrets {
    fn open(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

impl SecretStore for SlowSecrets {
    fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        if name == self.slow {
            let shut = self.gate.0.lock().unwrap();
            let wait = self.gate.1.wait_timeout_while(shut, Duration::from_secs(120), |open| !*open);
            // Nobody opened it: what should have gone on meanwhile waited for this.
            self.waited_in_vain.fetch_or(wait.unwrap().1.timed_out(), Ordering::Relaxed);
        }
        self.others.get(name)
    }

    fn names(&self) -> Result<Vec<String>, SecretError> {
        Ok(Vec::new())
    }
}

// The configuration for `on-start` was made on the router's thread: one secret that was slow to read stopped every channel.
#[test]
fn a_secret_that_is_slow_to_read_holds_up_no_other_channel() {
    let secret = "echo_webhook_secret";
    let others = MemorySecrets::new();
    for name in [secret, "echo_token", "slow"] {
        others.set(name, Secret::new(fixtures::value_of(name))).expect("a secret's name");
    }
    let secrets = Arc::new(SlowSecrets {
        others,
        slow: "slow",
        gate: Default::default(),
        waited_in_vain: AtomicBool::new(false),
    });
    let store = secrets.clone();
    let runtime = fixtures::runtime();
    let slow = fixtures::channel_with(&runtime, "echo_plain", |file| {
        file["config"]["path"] = json!("/webhook/slow");
        file["capabilities"]["channel"]["allowed_paths"] = json!(["/webhook/slow"]);
        file["capabilities"]["channel"]["webhook"]["secret_name"] = json!(secret);
        file["setup"] = json!({
            "required_secrets": [{"name": "slow"}],
            "secret_config_mappings": [{"config_key": "slow", "secret_name": "slow"}],
        });
    });
    let (host, address) = start(
        fixtures::host(&[], &[])
            .configure(move |config| config.secrets = store)
            .channel(slow)
            .channel(fixtures::channel(&runtime, "echo")),
    );
    let body = json!({"user": "ann", "text": "hello"});
    assert_eq!(posted(address, "echo", secret, &body).status, 200);
    secrets.open();
    assert_eq!(posted(address, "slow", secret, &body).status, 200);
    assert!(!secrets.waited_in_vain.load(Ordering::Relaxed));
    host.shutdown();
}
