//! Telegram.

use serde_json::{Value, json};
use tinclaw::store::ReplyState;

use crate::fake::json as response;
use crate::play::{Play, Setting, file};
use crate::support::eventually;
use crate::support::temp_dir::TempDir;
use crate::telegram_fake::{BOT_ID, Telegram};

const ANN: i64 = 7;
const GROUP: i64 = -100;

fn setting(service: &Telegram) -> Setting<'static> {
    let rewrites = vec![("api.telegram.org", service.upstream.url())];
    Setting {
        channel: "telegram",
        secrets: &["telegram_bot_token", "telegram_webhook_secret"],
        rewrites: rewrites.leak(),
        state: None,
        tunnel_url: None,
        settings: &[],
    }
}

fn configured(config: Value) -> impl FnOnce(&mut Value) {
    move |file| {
        file["config"]["poll_interval_ms"] = json!(30);
        file["capabilities"]["channel"]["min_poll_interval_ms"] = json!(30);
        for (key, value) in config.as_object().expect("an object") {
            file["config"][key] = value.clone();
        }
    }
}

pub fn open(service: &Telegram) -> Play {
    Play::start(&setting(service), configured(json!({"dm_policy": "open"})))
}

fn from_ann() -> Value {
    json!({"id": ANN, "is_bot": false, "first_name": "Ann", "last_name": "Lee"})
}

pub fn private(text: &str) -> Value {
    json!({"message_id": 11, "from": from_ann(), "chat": {"id": ANN, "type": "private"}, "text": text})
}

fn in_group(text: &str, entities: Value) -> Value {
    json!({"message_id": 12, "from": from_ann(), "chat": {"id": GROUP, "type": "supergroup", "title": "Team"},
        "text": text, "entities": entities})
}

#[test]
fn commands_of_the_operator_are_told_to_telegram_once() {
    let (service, scratch) = (Telegram::start(), TempDir::new());
    let setting = Setting { state: Some(scratch.path()), ..setting(&service) };
    let start = |commands: Value| {
        Play::start(&setting, configured(json!({"dm_policy": "open", "commands": commands})))
    };
    for _ in 0..2 {
        start(json!({"reset": "Forget all"})).host.shutdown();
    }
    start(json!({})).host.shutdown();
    let all = json!([{"command": "reset", "description": "Forget all"}]);
    assert_eq!(service.inner.commands.all(), [all, json!([])]);
    // A bot whose commands are refused works all the same.
    let refused = json!({"ok": false, "error_code": 400, "description": "Bad Request: BOT_COMMAND_INVALID"});
    service.inner.orders.next_response("setMyCommands", response(400, &refused));
    let play = start(json!({"Not Allowed": "x"}));
    service.update("message", private("hello"));
    assert_eq!(play.hear(), "hello");
}

#[test]
fn a_message_arrives_and_its_reply_leaves_with_marks_and_typing() {
    let service = Telegram::start();
    let play = open(&service);
    service.update("message", private("hello"));
    let delivery = play.next();
    let message = delivery.message();
    assert_eq!((message.content.as_str(), message.user_id.as_str()), ("hello", "7"));
    assert_eq!((message.user_name.as_deref(), message.thread_id.as_deref()), (Some("Ann Lee"), Some("7")));
    play.host
        .status_to(
            &play.channel,
            tinclaw::StatusUpdate {
                status: tinclaw::StatusType::Thinking,
                message: String::new(),
                metadata_json: message.metadata_json.clone(),
            },
        )
        .expect("the host runs");
    assert_eq!(service.inner.typing.wait(1), [ANN]);
    let id = play.reply(delivery, "**hi** `a<b` [x](https://a.example)");
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].chat, sent[0].text.as_str(), sent[0].is_html), (ANN, "hi a<b x", true));
    assert_eq!(sent[0].reply_to, None, "in a conversation of two it is clear what is replied to");
    let id = play.host.broadcast(
        &play.channel,
        "7",
        tinclaw::AgentResponse { content: "news".into(), ..Default::default() },
    );
    play.until(id.expect("it is kept"), ReplyState::Delivered);
    assert_eq!(service.inner.sent.all()[1].text, "news");
}

