//! WhatsApp.

use serde_json::{Value, json};
use tinclaw::AgentResponse;
use tinclaw::store::ReplyState;

use crate::fake::{json as response, json_with};
use crate::play::{Play, Setting, file};
use crate::support::client;
use crate::support::eventually;
use crate::support::temp_dir::TempDir;
use crate::whatsapp_fake::{NUMBER, WhatsApp};

fn setting(service: &WhatsApp) -> Setting<'static> {
    let rewrites = ["graph.facebook.com", "lookaside.fbsbx.com"].map(|host| (host, service.upstream.url()));
    let settings = vec![("phone_number_id", NUMBER.to_owned())];
    Setting {
        channel: "whatsapp",
        secrets: &["whatsapp_access_token", "whatsapp_app_secret", "whatsapp_verify_token"],
        rewrites: rewrites.to_vec().leak(),
        state: None,
        tunnel_url: None,
        settings: settings.leak(),
    }
}

fn policy(policy: &'static str) -> impl FnOnce(&mut Value) {
    move |file| file["config"]["dm_policy"] = json!(policy)
}

fn open(service: &WhatsApp) -> Play {
    Play::start(&setting(service), policy("open"))
}

fn text(id: &str, body: &str) -> Value {
    json!({"from": "4915", "id": id, "timestamp": "1", "type": "text", "text": {"body": body}})
}

#[test]
fn the_address_is_verified_and_wrong_signatures_are_refused() {
    let service = WhatsApp::start();
    let play = open(&service);
    let ask = |token: &str| {
        let path = format!("/webhook/whatsapp?hub.mode=subscribe&hub.challenge=77&hub.verify_token={token}");
        client::request(play.address, "GET", &path, &[], b"")
    };
    let reply = ask("value-of-whatsapp_verify_token");
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"77"[..]));
    assert!(ask("wrong").status >= 400);
    assert!(play.post("/webhook/whatsapp", &[("x-hub-signature-256", "sha256=00")], "{}").status >= 400);
}

#[test]
fn the_agent_is_told_which_message_was_quoted() {
    let service = WhatsApp::start();
    let play = open(&service);
    let mut message = text("m2", "this one");
    message["context"] = json!({"from": "4915", "id": "m1"});
    assert_eq!(service.say(&play, message).status, 200);
    let metadata: Value = serde_json::from_str(&play.next().message().metadata_json).expect("JSON");
    assert_eq!(metadata["quoted_message"], "m1");
}

#[test]
fn a_message_arrives_and_its_reply_leaves_with_typing() {
    let service = WhatsApp::start();
    let play = Play::start(&setting(&service), |file| {
        file["config"]["dm_policy"] = json!("open");
        file["config"]["quote"] = json!(true);
    });
    assert_eq!(service.say(&play, text("m1", "hello")).status, 200);
    let delivery = play.next();
    let message = delivery.message();
    assert_eq!((message.content.as_str(), message.user_id.as_str()), ("hello", "4915"));
    assert_eq!(message.user_name.as_deref(), Some("Ann"));
    let update = tinclaw::StatusUpdate {
        status: tinclaw::StatusType::Thinking,
        message: String::new(),
        metadata_json: message.metadata_json.clone(),
    };
    play.host.status_to(&play.channel, update).expect("the host runs");
    assert_eq!(service.inner.typing.wait(1), ["m1"]);
    let id = play.reply(delivery, "**bold** [x](https://a.example)");
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!((sent[0].to.as_str(), sent[0].text.as_str()), ("4915", "*bold* x (https://a.example)"));
    assert_eq!(sent[0].quoted.as_deref(), Some("m1"));
    let news = AgentResponse { content: "news".into(), ..AgentResponse::default() };
    let id = play.host.broadcast(&play.channel, "4916", news).expect("it is kept");
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.inner.sent.all()[1].to, "4916");
}

#[test]
fn an_unknown_sender_gets_a_code() {
    let service = WhatsApp::start();
    let play = Play::start(&setting(&service), policy("pairing"));
    service.say(&play, text("m1", "let me in"));
    let told = service.inner.sent.wait(1);
    assert!(told[0].text.contains("tinclaw pairing approve whatsapp"), "{told:?}");
    play.approve_all();
    service.say(&play, text("m2", "thanks"));
    assert_eq!(play.hear(), "thanks");
}

