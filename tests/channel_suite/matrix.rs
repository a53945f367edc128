//! Matrix.

use serde_json::{Value, json};
use tinclaw::AgentResponse;
use tinclaw::store::ReplyState;

use crate::fake::{json as response, json_with};
use crate::matrix_fake::{ME, Matrix};
use crate::play::{Play, Setting, configured, file};
use crate::support::eventually;
use crate::support::temp_dir::TempDir;

pub const ANN: &str = "@ann:a.example";
pub const DIRECT: &str = "!direct:a.example";
const GROUP: &str = "!group:a.example";

fn setting(service: &Matrix) -> Setting<'static> {
    let settings = vec![("homeserver", service.upstream.url())];
    Setting {
        channel: "matrix",
        secrets: &["matrix_access_token"],
        rewrites: &[],
        state: None,
        tunnel_url: None,
        settings: settings.leak(),
    }
}

/// A channel that has made its first sync: what is written now is for it.
pub fn open(service: &Matrix) -> Play {
    service.room(DIRECT, 2);
    service.room(GROUP, 3);
    start(service, &setting(service), json!({"dm_policy": "open"}))
}

fn start(service: &Matrix, setting: &Setting<'_>, config: Value) -> Play {
    let play = Play::start(setting, configured(config));
    let before = service.inner.syncs.len();
    service.inner.syncs.wait(before + 2);
    play
}

fn broadcast(play: &Play, to: &str) -> tinclaw::store::ReplyId {
    let news = AgentResponse { content: "news".into(), ..AgentResponse::default() };
    play.host.broadcast(&play.channel, to, news).expect("it is kept")
}

#[test]
fn a_message_arrives_and_its_reply_leaves_formatted_with_typing() {
    let service = Matrix::start();
    service.room(DIRECT, 2);
    service.say(DIRECT, ANN, "history");
    let play = start(&service, &setting(&service), json!({"dm_policy": "open"}));
    service.say(DIRECT, ME, "my own");
    service.event(DIRECT, "@bot:a", "m.room.message", json!({"msgtype": "m.notice", "body": "a bot"}));
    service.say(DIRECT, ANN, "hello");
    let delivery = play.next();
    let message = delivery.message();
    assert_eq!((message.content.as_str(), message.user_id.as_str()), ("hello", ANN));
    assert_eq!((message.user_name.as_deref(), message.thread_id.as_deref()), (Some("ann"), Some(DIRECT)));
    let status = tinclaw::StatusUpdate {
        status: tinclaw::StatusType::Thinking,
        message: String::new(),
        metadata_json: message.metadata_json.clone(),
    };
    play.host.status_to(&play.channel, status).expect("the host runs");
    assert_eq!(service.inner.typing.wait(1), [DIRECT]);
    let id = play.reply(delivery, "**hi** `a<b`");
    play.until(id, ReplyState::Delivered);
    let sent = &service.inner.sent.all()[0];
    assert_eq!((sent.room.as_str(), &sent.content["body"]), (DIRECT, &json!("hi a<b")));
    assert_eq!(sent.content["format"], "org.matrix.custom.html");
    assert_eq!(sent.content["formatted_body"], "<p><strong>hi</strong> <code>a&lt;b</code></p>\n");
    assert_eq!(sent.content["m.relates_to"], Value::Null);
    // The room of a user is known from their message; the same text twice is two messages.
    for _ in 0..2 {
        play.until(broadcast(&play, ANN), ReplyState::Delivered);
    }
    play.until(broadcast(&play, "@new:a.example"), ReplyState::Delivered);
    let rooms: Vec<String> = service.inner.sent.all()[1..].iter().map(|sent| sent.room.clone()).collect();
    assert_eq!(rooms, [DIRECT, DIRECT, "!new:a.example"]);
    play.hear_nothing();
}

#[test]
fn an_invitation_is_taken_from_who_may_talk_and_an_unknown_sender_gets_one_code() {
    let service = Matrix::start();
    let play = start(&service, &setting(&service), json!({"owner_id": ANN}));
    service.invite("!team:a.example", ANN, false);
    assert_eq!(service.inner.joined.wait(1), ["!team:a.example"]);
    service.invite("!spam:a.example", "@eve:a.example", false);
    service.invite(DIRECT, "@bob:a.example", true);
    assert_eq!(service.inner.joined.wait(2)[1], DIRECT);
    let told = service.inner.sent.wait(1);
    let code = play.host.pairing().pending()[0].code.clone();
    assert!(told[0].content["body"].as_str().is_some_and(|text| text.contains(&code)), "{told:?}");
    service.say(DIRECT, "@bob:a.example", "hello?");
    play.approve_all();
    service.say(DIRECT, "@bob:a.example", "thanks");
    let heard = play.hear();
    // Whether the first one is read before the approval is a matter of time.
    if heard == "hello?" {
        assert_eq!(play.hear(), "thanks");
    } else {
        assert_eq!(heard, "thanks");
    }
    assert_eq!((service.inner.joined.len(), service.inner.sent.len()), (2, 1));
}

