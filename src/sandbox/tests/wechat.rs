//! Attachments that WeChat keeps encrypted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wit_abi::types::{AgentResponse, Attachment, HttpResponse};

use super::calls::{DATA, HOST};
use super::support::{Bench, Wat, lines};
use crate::event::callback::Callback;

/// `hello` under the key 000102…0f, as OpenSSL encrypts it.
const ENCRYPTED: [u8; 16] =
    [0x5d, 0x87, 0x49, 0xe2, 0xaf, 0x75, 0x31, 0xb2, 0xbf, 0x66, 0x61, 0xe9, 0xe5, 0xda, 0xf0, 0x12];

/// Emits a message with one attachment, `friend`, that has an address and a key.
const EMIT: &str = "
    (i32.store (i32.const 2000) (i32.const 1100)) (i32.store (i32.const 2004) (i32.const 6))
    (i32.store (i32.const 2048) (i32.const 1))
    (i32.store (i32.const 2052) (i32.const 1140)) (i32.store (i32.const 2056) (i32.const 21))
    (i32.store (i32.const 2084) (i32.const 1300)) (i32.store (i32.const 2088) (i32.const 53))
    (call $emit (i32.const 1100) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 1020) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 1180) (i32.const 2) (i32.const 2000) (i32.const 1))";
const EXTRAS: &str =
    r#"(data (i32.const 1300) "{\22wechat_aes_key\22:\22000102030405060708090a0b0c0d0e0f\22}")"#;

fn receiving(body: &str) -> Bench {
    Bench::of(Wat { imports: HOST, more: format!("{DATA} {EXTRAS}"), ..Wat::poll(body) })
}

fn served(bench: &Bench, status: u16, body: &[u8]) {
    let response = HttpResponse { status, headers_json: "{}".into(), body: body.to_vec() };
    bench.services.response.lock().unwrap().as_mut().unwrap().response = response;
}

#[test]
fn a_file_with_a_key_is_fetched_and_decrypted() {
    let bench = receiving(EMIT);
    served(&bench, 200, &ENCRYPTED);
    let report = bench.poll();
    let [emitted] = report.effects.messages.as_slice() else { panic!("{report:?}") };
    assert_eq!(emitted.attachment_data, [Some(Arc::from(*b"hello"))]);
    let requests = bench.services.requests.lock().unwrap();
    assert_eq!((requests[0].0.method.as_str(), requests[0].0.url.as_str()), ("GET", "https://example.org/x"));
    assert_eq!(report.usage.http_calls, 1, "it counts as a request of the guest");
}

#[test]
fn a_file_that_cannot_be_fetched_or_decrypted_leaves_its_message_without_it() {
    for (status, body, words) in [
        (404, &ENCRYPTED[..], "its server responds with 404"),
        (200, b"hello", "it is not encrypted with the key of the message"),
    ] {
        let bench = receiving(EMIT);
        served(&bench, status, body);
        let report = bench.poll();
        let [emitted] = report.effects.messages.as_slice() else { panic!("{report:?}") };
        assert_eq!(emitted.attachment_data, [None]);
        assert_eq!(lines(&report), [format!("a file of a message is left out: {words}")]);
    }
}

#[test]
fn a_file_that_the_guest_has_stored_is_not_fetched() {
    let store = "(call $store (i32.const 1100) (i32.const 6) (i32.const 1000) (i32.const 9) (i32.const 64))";
    let bench = receiving(&format!("{store} {EMIT}"));
    let report = bench.poll();
    assert_eq!(report.effects.messages[0].attachment_data, [Some(Arc::from(*b"state/key"))]);
    assert!(bench.services.requests.lock().unwrap().is_empty());
}

#[test]
fn files_of_a_reply_are_handed_over_in_envelopes_to_the_guest_that_wants_them() {
    // Stores the data of the first attachment as that of a message.
    let respond = "
        (call $store (i32.const 1100) (i32.const 6) (i32.load offset=16 (local.get 9)) (i32.load offset=20 (local.get 9))
            (i32.const 64))
        (i32.store (i32.const 2000) (i32.const 1100)) (i32.store (i32.const 2004) (i32.const 6))
        (i32.store (i32.const 2084) (i32.const 1180)) (i32.store (i32.const 2088) (i32.const 2))
        (call $emit (i32.const 1100) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 1020) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 1180) (i32.const 2) (i32.const 2000) (i32.const 1))
        (i32.const 3000)";
    let bench = Bench::of(Wat { imports: HOST, more: DATA.into(), respond, ..Wat::default() });
    let file = Attachment { filename: "a".into(), mime_type: "b/c".into(), data: b"hello".to_vec() };
    let reply = Arc::new(AgentResponse { attachments: vec![file], ..AgentResponse::default() });
    let handed_over = || {
        let report = bench.run(&Callback::Respond(Arc::clone(&reply)));
        let [emitted] = report.effects.messages.as_slice() else { panic!("{report:?}") };
        emitted.attachment_data[0].clone().expect("it is stored")
    };
    assert_eq!(&handed_over()[..], b"hello");
    bench.services.seals_attachments.store(true, Ordering::Relaxed);
    let envelope = handed_over();
    assert!(envelope.starts_with(b"ICWXENC1"), "{envelope:?}");
    assert!(!envelope.windows(5).any(|window| window == b"hello"));
}
