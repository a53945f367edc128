//! Requests: which are refused, recognised, queued, and how they are responded to.

use std::sync::Arc;

use super::*;
use crate::event::completion::RespondedRequest;
use crate::event::response::WebhookResponse;
use crate::net::channel_response::ChannelResponse;
use crate::store::DedupeId;

#[test]
fn a_request_is_refused_while_the_channel_or_its_host_takes_none() {
    let paused = || {
        let mut subject = Subject::ready();
        for turn in 0..5 {
            subject.request(&turn.to_string());
            subject.run_next(LaneKind::Inbound, trapped());
        }
        subject
    };
    let changed = |change: fn(&mut FakeHost)| {
        let mut subject = Subject::ready();
        change(&mut subject.host);
        subject
    };
    let ending = || {
        let mut subject = Subject::ready();
        subject.command(ChannelCommand::Drain);
        subject
    };
    for (case, mut subject, expected) in [
        ("ready", Subject::ready(), &["runnable inbound", "queued"][..]),
        ("starting", Subject::new(settings()), &["respond channel_starting"]),
        ("paused", paused(), &["respond channel_paused"]),
        ("stopping", ending(), &["respond shutting_down"]),
        ("no store", changed(|host| host.store_works = false), &["respond store_unavailable"]),
        ("full disk", changed(|host| host.store_is_low = true), &["respond store_unavailable"]),
        ("the agent has too much to do", changed(|host| host.agent_is_busy = true), &["respond busy"]),
    ] {
        assert_eq!(subject.request("one"), expected, "{case}");
    }
}

#[test]
fn a_lane_takes_256_requests_and_refuses_one_more() {
    let mut subject = Subject::ready();
    assert_eq!(subject.request("0"), ["runnable inbound", "queued"]);
    for id in 1..INBOUND_CAPACITY {
        assert_eq!(subject.request(&id.to_string()), ["queued"], "{id}");
    }
    assert_eq!(subject.request("one more"), ["respond busy"]);
    assert_eq!(subject.request("one more"), ["respond busy"], "it did not run, so it is not remembered");
}

#[test]
fn the_response_leaves_when_what_the_callback_did_is_durable() {
    for (case, status, effects, expected) in [
        ("nothing", 200, effects(&[], &[]), "store [dedupe], then respond 200"),
        ("a message", 200, effects(&["hi"], &[]), "store [message hi, dedupe], then respond 200"),
        ("a file", 202, effects(&[], &[("a", "1")]), "store [a=1, dedupe], then respond 202"),
        ("the guest's own error", 499, effects(&[], &[]), "store [dedupe], then respond 499"),
        ("one that the sender repeats", 500, effects(&["hi"], &[]), "store [message hi], then respond 500"),
    ] {
        let mut subject = Subject::ready();
        subject.request("one");
        assert_eq!(subject.run_next(LaneKind::Inbound, responded(status, effects)), [expected], "{case}");
    }
}

/// The response to request `one` is durable.
fn stored_response(subject: &Subject) -> RespondedRequest {
    RespondedRequest {
        channel: subject.channel.name().clone(),
        identities: vec![subject.identity("one")],
        stored: vec![DedupeId(1)],
        is_delayed: false,
        response: WebhookResponse::Channel(Arc::new(ChannelResponse::empty_ok())),
    }
}

#[test]
fn a_duplicate_waits_for_the_first_response_or_gets_it_from_the_store() {
    let mut subject = Subject::ready();
    subject.request("one");
    assert_eq!(subject.request("one"), ["await response"]);
    subject.run_next(LaneKind::Inbound, responded(200, effects(&[], &[])));
    let request = stored_response(&subject);
    assert_eq!(subject.turn(|channel, turn| channel.responded(&request, turn)), ["respond 200"]);
    assert_eq!(subject.request("one"), ["respond from store 1"]);
}

/// What was handled before the network told a board the year was handled again when its provider repeated it.
#[test]
fn a_duplicate_is_one_whatever_the_wall_clock_says_meanwhile() {
    let mut subject = Subject::ready();
    subject.request("one");
    subject.run_next(LaneKind::Inbound, responded(200, effects(&[], &[])));
    let request = stored_response(&subject);
    subject.turn(|channel, turn| channel.responded(&request, turn));
    subject.at.unix_ms += 50 * 365 * 86_400_000;
    assert_eq!(subject.request("one"), ["respond from store 1"]);
    subject.wait(SECOND * 61);
    assert_eq!(subject.request("one"), ["runnable inbound", "queued"], "its time is over");
}

#[test]
fn duplicates_of_a_failed_request_get_its_status_and_the_next_one_runs() {
    let mut subject = Subject::ready();
    subject.request("one");
    subject.request("one");
    let expected = ["respond callback_failed", "respond callback_failed"];
    assert_eq!(subject.run_next(LaneKind::Inbound, trapped()), expected);
    assert_eq!(subject.request("one"), ["runnable inbound", "queued"]);
}

#[test]
fn a_request_that_has_waited_for_its_turn_long_enough_is_refused() {
    let timeout = SECOND * 20;
    let mut subject = Subject::ready();
    let begin = subject.at.now;
    subject.request("first");
    subject.wait(SECOND);
    subject.request("second");
    let mut overdue_after = |time| {
        subject.at.now = begin + time;
        let mut next = None;
        let actions = subject.turn(|channel, turn| next = channel.refuse_overdue(timeout, turn));
        (actions, next.map(|next| next - begin))
    };
    assert_eq!(overdue_after(timeout - Duration::from_millis(1)), (vec![], Some(timeout)));
    assert_eq!(overdue_after(timeout), (vec!["respond busy".to_owned()], Some(SECOND * 21)));
    assert_eq!(overdue_after(SECOND * 22), (vec!["respond busy".to_owned()], None));
}

#[test]
fn a_request_that_asks_for_it_runs_again_when_the_workspace_has_changed() {
    let waits = || {
        let headers = vec![("tinclaw-wait".to_owned(), "30".to_owned())];
        let response = ChannelResponse { status: 204, headers, body: Vec::new() };
        ended(CallbackValue::Http(response), Effects::default())
    };
    let mut subject = Subject::ready();
    subject.request("one");
    assert_eq!(subject.run_next(LaneKind::Inbound, waits()), ["set WaitingRequests in 30s"]);
    subject.request("two");
    let changed = subject.run_next(LaneKind::Inbound, responded(200, effects(&[], &[("a", "1")])));
    assert_eq!(changed, ["runnable inbound", "store [a=1, dedupe], then respond 200"]);
    assert_eq!(subject.run_next(LaneKind::Inbound, waits()), ["set WaitingRequests in 30s"]);
    subject.wait(SECOND * 30);
    assert_eq!(subject.due(Due::WaitingRequests), ["runnable inbound"]);
    assert_eq!(subject.run_next(LaneKind::Inbound, waits()), ["store [dedupe], then respond 204"]);
}
