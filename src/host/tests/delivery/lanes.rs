//! Slow is not stuck.

use std::time::Duration;

use serde_json::json;

use super::support::*;
use crate::test_support::upstream::{Upstream, ok};
use crate::test_support::{client, eventually};
use crate::{Diagnostic, StatusType, StatusUpdate};

/// An upstream server whose `/slow…` waits for the gate.
pub fn slow(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |request, _| {
        if request.target.starts_with("/slow") {
            gate.pass();
        }
        ok()
    })
}

pub fn polling(file: &mut serde_json::Value) {
    file["config"] = json!({"poll_interval_ms": 20});
    file["capabilities"]["channel"]["min_poll_interval_ms"] = json!(20);
}

#[test]
fn a_long_poll_delays_neither_a_webhook_nor_a_reply() {
    let gate = Gate::default();
    let upstream = slow(&gate);
    let running = start(everything(&upstream, polling));
    running.task_in("on-respond", &get("/sent"));
    running.task_in("on-poll", &sequence([get("/slow"), emit("feed", "polled")]));
    upstream.wait_for("the poll", |request| request.target == "/slow");
    running.task(&emit("ann", "hello"));
    let delivery = running.next();
    running.host.respond(&delivery, text("hello back")).unwrap();
    upstream.wait_for("the reply", |request| request.target == "/sent");
    assert_eq!(delivery.message().content, "hello");
    running.assert_no_message();
    gate.open();
    assert_eq!(running.take(1), ["polled"]);
}

/// Timers had the lane of the polls: a reminder waited for up to 35 s behind a long poll.
#[test]
fn a_timer_does_not_wait_for_a_long_poll() {
    let gate = Gate::default();
    let upstream = slow(&gate);
    let running = start(everything(&upstream, polling));
    running.task_in("on-poll", &get("/slow"));
    upstream.wait_for("the poll", |request| request.target == "/slow");
    let payload = emit("ann", "timer");
    running.task(&json!({"do": "timer-set", "name": "t", "delay_ms": 1, "payload": payload}));
    assert_eq!(running.take(1), ["timer"]);
    gate.open();
}

/// One slow download, or a typing call that hung, held up every chat of its channel.
#[test]
fn neither_a_hanging_typing_call_nor_a_slow_reply_delays_the_replies_of_others() {
    let gate = Gate::default();
    let upstream = slow(&gate);
    let running = start(everything(&upstream, |_| {}));
    running.task_in("on-status", &get("/slow/typing"));
    running.task_in("on-broadcast", &get("/slow/broadcast"));
    running.task_in("on-respond", &get("/sent"));
    let thinking =
        StatusUpdate { status: StatusType::Thinking, message: String::new(), metadata_json: "{}".into() };
    running.host.status_to(&name("everything"), thinking).unwrap();
    let large = running.host.broadcast(&name("everything"), "bob", text("large")).unwrap();
    upstream.wait_for("typing", |request| request.target == "/slow/typing");
    upstream.wait_for("a slow reply", |request| request.target == "/slow/broadcast");
    let reply = running.host.respond_to(&name("everything"), text("quick")).unwrap();
    running.reply_state(reply, crate::store::ReplyState::Delivered);
    let large = running.host.reply(large).unwrap().unwrap();
    assert_eq!(large.error, None, "the reply did not wait until the slow one had failed");
    gate.open();
}

/// The tick of a poll that was still running was skipped, and the first poll after a restart waited for the interval.
#[test]
fn a_channel_is_polled_at_its_start_and_again_at_once_when_a_poll_brought_something() {
    let (state, upstream) = (TempDir::new(), nobody());
    let host = || {
        start(kept_in(
            everything(&upstream, |file| {
                file["config"] = json!({"poll_interval_ms": 3_600_000});
            }),
            state.path(),
        ))
    };
    let polls = |running: &RunningHost| {
        let seen = running.file("seen/on-poll");
        let seen: serde_json::Value = serde_json::from_str(seen.as_str()?).ok()?;
        seen["count"].as_u64()
    };
    let first = host();
    eventually("the first poll", || (polls(&first) == Some(1)).then_some(()));
    first.task_in(
        "on-poll",
        &sequence([emit("feed", "polled"), write("tasks/on-poll", "{\"do\": \"now-millis\"}")]),
    );
    first.host.shutdown();
    let second = host();
    assert_eq!(second.take(1), ["polled"]);
    eventually("the poll after one that emitted", || (polls(&second) == Some(3)).then_some(()));
}

