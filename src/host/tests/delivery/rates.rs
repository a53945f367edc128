//! Channels that emit faster than they may.

use serde_json::{Value, json};

use super::lanes::slow;
use super::support::*;
use crate::test_support::eventually;
use crate::test_support::upstream::Upstream;

fn at_most(per_minute: u64) -> impl Fn(&mut Value) {
    move |file| {
        let section = &mut file["capabilities"]["channel"];
        section["emit_rate_limit"] = json!({"messages_per_minute": per_minute, "messages_per_hour": 10_000});
        section["min_poll_interval_ms"] = json!(20);
    }
}

/// Uses up what a channel of 60 messages a minute may emit at once; one more comes in each second from then on.
fn use_up(running: &RunningHost) {
    let mut task = emit("burst", "burst");
    task["times"] = json!(60);
    running.task(&task);
    assert_eq!(running.take(60).len(), 60);
}

#[test]
fn a_webhook_over_the_rate_gets_429_and_nothing_of_it_is_kept() {
    let upstream = nobody();
    let running = start(everything(&upstream, at_most(3)));
    running.task(&sequence([emit("ann", "1"), emit("ann", "2")]));
    let limited = running.post(&sequence([write("kept", "yes"), emit("ann", "3"), emit("ann", "4")]));
    assert_eq!((limited.status, limited.json()), (429, json!({"error": "too_many_requests"})));
    assert!(limited.header("retry-after").is_some());
    assert_eq!(running.file("kept"), Value::Null);
    running.task(&emit("ann", "3"));
    assert_eq!(running.take(3), ["1", "2", "3"]);
    running.assert_no_message();
}

#[test]
fn a_poll_over_the_rate_waits_with_its_message_kept() {
    let upstream = nobody();
    let running = start(everything(&upstream, |file| {
        at_most(60)(file);
        file["config"] = json!({"poll_interval_ms": 20});
    }));
    use_up(&running);
    let task = sequence([emit("feed", "polled"), write("tasks/on-poll", "{\"do\": \"now-millis\"}")]);
    running.task_in("on-poll", &task);
    assert_eq!(running.take(1), ["polled"]);
    eventually("polling goes on", || {
        let seen: Value = serde_json::from_str(running.file("seen/on-poll").as_str()?).ok()?;
        (seen["count"].as_u64()? > 2).then_some(())
    });
    running.assert_no_message();
}

/// A limit of zero made the wait endless: adding it to the present moment panicked on the router's thread, so one capability
/// file ended the host.
#[test]
fn a_channel_whose_limit_is_zero_may_not_emit_and_goes_on() {
    for zero in ["messages_per_minute", "messages_per_hour"] {
        let upstream = nobody();
        let running = start(everything(&upstream, |file| {
            at_most(10)(file);
            file["capabilities"]["channel"]["emit_rate_limit"][zero] = json!(0);
            file["config"] = json!({"poll_interval_ms": 20, "on_start": emit("a", "start")});
        }));
        running.task(&sequence([emit("a", "webhook"), write("kept", "yes")]));
        assert_eq!(running.file("kept"), "yes");
        let in_timer = sequence([emit("a", "timer"), write("timer-ran", "yes")]);
        running.task(&json!({"do": "timer-set", "name": "t", "delay_ms": 1, "payload": in_timer}));
        running.task_in("on-poll", &sequence([emit("a", "poll"), write("poll-ran", "yes")]));
        running.task_in("on-respond", &emit("a", "reply"));
        let reply = running.host.respond_to(&name("everything"), text("hello")).unwrap();
        running.reply_state(reply, crate::store::ReplyState::Delivered);
        for file in ["timer-ran", "poll-ran"] {
            eventually("it ran", || (running.file(file) == "yes").then_some(()));
        }
        assert!(running.health("everything").dropped >= 5, "{:?}", running.health("everything"));
        running.assert_no_message();
    }
}

/// The second callback that had to wait took the place of the first, whose messages were lost and whose lane stood still.
#[test]
fn two_callbacks_over_the_rate_both_wait_and_both_are_kept() {
    let gate = Gate::default();
    let upstream: Upstream = slow(&gate);
    let running = start(everything(&upstream, |file| {
        at_most(60)(file);
        file["config"] = json!({"poll_interval_ms": 20});
    }));
    use_up(&running);
    running.task_in("on-broadcast", &sequence([get("/slow/broadcast"), emit("b", "broadcast")]));
    running.host.broadcast(&name("everything"), "bob", text("hello")).unwrap();
    upstream.wait_for("the broadcast", |request| request.target == "/slow/broadcast");
    let once = write("tasks/on-poll", "{\"do\": \"now-millis\"}");
    running.task_in("on-poll", &sequence([get("/slow/poll"), emit("p", "poll"), once]));
    upstream.wait_for("the poll", |request| request.target == "/slow/poll");
    // What came in while the test waited is used up, too.
    let mut task = emit("burst", "burst");
    task["times"] = json!(1);
    while running.post(&task).status == 200 {}
    gate.open();
    let mut arrived: Vec<String> = Vec::new();
    while arrived.iter().filter(|content| *content != "burst").count() < 2 {
        arrived.extend(running.take(1));
    }
    arrived.retain(|content| content != "burst");
    arrived.sort();
    assert_eq!(arrived, ["broadcast", "poll"]);
    eventually("both lanes go on", || {
        let health = running.health("everything");
        (health.replies_pending == 0
            && health.inbound_waiting + health.polls_waiting + health.outbound_waiting == 0)
            .then_some(())
    });
    let polls =
        || serde_json::from_str::<Value>(running.file("seen/on-poll").as_str()?).ok()?["count"].as_u64();
    let before = polls();
    eventually("the channel is polled again", || (polls() > before).then_some(()));
}

/// A poll over its rate held up replies too, for up to an hour, and webhooks took the tokens that it waited for.
#[test]
fn a_poll_over_the_rate_holds_up_no_reply_and_no_later_callback_emits_before_it() {
    let upstream = nobody();
    let running = start(everything(&upstream, |file| {
        at_most(1)(file);
        file["config"] = json!({"poll_interval_ms": 20});
    }));
    running.task(&emit("ann", "first"));
    assert_eq!(running.take(1), ["first"]);
    running.task_in("on-poll", &sequence([get("/polled"), emit("feed", "polled")]));
    upstream.wait_for("the poll", |request| request.target == "/polled");
    let reply = running.host.respond_to(&name("everything"), text("hello")).unwrap();
    running.reply_state(reply, crate::store::ReplyState::Delivered);
    assert_eq!(running.post(&emit("ann", "later")).status, 429);
    running.task(&write("a-webhook-that-emits-nothing", "is taken"));
    running.assert_no_message();
}
