//! A model's text as it grows, through the program: in a service whose bots may change their messages, and in one whose may not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli_support::{Place, RunningHost};
use crate::discord_fake::Discord;
use crate::home::{TOKEN, configuration, home, write_to_bot};
use crate::matrix_fake::Matrix;
use crate::slack_fake::Slack;
use crate::support::eventually;
use crate::support::model_stream::{ModelStream, Step};
use crate::telegram_fake::Telegram;

/// A home whose services are played, with a model; `more` is the end of its configuration.
fn home_of(services: &[(&str, String)], model: &ModelStream, more: &str) -> Place {
    let place = home(services);
    let agent = format!("[agent]\nkind = \"openai:{}/v1\"\nmodel = \"small\"\n", model.url);
    place.file("tinclaw.toml", format!("{}\n{agent}{more}", configuration(services)));
    place
}

/// The same with Telegram, open to everybody.
fn home_with_model(service: &Telegram, model: &ModelStream, more: &str) -> Place {
    let place = home_of(&[("api.telegram.org", service.upstream.url())], model, more);
    place.run_with_input(&["setup", "telegram", "--set", "dm_policy=open"], TOKEN).good();
    place
}

/// A channel as its set-up leaves it, open to everybody, whose operator wants to see replies grow as often as may be set.
fn set_up_growing(
    channel: &str,
    services: &[(&str, String)],
    model: &ModelStream,
    secrets: &[(&str, &str)],
    more: &[&str],
) -> Place {
    let grows = format!("[channel.{channel}.capabilities.channel]\npartial_reply_interval_ms = 100\n");
    let place = home_of(services, model, &grows);
    let files: Vec<String> =
        secrets.iter().map(|(name, value)| format!("{name}={}", place.file(name, value).display())).collect();
    let secrets = files.iter().flat_map(|file| ["--secret", file]);
    let arguments = ["setup", channel, "--set", "dm_policy=open"].into_iter().chain(secrets);
    place.run(&arguments.chain(more.iter().copied()).collect::<Vec<_>>()).good();
    place
}

/// The model writes a beginning, calls a tool and writes the whole reply piece by piece. `first` waits for the beginning in the
/// service and gives it; `changes` are the texts that its message has had since, in order: `interval` apart.
fn grows_into_one_message(
    model: &ModelStream,
    host: RunningHost,
    first: impl FnOnce() -> String,
    changes: impl Fn() -> Vec<String>,
    interval: Duration,
) {
    let begun = Instant::now();
    model.does([Step::text("**Good**")]);
    assert_eq!(first(), "Good …");
    // The pieces come far more often than any of the services lets a message be changed.
    model.does([Step::Say(call_of_now()), Step::End, Step::text("**Good** morning")]);
    let grown = eventually("it is changed twice while the model writes", || {
        model.does([Step::text(".")]);
        std::thread::sleep(Duration::from_millis(50));
        Some(changes()).filter(|changes| changes.len() >= 2)
    });
    let most = begun.elapsed().as_millis() / interval.as_millis();
    assert!(grown.len() as u128 <= most, "{grown:?} in {:?}", begun.elapsed());
    model.does([Step::text(" Bye"), Step::End]);
    eventually("the reply is in its place", || {
        changes().last().is_some_and(|text| text.ends_with(". Bye")).then_some(())
    });
    host.stop();
    let mut changes = changes();
    let reply = changes.pop().unwrap_or_default();
    assert!(reply.starts_with("Good morning."), "{reply}");
    assert!(
        changes.iter().all(|text| text.starts_with("Good morning") && text.ends_with(" …")),
        "{changes:?}"
    );
}

fn call_of_now() -> Value {
    json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "now", "arguments": "{}"}}]})
}

