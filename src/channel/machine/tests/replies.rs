//! Replies: attempts, outcomes, dead letters.

use wit_abi::types::AgentResponse;

use super::*;
use crate::store::{PendingReply, ReplyRecord, ReplyState};

fn pending(id: u64, conversation: &str) -> PendingReply {
    PendingReply {
        id: ReplyId(id),
        channel: "echo".into(),
        conversation: conversation.into(),
        bytes: 1,
        attempts: 0,
        since_ms: 0,
        next_ms: 0,
        redelivery: false,
        traps: 0,
    }
}

fn record(id: u64, state: ReplyState) -> Stored {
    let record = ReplyRecord {
        id: ReplyId(id),
        channel: "echo".into(),
        conversation: "c".into(),
        broadcast_to: None,
        body: AgentResponse { metadata_json: "{}".into(), ..AgentResponse::default() }.into(),
        in_reply_to: None,
        created_ms: 0,
        state,
        attempts: 1,
        since_ms: 0,
        next_ms: 0,
        changed_ms: 0,
        error: None,
        redelivery: false,
    };
    Stored::Attempt(ReplyId(id), Some(Box::new(record)))
}

/// A channel with two replies of one conversation, of which the first is in its lane.
pub(super) fn with_replies() -> Subject {
    let mut subject = Subject::ready();
    assert_eq!(subject.command(ChannelCommand::Deliver(pending(1, "c"))), ["attempt 1 of reply 1 after []"]);
    assert_eq!(
        subject.command(ChannelCommand::Deliver(pending(2, "c"))),
        [""; 0],
        "the conversation is kept in order"
    );
    assert_eq!(subject.stored(record(1, ReplyState::Pending)), ["runnable outbound"]);
    subject
}

#[test]
fn attempt_results_are_recorded_with_the_next_batch() {
    let next = "1 replies gone, attempt 1 of reply 2 after";
    for (case, report, expected) in [
        ("delivered", done(), format!("{next} [delivered 1]")),
        ("the guest says that it never will be", guest_error("permanent: no"), format!("{next} [dead 1]")),
        (
            "no such callback",
            ended(CallbackValue::NotExported, Effects::default()),
            format!("{next} [dead 1]"),
        ),
        ("the service is away", guest_error("away"), "set Replies in 1s, store [retry 1]".to_owned()),
        ("it trapped", trapped(), "set Replies in 1s, store [retry 1]".to_owned()),
    ] {
        let mut subject = with_replies();
        let actions = subject.run_next(LaneKind::Outbound, report);
        assert_eq!(actions.join(", "), expected, "{case}");
    }
}

#[test]
fn an_attempt_that_trapped_after_a_request_went_out_may_have_arrived() {
    let mut subject = with_replies();
    let mut report = trapped();
    report.effects.had_side_effects = true;
    let actions = subject.run_next(LaneKind::Outbound, report);
    assert_eq!(actions, ["set Replies in 1s", "store [retry uncertain 1]"]);
}

#[test]
fn the_third_trap_makes_a_dead_letter() {
    let mut subject = with_replies();
    for (tries, wait) in [(1, 1), (2, 2)] {
        let actions = subject.run_next(LaneKind::Outbound, trapped());
        assert_eq!(actions, [format!("set Replies in {wait}s"), "store [retry 1]".into()], "{tries}");
        subject.wait(SECOND * wait);
        let begun = subject.due(Due::Replies);
        assert_eq!(begun, [format!("attempt {} of reply 1 after []", tries + 1)]);
        subject.stored(record(1, ReplyState::Pending));
    }
    let actions = subject.run_next(LaneKind::Outbound, trapped());
    assert_eq!(actions, ["1 replies gone", "attempt 1 of reply 2 after [dead 1]"]);
}

// The next reply of the conversation waited for as long as the service had asked for, though nothing may wait for more than
// five minutes; and one that asked for a day lost the reply at its first attempt.
#[test]
fn a_service_that_asks_for_a_long_wait_neither_loses_a_reply_nor_holds_up_its_conversation() {
    for (asked, waits) in [(3_600, 3_600), (86_400, 86_400), (1_000_000, 86_400)] {
        let mut subject = with_replies();
        let mut report = guest_error("slow down");
        report.effects.retry_after = Some(Duration::from_secs(asked));
        let actions = subject.run_next(LaneKind::Outbound, report);
        assert_eq!(actions, ["set Replies in 300s", "store [retry 1]"], "{asked}");
        subject.wait(SECOND * 300);
        let next = ["attempt 1 of reply 2 after []".to_owned(), format!("set Replies in {}s", waits - 300)];
        assert_eq!(subject.due(Due::Replies), next, "{asked}");
    }
}

