//! Discord.

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tinclaw::AgentResponse;
use tinclaw::host::{ChannelState, LinkState};
use tinclaw::store::ReplyState;

use crate::discord_fake::Discord;
use crate::fake::{json as response, json_with};
use crate::play::{Play, Setting, file};
use crate::support::eventually;
use crate::support::temp_dir::TempDir;

fn setting(service: &Discord) -> Setting<'static> {
    let rewrites = vec![
        ("discord.com", service.upstream.url()),
        ("cdn.discordapp.com", service.upstream.url()),
        ("gateway.discord.gg", service.bot.url()),
        ("gateway-us-east1-b.discord.gg", service.bot.url()),
    ];
    Setting {
        channel: "discord",
        secrets: &["discord_bot_token"],
        rewrites: rewrites.leak(),
        state: None,
        tunnel_url: None,
        settings: &[],
    }
}

fn policy(policy: &'static str) -> impl FnOnce(&mut Value) {
    move |file| file["config"]["dm_policy"] = json!(policy)
}

pub fn open(service: &Discord) -> Play {
    Play::start(&setting(service), policy("open"))
}

pub fn direct(id: &str, text: &str) -> Value {
    json!({"id": id, "type": 0, "channel_id": "D1", "content": text, "mentions": [], "attachments": [],
        "author": {"id": "7", "username": "ann", "global_name": "Ann"}})
}

fn in_server(id: &str, text: &str) -> Value {
    let mut message = direct(id, text);
    message["channel_id"] = json!("C1");
    message["guild_id"] = json!("G1");
    message
}

fn mentioning(mut message: Value) -> Value {
    message["mentions"] = json!([{"id": "100", "username": "tin"}, {"id": "8", "username": "bob"}]);
    message
}

pub fn say(service: &Discord, message: Value) {
    service.bot.event("MESSAGE_CREATE", message);
}

fn unix_secs() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

fn delivered(play: &Play, delivery: tinclaw::Delivery, text: &str) {
    let id = play.reply(delivery, text);
    play.until(id, ReplyState::Delivered);
}

#[test]
fn a_message_arrives_and_its_reply_leaves_with_typing() {
    let service = Discord::start();
    let play = open(&service);
    say(&service, direct("1", "hello"));
    let delivery = play.next();
    let message = delivery.message();
    assert_eq!((message.content.as_str(), message.user_id.as_str()), ("hello", "7"));
    assert_eq!((message.user_name.as_deref(), message.thread_id.as_deref()), (Some("Ann"), Some("D1")));
    let update = tinclaw::StatusUpdate {
        status: tinclaw::StatusType::Thinking,
        message: String::new(),
        metadata_json: message.metadata_json.clone(),
    };
    play.host.status_to(&play.channel, update).expect("the host runs");
    assert_eq!(service.inner.typing.wait(1), ["D1"]);
    delivered(&play, delivery, "**bold** @everyone");
    let sent = service.inner.sent.all();
    assert_eq!((sent[0].channel.as_str(), sent[0].content.as_str()), ("D1", "**bold** @everyone"));
    assert_eq!(sent[0].reply_to, None);
    let news = AgentResponse { content: "news".into(), ..AgentResponse::default() };
    let id = play.host.broadcast(&play.channel, "8", news).expect("it is kept");
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.inner.sent.all()[1].channel, "D8");
    // The command of the bot is registered once.
    assert_eq!(service.inner.commands.wait(1)[0][0]["name"], "ask");
}

#[test]
fn an_unknown_sender_gets_a_code() {
    let service = Discord::start();
    let play = Play::start(&setting(&service), policy("pairing"));
    say(&service, direct("1", "let me in"));
    let told = service.inner.sent.wait(1);
    assert!(told[0].content.contains("tinclaw pairing approve discord"), "{told:?}");
    play.approve_all();
    say(&service, direct("2", "thanks"));
    assert_eq!(play.hear(), "thanks");
}

