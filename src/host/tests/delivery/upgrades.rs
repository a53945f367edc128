//! Another version of a channel takes its place while the host runs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::lanes::slow;
use super::support::*;
use crate::WasmChannel;
use crate::store::ReplyState;
use crate::test_support::{client, eventually, fixtures};

/// The fixture with this configuration; each has another name to show.
fn version(change: impl FnOnce(&mut Value)) -> Box<WasmChannel> {
    Box::new(fixtures::channel_with(&fixtures::runtime(), "everything", change))
}

fn shown_as(name: &str) -> impl FnOnce(&mut Value) {
    let config = json!({"display_name": name});
    move |file| file["config"] = config
}

#[test]
fn a_hundred_upgrades_under_a_load_of_webhooks_lose_no_message_and_refuse_no_request() {
    let host = start(fixtures::host(&[], &[]).channel(*version(shown_as("first"))));
    host.ready("everything");
    let (sent, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (host, sent, is_over) = (&host, &sent, &is_over);
            scope.spawn(move || {
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let reply = host.post(&emit("ann", &format!("{client}-{number}")));
                    assert_eq!(reply.status, 200, "{client}-{number}");
                    number += 1;
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..100 {
            let before = sent.load(Ordering::Relaxed);
            let result = host.host.upgrade(version(shown_as(&format!("version {number}"))));
            // The threads of a test that fails end with it.
            is_over.store(result.is_err(), Ordering::Relaxed);
            result.unwrap();
            eventually("webhooks go on", || (sent.load(Ordering::Relaxed) > before).then_some(()));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let sent = sent.load(Ordering::Relaxed);
    let mut contents = host.take(sent);
    contents.sort();
    contents.dedup();
    assert_eq!(contents.len(), sent, "each message came once");
    host.assert_no_message();
    let health = host.health("everything");
    assert_eq!((health.display_name.as_deref(), health.failed), (Some("version 99"), 0));
}

#[test]
fn a_version_that_cannot_start_is_dropped_and_the_one_before_goes_on() {
    let host = start(fixtures::host(&[], &[]).channel(*version(shown_as("good"))));
    host.task(&write("kept", "text"));
    let result = host.host.upgrade(version(|file| {
        let wrote = json!({"do": "workspace-write", "path": "kept", "content": "overwritten"});
        file["config"] = json!({"fail": "no token", "on_start": wrote});
    }));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("the present one stays") && error.contains("no token"), "{error}");
    let health = host.health("everything");
    assert_eq!(health.display_name.as_deref(), Some("good"));
    assert!(health.problems.iter().any(|problem| problem.to_string().contains("no token")), "{health:?}");
    assert_eq!(host.file("kept"), "text", "nothing of the trial is kept");
    host.host.upgrade(version(shown_as("better"))).unwrap();
    assert_eq!(host.health("everything").display_name.as_deref(), Some("better"));
    assert_eq!(host.file("kept"), "text", "the workspace is the channel's");
}

/// It had registered its own address at the service, and nobody called the old one's any more.
#[test]
fn a_failed_upgrade_with_side_effects_reruns_on_start_of_the_old_version() {
    let gate = Gate::default();
    gate.open();
    let upstream = slow(&gate);
    let registers = |path: &str, fail: Value| {
        let config = json!({"on_start": get(path), "fail": fail});
        version(move |file| file["config"] = config)
    };
    let rewrites = [("api.everything.example", upstream.url())];
    let host = start(fixtures::host(&[], &rewrites).channel(*registers("/old", Value::Null)));
    host.ready("everything");
    assert!(host.host.upgrade(registers("/new", json!("and then it failed"))).is_err());
    eventually("the old one registers again", || {
        let paths: Vec<String> = upstream.requests().into_iter().map(|request| request.target).collect();
        (paths == ["/old", "/new", "/old"]).then_some(())
    });
}

#[test]
fn queued_work_is_done_by_the_new_version() {
    let gate = Gate::default();
    let (state, upstream) = (TempDir::new(), slow(&gate));
    let rewrites = [("api.everything.example", upstream.url())];
    let host = start(kept_in(fixtures::host(&[], &rewrites).channel(*version(|_| {})), state.path()));
    let payload = emit("ann", "timer");
    host.task(&json!({"do": "timer-set", "name": "t", "delay_ms": 300, "payload": payload}));
    host.task_in("on-respond", &get("/slow"));
    let reply = host.host.respond_to(&name("everything"), text("hello")).unwrap();
    upstream.wait_for("the reply of the old version", |request| request.target == "/slow");
    host.host.upgrade(version(shown_as("new"))).unwrap();
    gate.open();
    host.reply_state(reply, ReplyState::Delivered);
    assert_eq!(host.take(1), ["timer"]);
}

#[test]
fn paths_are_those_of_the_version_that_runs() {
    let with_paths = |allowed: Value, registered: Value| {
        version(move |file| {
            file["capabilities"]["channel"]["allowed_paths"] = allowed;
            file["config"] = json!({"paths": registered});
        })
    };
    let (one, two) = ("/webhook/everything", "/webhook/everything/more");
    let host = start(fixtures::host(&[], &[]).channel(*with_paths(json!([one, two]), json!([two]))));
    host.ready("everything");
    let status = |path: &str| client::request(host.address, "POST", path, &[], b"{\"do\":\"none\"}").status;
    assert_eq!((status(one), status(two)), (200, 200));
    host.host.upgrade(with_paths(json!([one]), json!([]))).unwrap();
    assert_eq!((status(one), status(two)), (200, 404));
    let free = [two.to_owned()];
    assert_eq!(host.host.routes().taken(&name("other"), &free), [], "another channel may have it");
}

#[test]
fn only_a_channel_that_runs_is_upgraded() {
    let host = start(fixtures::host(&[], &[]));
    let error = host.host.upgrade(version(|_| {})).unwrap_err().to_string();
    assert!(error.contains("does not run"), "{error}");
}