fn edited(service: &Telegram) -> Vec<String> {
    let texts = service.inner.edited.all();
    texts.iter().map(|edit: &Value| edit["text"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_model_writes_into_one_message_of_telegram_until_its_reply_is_whole() {
    let (service, model) = (Telegram::with_token(TOKEN), ModelStream::start());
    let grows = "[channel.telegram.capabilities.channel]\npartial_reply_interval_ms = 100\n";
    let place = home_with_model(&service, &model, grows);
    // Before the first poll: the fake keeps no poll waiting, so the next one comes half a minute later.
    write_to_bot(&service, 7, "hello?");
    let host = place.host(&[], &[]);
    model.does([Step::text("**Good**")]);
    assert_eq!(service.inner.sent.wait(1)[0].text, "Good …");
    // The rest comes after a tool call.
    model.does([Step::Say(call_of_now()), Step::End, Step::text("**Good** morning"), Step::End]);
    eventually("the reply is in its place", || {
        (edited(&service).last().map(String::as_str) == Some("<b>Good</b> morning")).then_some(())
    });
    host.stop();
    assert_eq!(service.inner.sent.len(), 1, "it is one message");
}

#[test]
fn a_model_writes_into_one_message_of_slack_until_its_reply_is_whole() {
    const APP_TOKEN: &str = "xoxb-a-token";
    const SIGNING_SECRET: &str = "0123456789abcdef0123456789abcdef";
    let service = Slack::with_secrets(&format!("Bearer {APP_TOKEN}"), SIGNING_SECRET);
    let model = ModelStream::start();
    let secrets = [("slack_bot_token", APP_TOKEN), ("slack_signing_secret", SIGNING_SECRET)];
    let more = ["--public-url", "https://bot.example.org"];
    let place = set_up_growing("slack", &[("slack.com", service.upstream.url())], &model, &secrets, &more);
    let host = place.host(&[], &[]);
    let event = json!({"type": "message", "channel_type": "im", "channel": "D1", "user": "U7", "text": "hello?", "ts": "1.2"});
    let body =
        json!({"type": "event_callback", "event_id": "Ev1", "team_id": "T1", "event": event}).to_string();
    eventually("the channel takes the event", || {
        (service.post_to(host.address, "application/json", &body).status == 200).then_some(())
    });
    let changes = || {
        let all = service.inner.edited.all();
        assert!(all.iter().all(|edit| (&edit["channel"], &edit["ts"]) == (&json!("D1"), &json!("1.1"))));
        texts(&all, "text", "*")
    };
    grows_into_one_message(
        &model,
        host,
        || texts_of_slack(&service).remove(0),
        changes,
        Duration::from_millis(1500),
    );
    assert_eq!(texts_of_slack(&service), ["Good …"], "it is one message");
}

fn texts_of_slack(service: &Slack) -> Vec<String> {
    service.inner.sent.wait(1).into_iter().map(|sent| sent.text.replace('*', "")).collect()
}

/// A field of each change, without the signs of bold text.
fn texts(changes: &[Value], field: &str, signs: &str) -> Vec<String> {
    changes.iter().map(|change| change[field].as_str().unwrap_or_default().replace(signs, "")).collect()
}

#[test]
fn a_model_writes_into_one_message_of_discord_until_its_reply_is_whole() {
    let secrets = [("discord_bot_token", "AAAA.bbbb.cccc")];
    let (service, model) = (Discord::with_token(secrets[0].1), ModelStream::start());
    let services = [
        ("discord.com", service.upstream.url()),
        ("gateway.discord.gg", service.bot.url()),
        ("gateway-us-east1-b.discord.gg", service.bot.url()),
    ];
    let place = set_up_growing("discord", &services, &model, &secrets, &[]);
    let host = place.host(&[], &[]);
    let message = json!({"id": "1", "type": 0, "channel_id": "D1", "content": "hello?", "mentions": [],
        "attachments": [], "author": {"id": "7", "username": "ann"}});
    service.bot.event("MESSAGE_CREATE", message);
    let sent = || -> Vec<String> {
        service.inner.sent.wait(1).into_iter().map(|sent| sent.content.replace("**", "")).collect()
    };
    let changes = || {
        let all = service.inner.edited.all();
        assert!(all.iter().all(|edit| (&edit["channel"], &edit["id"]) == (&json!("D1"), &json!("900"))));
        texts(&all, "content", "**")
    };
    grows_into_one_message(&model, host, || sent().remove(0), changes, Duration::from_millis(1500));
    assert_eq!(sent(), ["Good …"], "it is one message");
}

#[test]
fn a_model_writes_into_one_event_of_matrix_until_its_reply_is_whole() {
    const ROOM: &str = "!direct:a.example";
    let (service, model) = (Matrix::start(), ModelStream::start());
    service.room(ROOM, 2);
    let secrets = [("matrix_access_token", "value-of-matrix_access_token")];
    let homeserver = format!("homeserver={}", service.upstream.url());
    let place = set_up_growing("matrix", &[], &model, &secrets, &["--set", &homeserver]);
    let host = place.host(&[], &[]);
    // What was written before the first sync is history.
    service.inner.syncs.wait(2);
    service.say(ROOM, "@ann:a.example", "hello?");
    let first = || service.inner.sent.wait(1)[0].content["body"].as_str().unwrap_or_default().to_owned();
    let changes = || {
        let all = service.inner.sent.all().into_iter().skip(1);
        let replaced = all.map(|event| {
            let relation = json!({"rel_type": "m.replace", "event_id": "$sent1"});
            assert_eq!(
                event.content["m.relates_to"], relation,
                "it is one event, and others that replace it"
            );
            event.content["m.new_content"].clone()
        });
        texts(&replaced.collect::<Vec<_>>(), "body", "**")
    };
    grows_into_one_message(&model, host, first, changes, Duration::from_millis(2000));
    let last = service.inner.sent.all().pop().expect("the reply").content;
    let html = last["m.new_content"]["formatted_body"].as_str().unwrap_or_default();
    assert!(html.starts_with("<p><strong>Good</strong> morning."), "{last}");
}

#[test]
fn a_models_text_comes_as_a_whole_where_the_operator_has_not_asked_for_more() {
    let (service, model) = (Telegram::with_token(TOKEN), ModelStream::start());
    let place = home_with_model(&service, &model, "");
    // Before the first poll: the fake keeps no poll waiting, so the next one comes half a minute later.
    write_to_bot(&service, 7, "hello?");
    let host = place.host(&[], &[]);
    model.does([Step::text("Good"), Step::text(" morning"), Step::End]);
    assert_eq!(service.inner.sent.wait(1)[0].text, "Good morning");
    host.stop();
    assert_eq!((service.inner.sent.len(), edited(&service).len()), (1, 0));
}