#[test]
fn an_unknown_sender_gets_one_code_and_is_heard_when_it_is_approved() {
    let service = Telegram::start();
    let play = Play::start(&setting(&service), configured(json!({})));
    service.update("message", private("let me in"));
    let told = service.inner.sent.wait(1);
    let code = play.host.pairing().pending()[0].code.clone();
    assert!(
        told[0].text.contains(&code) && told[0].text.contains("tinclaw pairing approve telegram"),
        "{told:?}"
    );
    service.update("message", private("hello?"));
    eventually("it is fetched", || service.is_drained().then_some(()));
    play.approve_all();
    service.update("message", private("thanks"));
    assert_eq!(play.hear(), "thanks");
    assert_eq!(service.inner.sent.len(), 1, "the code is told once");
}

#[test]
fn a_long_reply_is_split_and_goes_on_where_it_was_stopped() {
    let service = Telegram::start();
    let play = open(&service);
    service.update("message", private("tell me everything"));
    let delivery = play.next();
    let paragraphs: Vec<String> =
        (0..60).map(|number| format!("{number} {}", "words and 😀 words. ".repeat(12))).collect();
    let code = format!("```rust\n{}```", "let a = \"<&>\";\n".repeat(300));
    let text = format!("{}\n\n{code}", paragraphs.join("\n\n"));
    // The second message is rate limited: the first one must not be sent again.
    let slow_down = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 1", "parameters": {"retry_after": 1}});
    service.inner.orders.next_response("sendMessage", response(200, &json!({"ok": true, "result": {}})));
    service.inner.orders.next_response("sendMessage", response(429, &slow_down));
    let id = play.reply(delivery, &text);
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert!(sent.len() > 3, "{}", sent.len());
    let all: String = sent.iter().map(|sent| sent.text.as_str()).collect::<Vec<_>>().join("\n");
    assert!(!sent[0].text.starts_with("0 "), "the first message was sent again");
    assert_eq!(all.matches("let a = \"<&>\";").count(), 300);
    assert!(all.contains("\n\n59 ") || all.contains("\n59 "));
    assert_eq!(play.host.reply(id).unwrap().unwrap().attempts, 2);
}

#[test]
fn marks_that_telegram_refuses_are_left_out() {
    let service = Telegram::start();
    let play = open(&service);
    service.update("message", private("hello"));
    let refused = json!({"ok": false, "error_code": 400, "description": "Bad Request: can't parse entities: no end tag"});
    service.inner.orders.next_response("sendMessage", response(400, &refused));
    let id = play.reply(play.next(), "**hi**");
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!((sent[0].text.as_str(), sent[0].is_html), ("hi", false));
}

#[test]
fn failures_that_pass_are_tried_again() {
    let bad_gateway = (502, Vec::new(), b"<html></html>".to_vec());
    let slow_down =
        |headers: Vec<(String, String)>, body: Value| (429, headers, body.to_string().into_bytes());
    for (case, failure) in [
        ("a proxy in between", bad_gateway),
        (
            "in the body",
            slow_down(
                Vec::new(),
                json!({"ok": false, "description": "Too Many Requests", "parameters": {"retry_after": 1}}),
            ),
        ),
        (
            "in a header",
            slow_down(
                vec![("retry-after".into(), "1".into())],
                json!({"ok": false, "description": "Too Many Requests"}),
            ),
        ),
    ] {
        let service = Telegram::start();
        let play = open(&service);
        service.update("message", private("hello"));
        service.inner.orders.next_response("sendMessage", failure);
        let id = play.reply(play.next(), "hi");
        play.until(id, ReplyState::Delivered);
        assert_eq!(play.host.reply(id).unwrap().unwrap().attempts, 2, "{case}");
        assert_eq!(service.inner.sent.len(), 1, "{case}");
    }
}

