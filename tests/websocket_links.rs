//! Websockets that the host keeps for a channel, played against fakes of the services.

mod support;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use support::gateway::{Connection, Gateway};
use support::upstream::Upstream;
use support::{eventually, fixtures};
use tinclaw::host::{ChannelHealth, ChannelState, LinkState};
use tinclaw::secrets::{MemorySecrets, Secret};
use tinclaw::{AgentResponse, Host, HostBuilder, WasmChannel};

const TOKEN: &str = "value-of-gateway_token";

fn guest(change: impl FnOnce(&mut Value)) -> WasmChannel {
    fixtures::channel_with(&fixtures::runtime(), "gateway", change)
}

fn host(gateway: &Gateway, guest: WasmChannel) -> Host {
    builder(gateway).channel(guest).start().expect("the host starts")
}

fn builder(gateway: &Gateway) -> HostBuilder {
    fixtures::host(&["gateway_token", "bot_id", "bot_secret"], &[("gateway.example", gateway.url())])
}

fn health(host: &Host) -> ChannelHealth {
    host.health().expect("health").channels.remove(0)
}

fn wait_until_ready(host: &Host) {
    eventually("the link is ready", || {
        let link = health(host).link?;
        (link.state == LinkState::Ready).then_some(())
    });
}

fn next_message(host: &Host) -> String {
    let delivery = host.messages().recv_timeout(Duration::from_secs(90)).expect("a message");
    let content = delivery.message().content.clone();
    delivery.ack();
    content
}

/// Says hello and READY to a bot that logs in with the right token.
fn log_in(connection: &mut Connection) -> bool {
    connection.send(&json!({"op": 10, "d": {"heartbeat_interval": 45_000}}));
    loop {
        let Some(frame) = connection.receive() else { return false };
        if frame["op"] == 2 {
            assert_eq!(frame["d"], json!({"intents": 37377, "token": TOKEN}));
            break;
        }
    }
    connection.send(&json!({"op": 0, "s": 1, "t": "READY", "d": {"session_id": "s1"}}));
    true
}

fn event(number: u64, text: &str) -> Value {
    json!({"op": 0, "s": number, "t": "MESSAGE_CREATE", "d": {"content": text}})
}

/// Gives what the connections got to the test.
fn reports() -> (Sender<Value>, Receiver<Value>) {
    channel()
}

fn next_report(reports: &Receiver<Value>) -> Value {
    reports.recv_timeout(Duration::from_secs(90)).expect("a frame of the host")
}

#[test]
fn frames_become_messages_and_replies_become_frames() {
    let (sent, got) = reports();
    let gateway = Gateway::start(move |connection, _| {
        if log_in(connection) {
            connection.send(&event(2, "hello"));
            while let Some(frame) = connection.receive() {
                if frame["op"] == 99 {
                    let _ = sent.send(frame);
                }
            }
        }
    });
    let host = host(&gateway, guest(|_| {}));
    assert!(next_message(&host).contains("READY"));
    let delivery = host.messages().recv_timeout(Duration::from_secs(90)).expect("a message");
    assert!(delivery.message().content.contains("hello"));
    // The token does not leave in what a guest writes.
    let content = json!({"op": 99, "d": format!("it is {TOKEN}")}).to_string();
    host.respond(&delivery, AgentResponse { content, ..AgentResponse::default() }).expect("a reply");
    delivery.ack();
    assert_eq!(next_report(&got)["d"], "it is [redacted]");
    let link = health(&host).link.expect("a link");
    assert_eq!((link.state, link.connections, link.frames_sent), (LinkState::Ready, 1, 1));
    assert_eq!(link.frames_received, 2);
}

