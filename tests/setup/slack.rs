//! Slack: a manifest, two secrets, a public address.

use serde_json::json;

use crate::home::home;
use crate::slack_fake::Slack;
use crate::support::eventually;

const TOKEN: &str = "xoxb-a-token";
const SIGNING_SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn from_a_manifest_to_a_reply() {
    let service = Slack::with_secrets(&format!("Bearer {TOKEN}"), SIGNING_SECRET);
    let place = home(&[("slack.com", service.upstream.url()), ("files.slack.com", service.upstream.url())]);
    let (token, signing) = (place.file("token", TOKEN), place.file("signing", SIGNING_SECRET));
    let secrets = [
        format!("slack_bot_token={}", token.display()),
        format!("slack_signing_secret={}", signing.display()),
    ];
    let [token, signing] = &secrets;
    let wrong = place.file("wrong", "xoxb-wrong");
    let wrong = format!("slack_bot_token={}", wrong.display());
    let with = |token: &str| {
        let address = ["--public-url", "https://bot.example.org"];
        let policy = ["--set", "dm_policy=open", "--json"];
        let arguments =
            [&["setup", "slack", "--secret", token, "--secret", signing][..], &address, &policy].concat();
        place.run(&arguments)
    };
    let refused = with(&wrong);
    assert!(
        refused.code == Some(1) && refused.err.contains("Slack refuses this: not_authed"),
        "{}",
        refused.err
    );
    let done = with(token).json();
    assert_eq!((&done["checked"], &done["running"]), (&json!(true), &json!(false)));
    assert_eq!(done["stored"], json!(["slack_bot_token", "slack_signing_secret"]));
    let url = "https://bot.example.org/webhook/slack";
    assert_eq!(done["receives"], format!("requests to {url}"));
    let steps = done["steps"].as_array().expect("steps");
    let manifest = steps.iter().find(|step| !step["json"].is_null()).expect("the manifest");
    assert_eq!(manifest["json"]["settings"]["event_subscriptions"]["request_url"], url);
    let text = std::fs::read_to_string(place.path().join("tinclaw.toml")).expect("it is there");
    assert!(text.contains("public_url = \"https://bot.example.org\""), "{text}");

    let host = place.host(&[], &[]);
    let event = json!({"type": "message", "channel_type": "im", "channel": "D1", "user": "U7", "text": "hello", "ts": "1.2"});
    let body =
        json!({"type": "event_callback", "event_id": "Ev1", "team_id": "T1", "event": event}).to_string();
    eventually("the channel takes the event", || {
        let reply = service.post_to(host.address, "application/json", &body);
        (reply.status == 200).then_some(())
    });
    let sent = service.inner.sent.wait(1);
    assert_eq!((sent[0].channel.as_str(), sent[0].text.as_str()), ("D1", "hello"));
    host.stop();
}