#[test]
fn a_refusal_for_good_is_a_dead_letter_at_once_in_telegrams_words() {
    let service = Telegram::start();
    let play = open(&service);
    service.update("message", private("hello"));
    let delivery = play.next();
    service.block(ANN);
    let id = play.reply(delivery, "hi");
    let why = play.until_dead(id);
    assert!(why.contains("Forbidden: bot was blocked by the user"), "{why}");
    let id = play.host.broadcast(
        &play.channel,
        "404",
        tinclaw::AgentResponse { content: "news".into(), ..Default::default() },
    );
    let why = play.until_dead(id.expect("it is kept"));
    assert!(why.contains("chat not found"), "{why}");
}

#[test]
fn files_come_in_and_go_out() {
    let service = Telegram::start();
    let play = open(&service);
    service.put_file("big", b"a large picture");
    service.put_file("doc", b"%PDF");
    let photo = json!([
        {"file_id": "small", "file_unique_id": "s", "width": 90, "height": 60},
        {"file_id": "big", "file_unique_id": "b", "width": 900, "height": 600}]);
    service.update(
        "message",
        json!({"message_id": 20, "from": from_ann(), "chat": {"id": ANN, "type": "private"},
        "caption": "look", "photo": photo}),
    );
    let delivery = play.next();
    assert_eq!(delivery.message().content, "look");
    let files = &delivery.message().attachments;
    assert_eq!(
        (files.len(), files[0].mime_type.as_str(), files[0].filename.as_deref()),
        (1, "image/jpeg", Some("big"))
    );
    let data = delivery.attachment_data(0).expect("the store works").expect("it is kept");
    assert_eq!(&data[..], b"a large picture");
    let id = play.reply_with(delivery, "**here**", vec![file("a.png", "image/png", b"png")]);
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!((sent[0].method.as_str(), sent[0].text.as_str()), ("sendPhoto", "here"));
    assert_eq!(sent[0].file, Some(("a.png".into(), b"png".to_vec())));
    // An album arrives as several updates; a file that is too large or gone is said.
    let chat = json!({"id": ANN, "type": "private"});
    for (number, id, size) in [(30, "doc", 4), (31, "huge", 30_000_000), (32, "gone", 4)] {
        service.update("message", json!({"message_id": number, "from": from_ann(), "chat": chat, "media_group_id": "album",
            "document": {"file_id": id, "file_unique_id": id, "file_name": format!("{id}.pdf"), "mime_type": "application/pdf", "file_size": size}}));
    }
    let mut names = Vec::new();
    let mut text = String::new();
    let mut last = None;
    while !text.contains("gone.pdf") {
        let delivery = play.next();
        text += &delivery.message().content;
        names.extend(delivery.message().attachments.iter().filter_map(|file| file.filename.clone()));
        if let Some(before) = last.replace(delivery) {
            before.ack();
        }
    }
    assert_eq!(names, ["doc.pdf"]);
    assert!(text.contains("huge.pdf is larger than the 20 MB"), "{text}");
    let files = vec![file("a.txt", "text/plain", b"a"), file("b.jpg", "image/jpeg", b"no picture")];
    let id = play.reply_with(last.expect("a message"), "two", files);
    play.until(id, ReplyState::Delivered);
    let methods: Vec<String> = service.inner.sent.all()[1..].iter().map(|sent| sent.method.clone()).collect();
    assert_eq!(
        methods,
        ["sendMessage", "sendDocument", "sendDocument"],
        "a picture that is none goes as a file"
    );
}

// Requests had a mebibyte by default, which no file could raise: larger attachments never arrived.
#[test]
fn a_file_of_several_megabytes_goes_out() {
    let service = Telegram::start();
    let play = open(&service);
    service.update(
        "message",
        json!({"message_id": 20, "from": from_ann(), "chat": {"id": ANN, "type": "private"}, "text": "send it"}),
    );
    let large = vec![b'x'; 3 << 20];
    let id = play.reply_with(play.next(), "here", vec![file("a.bin", "application/octet-stream", &large)]);
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!((sent.len(), sent[0].method.as_str()), (1, "sendDocument"));
    assert!(sent[0].file.as_ref().is_some_and(|(name, data)| name == "a.bin" && *data == large));
}

