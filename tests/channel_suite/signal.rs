//! Signal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tinclaw::AgentResponse;
use tinclaw::host::ChannelState;
use tinclaw::store::ReplyState;

use crate::fake::{json as response, json_with};
use crate::play::{Play, Setting, configured, file};
use crate::signal_fake::{NUMBER, Signal};
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::temp_dir::TempDir;

fn setting(service: &Signal) -> Setting<'static> {
    let settings = vec![("api", service.upstream.url()), ("number", NUMBER.to_owned())];
    Setting {
        channel: "signal",
        secrets: &[],
        rewrites: &[],
        state: None,
        tunnel_url: None,
        settings: settings.leak(),
    }
}

fn open(service: &Signal) -> Play {
    Play::start(&setting(service), configured(json!({"dm_policy": "open"})))
}

#[test]
fn a_message_arrives_and_its_reply_leaves_with_typing() {
    let service = Signal::start();
    let play = open(&service);
    service.envelope(1, json!({"typingMessage": {"action": "STARTED"}}));
    service.say(2, "hello");
    let delivery = play.next();
    let message = delivery.message();
    assert_eq!((message.content.as_str(), message.user_id.as_str()), ("hello", "uuid-ann"));
    assert_eq!(message.user_name.as_deref(), Some("Ann"));
    for status in [tinclaw::StatusType::Thinking, tinclaw::StatusType::Done] {
        let metadata_json = message.metadata_json.clone();
        let update = tinclaw::StatusUpdate { status, message: String::new(), metadata_json };
        play.host.status_to(&play.channel, update).expect("the host runs");
    }
    assert_eq!(service.inner.typing.wait(2), ["PUT uuid-ann", "DELETE uuid-ann"]);
    let id = play.reply(delivery, "**bold** text");
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!(
        (sent[0].to.as_str(), sent[0].text.as_str(), &sent[0].quote),
        ("uuid-ann", "bold text", &None)
    );
    let news = AgentResponse { content: "news".into(), ..AgentResponse::default() };
    let id = play.host.broadcast(&play.channel, "+4917", news).expect("it is kept");
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.inner.sent.all()[1].to, "+4917");
}

#[test]
fn an_unknown_sender_gets_a_code_and_numbers_may_be_listed() {
    let service = Signal::start();
    let play = Play::start(&setting(&service), configured(json!({})));
    service.say(1, "let me in");
    let told = service.inner.sent.wait(1);
    assert!(told[0].text.contains("tinclaw pairing approve signal"), "{told:?}");
    play.approve_all();
    service.say(2, "thanks");
    assert_eq!(play.hear(), "thanks");
    let service = Signal::start();
    let listed = json!({"dm_policy": "allowlist", "allow_from": ["+4916"]});
    let play = Play::start(&setting(&service), configured(listed));
    service.say(1, "hello");
    assert_eq!(play.hear(), "hello");
}

#[test]
fn in_a_group_the_bot_hears_what_is_for_it_and_replies_with_a_quotation() {
    let service = Signal::start();
    let play = open(&service);
    let group = |more: Value| {
        let mut message = json!({"groupInfo": {"groupId": "R1==", "type": "DELIVER"}});
        message.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"dataMessage": message})
    };
    service.envelope(1, group(json!({"message": "between us"})));
    let mentions = json!([{"start": 0, "length": 1, "number": NUMBER, "name": "tin"},
        {"start": 6, "length": 1, "number": "+1", "name": "bob"}]);
    service.envelope(2, group(json!({"message": "\u{fffc} ask \u{fffc}", "mentions": mentions})));
    let delivery = play.next();
    assert_eq!(delivery.message().content, "ask @bob");
    let id = play.reply(delivery, "asked");
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!(sent[0].to, format!("group.{}", STANDARD.encode("R1==")));
    assert_eq!(sent[0].quote, Some((2, "uuid-ann".to_owned())));
    let quote = |number: &str| json!({"id": 9, "author": number, "authorNumber": number, "text": "asked"});
    service.envelope(3, group(json!({"message": "and more", "quote": quote(NUMBER)})));
    assert_eq!(play.hear(), "and more");
    service.envelope(4, group(json!({"message": "between us", "quote": quote("+1")})));
    service.envelope(5, json!({"dataMessage": {"message": "what is this?", "quote": quote("+1")}}));
    assert_eq!(play.hear(), "> asked\n\nwhat is this?");
    play.hear_nothing();
}

#[test]
fn edits_and_reactions_are_emitted_and_own_messages_and_duplicates_ignored() {
    let service = Signal::start();
    let play = Play::start(&setting(&service), configured(json!({"dm_policy": "open", "reactions": true})));
    service.say(1, "hello");
    assert_eq!(play.hear(), "hello");
    service.say(1, "hello");
    service.envelope(2, json!({"syncMessage": {"sentMessage": {"message": "from another device"}}}));
    service.envelope(3, json!({"source": NUMBER, "sourceNumber": NUMBER, "dataMessage": {"message": "own"}}));
    let edit = json!({"targetSentTimestamp": 1, "dataMessage": {"timestamp": 4, "message": "better"}});
    service.envelope(4, json!({"editMessage": edit}));
    assert_eq!(play.hear(), "[edited] better");
    let reaction = |is_remove: bool| json!({"dataMessage": {"reaction": {"emoji": "👍", "targetSentTimestamp": 7, "isRemove": is_remove}}});
    service.envelope(5, reaction(true));
    service.envelope(6, reaction(false));
    assert_eq!(play.hear(), "[reaction 👍 to message 7]");
    play.hear_nothing();
}

