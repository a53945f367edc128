//! The channel for everything that speaks HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tinclaw::store::ReplyState;

use crate::fake::{Orders, json as response, json_with};
use crate::play::{Play, Setting, file};
use crate::support::client;
use crate::support::upstream::Upstream;

const PATH: &str = "/webhook/webhook";
const SECRET: (&str, &str) = ("x-webhook-secret", "value-of-webhook_webhook_secret");

/// A receiver that wants JSON with a text of 20 characters at most.
struct Receiver {
    orders: Arc<Orders>,
    is_down: Arc<AtomicBool>,
    upstream: Upstream,
}

impl Receiver {
    fn start() -> Self {
        let (orders, is_down) = (Arc::<Orders>::default(), Arc::<AtomicBool>::default());
        let upstream = Upstream::start({
            let (orders, is_down) = (orders.clone(), is_down.clone());
            move |request, _| {
                if is_down.load(Ordering::Relaxed) {
                    return (503, Vec::new(), Vec::new());
                }
                if let Some(ordered) = orders.take(&request.method) {
                    return ordered;
                }
                let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                match body["say"].as_str() {
                    _ if !request.target.starts_with("/in/") => {
                        response(404, &json!({"error": "no such place"}))
                    }
                    Some(text) if text.chars().count() > 20 => response(413, &json!({"error": "too long"})),
                    Some(_) => response(200, &json!({})),
                    None => response(400, &json!({"error": "say is needed"})),
                }
            }
        });
        Self { orders, is_down, upstream }
    }

