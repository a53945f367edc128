//! Shutdown and removal: whoever waits gets a response, and what is on record says what happened.

use super::*;
use crate::store::PendingReply;

/// A channel in which a request runs and another one waits.
fn at_work() -> (Subject, Ticket) {
    let mut subject = Subject::ready();
    subject.request("runs");
    let (ticket, _) = subject.start_next(LaneKind::Inbound).expect("a request");
    subject.request("waits");
    (subject, ticket)
}

#[test]
fn a_channel_that_drains_refuses_what_waits_and_lets_end_what_runs() {
    let (mut subject, ticket) = at_work();
    assert_eq!(subject.command(ChannelCommand::Drain), ["respond shutting_down"]);
    assert_eq!(subject.request("late"), ["respond shutting_down"]);
    let ended = subject.finish(ticket, responded(200, effects(&["hi"], &[])));
    assert_eq!(ended, ["store [message hi, dedupe], then respond 200"]);
    assert_eq!(subject.command(ChannelCommand::Shutdown), ["runnable inbound"]);
    assert_eq!(subject.start_next(LaneKind::Inbound).map(|(_, kind)| kind), Some(CallbackKind::Shutdown));
}

#[test]
fn a_channel_that_has_not_started_gets_no_on_shutdown() {
    let mut subject = Subject::new(settings());
    subject.command(ChannelCommand::Start);
    assert_eq!(subject.command(ChannelCommand::Drain), [""; 0]);
    assert_eq!(subject.command(ChannelCommand::Shutdown), [""; 0]);
}

#[test]
fn a_channel_that_is_taken_out_keeps_nothing_of_what_runs() {
    let (mut subject, ticket) = at_work();
    let expected = ["respond shutting_down", "respond shutting_down", "0 replies gone"];
    assert_eq!(subject.command(ChannelCommand::Remove), expected);
    assert_eq!(subject.finish(ticket, responded(200, effects(&["hi"], &[]))), [""; 0]);
}

#[test]
fn callbacks_held_by_the_emit_rate_are_committed_at_shutdown() {
    for command in [ChannelCommand::Drain, ChannelCommand::Remove] {
        let mut subject = Subject::ready_with(|settings| settings.limits.messages_per_minute = 1);
        for text in ["a", "b"] {
            subject.due(Due::Poll);
            subject.run_next(LaneKind::Poll, ended(CallbackValue::Done, effects(&[text], &[])));
        }
        let actions = subject.command(command);
        assert!(actions.contains(&"store [message b]".to_owned()), "{actions:?}");
    }
}

#[test]
fn a_reply_that_was_not_attempted_before_shutdown_is_not_marked_as_a_redelivery() {
    let mut subject = Subject::ready();
    let reply = PendingReply {
        id: ReplyId(1),
        channel: "echo".into(),
        conversation: "c".into(),
        bytes: 1,
        attempts: 0,
        since_ms: 0,
        next_ms: 0,
        redelivery: false,
        traps: 0,
    };
    subject.command(ChannelCommand::Deliver(reply));
    subject.turn(|channel, turn| {
        let attempt = crate::channel::job::ReplyAttempt { id: ReplyId(1), attempt: 1 };
        let job = Job::new(Callback::Poll, crate::channel::job::Purpose::Reply(attempt), turn.at.now);
        channel.enqueue(job, turn).expect("room");
    });
    assert_eq!(subject.command(ChannelCommand::Drain), ["store [retry 1]"]);
}