#[test]
fn a_dropped_connection_is_resumed_after_the_last_durable_frame() {
    let (sent, got) = reports();
    let gateway = Gateway::start(move |connection, before| {
        if before == 0 {
            if log_in(connection) {
                connection.send(&event(2, "first"));
                let _ = sent.send(json!("sent"));
                // The test has read the message by then, so that it is durable and acknowledged.
                while connection.receive().is_some_and(|frame| frame["op"] != 98) {}
            }
            return;
        }
        connection.send(&json!({"op": 10, "d": {"heartbeat_interval": 45_000}}));
        if let Some(frame) = connection.receive() {
            let _ = sent.send(frame);
            connection.send(&json!({"op": 0, "s": 3, "t": "RESUMED", "d": {}}));
            connection.send(&event(4, "second"));
            connection.hold();
        }
    });
    let host = host(&gateway, guest(|_| {}));
    assert_eq!(next_report(&got), "sent");
    assert!(next_message(&host).contains("READY"));
    let delivery = host.messages().recv_timeout(Duration::from_secs(90)).expect("a message");
    assert!(delivery.message().content.contains("first"));
    let content = json!({"op": 98}).to_string();
    host.respond(&delivery, AgentResponse { content, ..AgentResponse::default() }).expect("a reply");
    delivery.ack();
    let resume = next_report(&got);
    assert_eq!(resume, json!({"op": 6, "d": {"token": TOKEN, "session_id": "s1", "seq": 2}}));
    assert!(next_message(&host).contains("second"));
}

#[test]
fn a_refused_token_stops_the_link_until_another_one_is_stored() {
    let gateway = Gateway::start(|connection, before| {
        if before == 0 {
            connection.send(&json!({"op": 10, "d": {"heartbeat_interval": 45_000}}));
            connection.receive();
            return connection.close(4004, "Authentication failed.");
        }
        connection.send(&json!({"op": 10, "d": {"heartbeat_interval": 45_000}}));
        let frame = connection.receive().expect("a login");
        assert_eq!(frame["d"]["token"], "another-token-of-the-bot");
        connection.send(&json!({"op": 0, "s": 1, "t": "READY", "d": {"session_id": "s2"}}));
        connection.hold();
    });
    let secrets = Arc::new(MemorySecrets::new());
    secrets.set("gateway_token", Secret::new(TOKEN.to_owned())).expect("a name");
    let stored = secrets.clone();
    let builder = builder(&gateway).configure(|config| config.secrets = stored);
    let host = builder.channel(guest(|_| {})).start().expect("the host starts");
    let stopped = eventually("the link stops", || {
        let health = health(&host);
        (health.link.as_ref()?.state == LinkState::Stopped).then_some(health)
    });
    assert_eq!(stopped.state, ChannelState::Degraded);
    let problem = stopped.problems.iter().find(|problem| problem.code == "websocket").expect("a problem");
    assert!(problem.message.contains("4004"), "{}", problem.message);
    assert_eq!(gateway.connections(), 1, "a refused token is not tried again");
    secrets.set("gateway_token", Secret::new("another-token-of-the-bot".to_owned())).expect("a name");
    wait_until_ready(&host);
    assert_eq!(health(&host).state, ChannelState::Ready);
}

#[test]
fn a_missing_secret_is_named_and_no_connection_is_made() {
    let gateway = Gateway::start(|_, _| {});
    let builder = fixtures::host(&[], &[("gateway.example", gateway.url())]);
    let host = builder.channel(guest(|_| {})).start().expect("the host starts");
    let health = eventually("the link stops", || {
        let health = health(&host);
        (health.link.as_ref()?.state == LinkState::Stopped).then_some(health)
    });
    let reason = health.link.and_then(|link| link.reason).expect("a reason");
    assert!(reason.contains("`tinclaw secrets set gateway_token`"), "{reason}");
    assert_eq!(gateway.connections(), 0);
}

#[test]
fn a_websocket_outside_of_the_allow_list_is_not_opened() {
    let gateway = Gateway::start(|_, _| {});
    let elsewhere =
        |file: &mut Value| file["capabilities"]["http"]["allowlist"][0]["host"] = json!("h.example");
    let host = host(&gateway, guest(elsewhere));
    let health = eventually("the link stops", || {
        let health = health(&host);
        (health.link.as_ref()?.state == LinkState::Stopped).then_some(health)
    });
    assert!(health.problems.iter().any(|problem| problem.code == "websocket-not-allowed"));
    assert_eq!(gateway.connections(), 0);
}