#[test]
fn in_a_server_the_bot_hears_what_is_for_it_and_replies_to_the_message() {
    let service = Discord::start();
    let play = open(&service);
    say(&service, in_server("1", "between us"));
    say(&service, mentioning(in_server("2", "<@100> ask <@!8>")));
    let delivery = play.next();
    assert_eq!(delivery.message().content, "ask @bob");
    assert_eq!(delivery.message().thread_id.as_deref(), Some("C1"));
    delivered(&play, delivery, "asked");
    assert_eq!(service.inner.sent.all()[0].reply_to.as_deref(), Some("2"));
    let mut below = in_server("3", "and more");
    below["type"] = json!(19);
    below["referenced_message"] = json!({"author": {"id": "100"}, "content": "asked"});
    say(&service, below);
    assert_eq!(play.hear(), "and more");
    let mut quoting = mentioning(in_server("4", "<@100> look"));
    quoting["referenced_message"] =
        json!({"author": {"id": "8", "username": "bob"}, "content": "first\nsecond"});
    say(&service, quoting);
    assert_eq!(play.hear(), "> bob:\n> first\n> second\n\nlook");
    play.hear_nothing();
}

#[test]
fn edits_are_emitted_and_bots_and_notices_ignored() {
    let service = Discord::start();
    let play = open(&service);
    for (id, author) in [("1", json!({"id": "9", "bot": true})), ("2", json!({"id": "100", "bot": true}))] {
        let mut message = direct(id, "I am a bot");
        message["author"] = author;
        say(&service, message);
    }
    let mut pinned = direct("3", "");
    pinned["type"] = json!(6);
    say(&service, pinned);
    // A link was unfurled.
    service.bot.event("MESSAGE_UPDATE", direct("4", "https://a.example"));
    let mut edited = direct("4", "better");
    edited["edited_timestamp"] = json!("2026-01-01T00:00:00Z");
    service.bot.event("MESSAGE_UPDATE", edited);
    assert_eq!(play.hear(), "[edited] better");
    play.hear_nothing();
}

#[test]
fn commands_are_replied_to_within_their_interaction_and_later_in_their_channel() {
    let service = Discord::start();
    let play = open(&service);
    let command = |id: &str, token: &str| {
        json!({"id": id, "type": 2, "token": token, "channel_id": "C1", "guild_id": "G1",
            "member": {"user": {"id": "7", "username": "ann"}},
            "data": {"name": "ask", "options": [{"name": "text", "value": "what now"}]}})
    };
    service.bot.event("INTERACTION_CREATE", command("1", "t1"));
    let delivery = play.next();
    assert_eq!(delivery.message().content, "what now");
    assert_eq!(service.inner.responded.wait(1), [("t1".to_owned(), 5)]);
    delivered(&play, delivery, &"a word ".repeat(400));
    let sent = service.inner.sent.all();
    assert_eq!((sent[0].channel.as_str(), sent[1].channel.as_str()), ("@t1", "C1"));
    service.bot.event("INTERACTION_CREATE", command("1", "t1"));
    say(&service, direct("9", "hi"));
    assert_eq!(play.hear(), "hi", "the interaction was heard twice");
}

#[test]
fn files_come_in_and_go_out() {
    let service = Discord::start();
    let play = open(&service);
    service.put_file("1/a.pdf", b"%PDF");
    let mut message = direct("1", "look");
    let attachment = |id: &str, name: &str| {
        json!({"id": id, "filename": name, "size": 4, "content_type": "application/pdf",
            "url": format!("https://cdn.discordapp.com/attachments/1/{name}")})
    };
    message["attachments"] = json!([attachment("1", "a.pdf"), attachment("2", "b.pdf")]);
    say(&service, message);
    let delivery = play.next();
    assert_eq!(delivery.message().content, "look\n[b.pdf could not be fetched]");
    let data = delivery.attachment_data(0).expect("the store works").expect("it is kept");
    assert_eq!(&data[..], b"%PDF");
    let id = play.reply_with(delivery, "here", vec![file("ü.txt", "text/plain", b"text")]);
    play.until(id, ReplyState::Delivered);
    let sent = service.inner.sent.all();
    assert_eq!(
        (sent[0].content.as_str(), &sent[1].file),
        ("here", &Some(("ü.txt".into(), b"text".to_vec())))
    );
}

