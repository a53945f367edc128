//! Slack.

use serde_json::{Value, json};
use tinclaw::AgentResponse;
use tinclaw::store::ReplyState;

use crate::fake::json_with;
use crate::play::{Play, Setting, file};
use crate::slack_fake::Slack;
use crate::support::eventually;
use crate::support::temp_dir::TempDir;

fn setting(service: &Slack) -> Setting<'static> {
    let rewrites = ["slack.com", "files.slack.com"].map(|host| (host, service.upstream.url()));
    Setting {
        channel: "slack",
        secrets: &["slack_bot_token", "slack_signing_secret"],
        rewrites: rewrites.to_vec().leak(),
        state: None,
        tunnel_url: None,
        settings: &[],
    }
}

fn policy(policy: &'static str) -> impl FnOnce(&mut Value) {
    move |file| file["config"]["dm_policy"] = json!(policy)
}

pub fn open(service: &Slack) -> Play {
    Play::start(&setting(service), policy("open"))
}

pub fn direct(text: &str, ts: &str) -> Value {
    json!({"type": "message", "channel": "D1", "channel_type": "im", "user": "UANN", "text": text, "ts": ts})
}

fn in_channel(text: &str, ts: &str) -> Value {
    json!({"type": "message", "channel": "C1", "channel_type": "channel", "user": "UANN", "text": text, "ts": ts})
}

#[test]
fn the_address_is_verified_and_wrong_signatures_are_refused() {
    let service = Slack::start();
    let play = open(&service);
    let challenge = json!({"type": "url_verification", "challenge": "abc"}).to_string();
    let reply = service.post(&play, "application/json", &challenge);
    assert_eq!((reply.status, reply.json()["challenge"].as_str()), (200, Some("abc")));
    assert_eq!(play.post("/webhook/slack", &[], &challenge).status, 401);
}

#[test]
fn a_message_arrives_and_its_reply_leaves_in_mrkdwn() {
    let service = Slack::start();
    let play = open(&service);
    assert_eq!(service.event(&play, "Ev1", &direct("hi &amp; <https://a.example|hello>", "1.0")).status, 200);
    let delivery = play.next();
    assert_eq!(delivery.message().content, "hi & [hello](https://a.example)");
    assert_eq!(
        (delivery.message().user_id.as_str(), delivery.message().thread_id.as_deref()),
        ("UANN", Some("D1"))
    );
    let id = play.reply(delivery, "**bold** <!channel> [x](https://b.example)");
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!(sent[0].text, "*bold* &lt;!channel&gt; <https://b.example|x>");
    assert_eq!((sent[0].channel.as_str(), &sent[0].thread), ("D1", &None));
    let news = AgentResponse { content: "news".into(), ..AgentResponse::default() };
    let id = play.host.broadcast(&play.channel, "UBOB", news).expect("it is kept");
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.inner.sent.all()[1].channel, "UBOB");
}

#[test]
fn an_unknown_sender_gets_a_code() {
    let service = Slack::start();
    let play = Play::start(&setting(&service), policy("pairing"));
    service.event(&play, "Ev1", &direct("let me in", "1.0"));
    let told = service.inner.sent.wait(1);
    assert!(told[0].text.contains("tinclaw pairing approve slack"), "{told:?}");
    play.approve_all();
    service.event(&play, "Ev2", &direct("thanks", "2.0"));
    assert_eq!(play.hear(), "thanks");
}