#[test]
fn in_a_group_the_bot_hears_what_is_for_it_and_replies_in_its_topic() {
    let service = Telegram::start();
    let play = open(&service);
    service.update("message", in_group("between us", json!([])));
    service.update(
        "message",
        in_group("/roll@other_bot", json!([{"type": "bot_command", "offset": 0, "length": 15}])),
    );
    service.update(
        "message",
        in_group("😀 hey @Tin_Bot what is up", json!([{"type": "mention", "offset": 7, "length": 8}])),
    );
    assert_eq!(play.hear(), "😀 hey @Tin_Bot what is up");
    service.update(
        "message",
        in_group("/roll@tin_bot 6", json!([{"type": "bot_command", "offset": 0, "length": 13}])),
    );
    service.update("message", {
        let mut message = in_group("and you?", json!([]));
        message["message_id"] = json!(13);
        message["reply_to_message"] =
            json!({"message_id": 5, "from": {"id": BOT_ID, "is_bot": true}, "text": "before"});
        message["message_thread_id"] = json!(77);
        message["is_topic_message"] = json!(true);
        message
    });
    // The same id of a message: it is one message.
    let delivery = play.next();
    assert_eq!(delivery.message().content, "and you?");
    assert_eq!(delivery.message().thread_id.as_deref(), Some("-100:77"));
    let id = play.reply(delivery, "fine");
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!((sent[0].chat, sent[0].topic, sent[0].reply_to), (GROUP, Some(77), Some(13)));
    // The group becomes a supergroup: its id changes, and is remembered.
    service.move_chat(GROUP, -200);
    for number in 0..2 {
        let mut message = in_group("@tin_bot more", json!([{"type": "mention", "offset": 0, "length": 8}]));
        message["message_id"] = json!(40 + number);
        service.update("message", message);
        let delivery = play.next();
        assert_eq!(delivery.message().content, "more");
        let id = play.reply(delivery, "sure");
        play.until(id, ReplyState::Delivered);
    }
    let chats: Vec<i64> = service.inner.sent.all()[1..].iter().map(|sent| sent.chat).collect();
    assert_eq!(chats, [-200, -200]);
    play.hear_nothing();
}

#[test]
fn edits_buttons_and_quotations_are_delivered_and_other_bots_are_ignored() {
    let service = Telegram::start();
    let play = open(&service);
    let mut bot = private("I am a bot");
    bot["from"] = json!({"id": 9, "is_bot": true, "first_name": "Other"});
    service.update("message", bot);
    let mut edited = private("hello there");
    edited["edit_date"] = json!(1_700_000_000);
    service.update("edited_message", edited);
    assert_eq!(play.hear(), "[edited] hello there");
    service.update("callback_query", json!({"id": "cb1", "from": from_ann(), "data": "yes",
        "message": {"message_id": 3, "chat": {"id": ANN, "type": "private"}, "from": {"id": BOT_ID, "is_bot": true}}}));
    assert_eq!(play.hear(), "yes");
    assert_eq!(service.inner.acknowledged_callbacks.all(), ["cb1"]);
    let mut reply = private("what about this?");
    reply["message_id"] = json!(50);
    reply["reply_to_message"] =
        json!({"message_id": 4, "from": {"id": 8, "first_name": "Bob"}, "text": "the plan"});
    service.update("message", reply);
    assert_eq!(play.hear(), "> Bob:\n> the plan\n\nwhat about this?");
    play.hear_nothing();
}

