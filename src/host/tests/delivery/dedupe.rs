//! Requests and messages that come more than once.

use serde_json::{Value, json};

use super::support::*;
use crate::test_support::client;

fn by_pointer(file: &mut Value) {
    file["capabilities"]["channel"]["webhook"]["dedupe"] = json!({"json_pointer": "/id"});
}

fn with_id(mut task: Value, id: u64) -> Value {
    task["id"] = json!(id);
    task
}

fn respond_with(status: u16, body: &str) -> Value {
    json!({"do": "respond", "status": status, "headers": {"x-told": body}, "body": body})
}

#[test]
fn a_duplicate_gets_the_stored_response_without_running_the_guest_also_after_a_restart() {
    let (state, upstream) = (TempDir::new(), nobody());
    let host = || start(kept_in(everything(&upstream, by_pointer), state.path()));
    let first = host();
    first.ready("everything");
    let told = first.post(&with_id(respond_with(201, "first"), 7));
    assert_eq!((told.status, told.body.as_slice()), (201, &b"first"[..]));
    first.task(&with_id(emit("ann", "once"), 8));
    let check = |running: &RunningHost| {
        let duplicate = running.post(&with_id(respond_with(202, "second"), 7));
        assert_eq!((duplicate.status, duplicate.body.as_slice()), (201, &b"first"[..]));
        assert_eq!(duplicate.header("x-told"), Some("first"));
        assert_eq!(running.post(&with_id(emit("ann", "once"), 8)).status, 200);
    };
    check(&first);
    assert_eq!(first.take(1), ["once"]);
    first.assert_no_message();
    first.host.shutdown();
    let second = host();
    second.ready("everything");
    check(&second);
    second.assert_no_message();
    assert_eq!(second.post(&with_id(respond_with(202, "another"), 9)).status, 202);
}

#[test]
fn a_request_that_failed_runs_again() {
    let upstream = nobody();
    let running = start(everything(&upstream, by_pointer));
    running.ready("everything");
    assert_eq!(running.post(&with_id(json!({"do": "panic"}), 7)).status, 500);
    assert_eq!(running.post(&with_id(respond_with(503, "not now"), 7)).status, 503);
    assert_eq!(running.post(&with_id(respond_with(200, "now"), 7)).status, 200);
    assert_eq!(running.post(&with_id(respond_with(503, "duplicate"), 7)).body, b"now");
}

#[test]
fn a_header_recognises_a_duplicate_and_a_request_without_it_runs() {
    let upstream = nobody();
    let running = start(everything(&upstream, |file| {
        file["capabilities"]["channel"]["webhook"]["dedupe"] = json!({"header": "X-GitHub-Delivery"});
    }));
    running.ready("everything");
    let post = |id: Option<&str>, body: &str| {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(id.map(|id| ("x-github-delivery", id)));
        let body = respond_with(200, body).to_string();
        client::request(running.address, "POST", "/webhook/everything", &headers, body.as_bytes()).body
    };
    for (id, body, response) in [
        (Some("one"), "1", "1"),
        (Some("one"), "2", "1"),
        (Some("two"), "3", "3"),
        (None, "4", "4"),
        (None, "5", "5"),
    ] {
        assert_eq!(post(id, body), response.as_bytes(), "{id:?} {body}");
    }
}

#[test]
fn a_duplicate_of_a_request_that_still_runs_gets_its_response() {
    let gate = Gate::default();
    let upstream = behind(&gate);
    let running = start(everything(&upstream, by_pointer));
    running.ready("everything");
    let task = with_id(sequence([get("/slow"), emit("ann", "once")]), 7);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| running.post(&task));
        upstream.wait_for("the guest's request", |_| true);
        let second = scope.spawn(|| running.post(&task));
        // The duplicate is with the host, or on its way; what is asserted holds for both.
        std::thread::sleep(std::time::Duration::from_millis(50));
        gate.open();
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        assert_eq!((first.status, second.status), (200, 200));
        assert_eq!(first.body, second.body);
    });
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(running.take(1), ["once"]);
    running.assert_no_message();
}

#[test]
fn a_message_is_recognised_by_its_own_id_only_where_the_file_says_so() {
    let message = || {
        let mut task = emit("ann", "once");
        task["metadata_json"] = json!({"message_id": "m1"});
        task
    };
    for (declared, copies) in [(true, 1), (false, 3)] {
        let (state, upstream) = (TempDir::new(), nobody());
        let host = || {
            let everything = everything(&upstream, |file| {
                file["capabilities"]["channel"]["message_id_from_metadata"] = json!(declared);
            });
            start(kept_in(everything, state.path()))
        };
        let first = host();
        first.task(&message());
        first.task(&message());
        first.host.shutdown();
        let second = host();
        second.task(&message());
        assert_eq!(second.take(copies).len(), copies);
        second.assert_no_message();
    }
}