    fn said(&self) -> Vec<String> {
        let requests = self.upstream.requests();
        requests.iter().map(|request| request.json()["say"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

fn start(receiver: &Receiver, config: Value) -> Play {
    let setting = Setting {
        channel: "webhook",
        secrets: &["webhook_webhook_secret"],
        rewrites: vec![("home.example", receiver.upstream.url())].leak(),
        state: None,
        tunnel_url: None,
        settings: &[],
    };
    Play::start(&setting, |file| {
        file["capabilities"]["http"]["allowlist"] = json!([{"host": "home.example"}]);
        for (key, value) in config.as_object().expect("an object") {
            file["config"][key] = value.clone();
        }
    })
}

fn replying() -> Value {
    json!({"reply_url": "https://home.example/in/x?to={thread}", "reply_body": {"say": "{text}", "to": "{user}"}, "reply_limit": 20})
}

#[test]
fn json_forms_and_text_are_messages_and_replies_go_where_they_shall() {
    let receiver = Receiver::start();
    let play = start(&receiver, replying());
    let body = json!({"user": "ann", "text": "hello", "thread": "a/b", "id": "1"}).to_string();
    assert_eq!(play.post(PATH, &[], &body).status, 401);
    for _ in 0..2 {
        assert_eq!(play.post(PATH, &[SECRET], &body).json(), json!({"ok": true, "message": true}));
    }
    let delivery = play.next();
    assert_eq!((delivery.message().content.as_str(), delivery.message().user_id.as_str()), ("hello", "ann"));
    let id = play.reply_with(delivery, "hi", vec![file("a.txt", "text/plain", b"abc")]);
    play.until(id, ReplyState::Delivered);
    let sent = &receiver.upstream.requests()[0];
    assert_eq!(sent.target, "/in/x?to=a%2Fb");
    assert_eq!(
        sent.json(),
        json!({"say": "hi", "to": "ann", "files": [{"name": "a.txt", "mime_type": "text/plain", "data": "YWJj"}]})
    );
    let form = [("content-type", "application/x-www-form-urlencoded"), SECRET];
    client::request(play.address, "POST", PATH, &form, b"user=bob&text=from+a+form");
    assert_eq!(play.hear(), "from a form");
    client::request(play.address, "POST", PATH, &[("content-type", "text/plain"), SECRET], b"just text");
    assert_eq!(play.hear(), "just text");
    assert_eq!(play.post(PATH, &[SECRET], "{\"zen\": 1}").json(), json!({"ok": true, "message": false}));
    play.hear_nothing();
}

#[test]
fn a_template_makes_the_text_and_files_come_in() {
    let receiver = Receiver::start();
    let config = json!({"template": "{/sender/login} opened {/issue/title}", "user": "/sender/login", "thread": "/issue/number", "files": "/files"});
    let play = start(&receiver, config);
    let body = json!({"sender": {"login": "ann"}, "issue": {"title": "a bug", "number": 7},
        "files": [{"name": "a.bin", "data": "AAEC"}, {"name": "broken", "data": "?"}]});
    play.post(PATH, &[SECRET], &body.to_string());
    let delivery = play.next();
    assert_eq!(
        (delivery.message().content.as_str(), delivery.message().thread_id.as_deref()),
        ("ann opened a bug", Some("7"))
    );
    assert_eq!(delivery.message().attachments.len(), 1);
    assert_eq!(&delivery.attachment_data(0).expect("the store works").expect("it is kept")[..], [0, 1, 2]);
    // Without an address for replies they wait until they are fetched.
    let id = play.reply(delivery, "thanks");
    play.until(id, ReplyState::Delivered);
    let get =
        |query: &str| client::request(play.address, "GET", &format!("{PATH}?{query}"), &[SECRET], b"").json();
    assert_eq!(get("thread=7")["replies"][0]["text"], "thanks");
    assert_eq!(get("thread=7&after=1")["replies"], json!([]));
    assert_eq!(get("thread=8")["replies"], json!([]));
}

#[test]
fn who_may_talk_is_decided_by_the_policy() {
    let receiver = Receiver::start();
    let play = start(&receiver, json!({"dm_policy": "allowlist", "allow_from": ["ann"]}));
    assert_eq!(play.post(PATH, &[SECRET], "{\"user\": \"bob\", \"text\": \"hi\"}").status, 403);
    assert_eq!(play.post(PATH, &[SECRET], "{\"user\": \"ann\", \"text\": \"hi\"}").status, 200);
    assert_eq!(play.hear(), "hi");
    play.hear_nothing();
}

#[test]
fn a_long_reply_is_split_and_failures_that_pass_are_tried_again() {
    let receiver = Receiver::start();
    let play = start(&receiver, replying());
    play.post(PATH, &[SECRET], "{\"user\": \"ann\", \"text\": \"hi\"}");
    receiver.orders.next_response("POST", response(200, &json!({})));
    receiver.orders.next_response("POST", json_with(429, ("retry-after", "1"), &json!({})));
    receiver.orders.next_response("POST", (502, Vec::new(), b"<html>".to_vec()));
    let id = play.reply(play.next(), "First sentence here. Second sentence here.");
    play.until(id, ReplyState::Delivered);
    let expected = ["First sentence here.", "Second sentence", "Second sentence", "Second sentence", "here."];
    assert_eq!(receiver.said(), expected);
    receiver.is_down.store(true, Ordering::Relaxed);
    play.post(PATH, &[SECRET], "{\"user\": \"ann\", \"text\": \"again\"}");
    let id = play.reply(play.next(), "late");
    crate::support::eventually("it was tried", || {
        (play.host.reply(id).unwrap().unwrap().attempts > 1).then_some(())
    });
    receiver.is_down.store(false, Ordering::Relaxed);
    play.until(id, ReplyState::Delivered);
}

#[test]
fn a_refusal_for_good_is_a_dead_letter_in_the_words_of_the_receiver() {
    let receiver = Receiver::start();
    let play = start(
        &receiver,
        json!({"reply_url": "https://home.example/elsewhere", "reply_body": {"say": "{text}"}}),
    );
    play.post(PATH, &[SECRET], "{\"user\": \"ann\", \"text\": \"hi\"}");
    let id = play.reply(play.next(), "hello");
    let why = play.until_dead(id);
    assert!(why.contains("404: no such place"), "{why}");
}
