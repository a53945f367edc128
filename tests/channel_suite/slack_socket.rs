//! Slack in Socket Mode.

use serde_json::{Value, json};
use tinclaw::host::{ChannelState, LinkState};
use tinclaw::store::ReplyState;

use crate::play::{Play, Setting};
use crate::slack_fake::Slack;
use crate::slack_socket_fake::Sockets;
use crate::support::eventually;
use crate::support::temp_dir::TempDir;

fn setting(service: &Slack, sockets: &Sockets) -> Setting<'static> {
    let rewrites = vec![
        ("slack.com", service.upstream.url()),
        ("files.slack.com", service.upstream.url()),
        ("wss-primary.slack.com", sockets.url()),
    ];
    Setting {
        channel: "slack",
        secrets: &["slack_bot_token", "slack_app_token"],
        rewrites: rewrites.leak(),
        state: None,
        tunnel_url: None,
        settings: &[],
    }
}

fn open(setting: &Setting<'_>) -> Play {
    Play::start(setting, |file| file["config"]["dm_policy"] = json!("open"))
}

fn direct(text: &str, ts: &str) -> Value {
    json!({"type": "message", "channel": "D1", "channel_type": "im", "user": "UANN", "text": text, "ts": ts})
}

#[test]
fn a_message_arrives_is_acknowledged_and_its_reply_leaves() {
    let (service, sockets) = (Slack::start(), Sockets::start());
    let play = open(&setting(&service, &sockets));
    sockets.event("e1", &direct("hello", "1.0"));
    let delivery = play.next();
    assert_eq!(delivery.message().content, "hello");
    assert_eq!(sockets.acknowledged.wait(1), ["e1"]);
    let id = play.reply(delivery, "**hi**");
    play.until(id, ReplyState::Delivered);
    assert_eq!(service.inner.sent.all()[0].text, "*hi*");
    // The signing secret is for those who have a public address.
    let health = play.health();
    assert_eq!(health.state, ChannelState::Ready, "{:?}", health.problems);
}

#[test]
fn commands_and_buttons_come_through_the_link() {
    let (service, sockets) = (Slack::start(), Sockets::start());
    let play = open(&setting(&service, &sockets));
    let command = json!({"command": "/ask", "text": "what now", "user_id": "UANN", "user_name": "ann",
        "channel_id": "D1", "trigger_id": "t1"});
    sockets.envelope("e1", "slash_commands", command);
    assert_eq!(play.hear(), "/ask what now");
    let press = json!({"type": "block_actions", "user": {"id": "UANN"}, "channel": {"id": "D1"},
        "message": {"ts": "3.0"}, "actions": [{"value": "yes", "action_ts": "4.0"}]});
    sockets.envelope("e2", "interactive", press);
    assert_eq!(play.hear(), "yes");
    assert_eq!(sockets.acknowledged.wait(2), ["e1", "e2"]);
}

#[test]
fn an_event_that_cannot_be_worked_on_is_not_acknowledged_and_tried_again() {
    let (service, sockets) = (Slack::start(), Sockets::start());
    let play = open(&setting(&service, &sockets));
    eventually("the link is ready", || play.health().link.filter(|link| link.state == LinkState::Ready));
    // Who the app is cannot be asked.
    service.set_down(true);
    sockets.event("e1", &direct("hello", "1.0"));
    sockets.event("e2", &direct("and more", "2.0"));
    eventually("the callback fails", || (play.health().failed > 0).then_some(()));
    assert_eq!(sockets.acknowledged.len(), 0);
    service.set_down(false);
    assert_eq!(play.hear(), "hello");
    assert_eq!(play.hear(), "and more");
    assert_eq!(sockets.acknowledged.wait(2), ["e1", "e2"]);
}

