//! Polls and status updates.

use wit_abi::types::{StatusType, StatusUpdate};

use super::*;

#[test]
fn a_poll_is_queued_at_its_tick_unless_messages_have_no_way_to_the_agent() {
    let ready = |change: fn(&mut Subject)| {
        let mut subject = Subject::ready();
        change(&mut subject);
        subject
    };
    for (case, mut subject, expected) in [
        ("ready", ready(|_| {}), &["set Poll in 30s", "runnable poll"][..]),
        ("no store", ready(|subject| subject.host.store_works = false), &["set Poll in 30s"]),
        ("a full disk", ready(|subject| subject.host.store_is_low = true), &["set Poll in 30s"]),
        ("a busy agent", ready(|subject| subject.host.agent_is_busy = true), &["set Poll in 30s"]),
        ("it does not poll", ready(|subject| subject.channel.poll.interval = None), &[]),
        ("it ends", ready(|subject| drop(subject.command(ChannelCommand::Drain))), &[]),
    ] {
        assert_eq!(subject.due(Due::Poll), expected, "{case}");
    }
}

#[test]
fn a_tick_that_finds_the_poll_before_still_running_is_made_up_for() {
    let mut subject = Subject::ready();
    subject.due(Due::Poll);
    let (ticket, _) = subject.start_next(LaneKind::Poll).expect("a poll");
    assert_eq!(subject.due(Due::Poll), ["set Poll in 30s"]);
    assert_eq!(subject.finish(ticket, done()), ["set Poll in 0ns"]);
}

#[test]
fn a_poll_that_fails_is_tried_again_later_each_time() {
    let mut subject = Subject::ready();
    for wait in [60, 120, 240, 480] {
        subject.due(Due::Poll);
        let expected = [format!("set Poll in {wait}s")];
        assert_eq!(subject.run_next(LaneKind::Poll, guest_error("away")), expected);
    }
}

fn status(status: StatusType) -> ChannelCommand {
    ChannelCommand::Status(Arc::new(StatusUpdate {
        status,
        message: String::new(),
        metadata_json: "{}".into(),
    }))
}

#[test]
fn thinking_is_repeated_until_the_agent_is_done() {
    let mut subject = Subject::ready();
    let thinking = || Due::Thinking("{}".into());
    let set = r#"set Thinking("{}") in 4s"#;
    assert_eq!(subject.command(status(StatusType::Thinking)), [set, "runnable status"]);
    subject.run_next(LaneKind::Status, done());
    subject.wait(SECOND * 4);
    assert_eq!(subject.due(thinking()), [set, "runnable status"]);
    subject.run_next(LaneKind::Status, done());
    assert_eq!(subject.command(status(StatusType::Done)), [r#"cancel Thinking("{}")"#, "runnable status"]);
    assert_eq!(subject.due(thinking()), [""; 0]);
}

#[test]
fn a_status_that_finds_its_lane_full_is_dropped() {
    let mut subject = Subject::ready();
    for _ in 0..STATUS_CAPACITY + 1 {
        subject.command(status(StatusType::ToolStarted));
    }
    let ran = std::iter::from_fn(|| {
        let (ticket, _) = subject.start_next(LaneKind::Status)?;
        subject.finish(ticket, done());
        Some(())
    });
    assert_eq!(ran.count(), STATUS_CAPACITY);
}