#[test]
fn the_same_update_is_heard_once_also_after_a_restart() {
    let service = Telegram::start();
    let scratch = TempDir::new();
    let setting = Setting { state: Some(scratch.path()), ..setting(&service) };
    let config = || configured(json!({"dm_policy": "open"}));
    let play = Play::start(&setting, config());
    let update = service.update("message", private("once"));
    let delivery = play.next();
    service.again(&update);
    eventually("it is fetched again", || service.is_drained().then_some(()));
    service.set_down(true);
    let id = play.reply(delivery, "a reply");
    eventually("it was tried", || (play.host.reply(id).unwrap().unwrap().attempts > 0).then_some(()));
    play.host.shutdown();
    service.set_down(false);
    let play = Play::start(&setting, config());
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.inner.sent.len(), 1);
    service.again(&update);
    service.update("message", {
        let mut message = private("after the restart");
        message["message_id"] = json!(99);
        message
    });
    assert_eq!(play.hear(), "after the restart");
    play.hear_nothing();
}

#[test]
fn a_revoked_token_degrades_the_channel_and_its_replies_are_dead_letters() {
    let service = Telegram::start();
    let play = open(&service);
    service.update("message", private("hello"));
    let delivery = play.next();
    service.revoke();
    let id = play.reply(delivery, "hi");
    let why = play.until_dead(id);
    assert!(why.contains("Unauthorized"), "{why}");
    let problem = eventually("the channel is degraded", || {
        play.health().problems.into_iter().find(|problem| problem.to_string().contains("credentials"))
    });
    assert!(problem.to_string().contains("401"), "{problem}");
}

#[test]
fn a_service_that_is_down_at_the_start_is_polled_until_it_is_back() {
    let service = Telegram::start();
    service.set_down(true);
    let play = open(&service);
    service.update("message", private("are you there?"));
    eventually("it is polled in vain", || (service.upstream.requests().len() >= 2).then_some(()));
    service.set_down(false);
    assert_eq!(play.hear(), "are you there?");
}

#[test]
fn a_webhook_that_is_left_from_before_is_removed() {
    let service = Telegram::start();
    service.set_webhook();
    let play = open(&service);
    service.update("message", private("hello"));
    assert_eq!(play.hear(), "hello");
    assert!(service.webhook().is_none());
}

#[test]
fn with_a_public_address_updates_come_by_webhook() {
    let service = Telegram::start();
    let setting = Setting { tunnel_url: Some("https://bot.example"), ..setting(&service) };
    let play = Play::start(&setting, configured(json!({"dm_policy": "open"})));
    let webhook = service.webhook().expect("it is set");
    assert_eq!(webhook["url"], "https://bot.example/webhook/telegram");
    let secret = webhook["secret_token"].as_str().expect("a secret").to_owned();
    let header = [("x-telegram-bot-api-secret-token", secret.as_str())];
    let update = json!({"update_id": 5, "message": private("by webhook")}).to_string();
    assert_eq!(play.post("/webhook/telegram", &[], &update).status, 401);
    assert_eq!(play.post("/webhook/telegram", &header, &update).status, 200);
    assert_eq!(play.hear(), "by webhook");
    assert_eq!(play.post("/webhook/telegram", &header, &update).status, 200);
    assert_eq!(play.post("/webhook/telegram", &header, "{}").status, 200);
    play.hear_nothing();
}

// The search for a boundary that is in no file cost 110 units of fuel for each byte, so a file of more than 4.4 MB was never
// sent.
#[test]
fn a_large_file_is_sent() {
    let service = Telegram::start();
    let play = open(&service);
    service.update("message", private("the film, please"));
    let data: Vec<u8> = (0..20_u32 << 20).map(|at| at.wrapping_mul(0x9e37_79b1).to_le_bytes()[3]).collect();
    let id = play.reply_with(play.next(), "here", vec![file("film.bin", "application/octet-stream", &data)]);
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    let files: Vec<_> = sent.iter().filter_map(|sent| sent.file.as_ref()).collect();
    assert_eq!(files.len(), 1);
    assert!(files[0].0 == "film.bin" && files[0].1 == data, "{} bytes arrived", files[0].1.len());
}
