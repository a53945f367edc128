//! One callback, one transaction.

use serde_json::{Value, json};

use super::lanes::slow;
use super::support::*;
use crate::test_support::eventually;

fn read(path: &str) -> Value {
    json!({"do": "workspace-read", "path": path})
}

#[test]
fn a_callback_sees_its_own_writes_and_a_trap_takes_all_of_them_back() {
    let upstream = nobody();
    let running = start(everything(&upstream, |_| {}));
    let done = running.task(&sequence([write("a", "1"), read("a")]));
    assert_eq!(done[1]["ok"], "1");
    let timer = json!({"do": "timer-set", "name": "t", "delay_ms": 1, "payload": emit("ann", "timer")});
    let trapping =
        sequence([write("a", "2"), write("b", "2"), emit("ann", "lost"), timer, json!({"do": "panic"})]);
    assert_eq!(running.post(&trapping).status, 500);
    assert_eq!((running.file("a"), running.file("b")), (json!("1"), Value::Null));
    running.task(&emit("bob", "kept"));
    assert_eq!(running.take(1), ["kept"]);
    std::thread::sleep(std::time::Duration::from_millis(50));
    running.assert_no_message();
}

/// A guest that emits a message and writes a file, and how it ends.
fn ending(guest: &str) -> (RunningHost, crate::test_support::client::Reply) {
    let runtime = crate::test_support::fixtures::runtime();
    let file =
        std::fs::read(crate::test_support::fixtures::path("hostile/hostile.capabilities.json")).unwrap();
    let mut file: Value = serde_json::from_slice(&file).unwrap();
    file["capabilities"]["channel"]["webhook"]["dedupe"] = json!({"json_pointer": "/id"});
    let channel = crate::test_support::fixtures::hostile(&runtime, guest, &file);
    let running = start(crate::test_support::fixtures::host(&[], &[]).channel(channel));
    running.ready(guest);
    let response = again(&running);
    (running, response)
}

fn again(running: &RunningHost) -> crate::test_support::client::Reply {
    crate::test_support::client::request(running.address, "POST", "/webhook/hostile", &[], b"{\"id\": 1}")
}

#[test]
fn a_guest_that_traps_or_cannot_be_understood_after_its_effects_leaves_nothing() {
    for guest in ["trap_after_effects", "respond_unusable_after_effects"] {
        let (running, response) = ending(guest);
        assert_eq!((response.status, response.json()), (500, json!({"error": "callback_failed"})), "{guest}");
        running.assert_no_message();
        assert_eq!(running.health(guest).failed, 1, "{guest}");
        assert_eq!(
            again(&running).status,
            500,
            "{guest}: a duplicate runs, and gets no response that was never sent"
        );
        running.assert_no_message();
    }
}

/// A callback that returns has succeeded, whatever it says to the client: `docs/writing-a-channel.md` tells guests so.
#[test]
fn writes_before_a_guests_error_are_kept_and_the_next_attempt_runs() {
    let (running, response) = ending("respond_with_error_after_effects");
    assert_eq!((response.status, again(&running).status), (503, 503));
    assert_eq!(running.take(2).len(), 2);
    assert_eq!(running.health("respond_with_error_after_effects").failed, 0);
}

/// Two callbacks at a time, each of which counts up a file: one of them starts over when both have read the same.
#[test]
fn a_callback_whose_file_was_changed_meanwhile_runs_again_and_no_count_is_lost() {
    let upstream = nobody();
    let running = start(everything(&upstream, |file| {
        file["capabilities"]["channel"]["outbound_concurrency"] = json!(2);
    }));
    running.ready("everything");
    for pair in 1..=20_u64 {
        running.host.broadcast(&name("everything"), "ann", text("hello")).unwrap();
        running.host.broadcast(&name("everything"), "bob", text("hello")).unwrap();
        eventually("both are counted", || {
            let seen: Value = serde_json::from_str(running.file("seen/on-broadcast").as_str()?).ok()?;
            (seen["count"] == 2 * pair).then_some(())
        });
    }
}

#[test]
fn a_callback_that_has_left_the_host_is_not_repeated_and_its_write_wins() {
    let gate = Gate::default();
    let upstream = slow(&gate);
    let running = start(everything(&upstream, |file| {
        file["capabilities"]["channel"]["inbound_concurrency"] = json!(2);
    }));
    running.task(&write("k", "before"));
    std::thread::scope(|scope| {
        let late = scope.spawn(|| running.post(&sequence([read("k"), get("/slow"), write("k", "late")])));
        upstream.wait_for("the late one", |_| true);
        running.task(&sequence([read("k"), write("k", "early")]));
        assert_eq!(running.file("k"), "early");
        gate.open();
        assert_eq!(late.join().unwrap().status, 200);
    });
    assert_eq!(running.file("k"), "late");
    assert_eq!(upstream.requests().len(), 1);
}

/// The limit was looked at while a callback wrote and not when it was committed: callbacks beside each other went over it.
#[test]
fn callbacks_beside_each_other_do_not_fill_the_workspace_beyond_its_limit() {
    let gate = Gate::default();
    let upstream = slow(&gate);
    let running = start(everything(&upstream, |file| {
        let section = &mut file["capabilities"]["channel"];
        section["inbound_concurrency"] = json!(2);
        section["workspace_max_bytes"] = json!(5_000);
    }));
    running.ready("everything");
    let large = |path: &str| json!({"do": "workspace-write", "path": path, "content": "x", "repeat": 3_000});
    std::thread::scope(|scope| {
        let posts = ["a", "b"].map(|path| {
            let (running, task) = (&running, sequence([get(&format!("/slow/{path}")), large(path)]));
            scope.spawn(move || running.post(&task).status)
        });
        for path in ["/slow/a", "/slow/b"] {
            upstream.wait_for("both", |request| request.target == path);
        }
        gate.open();
        let mut statuses = posts.map(|post| post.join().unwrap());
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 500]);
    });
    let files = [running.file("a"), running.file("b")];
    assert_eq!(files.iter().filter(|file| file.is_string()).count(), 1);
    let problems = running.health("everything").problems;
    assert!(
        problems.iter().any(|each| each.message.contains("filled up by other callbacks")),
        "{problems:?}"
    );
}
