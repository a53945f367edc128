//! Feishu and Lark.

use serde_json::{Value, json};
use tinclaw::AgentResponse;
use tinclaw::host::ChannelState;
use tinclaw::store::ReplyState;

use crate::fake::{json as response, json_with};
use crate::feishu_fake::{APP_ID, BOT, Feishu, now_secs, own_sender, post};
use crate::play::{Play, Setting, file};
use crate::support::eventually;
use crate::support::temp_dir::TempDir;

fn setting(service: &Feishu) -> Setting<'static> {
    let rewrites = ["open.feishu.cn", "open.larksuite.com"].map(|host| (host, service.upstream.url()));
    Setting {
        channel: "feishu",
        secrets: &["feishu_app_secret", "feishu_encrypt_key"],
        rewrites: rewrites.to_vec().leak(),
        state: None,
        tunnel_url: None,
        settings: vec![("app_id", APP_ID.to_owned())].leak(),
    }
}

fn policy(policy: &'static str) -> impl FnOnce(&mut Value) {
    move |file| file["config"]["dm_policy"] = json!(policy)
}

fn open(service: &Feishu) -> Play {
    Play::start(&setting(service), policy("open"))
}

#[test]
fn the_address_is_verified_and_what_is_not_signed_is_refused() {
    let service = Feishu::start();
    let play = open(&service);
    let reply = service.challenge(play.address, "77");
    assert_eq!((reply.status, reply.json()["challenge"].as_str()), (200, Some("77")));
    let event = Feishu::message("m1", "text", &json!({"text": "hello"}), &json!({})).to_string();
    let body = service.encrypted(&event);
    let good = service.signed(now_secs(), &body);
    let unsigned = &good[..1];
    let mut other = good.clone();
    let first = if good[3].1.starts_with('0') { "1" } else { "0" };
    other[3].1.replace_range(..1, first);
    let old = service.signed(now_secs() - 8 * 60 * 60, &body);
    let plain = service.signed(now_secs(), &event);
    for (case, headers, body) in [
        ("no signature", unsigned, &body),
        ("another signature", &other, &body),
        ("a signature of eight hours ago", &old, &body),
        ("signed, but not encrypted", &plain, &event),
    ] {
        assert_eq!(post(play.address, headers, body).status, 401, "{case}");
    }
    let forged = Feishu::with("b", "another key");
    assert_eq!(forged.challenge(play.address, "77").status, 401);
    play.hear_nothing();
    assert_eq!(post(play.address, &good, &body).status, 200);
    assert_eq!(play.hear(), "hello");
}

#[test]
fn a_message_arrives_and_its_reply_leaves_with_typing() {
    let service = Feishu::start();
    let play = open(&service);
    assert_eq!(service.say(&play, "m1", "hello").status, 200);
    let delivery = play.next();
    let message = delivery.message();
    assert_eq!((message.content.as_str(), message.user_id.as_str()), ("hello", "ou_ann"));
    assert_eq!(message.thread_id.as_deref(), Some("oc_1"));
    let metadata_json = message.metadata_json.clone();
    let status = |status| {
        let update =
            tinclaw::StatusUpdate { status, message: String::new(), metadata_json: metadata_json.clone() };
        play.host.status_to(&play.channel, update).expect("the host runs");
    };
    status(tinclaw::StatusType::Thinking);
    status(tinclaw::StatusType::Thinking);
    assert_eq!(service.inner.typing.wait(1), ["POST m1"]);
    let id = play.reply(delivery, "# Title\n\n**bold** <at user_id=\"all\">x</at> [y](https://a.example)");
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!((sent[0].to.as_str(), sent[0].kind.as_str(), sent[0].in_thread), ("m1", "post", false));
    assert_eq!(
        sent[0].text,
        "**Title**\n\n**bold** <\u{200b}at user_id=\"all\">x</at> [y](https://a.example)"
    );
    // The reply ends it, unless it began while the reply was on its way.
    status(tinclaw::StatusType::Done);
    assert_eq!(service.inner.typing.wait(2), ["POST m1", "DELETE m1"]);
    let news = || AgentResponse { content: "news".into(), ..AgentResponse::default() };
    for number in 1..3 {
        let id = play.host.broadcast(&play.channel, "ou_bob", news()).expect("it is kept");
        play.until(id, ReplyState::Delivered);
        assert_eq!(service.inner.sent.all()[number].to, "ou_bob");
    }
    assert_eq!(service.tokens(), 1, "a token lasts for two hours");
}

#[test]
fn both_clouds_are_known_and_no_other() {
    let service = Feishu::start();
    let at = |base: &str| {
        let settings = vec![("app_id", APP_ID.to_owned()), ("api_base", base.to_owned())];
        Setting { settings: settings.leak(), ..setting(&service) }
    };
    let play = Play::start(&at("https://open.larksuite.com"), policy("open"));
    service.say(&play, "m1", "hello");
    let id = play.reply(play.next(), "hi");
    play.until(id, ReplyState::Delivered);
    let play = Play::begin(&at("https://open.example.org"), policy("open"));
    eventually("the start fails with its reason", || {
        let health = play.health();
        let is_named =
            health.problems.iter().any(|problem| problem.to_string().contains("open.larksuite.com"));
        (health.state != ChannelState::Ready && is_named).then_some(())
    });
}