/// Nothing but `check` said that nothing arrives through a channel's websocket.
#[test]
fn a_channel_whose_websocket_is_not_open_says_so_in_its_health() {
    let upstream = nobody();
    let running = start(everything(&upstream, |file| {
        file["capabilities"]["websocket"] = json!({"url": "wss://gateway.example/?v=10"});
    }));
    let is_said = |each: &Diagnostic| each.message.starts_with("the websocket to gateway.example is closed");
    eventually("health says it", || running.health("everything").problems.iter().any(is_said).then_some(()));
}

#[test]
fn a_channel_whose_start_fails_responds_with_503_until_it_has_started() {
    // A status that HTTP does not have fails the guest's request.
    let upstream = Upstream::start(|_, before| if before < 1 { (9, Vec::new(), Vec::new()) } else { ok() });
    let running = start(everything(&upstream, |file| file["config"] = json!({"on_start": get("/register")})));
    upstream.wait_for("the first start", |_| true);
    let refused = running.post(&emit("ann", "early"));
    assert_eq!((refused.status, refused.json()), (503, json!({"error": "channel_starting"})));
    assert!(refused.header("retry-after").is_some());
    eventually("the reason is shown", || {
        let problems = running.health("everything").problems;
        problems.iter().any(|problem| problem.message.starts_with("last failure")).then_some(())
    });
    running.ready("everything");
    running.task(&emit("ann", "late"));
    assert_eq!(running.take(1), ["late"]);
}

#[test]
fn webhooks_of_a_channel_are_handled_in_the_order_in_which_they_came() {
    let gate = Gate::default();
    let upstream = slow(&gate);
    let running = start(everything(&upstream, |_| {}));
    running.ready("everything");
    std::thread::scope(|scope| {
        scope.spawn(|| running.task(&sequence([get("/slow"), emit("ann", "0")])));
        upstream.wait_for("the first", |_| true);
        for number in 1..=5 {
            let task = emit(&format!("user{number}"), &number.to_string());
            let running = &running;
            scope.spawn(move || running.post(&task));
            eventually("it is in the lane", || {
                (running.health("everything").inbound_waiting == number).then_some(())
            });
        }
        gate.open();
    });
    assert_eq!(running.take(6), ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn a_webhook_that_waits_too_long_in_its_lane_gets_503() {
    let gate = Gate::default();
    let upstream = slow(&gate);
    let builder = everything(&upstream, |_| {})
        .configure(|config| config.router.queue_timeout = Duration::from_millis(100));
    let running = start(builder);
    running.ready("everything");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| running.post(&get("/slow")));
        upstream.wait_for("the first", |_| true);
        let second = running.post(&emit("ann", "late"));
        assert_eq!((second.status, second.json()), (503, json!({"error": "busy"})));
        gate.open();
        assert_eq!(first.join().unwrap().status, 200);
    });
    running.assert_no_message();
}

#[test]
fn a_guest_that_wants_more_memory_than_there_is_for_all_does_not_stop_the_others() {
    let upstream = nobody();
    let builder =
        everything(&upstream, |_| {}).configure(|config| config.router.memory_budget = 6 * 1024 * 1024);
    let running = start(builder);
    running.ready("everything");
    let greedy = running.post(&json!({"do": "allocate", "bytes": 16 * 1024 * 1024}));
    // The guest may cope with the refusal and say so, or the host gives the request back.
    assert!(greedy.status == 503 || greedy.json()["err"].is_string(), "{}", greedy.status);
    running.task(&emit("ann", "modest"));
    assert_eq!(running.take(1), ["modest"]);
    assert_eq!(client::request(running.address, "GET", "/healthz", &[], b"").status, 200);
}
