//! Slow is not stuck.

use std::time::Duration;

use serde_json::json;

use super::support::*;
use crate::harness::upstream::{Upstream, ok};
use crate::harness::{client, eventually};

/// An upstream server whose `/slow…` waits for the door.
pub fn slow(door: &Door) -> Upstream {
    let door = door.clone();
    Upstream::start(move |request, _| {
        if request.target.starts_with("/slow") {
            door.pass();
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
    let door = Door::default();
    let upstream = slow(&door);
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
    door.open();
    assert_eq!(running.take(1), ["polled"]);
}

#[test]
fn a_channel_whose_start_fails_answers_503_until_it_has_started() {
    // A status that HTTP does not have fails the guest's request.
    let upstream = Upstream::start(|_, before| if before < 1 { (9, Vec::new(), Vec::new()) } else { ok() });
    let running = start(everything(&upstream, |file| file["config"] = json!({"on_start": get("/register")})));
    upstream.wait_for("the first start", |_| true);
    let refused = running.post(&emit("ann", "early"));
    assert_eq!((refused.status, refused.json()), (503, json!({"error": "channel_starting"})));
    assert!(refused.header("retry-after").is_some());
    eventually("the reason is shown", || {
        let problems = running.health("everything").problems;
        problems.iter().any(|problem| problem.starts_with("last failure")).then_some(())
    });
    running.ready("everything");
    running.task(&emit("ann", "late"));
    assert_eq!(running.take(1), ["late"]);
}

#[test]
fn webhooks_of_a_channel_are_handled_in_the_order_in_which_they_came() {
    let door = Door::default();
    let upstream = slow(&door);
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
                (running.health("everything").waiting[0] == number).then_some(())
            });
        }
        door.open();
    });
    assert_eq!(running.take(6), ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn a_webhook_that_waits_too_long_for_its_turn_is_told_to_come_back() {
    let door = Door::default();
    let upstream = slow(&door);
    let builder = everything(&upstream, |_| {})
        .configure(|config| config.router.queue_timeout = Duration::from_millis(100));
    let running = start(builder);
    running.ready("everything");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| running.post(&get("/slow")));
        upstream.wait_for("the first", |_| true);
        let second = running.post(&emit("ann", "late"));
        assert_eq!((second.status, second.json()), (503, json!({"error": "busy"})));
        door.open();
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