#[test]
fn an_unknown_sender_gets_a_code() {
    let service = Feishu::start();
    let play = Play::start(&setting(&service), policy("pairing"));
    service.say(&play, "m1", "let me in");
    let told = service.inner.sent.wait(1);
    assert!(told[0].text.contains("tinclaw pairing approve feishu"), "{told:?}");
    play.approve_all();
    service.say(&play, "m2", "thanks");
    assert_eq!(play.hear(), "thanks");
}

#[test]
fn in_a_group_the_bot_hears_what_is_for_it_and_replies_in_the_topic() {
    let service = Feishu::start();
    let play = open(&service);
    let group = |id: &str, text: &str, more: Value| {
        let mut all = json!({"chat_type": "group", "chat_id": "oc_2"});
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        service.post(play.address, &Feishu::message(id, "text", &json!({"text": text}), &all));
    };
    let mention = |key: &str, id: &str, name: &str| json!({"key": key, "id": {"open_id": id}, "name": name});
    group("m1", "between us", json!({}));
    group("m2", "@_user_1 look", json!({"mentions": [mention("@_user_1", "ou_bob", "Bob")]}));
    let both = json!([mention("@_user_1", BOT, "tin"), mention("@_user_2", "ou_bob", "Bob")]);
    group("m3", "@_user_1 ask @_user_2", json!({"mentions": both, "thread_id": "omt_1"}));
    let delivery = play.next();
    assert_eq!(delivery.message().content, "ask @Bob");
    assert_eq!(delivery.message().thread_id.as_deref(), Some("omt_1"));
    play.until(play.reply(delivery, "asked"), ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!((sent[0].to.as_str(), sent[0].in_thread), ("m3", true));
    // A reply to the bot is for it, one to somebody else is not.
    service.put_message("om_own", &own_sender(), "asked");
    service.put_message("om_bob", &json!({"id": "ou_bob", "sender_type": "user"}), "what Bob said");
    group("m4", "and more", json!({"parent_id": "om_own"}));
    assert_eq!(play.hear(), "and more");
    group("m5", "between us", json!({"parent_id": "om_bob"}));
    let quoting = json!({"parent_id": "om_bob", "mentions": [mention("@_user_1", BOT, "tin")]});
    group("m6", "@_user_1 what is this?", quoting);
    assert_eq!(play.hear(), "> what Bob said\n\nwhat is this?");
    play.hear_nothing();
}

#[test]
fn own_messages_other_events_and_reactions_that_nobody_wants_are_not_heard() {
    let service = Feishu::start();
    let play = open(&service);
    let mut own = Feishu::message("m1", "text", &json!({"text": "own"}), &json!({}));
    own["event"]["sender"]["sender_type"] = json!("app");
    service.post(play.address, &own);
    let reaction = |id: &str| {
        json!({"schema": "2.0", "header": {"event_id": id, "event_type": "im.message.reaction.created_v1"},
            "event": {"message_id": "om_1", "reaction_type": {"emoji_type": "THUMBSUP"}, "operator_type": "user",
                "user_id": {"open_id": "ou_ann"}}})
    };
    assert_eq!(service.post(play.address, &reaction("e1")).status, 200);
    let other = json!({"schema": "2.0", "header": {"event_id": "e2", "event_type": "im.chat.updated_v1"}, "event": {}});
    assert_eq!(service.post(play.address, &other).status, 200);
    play.hear_nothing();
    let play = Play::start(&setting(&service), |file| {
        file["config"]["dm_policy"] = json!("open");
        file["config"]["reactions"] = json!(true);
    });
    service.post(play.address, &reaction("e3"));
    assert_eq!(play.hear(), "[reaction THUMBSUP to message om_1]");
}

#[test]
fn files_come_in_and_go_out() {
    let service = Feishu::start();
    let play = open(&service);
    service.put_resource("img_1", b"PNG");
    let content = json!({"title": "", "content": [[{"tag": "text", "text": "look"}], [{"tag": "img", "image_key": "img_1"}]]});
    service.post(play.address, &Feishu::message("m1", "post", &content, &json!({})));
    let delivery = play.next();
    assert_eq!(delivery.message().content, "look");
    assert_eq!(delivery.message().attachments[0].mime_type, "image/png");
    let data = delivery.attachment_data(0).expect("the store works").expect("it is kept");
    assert_eq!(&data[..], b"PNG");
    let files = vec![file("a.png", "image/png", b"PNG"), file("ü.pdf", "application/pdf", b"text")];
    let id = play.reply_with(delivery, "here", files);
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!(sent[0].text, "here");
    assert_eq!((sent[1].kind.as_str(), &sent[1].file), ("image", &Some(("a.png".into(), b"PNG".to_vec()))));
    assert_eq!((sent[2].kind.as_str(), &sent[2].file), ("file", &Some(("ü.pdf".into(), b"text".to_vec()))));
    let lost = json!({"file_key": "file_2", "file_name": "b.pdf"});
    service.post(play.address, &Feishu::message("m2", "file", &lost, &json!({})));
    assert_eq!(play.hear(), "[b.pdf could not be fetched]");
}

#[test]
fn a_long_reply_is_split_and_goes_on_where_it_was_stopped() {
    let service = Feishu::start();
    let play = open(&service);
    let limit = |code: i64| json!({"code": code, "msg": "limit"});
    for (number, limited) in [
        response(400, &limit(230020)),
        json_with(429, ("x-ogw-ratelimit-reset", "1"), &limit(99991400)),
        json_with(429, ("retry-after", "1"), &limit(99991400)),
        (503, Vec::new(), Vec::new()),
    ]
    .into_iter()
    .enumerate()
    {
        service.say(&play, &format!("m{number}"), "tell me");
        let long: Vec<String> = (0..80).map(|at| format!("{at} {}", "some words. ".repeat(20))).collect();
        let before = service.inner.sent.len();
        service.inner.orders.next_response("send", response(200, &json!({"code": 0, "data": {}})));
        service.inner.orders.next_response("send", limited);
        let id = play.reply(play.next(), &long.join("\n\n"));
        play.until(id, ReplyState::Delivered);
        let sent = service.inner.sent.all();
        assert!(!sent[before].text.starts_with("0 "), "the first message was sent again");
        assert!(sent.last().unwrap().text.contains("79 some"));
        assert_eq!(play.host.reply(id).unwrap().unwrap().attempts, 2);
    }
}

#[test]
fn formatting_that_is_refused_is_sent_as_text() {
    let service = Feishu::start();
    let play = open(&service);
    service.say(&play, "m1", "hello");
    let refusal =
        json!({"code": 230001, "msg": "Your request contains an invalid request parameter, ext=content"});
    service.inner.orders.next_response("send", response(400, &refusal));
    let id = play.reply(play.next(), "**bold**");
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!((sent[0].kind.as_str(), sent[0].text.as_str()), ("text", "bold"));
}

#[test]
fn a_refusal_for_good_is_a_dead_letter() {
    for (code, words) in [
        (230002, "Bot/User can NOT be out of the chat."),
        (230013, "Bot has NO availability to this user."),
        (230011, "The message was recalled."),
    ] {
        let service = Feishu::start();
        let play = open(&service);
        service.say(&play, "m1", "hello");
        let delivery = play.next();
        service.fail_with(400, code, words);
        let why = play.until_dead(play.reply(delivery, "hi"));
        assert!(why.contains(words) && why.contains(&code.to_string()), "{why}");
    }
}

#[test]
fn a_token_that_has_ended_is_renewed_and_a_reset_secret_degrades_the_channel() {
    let service = Feishu::start();
    let play = open(&service);
    service.say(&play, "m0", "hello");
    let delivery = play.next();
    service.end_token();
    let id = play.reply(delivery, "hi");
    play.until(id, ReplyState::Delivered);
    assert_eq!((service.tokens(), play.host.reply(id).unwrap().unwrap().attempts), (2, 1));
    service.revoke();
    for number in 1..4 {
        service.say(&play, &format!("m{number}"), "hello");
        let why = play.until_dead(play.reply(play.next(), "hi"));
        assert!(why.contains("app secret invalid"), "{why}");
    }
    let problem = eventually("the channel is degraded", || {
        play.health().problems.into_iter().find(|problem| problem.to_string().contains("credentials"))
    });
    assert!(problem.to_string().contains("app secret invalid"), "{problem}");
}

#[test]
fn a_wrong_secret_keeps_the_channel_from_starting() {
    let service = Feishu::start();
    service.revoke();
    let play = Play::begin(&setting(&service), policy("open"));
    eventually("the start fails with the service's words", || {
        let health = play.health();
        let is_named =
            health.problems.iter().any(|problem| problem.to_string().contains("app secret invalid"));
        (health.state != ChannelState::Ready && is_named).then_some(())
    });
}

#[test]
fn the_same_event_is_heard_once_also_after_a_restart_and_a_service_that_is_down_stops_nothing() {
    let service = Feishu::start();
    let scratch = TempDir::new();
    let setting = Setting { state: Some(scratch.path()), ..setting(&service) };
    service.set_down(true);
    let play = Play::start(&setting, policy("open"));
    assert_eq!(service.say(&play, "m1", "hello").status, 200);
    assert_eq!(service.say(&play, "m1", "hello").status, 200);
    let id = play.reply(play.next(), "a reply");
    eventually("it was tried", || (play.host.reply(id).unwrap().unwrap().attempts > 0).then_some(()));
    play.host.shutdown();
    let play = Play::start(&setting, policy("open"));
    service.set_down(false);
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.say(&play, "m1", "hello").status, 200);
    assert_eq!(service.inner.sent.len(), 1);
    play.hear_nothing();
}