#[test]
fn a_failed_attempt_leaves_what_it_wrote_about_how_far_it_came() {
    let mut subject = with_replies();
    let mut report = guest_error("temporary: part two is missing");
    report.effects = effects(&[], &[("progress", "1")]);
    let actions = subject.run_next(LaneKind::Outbound, report);
    assert_eq!(actions, ["set Replies in 1s", "store [retry 1, progress=1]"]);
}

#[test]
fn a_reply_that_is_gone_or_dropped_is_not_sent() {
    for state in [ReplyState::Dropped, ReplyState::Delivered, ReplyState::Dead] {
        let mut subject = Subject::ready();
        subject.command(ChannelCommand::Deliver(pending(1, "c")));
        assert_eq!(subject.stored(record(1, state)), ["1 replies gone"], "{state:?}");
    }
    let mut subject = Subject::ready();
    subject.command(ChannelCommand::Deliver(pending(1, "c")));
    assert_eq!(subject.command(ChannelCommand::DropReply(ReplyId(1))), [""; 0], "its attempt is under way");
    assert_eq!(subject.stored(record(1, ReplyState::Pending)), ["1 replies gone"]);
}

#[test]
fn an_attempt_whose_record_the_store_rejects_is_not_made() {
    let mut subject = Subject::ready();
    subject.command(ChannelCommand::Deliver(pending(1, "c")));
    assert_eq!(subject.stored(Stored::NoAttempt(ReplyId(1))), ["set Replies in 1s"]);
    subject.wait(SECOND);
    assert_eq!(subject.due(Due::Replies), ["attempt 1 of reply 1 after []"], "it counts as the first still");
}

#[test]
fn four_replies_of_different_conversations_are_under_way_and_the_fifth_waits() {
    let width = ChannelLimits::default().outbound_concurrency;
    let mut subject = Subject::ready();
    for id in 1..=width as u64 {
        let begun = subject.command(ChannelCommand::Deliver(pending(id, &id.to_string())));
        assert_eq!(begun, [format!("attempt 1 of reply {id} after []")]);
    }
    assert_eq!(subject.command(ChannelCommand::Deliver(pending(9, "9"))), [""; 0]);
    subject.stored(record(1, ReplyState::Pending));
    let actions = subject.run_next(LaneKind::Outbound, done());
    assert_eq!(actions, ["1 replies gone", "attempt 1 of reply 9 after [delivered 1]"]);
}

/// An agent that sent messages in a loop wrote 600 lines a second into the log.
#[test]
fn of_replies_without_end_so_many_are_logged_a_minute_and_the_others_counted() {
    let mut subject = Subject::ready();
    let deliver = |subject: &mut Subject, id: u64| {
        subject.command(ChannelCommand::Deliver(pending(id, "c")));
        subject.stored(record(id, ReplyState::Pending));
        let (ticket, _) = subject.start_next(LaneKind::Outbound).expect("it can be sent");
        let mut actions = Vec::new();
        let mut turn = Turn::new(subject.at, &subject.host, &mut actions);
        subject.channel.finished(ticket, done(), &mut turn);
        actions.into_iter().find_map(|action| match action {
            Action::Log(line) => Some(line.text),
            _ => None,
        })
    };
    let limit = u64::from(PROGRESS_LINES_A_MINUTE);
    let lines: Vec<String> = (1..=limit + 3).filter_map(|id| deliver(&mut subject, id)).collect();
    assert_eq!(lines.len() as u64, limit);
    subject.wait(SECOND * 60);
    let line = deliver(&mut subject, limit + 4).expect("a line");
    assert!(line.ends_with("(3 more like this were left out)"), "{line}");
}

#[test]
fn no_attempt_begins_while_the_store_has_no_room_or_the_channel_is_not_ready() {
    let mut subject = Subject::ready();
    subject.host.store_has_room = false;
    assert_eq!(subject.command(ChannelCommand::Deliver(pending(1, "c"))), ["set Replies in 200ms"]);
    subject.host.store_works = false;
    assert_eq!(subject.due(Due::Replies), [""; 0]);
    (subject.host.store_works, subject.host.store_has_room) = (true, true);
    assert_eq!(
        subject.command(ChannelCommand::StoreRecovered),
        ["set Poll in 0ns", "attempt 1 of reply 1 after []"]
    );
    let mut starting = Subject::new(settings());
    assert_eq!(starting.command(ChannelCommand::Deliver(pending(1, "c"))), [""; 0]);
    let started = starting.turn(|channel, turn| channel.registered(registration(), turn));
    assert_eq!(started, ["set Poll in 0ns", "attempt 1 of reply 1 after []"]);
}