#[test]
fn each_type_of_message_is_understood() {
    let service = WhatsApp::start();
    let play = open(&service);
    for (number, (kind, content, expected)) in [
        ("button", json!({"text": "Yes", "payload": "y"}), "Yes"),
        ("interactive", json!({"type": "button_reply", "button_reply": {"id": "1", "title": "One"}}), "One"),
        ("interactive", json!({"type": "list_reply", "list_reply": {"id": "2", "title": "Two"}}), "Two"),
        ("reaction", json!({"message_id": "m0", "emoji": "👍"}), "[reaction 👍 to message m0]"),
        ("location", json!({"latitude": 1.5, "longitude": 2, "name": "Home"}), "[location 1.5, 2 Home]"),
        (
            "contacts",
            json!([{"name": {"formatted_name": "Bob"}, "phones": [{"phone": "+1"}]}]),
            "[contact Bob, +1]",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut message = json!({"from": "4915", "id": format!("m{number}x"), "type": kind});
        message[kind] = content;
        service.say(&play, message);
        assert_eq!(play.hear(), expected);
    }
    // A reaction that is taken back, and what is about another number of the app.
    service
        .say(&play, json!({"from": "4915", "id": "r", "type": "reaction", "reaction": {"message_id": "m0"}}));
    service.post(&play, &json!({"metadata": {"phone_number_id": "9"}, "messages": [text("o", "other")]}));
    service.post(
        &play,
        &json!({"metadata": {"phone_number_id": NUMBER}, "statuses": [{"id": "wamid.out", "status": "failed",
            "recipient_id": "4915", "errors": [{"code": 131026, "title": "Message undeliverable"}]}]}),
    );
    play.hear_nothing();
}

#[test]
fn files_come_in_and_go_out() {
    let service = WhatsApp::start();
    let play = open(&service);
    service.put_media("90", b"PNG");
    let image = json!({"id": "90", "mime_type": "image/png", "caption": "look"});
    service.say(&play, json!({"from": "4915", "id": "m1", "type": "image", "image": image}));
    let delivery = play.next();
    assert_eq!(delivery.message().content, "look");
    assert_eq!(delivery.message().attachments[0].mime_type, "image/png");
    let data = delivery.attachment_data(0).expect("the store works").expect("it is kept");
    assert_eq!(&data[..], b"PNG");
    let files = vec![file("a.png", "image/png", b"PNG"), file("ü.txt", "text/plain", b"text")];
    let id = play.reply_with(delivery, "here", files);
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!(sent[0].text, "here");
    assert_eq!((sent[1].kind.as_str(), &sent[1].file), ("image", &Some(("a.png".into(), b"PNG".to_vec()))));
    assert_eq!(
        (sent[2].kind.as_str(), &sent[2].file),
        ("document", &Some(("ü.txt".into(), b"text".to_vec())))
    );
    let lost = json!({"id": "91", "mime_type": "application/pdf", "filename": "b.pdf"});
    service.say(&play, json!({"from": "4915", "id": "m2", "type": "document", "document": lost}));
    assert_eq!(play.hear(), "[b.pdf could not be fetched]");
}

#[test]
fn a_long_reply_is_split_and_goes_on_where_it_was_stopped() {
    let service = WhatsApp::start();
    let play = open(&service);
    let limit = |code: i64| json!({"error": {"code": code, "message": "limit"}});
    for (number, limited) in [
        response(400, &limit(131056)),
        response(429, &limit(130429)),
        json_with(429, ("retry-after", "1"), &limit(80007)),
        (503, Vec::new(), Vec::new()),
    ]
    .into_iter()
    .enumerate()
    {
        service.say(&play, text(&format!("m{number}"), "tell me"));
        let long: Vec<String> = (0..50).map(|at| format!("{at} {}", "some words. ".repeat(20))).collect();
        let before = service.inner.sent.len();
        service.inner.orders.next_response("message", response(200, &json!({"messages": [{"id": "x"}]})));
        service.inner.orders.next_response("message", limited);
        let id = play.reply(play.next(), &long.join("\n\n"));
        play.until(id, ReplyState::Delivered);
        let sent = service.inner.sent.all();
        assert!(!sent[before].text.starts_with("0 "), "the first message was sent again");
        assert!(sent.last().unwrap().text.contains("49 some"));
        assert_eq!(play.host.reply(id).unwrap().unwrap().attempts, 2);
    }
}

#[test]
fn a_refusal_for_good_is_a_dead_letter() {
    for (code, details) in [
        (131047, "Message failed to send because more than 24 hours have passed"),
        (131026, "Message undeliverable"),
    ] {
        let service = WhatsApp::start();
        let play = open(&service);
        service.say(&play, text("m1", "hello"));
        let delivery = play.next();
        service.fail_with(400, code, details);
        let why = play.until_dead(play.reply(delivery, "hi"));
        assert!(why.contains(details) && why.contains(&code.to_string()), "{why}");
    }
}

#[test]
fn an_expired_token_degrades_the_channel() {
    let service = WhatsApp::start();
    let play = open(&service);
    for number in 0..3 {
        service.say(&play, text(&format!("m{number}"), "hello"));
        let delivery = play.next();
        service.fail_with(401, 190, "Session has expired");
        play.until_dead(play.reply(delivery, "hi"));
    }
    let problem = eventually("the channel is degraded", || {
        play.health().problems.into_iter().find(|problem| problem.to_string().contains("credentials"))
    });
    assert!(problem.to_string().contains("Session has expired"), "{problem}");
}

#[test]
fn the_same_message_is_heard_once_also_after_a_restart() {
    let service = WhatsApp::start();
    let scratch = TempDir::new();
    let setting = Setting { state: Some(scratch.path()), ..setting(&service) };
    let play = Play::start(&setting, policy("open"));
    assert_eq!(service.say(&play, text("m1", "hello")).status, 200);
    assert_eq!(service.say(&play, text("m1", "hello")).status, 200);
    let delivery = play.next();
    service.set_down(true);
    let id = play.reply(delivery, "a reply");
    eventually("it was tried", || (play.host.reply(id).unwrap().unwrap().attempts > 0).then_some(()));
    play.host.shutdown();
    let play = Play::start(&setting, policy("open"));
    service.set_down(false);
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.say(&play, text("m1", "hello")).status, 200);
    assert_eq!(service.inner.sent.len(), 1);
    play.hear_nothing();
}