#[test]
fn delivery_is_exactly_once_also_when_responses_are_lost_and_over_a_restart() {
    let service = Matrix::start();
    service.room(DIRECT, 2);
    let scratch = TempDir::new();
    let setting = Setting { state: Some(scratch.path()), ..setting(&service) };
    let play = start(&service, &setting, json!({"dm_policy": "open"}));
    service.say(DIRECT, ANN, "once");
    let delivery = play.next();
    service.set_losing_responses(true);
    let id = play.reply(delivery, "first");
    play.until(id, ReplyState::Delivered);
    assert_eq!((service.inner.sent.len(), play.host.reply(id).unwrap().unwrap().attempts), (1, 2));
    service.say(DIRECT, ANN, "again");
    let delivery = play.next();
    service.set_down(true);
    let id = play.reply(delivery, "second");
    eventually("it was tried", || (play.host.reply(id).unwrap().unwrap().attempts > 0).then_some(()));
    play.host.shutdown();
    service.set_down(false);
    service.say(DIRECT, ANN, "written meanwhile");
    let play = Play::start(&setting, configured(json!({"dm_policy": "open"})));
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.inner.sent.len(), 2);
    assert_eq!(play.hear(), "written meanwhile");
    play.hear_nothing();
}

#[test]
fn a_long_reply_is_split_and_no_part_arrives_twice() {
    let service = Matrix::start();
    let play = open(&service);
    service.say(DIRECT, ANN, "tell me everything");
    let code = format!("```rust\n{}```", "let a = \"<&>\";\n".repeat(4000));
    let refused = json!({"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": 50});
    service.inner.orders.next_response("send", response(200, &json!({"event_id": "$x"})));
    service.inner.orders.next_response("send", response(429, &refused));
    let id = play.reply(play.next(), &code);
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    let all: String = sent.iter().filter_map(|sent| sent.content["body"].as_str()).collect();
    let count = all.matches("let a = \"<&>\";").count();
    assert!(
        sent.len() >= 3 && count < 4000 && count > 2500,
        "{} {count}: the first part is not sent again",
        sent.len()
    );
    assert_eq!(play.host.reply(id).unwrap().unwrap().attempts, 2);
}

#[test]
fn failures_that_pass_are_tried_again_and_formatting_that_is_refused_is_left_out() {
    let limit = json!({"errcode": "M_LIMIT_EXCEEDED", "error": "slow down", "retry_after_ms": 20});
    for failure in [
        (502, Vec::new(), b"<html></html>".to_vec()),
        response(429, &limit),
        json_with(429, ("retry-after", "1"), &json!({"errcode": "M_LIMIT_EXCEEDED"})),
    ] {
        let service = Matrix::start();
        let play = open(&service);
        service.say(DIRECT, ANN, "hello");
        service.inner.orders.next_response("send", failure);
        let id = play.reply(play.next(), "hi");
        play.until(id, ReplyState::Delivered);
        assert_eq!((play.host.reply(id).unwrap().unwrap().attempts, service.inner.sent.len()), (2, 1));
    }
    let service = Matrix::start();
    let play = open(&service);
    service.say(DIRECT, ANN, "hello");
    let bad = response(400, &json!({"errcode": "M_BAD_JSON", "error": "formatted_body"}));
    service.inner.orders.next_response("send", bad);
    let id = play.reply(play.next(), "**hi**");
    play.until(id, ReplyState::Delivered);
    let content = &service.inner.sent.all()[0].content;
    assert_eq!((&content["body"], &content["formatted_body"]), (&json!("hi"), &Value::Null));
}

#[test]
fn a_refusal_for_good_is_a_dead_letter_and_a_revoked_token_degrades_the_channel() {
    let service = Matrix::start();
    let play = open(&service);
    service.say(DIRECT, ANN, "hello");
    let delivery = play.next();
    service.ban(DIRECT);
    let id = play.reply(delivery, "hi");
    let why = play.until_dead(id);
    assert!(why.contains("M_FORBIDDEN User is not in the room"), "{why}");
    service.say(GROUP, ANN, "tin: hello, @tin:a.example");
    let delivery = play.next();
    service.revoke();
    let id = play.reply(delivery, "hi");
    let why = play.until_dead(id);
    assert!(why.contains("M_UNKNOWN_TOKEN"), "{why}");
    eventually("the channel is degraded", || {
        play.health().problems.into_iter().find(|problem| problem.to_string().contains("credentials"))
    });
}