#[test]
fn a_long_reply_is_split_and_goes_on_where_it_was_stopped() {
    let service = Discord::start();
    let play = open(&service);
    for (number, limited) in [
        response(
            429,
            &json!({"message": "You are being rate limited.", "retry_after": 0.05, "global": false}),
        ),
        json_with(429, ("retry-after", "1"), &json!({"message": "You are being rate limited."})),
        (503, Vec::new(), Vec::new()),
    ]
    .into_iter()
    .enumerate()
    {
        say(&service, direct(&number.to_string(), "tell me"));
        let text: Vec<String> = (0..30).map(|at| format!("{at} {}", "some words. ".repeat(20))).collect();
        let before = service.inner.sent.len();
        service.inner.orders.next_response("message", response(200, &json!({"id": "1"})));
        service.inner.orders.next_response("message", limited);
        let id = play.reply(play.next(), &text.join("\n\n"));
        play.until(id, ReplyState::Delivered);
        let sent = service.inner.sent.all();
        assert!(!sent[before].content.starts_with("0 "), "the first message was sent again");
        assert!(sent.last().unwrap().content.contains("29 some"));
        assert_eq!(play.host.reply(id).unwrap().unwrap().attempts, 2);
    }
}

#[test]
fn a_message_whose_response_is_lost_is_sent_once() {
    let service = Discord::start();
    let play = open(&service);
    say(&service, direct("1", "hello"));
    service.set_losing_responses(true);
    let id = play.reply(play.next(), "once");
    eventually("it was tried", || (play.host.reply(id).unwrap().unwrap().attempts > 1).then_some(()));
    service.set_losing_responses(false);
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.inner.sent.len(), 1);
}

#[test]
fn a_refusal_for_good_is_a_dead_letter() {
    for (status, code, message) in [
        (404, 10003, "Unknown Channel"),
        (403, 50001, "Missing Access"),
        (403, 50007, "Cannot send messages to this user"),
    ] {
        let service = Discord::start();
        let play = open(&service);
        say(&service, direct("1", "hello"));
        let delivery = play.next();
        service.fail_with(status, code, message);
        let why = play.until_dead(play.reply(delivery, "hi"));
        assert!(why.contains(message) && why.contains(&code.to_string()), "{why}");
    }
}

#[test]
fn a_revoked_token_degrades_the_channel_and_does_not_hammer() {
    let service = Discord::start();
    let play = open(&service);
    for number in 0..3 {
        say(&service, direct(&number.to_string(), "hello"));
        let delivery = play.next();
        service.fail_with(401, 0, "401: Unauthorized");
        play.until_dead(play.reply(delivery, "hi"));
    }
    eventually("the channel is degraded", || {
        play.health().problems.into_iter().find(|problem| problem.to_string().contains("credentials"))
    });
    service.bot.revoke();
    service.bot.close(4009);
    let health = eventually("the link stops", || {
        let health = play.health();
        (health.link.as_ref()?.state == LinkState::Stopped).then_some(health)
    });
    assert_eq!(health.state, ChannelState::Degraded);
    assert_eq!(health.link.map(|link| link.connections), Some(2));
}

#[test]
fn intents_that_are_not_enabled_are_named() {
    let service = Discord::start();
    service.bot.refuse_intents();
    // It may be degraded before anybody sees it ready.
    let play = Play::begin(&setting(&service), policy("open"));
    let reason = eventually("the link stops", || {
        play.health().link.filter(|link| link.state == LinkState::Stopped).and_then(|link| link.reason)
    });
    assert!(reason.contains("intent"), "{reason}");
}