#[test]
fn wecom_is_subscribed_to_with_the_id_and_the_secret() {
    let (sent, got) = reports();
    let gateway = Gateway::start(move |connection, before| {
        let frame = connection.receive().expect("a subscription");
        let id = frame["headers"]["req_id"].clone();
        let _ = sent.send(frame);
        if before == 0 {
            connection.send(&json!({"headers": {"req_id": id}, "errcode": 0, "errmsg": "ok"}));
            connection.send(&json!({"cmd": "aibot_msg_callback", "body": {"text": "hello"}}));
            connection.send(&json!({"cmd": "aibot_event_callback", "body": {"event": {"eventtype": "disconnected_event"}}}));
        }
        connection.hold();
    });
    let host = host(
        &gateway,
        guest(|file| {
            file["capabilities"]["websocket"] = json!({
                "url": "wss://gateway.example/",
                "protocol": "wecom_aibot",
                "bot_id_secret_name": "bot_id",
                "bot_secret_secret_name": "bot_secret",
            });
        }),
    );
    let frame = next_report(&got);
    assert_eq!(frame["cmd"], "aibot_subscribe");
    assert_eq!(frame["body"], json!({"bot_id": "value-of-bot_id", "secret": "value-of-bot_secret"}));
    assert!(next_message(&host).contains("aibot_msg_callback"));
    // The newer of two clients has the link.
    eventually("the link stops", || (health(&host).link?.state == LinkState::Stopped).then_some(()));
}

#[test]
fn slack_gives_the_address_and_gets_an_acknowledgement_of_each_envelope() {
    let (sent, got) = reports();
    let gateway = Gateway::start(move |connection, _| {
        connection.send(&json!({"type": "hello"}));
        connection.send(&json!({"type": "events_api", "envelope_id": "e-1", "payload": {"text": "hello"}}));
        while let Some(frame) = connection.receive() {
            let _ = sent.send(frame);
        }
    });
    let slack = Upstream::start(|request, _| {
        let is_right = request.header("authorization") == Some(&format!("Bearer {TOKEN}"));
        let body = match is_right && request.method == "POST" {
            true => json!({"ok": true, "url": "wss://gateway.example/link/?ticket=1"}),
            false => json!({"ok": false, "error": "invalid_auth"}),
        };
        (200, Vec::new(), body.to_string().into_bytes())
    });
    let rewrites = [("gateway.example", gateway.url()), ("slack.example", slack.url())];
    let channel = guest(|file| {
        file["capabilities"]["http"] = json!({
            "allowlist": [
                {"host": "gateway.example"},
                {"host": "slack.example", "path_prefix": "/api/apps.connections.open"},
            ],
            "credentials": {"app": {
                "secret_name": "gateway_token",
                "location": {"type": "bearer"},
                "host_patterns": ["slack.example"],
            }},
        });
        file["capabilities"]["websocket"] = json!({
            "url": "https://slack.example/api/apps.connections.open",
            "protocol": "slack-socket-mode",
        });
    });
    let host =
        fixtures::host(&["gateway_token"], &rewrites).channel(channel).start().expect("the host starts");
    assert_eq!(next_report(&got), json!({"envelope_id": "e-1"}));
    assert!(next_message(&host).contains("hello"));
}

