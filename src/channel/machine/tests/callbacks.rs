//! The end of callbacks: conflicts, failures in a row, and the emit rate.

use super::*;

/// A callback that read and wrote a file of this version.
fn rewrites(file: &str, content: &str, version: u64) -> Effects {
    let mut effects = effects(&[], &[(file, content)]);
    effects.workspace.read_versions.insert(workspace_path(file).expect("a path"), version);
    effects
}

#[test]
fn a_callback_whose_file_has_changed_runs_once_more_unless_something_has_left_the_host() {
    let sent = |effects| Effects { had_side_effects: true, ..effects };
    for (case, outdated, expected) in [
        ("nothing has left", rewrites("a", "2", 0), &["runnable poll"][..]),
        ("a request went out", sent(rewrites("a", "2", 0)), &["store [a=2]"]),
        ("nobody has changed it", rewrites("a", "2", 1), &["store [a=2]"]),
    ] {
        let mut subject = Subject::ready();
        subject.request("one");
        subject.run_next(LaneKind::Inbound, responded(200, effects(&[], &[("a", "1")])));
        subject.due(Due::Poll);
        let first = subject.run_next(LaneKind::Poll, ended(CallbackValue::Done, outdated));
        assert_eq!(first, expected, "{case}");
        if first == ["runnable poll"] {
            let again = ended(CallbackValue::Done, rewrites("a", "3", 0));
            assert_eq!(
                subject.run_next(LaneKind::Poll, again),
                ["store [a=3]"],
                "{case}: the later write wins"
            );
        }
    }
}

#[test]
fn a_callback_that_fills_the_workspace_runs_once_more_and_then_fails() {
    let mut subject = Subject::ready_with(|settings| settings.limits.workspace_files = 1);
    subject.request("one");
    subject.run_next(LaneKind::Inbound, responded(200, effects(&[], &[("a", "1")])));
    subject.request("two");
    let full = || responded(200, effects(&["lost"], &[("b", "1")]));
    assert_eq!(subject.run_next(LaneKind::Inbound, full()), ["runnable inbound"]);
    assert_eq!(subject.run_next(LaneKind::Inbound, full()), ["respond callback_failed"]);
}

#[test]
fn a_callback_that_found_no_memory_runs_once_more_with_all_that_it_may_have() {
    let out_of_memory = || {
        failed(WasmChannelError::HostMemoryExhausted {
            channel: "echo".into(),
            callback: CallbackKind::HttpRequest,
            wanted: 9,
            budget: 8,
        })
    };
    let mut subject = Subject::ready();
    subject.request("one");
    assert_eq!(subject.channel.next_wants(LaneKind::Inbound), Some(1 << 20));
    assert_eq!(subject.run_next(LaneKind::Inbound, out_of_memory()), ["runnable inbound"]);
    let all = ChannelLimits::default().memory_bytes;
    assert_eq!(subject.channel.next_wants(LaneKind::Inbound), Some(all));
    assert_eq!(subject.run_next(LaneKind::Inbound, out_of_memory()), ["respond busy"]);
}

#[test]
fn the_fifth_failure_in_a_row_pauses_and_refuses_what_waits() {
    let mut subject = Subject::ready();
    for id in ["1", "2", "3", "4", "5", "6"] {
        subject.request(id);
    }
    for id in 1..5 {
        let expected = ["runnable inbound", "respond callback_failed"];
        assert_eq!(subject.run_next(LaneKind::Inbound, trapped()), expected, "{id}");
    }
    assert_eq!(
        subject.run_next(LaneKind::Inbound, trapped()),
        ["runnable inbound", "respond callback_failed", "set Resume in 30s", "respond channel_paused"]
    );
    assert_eq!(subject.due(Due::Resume), [""; 0], "too early");
    subject.wait(SECOND * 30);
    assert_eq!(subject.due(Due::Resume), ["set Poll in 0ns"]);
    assert_eq!(subject.request("7"), ["queued"], "its lane is marked already");
}

#[test]
fn errors_that_are_not_the_guests_fault_do_not_pause() {
    let mut subject = Subject::ready();
    for id in 0..10 {
        subject.request(&id.to_string());
        let response = subject.run_next(LaneKind::Inbound, guest_error("the service is away"));
        assert_eq!(response, ["respond callback_failed"], "{id}");
    }
    assert_eq!(subject.request("next"), ["runnable inbound", "queued"]);
}

#[test]
fn more_messages_than_the_rate_allows_are_429_for_a_client_and_wait_otherwise() {
    let mut subject = Subject::ready_with(|settings| settings.limits.messages_per_minute = 1);
    let emits = |texts: &[&str]| ended(CallbackValue::Done, effects(texts, &[]));
    subject.due(Due::Poll);
    assert_eq!(subject.run_next(LaneKind::Poll, emits(&["a"])), ["store [message a]", "set Poll in 1s"]);
    subject.request("one");
    let refused = subject.run_next(LaneKind::Inbound, responded(200, effects(&["b"], &[])));
    assert_eq!(refused, ["respond too_many_requests"]);
    subject.due(Due::Poll);
    let held = subject.run_next(LaneKind::Poll, emits(&["c"]));
    assert_eq!(held, ["set EmitRoom in 60s"]);
    assert!(subject.start_next(LaneKind::Poll).is_none(), "it keeps its place");
    subject.wait(SECOND * 60);
    assert_eq!(
        subject.due(Due::EmitRoom),
        ["store [message c]", "set Poll in 1s", "memory freed"],
        "it is committed when there is room"
    );
}

#[test]
fn a_channel_that_may_not_emit_keeps_the_rest_of_what_it_did() {
    let mut subject = Subject::ready_with(|settings| settings.limits.messages_per_minute = 0);
    subject.request("one");
    let did = responded(200, effects(&["lost"], &[("a", "1")]));
    assert_eq!(subject.run_next(LaneKind::Inbound, did), ["store [a=1, dedupe], then respond 200"]);
}

#[test]
fn a_message_with_an_id_of_its_own_is_taken_once() {
    let mut subject = Subject::ready_with(|settings| settings.message_id_from_metadata = true);
    let emits = |subject: &mut Subject, id: &str| {
        let mut effects = effects(&["hi"], &[]);
        effects.messages[0].message.metadata_json = format!(r#"{{"message_id":"{id}"}}"#);
        subject.due(Due::Poll);
        let mut actions = subject.run_next(LaneKind::Poll, ended(CallbackValue::Done, effects));
        actions.retain(|action| action.starts_with("store"));
        actions
    };
    assert_eq!(emits(&mut subject, "1"), ["store [dedupe, message hi]"]);
    assert_eq!(emits(&mut subject, "1"), [""; 0]);
    assert_eq!(emits(&mut subject, "2"), ["store [dedupe, message hi]"]);
    // Also when the network has told a board the year meanwhile.
    subject.at.unix_ms += 50 * 365 * 86_400_000;
    assert_eq!(emits(&mut subject, "1"), [""; 0]);
}