#[test]
fn interactions_that_are_posted_are_signed_and_replied_to_later() {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
    let public: String = key.public_key().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let service = Discord::start();
    let setting = Setting { secrets: &["discord_bot_token", "discord_public_key"], ..setting(&service) };
    let play = Play::start_with(&setting, &[("discord_public_key", &public)], |file| {
        file["config"]["dm_policy"] = json!("allowlist");
        file["config"]["allow_from"] = json!(["7"]);
    });
    // READY tells whose commands they are.
    eventually("commands are registered", || (service.inner.commands.len() > 0).then_some(()));
    let post = |interaction: &Value, change: u8| {
        let (body, time) = (interaction.to_string(), unix_secs().to_string());
        let mut signature =
            key.sign([time.as_bytes(), body.as_bytes()].concat().as_slice()).as_ref().to_vec();
        signature[0] ^= change;
        let signature: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        let headers = [("x-signature-ed25519", signature.as_str()), ("x-signature-timestamp", time.as_str())];
        play.post("/webhook/discord", &headers, &body)
    };
    let ping = json!({"id": "9", "type": 1});
    assert_eq!(post(&ping, 1).status, 401, "Discord tries whether signatures are checked");
    assert_eq!(post(&ping, 0).json(), json!({"type": 1}));
    let command = |id: &str, user: &str| {
        json!({"id": id, "type": 2, "token": format!("t{id}"), "channel_id": "C1", "guild_id": "G1",
            "member": {"user": {"id": user, "username": "ann"}},
            "data": {"name": "ask", "options": [{"name": "text", "type": 3, "value": "what time is it?"}]}})
    };
    let refused = post(&command("1", "8"), 0).json();
    assert_eq!((&refused["type"], &refused["data"]["flags"]), (&json!(4), &json!(64)));
    play.hear_nothing();
    assert_eq!(post(&command("2", "7"), 0).json(), json!({"type": 5}));
    let delivery = play.next();
    assert_eq!(delivery.message().content, "what time is it?");
    delivered(&play, delivery, "noon");
    let sent = service.inner.sent.all();
    assert_eq!((sent[0].channel.as_str(), sent[0].content.as_str()), ("@t2", "noon"));
}

#[test]
fn a_dropped_link_is_resumed_and_a_repeated_event_is_heard_once() {
    let service = Discord::start();
    let play = open(&service);
    say(&service, direct("1", "first"));
    assert_eq!(play.hear(), "first");
    service.bot.close(4000);
    say(&service, direct("2", "second"));
    assert_eq!(play.hear(), "second");
    assert_eq!(service.bot.logins.all(), ["identify", "resume"]);
    // Discord may send an event again after a resume.
    say(&service, direct("2", "second"));
    say(&service, direct("3", "third"));
    assert_eq!(play.hear(), "third");
}

#[test]
fn a_restart_in_the_middle_loses_and_repeats_nothing() {
    let service = Discord::start();
    let scratch = TempDir::new();
    let setting = Setting { state: Some(scratch.path()), ..setting(&service) };
    let play = Play::start(&setting, policy("open"));
    say(&service, direct("1", "hello"));
    let delivery = play.next();
    service.set_down(true);
    let id = play.reply(delivery, "a reply");
    eventually("it was tried", || (play.host.reply(id).unwrap().unwrap().attempts > 0).then_some(()));
    play.host.shutdown();
    // The service is down when the host starts again.
    let play = Play::begin(&setting, policy("open"));
    service.set_down(false);
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.inner.sent.len(), 1);
    say(&service, direct("1", "hello"));
    say(&service, direct("2", "again"));
    assert_eq!(play.hear(), "again");
    assert_eq!(service.bot.logins.all(), ["identify", "resume"]);
}

#[test]
fn messages_sent_during_an_outage_are_received_after_resuming() {
    let service = Discord::start();
    let scratch = TempDir::new();
    let setting = Setting { state: Some(scratch.path()), ..setting(&service) };
    let play = Play::start(&setting, policy("open"));
    say(&service, direct("1", "before"));
    assert_eq!(play.hear(), "before");
    play.host.shutdown();
    service.bot.missed("MESSAGE_CREATE", direct("2", "meanwhile"));
    let play = Play::start(&setting, policy("open"));
    assert_eq!(play.hear(), "meanwhile");
    assert_eq!(service.bot.logins.all(), ["identify", "resume"]);
    // A session that the gateway has forgotten is begun again.
    play.host.shutdown();
    service.bot.forget_session();
    let play = Play::start(&setting, policy("open"));
    say(&service, direct("3", "after"));
    assert_eq!(play.hear(), "after");
    assert_eq!(service.bot.logins.all(), ["identify", "resume", "resume", "identify"]);
}
