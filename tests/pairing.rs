//! Unknown senders who write to a channel: a guest asks for codes, an operator approves, and nobody gets in otherwise.

mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::{client, eventually, fixtures};
use tinclaw::host::ChannelState;
use tinclaw::pairing::PairingError;
use tinclaw::{ChannelName, Host};

fn host() -> (Host, SocketAddr) {
    let runtime = fixtures::runtime();
    let builder = fixtures::host(&[], &[]).channel(fixtures::channel(&runtime, "everything"));
    let host = builder.start().expect("the host starts");
    let address = host.local_addr().expect("an address");
    eventually("the channel starts", || {
        (host.health().expect("health").channels[0].state == ChannelState::Ready).then_some(())
    });
    (host, address)
}

fn everything() -> ChannelName {
    "everything".parse().expect("a name")
}

/// What came of a task of the guest.
fn task(address: SocketAddr, task: &Value) -> Value {
    let headers = [("content-type", "application/json")];
    let reply =
        client::request(address, "POST", "/webhook/everything", &headers, task.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{task}");
    reply.json()
}

/// A guest that asks for a code, in the name of this channel.
fn ask(address: SocketAddr, channel: &str, id: &str) -> Value {
    let meta = r#"{"name":"x"}"#;
    task(address, &json!({"do": "pairing-upsert-request", "channel": channel, "id": id, "meta_json": meta}))
}

fn resolve(address: SocketAddr, channel: &str, id: &str) -> Value {
    task(address, &json!({"do": "pairing-resolve-identity", "channel": channel, "external_id": id}))["ok"]
        .clone()
}

#[test]
fn an_unknown_sender_gets_one_code_and_is_known_at_once_when_it_is_approved() {
    let (host, address) = host();
    let first = ask(address, "everything", "u1");
    let code = first["ok"]["code"].as_str().expect("a code").to_owned();
    assert_eq!((code.len(), &first["ok"]["created"]), (8, &json!(true)));
    assert_eq!(ask(address, "everything", "u1")["ok"], json!({"code": code, "created": false}));
    assert_eq!(resolve(address, "everything", "u1"), Value::Null);
    host.pairing().approve(&everything(), &code, Some("ann")).expect("the code is right");
    assert_eq!(resolve(address, "everything", "u1"), "ann");
    let known = host.pairing().approved();
    assert_eq!((known.len(), known[0].identity.as_str()), (1, "ann"));
    let allowed = task(address, &json!({"do": "pairing-read-allow-from", "channel": "everything"}));
    assert_eq!(allowed["ok"], json!(["u1"]));
    assert!(host.pairing().revoke(&everything(), "u1").expect("it is stored"));
    assert_eq!(resolve(address, "everything", "u1"), Value::Null);
}

#[test]
fn a_guest_speaks_for_its_own_channel_whatever_it_says() {
    let (host, address) = host();
    for (channel, id) in
        [("telegram", "u1"), ("", "u1"), ("everything/../telegram", "u1"), ("EVERYTHING", "u2"), ("*", "u2")]
    {
        let asked = ask(address, channel, id);
        assert!(asked["ok"]["code"].is_string(), "{channel:?}: {asked}");
    }
    let pending = host.pairing().pending();
    assert_eq!(pending.len(), 2);
    assert!(pending.iter().all(|request| request.channel == "everything"), "{pending:?}");
    let telegram = "telegram".parse().expect("a name");
    let code = pending[0].code.clone();
    let refused = host.pairing().approve(&telegram, &code, None);
    assert!(matches!(refused, Err(PairingError::WrongCode(_))), "{refused:?}");
    host.pairing().approve(&everything(), &code, None).expect("the code is right");
    assert_eq!(resolve(address, "telegram", "u1"), "u1");
}

#[test]
fn twenty_unknown_senders_wait_and_no_more() {
    let (host, address) = host();
    let asked: Vec<bool> =
        (0..25).map(|n| ask(address, "everything", &format!("u{n}"))["ok"]["code"].is_string()).collect();
    assert_eq!(asked.iter().filter(|got| **got).count(), 20);
    assert_eq!(host.pairing().pending().len(), 20);
    for id in [String::new(), "i".repeat(257)] {
        assert!(ask(address, "everything", &id)["err"].is_string());
    }
}

#[test]
fn five_wrong_codes_lock_the_right_one_out_too() {
    let (host, address) = host();
    let code = ask(address, "everything", "u1")["ok"]["code"].as_str().expect("a code").to_owned();
    for guess in ["", "AAAAAAAA", &code[..7], &format!("{code}A"), "' OR 1=1"] {
        let refused = host.pairing().approve(&everything(), guess, None);
        assert!(matches!(refused, Err(PairingError::WrongCode(_))), "{guess}: {refused:?}");
    }
    let refused = host.pairing().approve(&everything(), &code, None);
    assert!(matches!(refused, Err(PairingError::Locked { .. })), "{refused:?}");
    assert_eq!(resolve(address, "everything", "u1"), Value::Null);
}