/// What was acknowledged to a service is in the channel's files, also when its guest cannot take it.
#[test]
fn frames_that_a_guest_fails_at_are_kept_and_tried_again() {
    let (sent, got) = reports();
    let gateway = Gateway::start(move |connection, _| {
        connection.send(&json!({"type": "hello"}));
        connection.send(&json!({"type": "events_api", "envelope_id": "poison", "payload": {}}));
        while let Some(frame) = connection.receive() {
            let _ = sent.send(frame);
        }
    });
    let slack = Upstream::start(|_, _| {
        (200, Vec::new(), json!({"ok": true, "url": "ws://gateway.example/"}).to_string().into_bytes())
    });
    let rewrites = [("gateway.example", gateway.url()), ("slack.example", slack.url())];
    let channel = guest(|file| {
        file["capabilities"]["http"]["allowlist"] =
            json!([{"host": "gateway.example"}, {"host": "slack.example"}]);
        file["capabilities"]["websocket"] =
            json!({"url": "https://slack.example/open", "protocol": "slack-socket-mode"});
    });
    let host =
        fixtures::host(&["gateway_token"], &rewrites).channel(channel).start().expect("the host starts");
    assert_eq!(next_report(&got), json!({"envelope_id": "poison"}));
    eventually("the guest fails twice", || (health(&host).failed >= 2).then_some(()));
}

/// A service that sent pings without a pause kept the link of a removed channel, and its thread, for ever.
#[test]
fn a_flood_of_pings_does_not_keep_the_link_of_a_removed_channel() {
    let (ended, has_ended) = channel();
    let gateway = Gateway::start(move |connection, _| {
        while connection.ping() {}
        let _ = ended.send(());
    });
    let host = host(&gateway, plain());
    wait_until_ready(&host);
    let name = "gateway".parse().expect("a channel's name");
    assert!(host.remove(&name).expect("the host takes the channel out"));
    has_ended.recv_timeout(Duration::from_secs(90)).expect("the link ends");
}

/// Frames for a service that read nothing were kept without a limit.
#[test]
fn no_more_frames_wait_for_a_service_that_reads_nothing_than_the_limit() {
    let (_keep, kept) = channel::<()>();
    let kept = std::sync::Mutex::new(kept);
    let gateway = Gateway::start(move |_, _| {
        let _ = kept.lock().expect("nothing panics").recv();
    });
    let host = host(&gateway, plain());
    wait_until_ready(&host);
    let name = "gateway".parse().expect("a channel's name");
    // More than the limit of frames and the system's buffers hold.
    for conversation in 0..64 {
        let content = "x".repeat(1_000_000);
        let reply =
            AgentResponse { content, thread_id: Some(conversation.to_string()), ..AgentResponse::default() };
        host.respond_to(&name, reply).expect("the reply is stored");
    }
    eventually("a frame is refused", || (health(&host).failed > 0).then_some(()));
}

/// The guest with a websocket that has no protocol.
fn plain() -> WasmChannel {
    guest(|file| {
        file["capabilities"]["websocket"] = json!({"url": "wss://gateway.example/", "protocol": "plain"});
    })
}

/// A guest that exports the handler of the websocket is called for what happens to it. A frame whose callback always fails held
/// up those behind it for ever.
#[test]
fn a_frame_that_a_guest_cannot_take_is_given_up_and_the_next_one_is_taken() {
    let gateway = Gateway::start(|connection, before| {
        if before == 0 {
            connection.send_text("poison");
            connection.send_text("ok");
            // Until the test has seen what came of both.
            while connection.receive_within(Duration::from_millis(50)).is_nothing() {}
        }
        connection.hold();
    });
    let capabilities = json!({
        "type": "channel", "name": "socket_poison",
        "capabilities": {
            "http": {"allowlist": [{"host": "gateway.example"}]},
            "websocket": {"url": "wss://gateway.example/", "protocol": "plain"},
            "channel": {"allowed_paths": ["/webhook/hostile"], "allow_polling": true, "webhook": {"auth": "none"}}
        }
    });
    let guest = fixtures::hostile(&fixtures::runtime(), "socket_poison", &capabilities);
    let host = builder(&gateway).channel(guest).start().expect("the host starts");
    // `on-start`, `on-open`, and the second frame.
    let found = eventually("the second frame is taken", || {
        let health = health(&host);
        (health.succeeded >= 3 && health.dropped == 1).then_some(health)
    });
    assert_eq!((found.failed, found.state), (4, ChannelState::Ready), "{:?}", found.problems);
    assert_eq!(found.link.map(|link| link.frames_received), Some(2));
}