#[test]
fn in_a_channel_the_bot_hears_mentions_once_and_replies_in_a_thread() {
    let service = Slack::start();
    let play = open(&service);
    service.event(&play, "Ev1", &in_channel("between us", "1.0"));
    // A mention arrives twice, as two events with ids of their own.
    service.event(&play, "Ev2", &in_channel("<@UBOT> hello <@UBOB>", "2.0"));
    let mut mention = in_channel("<@UBOT> hello <@UBOB>", "2.0");
    mention["type"] = json!("app_mention");
    service.event(&play, "Ev3", &mention);
    let delivery = play.next();
    assert_eq!(delivery.message().content, "hello @UBOB");
    play.host
        .status_to(
            &play.channel,
            tinclaw::StatusUpdate {
                status: tinclaw::StatusType::Thinking,
                message: String::new(),
                metadata_json: delivery.message().metadata_json.clone(),
            },
        )
        .expect("the host runs");
    assert_eq!(service.inner.statuses.wait(1), ["is typing…"]);
    let id = play.reply(delivery, "hello");
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.inner.sent.all()[0].thread.as_deref(), Some("2.0"));
    // In the thread of its response it is spoken to without a mention.
    let mut below = in_channel("and more", "3.0");
    below["thread_ts"] = json!("2.0");
    below["parent_user_id"] = json!("UBOT");
    service.event(&play, "Ev4", &below);
    assert_eq!(play.hear(), "and more");
    play.hear_nothing();
}

#[test]
fn edits_commands_and_buttons_are_delivered_and_bots_are_ignored() {
    let service = Slack::start();
    let play = open(&service);
    let mut bot = direct("I am a bot", "1.0");
    bot["bot_id"] = json!("B9");
    service.event(&play, "Ev1", &bot);
    let mut own = direct("my own", "1.1");
    own["user"] = json!("UBOT");
    service.event(&play, "Ev2", &own);
    let changed = |before: &str, after: &str| {
        json!({"type": "message", "subtype": "message_changed", "channel": "D1", "channel_type": "im",
            "message": {"user": "UANN", "text": after, "ts": "2.0", "edited": {"ts": "2.5"}},
            "previous_message": {"text": before}})
    };
    service.event(&play, "Ev3", &changed("same", "same"));
    service.event(&play, "Ev4", &changed("old", "new"));
    assert_eq!(play.hear(), "[edited] new");
    let form = "application/x-www-form-urlencoded";
    let command = "command=%2Fask&text=what+now&user_id=UANN&user_name=ann&channel_id=D1&trigger_id=t1";
    assert_eq!(service.post(&play, form, command).status, 200);
    assert_eq!(play.hear(), "/ask what now");
    let payload = json!({"type": "block_actions", "user": {"id": "UANN"}, "channel": {"id": "D1"},
        "message": {"ts": "3.0"}, "actions": [{"value": "yes", "action_ts": "4.0"}]});
    let payload: String = url::form_urlencoded::byte_serialize(payload.to_string().as_bytes()).collect();
    assert_eq!(service.post(&play, form, &format!("payload={payload}")).status, 200);
    assert_eq!(play.hear(), "yes");
    play.hear_nothing();
}

#[test]
fn files_come_in_and_go_out() {
    let service = Slack::start();
    let play = open(&service);
    service.put_file("a.pdf", b"%PDF");
    let mut message = direct("look", "1.0");
    message["subtype"] = json!("file_share");
    message["files"] = json!([
        {"id": "F1", "name": "a.pdf", "mimetype": "application/pdf", "size": 4, "url_private": "https://files.slack.com/files-pri/a.pdf"},
        {"id": "F2", "name": "b.pdf", "mimetype": "application/pdf", "size": 4, "url_private": "https://files.slack.com/files-pri/b.pdf"}]);
    service.event(&play, "Ev1", &message);
    let delivery = play.next();
    assert_eq!(delivery.message().content, "look\n[b.pdf could not be fetched]");
    assert_eq!(delivery.message().attachments[0].filename.as_deref(), Some("a.pdf"));
    let data = delivery.attachment_data(0).expect("the store works").expect("it is kept");
    assert_eq!(&data[..], b"%PDF");
    let id = play.reply_with(delivery, "here", vec![file("ü.txt", "text/plain", b"text")]);
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!((sent[0].text.as_str(), &sent[1].file), ("here", &Some(("ü.txt".into(), b"text".to_vec()))));
}