#[test]
fn files_come_in_and_go_out() {
    let service = Signal::start();
    let play = open(&service);
    service.put_file("a1.png", b"PNG");
    let attachments = json!([{"id": "a1.png", "filename": "cat.png", "contentType": "image/png", "size": 3},
        {"id": "b1", "filename": "b.pdf", "contentType": "application/pdf", "size": 3}]);
    service.envelope(1, json!({"dataMessage": {"message": "look", "attachments": attachments}}));
    let delivery = play.next();
    assert_eq!(delivery.message().content, "look\n[b.pdf could not be fetched]");
    assert_eq!(delivery.message().attachments[0].filename.as_deref(), Some("cat.png"));
    let data = delivery.attachment_data(0).expect("the store works").expect("it is kept");
    assert_eq!(&data[..], b"PNG");
    let id = play.reply_with(delivery, "here", vec![file("ü,1.txt", "text/plain", b"text")]);
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!(sent[0].text, "here");
    assert_eq!(sent[1].file, Some(("ü_1.txt".into(), b"text".to_vec())));
}

#[test]
fn a_long_reply_is_split_and_goes_on_where_it_was_stopped() {
    let service = Signal::start();
    let play = open(&service);
    for (number, limited) in [
        response(429, &json!({"error": "Rate limited", "challenge_tokens": []})),
        json_with(429, ("retry-after", "1"), &json!({"error": "Rate limited"})),
        response(400, &json!({"error": "Failed to send: RateLimitException"})),
        (500, Vec::new(), Vec::new()),
    ]
    .into_iter()
    .enumerate()
    {
        service.say(number as u64, "tell me");
        let long: Vec<String> = (0..30).map(|at| format!("{at} {}", "some words. ".repeat(20))).collect();
        let before = service.inner.sent.len();
        service.inner.orders.next_response("send", response(201, &json!({"timestamp": "1"})));
        service.inner.orders.next_response("send", limited);
        let id = play.reply(play.next(), &long.join("\n\n"));
        play.until(id, ReplyState::Delivered);
        let sent = service.inner.sent.all();
        assert!(!sent[before].text.starts_with("0 "), "the first message was sent again");
        assert!(sent.last().unwrap().text.contains("29 some"));
        assert_eq!(play.host.reply(id).unwrap().unwrap().attempts, 2);
    }
}

#[test]
fn a_refusal_for_good_is_a_dead_letter() {
    let service = Signal::start();
    let play = open(&service);
    service.say(1, "hello");
    let delivery = play.next();
    service.fail_with(400, "Unregistered user");
    let why = play.until_dead(play.reply(delivery, "hi"));
    assert!(why.contains("Unregistered user"), "{why}");
}

#[test]
fn a_restart_in_the_middle_loses_nothing_and_a_service_that_is_down_is_polled() {
    let service = Signal::start();
    let scratch = TempDir::new();
    let setting = Setting { state: Some(scratch.path()), ..setting(&service) };
    let open = || Play::start(&setting, configured(json!({"dm_policy": "open"})));
    let play = open();
    service.say(1, "hello");
    let delivery = play.next();
    service.set_down(true);
    let id = play.reply(delivery, "a reply");
    eventually("it was tried", || (play.host.reply(id).unwrap().unwrap().attempts > 0).then_some(()));
    play.host.shutdown();
    let play = open();
    service.set_down(false);
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.inner.sent.len(), 1);
    service.say(1, "hello");
    service.say(2, "again");
    assert_eq!(play.hear(), "again");
}

#[test]
fn in_the_mode_json_rpc_messages_come_through_a_websocket() {
    let service = Signal::start();
    service.set_mode("json-rpc");
    let frame = |timestamp: u64, text: &str| {
        json!({"account": NUMBER, "envelope": {"source": "+4916", "sourceNumber": "+4916", "sourceUuid": "uuid-ann",
            "timestamp": timestamp, "dataMessage": {"timestamp": timestamp, "message": text}}})
    };
    let frames = [frame(1, "hello"), frame(1, "hello"), frame(2, "again")];
    let api = service.upstream.url();
    let link = Gateway::start(move |connection, _| {
        frames.iter().for_each(|frame| connection.send(frame));
        connection.hold();
    });
    let settings = vec![("api", api), ("number", NUMBER.to_owned()), ("mode", "json-rpc".to_owned())];
    // The websocket is at the same server; here it is played elsewhere.
    let rewrites = vec![("signal.example", link.url())].leak();
    let setting = Setting { settings: settings.leak(), rewrites, ..setting(&service) };
    let play = Play::start(&setting, |file| {
        file["config"]["dm_policy"] = json!("open");
        file["capabilities"]["websocket"]["url"] = json!("wss://signal.example/v1/receive/{number}");
        let allowed = file["capabilities"]["http"]["allowlist"].as_array_mut().expect("a list");
        allowed.push(json!({"host": "signal.example"}));
    });
    let delivery = play.next();
    assert_eq!(delivery.message().content, "hello");
    let id = play.reply(delivery, "hi");
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.inner.sent.all()[0].to, "uuid-ann");
    assert_eq!(play.hear(), "again");
}

#[test]
fn a_mode_without_polls_is_named() {
    let service = Signal::start();
    service.set_mode("json-rpc");
    let play = Play::begin(&setting(&service), configured(json!({"dm_policy": "open"})));
    let problem = eventually("the start fails", || {
        let health = play.health();
        let failed = health.state != ChannelState::Ready;
        health.problems.into_iter().find(|problem| failed && problem.to_string().contains("mode=json-rpc"))
    });
    assert!(problem.to_string().contains("json-rpc"), "{problem}");
}