#[test]
fn a_link_that_ends_is_opened_again_and_nothing_is_heard_twice() {
    let (service, sockets) = (Slack::start(), Sockets::start());
    let play = open(&setting(&service, &sockets));
    sockets.event("e1", &direct("first", "1.0"));
    assert_eq!(play.hear(), "first");
    sockets.acknowledged.wait(1);
    for (number, end) in ["refresh_requested", "drop"].into_iter().enumerate() {
        match end {
            "drop" => sockets.drop_link(),
            reason => sockets.disconnect(reason),
        }
        eventually("another link", || (sockets.connections() > number + 1).then_some(()));
    }
    // Slack sends an event again whose acknowledgement it has not seen.
    sockets.event("e1", &direct("first", "1.0"));
    sockets.event("e2", &direct("second", "2.0"));
    assert_eq!(play.hear(), "second");
    assert_eq!(service.inner.opened.len(), 3, "an address is good for one link");
}

/// Slack says some seconds before that it will end a connection. The link was without one until the next was open.
#[test]
fn another_link_is_opened_before_the_one_that_slack_is_about_to_end_is_closed() {
    let (service, sockets) = (Slack::start(), Sockets::start());
    let play = open(&setting(&service, &sockets));
    sockets.event("e1", &direct("first", "1.0"));
    assert_eq!(play.hear(), "first");
    // What is not acknowledged is sent again on the next link.
    sockets.acknowledged.wait(1);
    sockets.disconnect("warning");
    assert_eq!(sockets.closed.wait(1), [2], "the second was open when the first was closed");
    sockets.event("e2", &direct("second", "2.0"));
    assert_eq!(play.hear(), "second");
    assert_eq!(sockets.acknowledged.wait(2), ["e1", "e2"]);
    // Where no other can be opened, the one that there is serves on.
    let refused = crate::fake::json(200, &json!({"ok": false, "error": "internal_error"}));
    service.inner.orders.next_response("apps.connections.open", refused);
    sockets.disconnect("refresh_requested");
    sockets.event("e3", &direct("third", "3.0"));
    assert_eq!(play.hear(), "third");
    assert_eq!(sockets.connections(), 2);
}

#[test]
fn a_token_that_is_refused_does_not_hammer_and_a_link_that_is_disabled_stops() {
    let (service, sockets) = (Slack::start(), Sockets::start());
    service.fail_with("invalid_auth");
    // It may be degraded before anybody sees it ready.
    let play = Play::begin(&setting(&service, &sockets), |file| file["config"]["dm_policy"] = json!("open"));
    let reason = eventually("the link waits", || {
        play.health().link.filter(|link| link.state == LinkState::Waiting).and_then(|link| link.reason)
    });
    assert!(reason.contains("invalid_auth"), "{reason}");
    assert_eq!(sockets.connections(), 0);
    let (service, sockets) = (Slack::start(), Sockets::start());
    let play = open(&setting(&service, &sockets));
    sockets.disconnect("link_disabled");
    eventually("the link stops", || play.health().link.filter(|link| link.state == LinkState::Stopped));
}

#[test]
fn without_an_app_token_webhooks_are_enough() {
    let (service, sockets) = (Slack::start(), Sockets::start());
    let secrets = &["slack_bot_token", "slack_signing_secret"][..];
    let play = open(&Setting { secrets, ..setting(&service, &sockets) });
    let health = eventually("the link is not used", || {
        let health = play.health();
        (health.link.as_ref()?.state == LinkState::NotUsed).then_some(health)
    });
    assert_eq!(health.state, ChannelState::Ready, "{:?}", health.problems);
    assert_eq!(service.event(&play, "Ev1", &direct("hello", "1.0")).status, 200);
    assert_eq!(play.hear(), "hello");
    assert_eq!(service.inner.opened.len(), 0);
}

#[test]
fn a_restart_repeats_no_message() {
    let (service, sockets) = (Slack::start(), Sockets::start());
    let scratch = TempDir::new();
    let setting = Setting { state: Some(scratch.path()), ..setting(&service, &sockets) };
    let play = open(&setting);
    sockets.event("e1", &direct("first", "1.0"));
    assert_eq!(play.hear(), "first");
    play.host.shutdown();
    let play = open(&setting);
    sockets.event("e1", &direct("first", "1.0"));
    sockets.event("e2", &direct("second", "2.0"));
    assert_eq!(play.hear(), "second");
}