#[test]
fn a_long_reply_is_split_and_goes_on_where_it_was_stopped() {
    let service = Slack::start();
    let play = open(&service);
    service.event(&play, "Ev1", &direct("tell me", "1.0"));
    let text: Vec<String> = (0..50).map(|number| format!("{number} {}", "some words. ".repeat(20))).collect();
    let limited = json_with(429, ("retry-after", "1"), &json!({"ok": false, "error": "ratelimited"}));
    service.inner.orders.next_response("chat.postMessage", crate::fake::json(200, &json!({"ok": true})));
    service.inner.orders.next_response("chat.postMessage", limited);
    let id = play.reply(play.next(), &text.join("\n\n"));
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert!(sent.len() >= 2 && !sent[0].text.starts_with("0 "), "the first message was sent again");
    assert!(sent.last().unwrap().text.contains("49 some"));
    assert_eq!(play.host.reply(id).unwrap().unwrap().attempts, 2);
}

// Slack responds with 200 and means an error: every such reply was retried for a day.
#[test]
fn an_error_in_a_200_is_retried_or_a_dead_letter() {
    for (error, words) in [
        ("channel_not_found", "chat.postMessage: channel_not_found"),
        ("not_in_channel", "not_in_channel"),
        ("is_archived", "is_archived"),
        ("msg_too_long", "msg_too_long"),
    ] {
        let service = Slack::start();
        let play = open(&service);
        service.event(&play, "Ev1", &direct("hello", "1.0"));
        let delivery = play.next();
        service.fail_with(error);
        let why = play.until_dead(play.reply(delivery, "hi"));
        assert!(why.contains(words), "{why}");
    }
    let service = Slack::start();
    let play = open(&service);
    service.event(&play, "Ev1", &direct("hello", "1.0"));
    let failed = |error: &str| crate::fake::json(200, &json!({"ok": false, "error": error}));
    service.inner.orders.next_response("chat.postMessage", failed("internal_error"));
    service.inner.orders.next_response("chat.postMessage", (502, Vec::new(), b"<html>".to_vec()));
    service.inner.orders.next_response("chat.postMessage", (200, Vec::new(), b"<html>".to_vec()));
    let id = play.reply(play.next(), "hi");
    play.until(id, ReplyState::Delivered);
    assert_eq!(play.host.reply(id).unwrap().unwrap().attempts, 4);
}

#[test]
fn a_revoked_token_degrades_the_channel() {
    let service = Slack::start();
    let play = open(&service);
    for number in 0..3 {
        service.event(&play, &format!("Ev{number}"), &direct("hello", &format!("{number}.0")));
        let delivery = play.next();
        service.fail_with("token_revoked");
        let why = play.until_dead(play.reply(delivery, "hi"));
        assert!(why.contains("token_revoked"), "{why}");
    }
    let problem = eventually("the channel is degraded", || {
        play.health().problems.into_iter().find(|problem| problem.to_string().contains("credentials"))
    });
    assert!(problem.to_string().contains("token_revoked"), "{problem}");
}

#[test]
fn the_same_event_is_heard_once_also_after_a_restart_and_a_failure() {
    let service = Slack::start();
    let scratch = TempDir::new();
    let setting = Setting { state: Some(scratch.path()), ..setting(&service) };
    let play = Play::start(&setting, policy("open"));
    // Who the app is cannot be asked: Slack is told to send the event again.
    service.set_down(true);
    assert_eq!(service.event(&play, "Ev1", &direct("hello", "1.0")).status, 503);
    service.set_down(false);
    assert_eq!(service.event(&play, "Ev1", &direct("hello", "1.0")).status, 200);
    assert_eq!(service.event(&play, "Ev1", &direct("hello", "1.0")).status, 200);
    let delivery = play.next();
    service.set_down(true);
    let id = play.reply(delivery, "a reply");
    eventually("it was tried", || (play.host.reply(id).unwrap().unwrap().attempts > 0).then_some(()));
    play.host.shutdown();
    service.set_down(false);
    let play = Play::start(&setting, policy("open"));
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.event(&play, "Ev1", &direct("hello", "1.0")).status, 200);
    assert_eq!(service.inner.sent.len(), 1);
    play.hear_nothing();
}
