//! Each service as a new user sets it up: `tinclaw setup`, `tinclaw run`, an unknown sender who is let in, a message and its
//! reply. No file is edited.

use serde_json::{Value, json};

use crate::cli_support::{Place, Ran};
use crate::discord_fake::Discord;
use crate::feishu_fake::{self, Feishu};
use crate::home::home;
use crate::matrix_fake::Matrix;
use crate::signal_fake::{self, Signal};
use crate::support::eventually;
use crate::whatsapp_fake::{self, WhatsApp};

const PUBLIC_URL: &str = "https://bot.example.org";

/// Runs `tinclaw setup CHANNEL` with secrets in files and settings.
fn set_up(place: &Place, channel: &str, secrets: &[(&str, &str)], more: &[&str]) -> Ran {
    let files: Vec<String> =
        secrets.iter().map(|(name, value)| format!("{name}={}", place.file(name, value).display())).collect();
    let secrets = files.iter().flat_map(|file| ["--secret", file]);
    let arguments: Vec<&str> =
        ["setup", channel].into_iter().chain(secrets).chain(more.iter().copied()).collect();
    place.run(&arguments)
}

/// The output of a set-up that went well, with all of these parts and without the secrets.
fn went_well(ran: &Ran, secrets: &[(&str, &str)], parts: &[&str]) {
    let out = ran.good();
    for part in parts {
        assert!(out.contains(part), "{part}: {out}");
    }
    for (name, value) in secrets {
        assert!(!out.contains(value), "{name}: {out}");
    }
}

/// Lets the sender in that the bot has told this text.
fn approve(place: &Place, channel: &str, told: &str) {
    let command = format!("tinclaw pairing approve {channel} ");
    let code = told.split(&command).nth(1).and_then(|rest| rest.split_whitespace().next());
    let code = code.unwrap_or_else(|| panic!("{told}"));
    place.run(&["pairing", "approve", channel, code]).good();
}

#[test]
fn discord() {
    let secrets = [("discord_bot_token", "AAAA.bbbb.cccc")];
    let service = Discord::with_token(secrets[0].1);
    let place = home(&[
        ("discord.com", service.upstream.url()),
        ("gateway.discord.gg", service.bot.url()),
        ("gateway-us-east1-b.discord.gg", service.bot.url()),
    ]);
    let refused = set_up(&place, "discord", &[("discord_bot_token", "AAAA.bbbb.wrong")], &[]);
    assert!(refused.err.contains("Discord refuses this: 401: Unauthorized"), "{}", refused.err);
    let ran = set_up(&place, "discord", &secrets, &[]);
    went_well(
        &ran,
        &secrets,
        &["knows it as tin", "oauth2/authorize?client_id=100&", "a websocket", "tinclaw run"],
    );
    let host = place.host(&[], &[]);
    let write = |id: &str, text: &str| {
        let message = json!({"id": id, "type": 0, "channel_id": "D1", "content": text, "mentions": [],
            "attachments": [], "author": {"id": "7", "username": "ann"}});
        service.bot.event("MESSAGE_CREATE", message);
    };
    write("1", "let me in");
    approve(&place, "discord", &service.inner.sent.wait(1)[0].content);
    write("2", "hello");
    assert_eq!(service.inner.sent.wait(2)[1].content, "hello");
    host.stop();
}

#[test]
fn whatsapp() {
    let secrets = [
        ("whatsapp_access_token", "value-of-whatsapp_access_token"),
        ("whatsapp_app_secret", "0123456789abcdef0123456789abcdef"),
    ];
    let service = WhatsApp::with_secret(secrets[1].1);
    let place = home(&[("graph.facebook.com", service.upstream.url())]);
    let number = format!("phone_number_id={}", whatsapp_fake::NUMBER);
    let more = ["--public-url", PUBLIC_URL, "--set", &number];
    let wrong = [("whatsapp_access_token", "wrong"), secrets[1]];
    let refused = set_up(&place, "whatsapp", &wrong, &more);
    assert!(
        refused.err.contains("WhatsApp refuses this: (#190) Invalid OAuth access token"),
        "{}",
        refused.err
    );
    let ran = set_up(&place, "whatsapp", &secrets, &more);
    let address = format!("{PUBLIC_URL}/webhook/whatsapp");
    let shown = "`tinclaw secrets show whatsapp_verify_token` shows it";
    went_well(&ran, &secrets, &["knows it as +1 555-0001", &address, shown, "tinclaw run"]);
    let host = place.host(&[], &[]);
    let write = |id: &str, text: &str| {
        let message =
            json!({"from": "4915", "id": id, "timestamp": "1", "type": "text", "text": {"body": text}});
        eventually("the channel takes the message", || {
            (service.say_to(host.address, message.clone()).status == 200).then_some(())
        });
    };
    write("m1", "let me in");
    approve(&place, "whatsapp", &service.inner.sent.wait(1)[0].text);
    write("m2", "hello");
    assert_eq!(service.inner.sent.wait(2)[1].text, "hello");
    host.stop();
}