#[test]
fn in_a_group_the_bot_hears_what_is_for_it_and_replies_there() {
    let service = Matrix::start();
    let play = open(&service);
    service.say(GROUP, ANN, "between us");
    let mention = json!({"msgtype": "m.text", "body": "Tin: what is up", "m.mentions": {"user_ids": [ME]},
        "m.relates_to": {"rel_type": "m.thread", "event_id": "$root", "is_falling_back": true,
            "m.in_reply_to": {"event_id": "$before"}}});
    let asked = service.event(GROUP, ANN, "m.room.message", mention);
    let delivery = play.next();
    assert_eq!(delivery.message().content, "what is up");
    assert_eq!(delivery.message().thread_id, Some(format!("{GROUP}:$root")));
    let id = play.reply(delivery, "much");
    play.until(id, ReplyState::Delivered);
    let content = &service.inner.sent.all()[0].content;
    let relation = json!({"rel_type": "m.thread", "event_id": "$root", "is_falling_back": false,
        "m.in_reply_to": {"event_id": asked}});
    assert_eq!((&content["m.relates_to"], &content["m.mentions"]), (&relation, &json!({})));
    let plan = service.say(GROUP, "@bob:a.example", "the plan");
    let own = service.say(GROUP, ME, "mine");
    let replying = |event: &str, body: &str| json!({"msgtype": "m.text", "body": body, "m.relates_to": {"m.in_reply_to": {"event_id": event}}});
    service.event(GROUP, ANN, "m.room.message", replying(&plan, "I like it"));
    service.event(GROUP, ANN, "m.room.message", replying(&own, "> <@tin:a.example> mine\n\nand you?"));
    assert_eq!(play.hear(), "and you?");
    service.event(GROUP, ANN, "m.room.message", replying(&plan, "!tin is it good?"));
    assert_eq!(play.hear(), "> bob:\n> the plan\n\nis it good?");
    let edit = json!({"msgtype": "m.text", "body": "* !tin better", "m.new_content": {"msgtype": "m.text", "body": "!tin better"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": asked}});
    service.event(GROUP, ANN, "m.room.message", edit);
    assert_eq!(play.hear(), "[edited] better");
    play.hear_nothing();
}

#[test]
fn files_come_in_and_go_out() {
    for is_old in [false, true] {
        let service = Matrix::start();
        if is_old {
            service.set_old_media();
        }
        let play = open(&service);
        service.put_media("pic", b"a picture");
        let picture = |media: &str, body: &str, size: u64| {
            json!({"msgtype": "m.image", "body": body, "filename": "a.png", "url": format!("mxc://a.example/{media}"),
            "info": {"mimetype": "image/png", "size": size}})
        };
        service.event(DIRECT, ANN, "m.room.message", picture("pic", "look", 9));
        let delivery = play.next();
        assert_eq!(delivery.message().content, "look");
        let attached = &delivery.message().attachments[0];
        assert_eq!((attached.filename.as_deref(), attached.mime_type.as_str()), (Some("a.png"), "image/png"));
        let data = delivery.attachment_data(0).expect("the store works").expect("it is kept");
        assert_eq!(&data[..], b"a picture");
        let id = play.reply_with(delivery, "here", vec![file("b.pdf", "application/pdf", b"%PDF")]);
        play.until(id, ReplyState::Delivered);
        let sent = service.inner.sent.all();
        assert_eq!(
            (&sent[0].content["body"], &sent[1].content["msgtype"]),
            (&json!("here"), &json!("m.file"))
        );
        assert_eq!(sent[1].content["url"], "mxc://a.example/b-pdf");
        assert_eq!(service.media("b-pdf").as_deref(), Some(&b"%PDF"[..]));
        service.event(DIRECT, ANN, "m.room.message", picture("pic", "a.png", 30_000_000));
        assert_eq!(play.hear(), "[a.png is larger than the 20 MB that are fetched]");
        service.event(DIRECT, ANN, "m.room.message", picture("gone", "a.png", 3));
        assert_eq!(play.hear(), "[a.png could not be fetched]");
    }
}

#[test]
fn an_encrypted_room_is_told_once_that_it_cannot_be_read() {
    let service = Matrix::start();
    let play = open(&service);
    for _ in 0..3 {
        service.event(DIRECT, ANN, "m.room.encrypted", json!({"algorithm": "m.megolm.v1.aes-sha2"}));
    }
    service.say(DIRECT, ANN, "in plain text");
    assert_eq!(play.hear(), "in plain text");
    let sent = service.inner.sent.all();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].content["body"].as_str().is_some_and(|text| text.contains("encrypted")));
}

#[test]
fn what_did_not_fit_into_a_sync_is_fetched_and_a_homeserver_that_is_down_is_polled() {
    let service = Matrix::start();
    let play = open(&service);
    service.set_down(true);
    for number in 0..70 {
        service.say(DIRECT, ANN, &format!("message {number}"));
    }
    let before = service.upstream.requests().len();
    eventually("it is polled in vain", || (service.upstream.requests().len() > before + 1).then_some(()));
    service.set_down(false);
    for number in 0..70 {
        assert_eq!(play.hear(), format!("message {number}"));
    }
    play.hear_nothing();
}