#[test]
fn feishu() {
    let secrets = [("feishu_app_secret", "abcdefABCDEF0123456789"), ("feishu_encrypt_key", "a-key-of-mine")];
    let service = Feishu::with(secrets[0].1, secrets[1].1);
    let place = home(&[("open.feishu.cn", service.upstream.url())]);
    let app = format!("app_id={}", feishu_fake::APP_ID);
    let more = ["--public-url", PUBLIC_URL, "--set", &app];
    let refused = set_up(&place, "feishu", &[("feishu_app_secret", "wrong")], &more);
    assert!(refused.err.contains("Feishu refuses this: app secret invalid"), "{}", refused.err);
    let ran = set_up(&place, "feishu", &secrets, &more);
    let address = format!("{PUBLIC_URL}/webhook/feishu");
    went_well(&ran, &secrets, &[&address, "im.message.receive_v1", "Encrypt Key", "tinclaw run"]);
    let host = place.host(&[], &[]);
    eventually("the channel takes the challenge", || {
        (service.challenge(host.address, "c").status == 200).then_some(())
    });
    let write = |id: &str, text: &str| {
        let event = Feishu::message(id, "text", &json!({"text": text}), &json!({}));
        assert_eq!(service.post(host.address, &event).status, 200);
    };
    write("m1", "let me in");
    approve(&place, "feishu", &service.inner.sent.wait(1)[0].text);
    write("m2", "hello");
    assert_eq!(service.inner.sent.wait(2)[1].text, "hello");
    host.stop();
}

#[test]
fn matrix() {
    const ANN: &str = "@ann:a.example";
    const ROOM: &str = "!direct:a.example";
    let secrets = [("matrix_access_token", "value-of-matrix_access_token")];
    let service = Matrix::start();
    service.room(ROOM, 2);
    let place = home(&[]);
    let homeserver = format!("homeserver={}", service.upstream.url());
    let more = ["--set", homeserver.as_str()];
    let refused = set_up(&place, "matrix", &[("matrix_access_token", "wrong")], &more);
    assert!(refused.err.contains("Matrix refuses this:"), "{}", refused.err);
    let missing = set_up(&place, "matrix", &secrets, &[]);
    assert!(missing.err.contains("--set homeserver=VALUE"), "{}", missing.err);
    let ran = set_up(&place, "matrix", &secrets, &more);
    went_well(
        &ran,
        &secrets,
        &["knows it as @tin:a.example", "Invite @tin:a.example", "polling", "tinclaw run"],
    );
    let host = place.host(&[], &[]);
    // What was written before the first sync is history.
    service.inner.syncs.wait(2);
    let text = |number: usize| service.inner.sent.wait(number + 1)[number].content["body"].clone();
    service.say(ROOM, ANN, "let me in");
    approve(&place, "matrix", text(0).as_str().unwrap_or_default());
    service.say(ROOM, ANN, "hello");
    assert_eq!(text(1), "hello");
    host.stop();
}

#[test]
fn signal() {
    let service = Signal::start();
    let place = home(&[]);
    let (api, number) =
        (format!("api={}", service.upstream.url()), format!("number={}", signal_fake::NUMBER));
    let wrong = set_up(&place, "signal", &[], &["--set", &api, "--set", "number=4915112345678"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("number"), "{}", wrong.err);
    let ran = set_up(&place, "signal", &[], &["--set", &api, "--set", &number]);
    went_well(&ran, &[], &["Write to +4915112345678", "polling", "tinclaw run"]);
    let host = place.host(&[], &[]);
    service.say(1, "let me in");
    approve(&place, "signal", &service.inner.sent.wait(1)[0].text);
    service.say(2, "hello");
    assert_eq!(service.inner.sent.wait(2)[1].text, "hello");
    let status = place.run(&["status", "signal", "--json"]).json();
    let of_service: Vec<&Value> =
        status["checks"].as_array().into_iter().flatten().filter(|step| step["code"] == "service").collect();
    let told = Value::from(of_service.into_iter().cloned().collect::<Vec<_>>()).to_string();
    assert!(told.contains("native") && told.contains(signal_fake::NUMBER), "{status}");
    host.stop();
}

#[test]
fn the_web_chat() {
    let place = home(&[]);
    let ran = set_up(&place, "webchat", &[], &[]);
    went_well(&ran, &[], &["http://127.0.0.1:8080/chat", "tinclaw run"]);
    let host = place.host(&[], &[]);
    host.say("m1", "hello");
    host.hears("hello");
    host.stop();
}
