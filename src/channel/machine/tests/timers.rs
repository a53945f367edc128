//! Guests' timers.

use super::*;
use crate::channel::timers::MAX_TRIES;
use crate::event::callback::TimerChange;

fn set(name: &str, seconds: u32) -> TimerChange {
    TimerChange::Set { name: name.into(), delay: SECOND * seconds, payload: "".into() }
}

fn changes(timers: Vec<TimerChange>) -> CallbackReport {
    ended(CallbackValue::Done, Effects { timers, ..Effects::default() })
}

/// A channel whose poll has set a timer of a minute.
fn with_timer() -> Subject {
    let mut subject = Subject::ready();
    subject.due(Due::Poll);
    let actions = subject.run_next(LaneKind::Poll, changes(vec![set("t", 60)]));
    assert_eq!(actions, [r#"set Timer("t") in 60s"#, "store [timer t]"]);
    subject
}

fn timer() -> Due {
    Due::Timer("t".into())
}

#[test]
fn a_timer_that_has_run_is_gone_unless_its_callback_set_it_again() {
    let again = [r#"set Timer("t") in 5s"#, "store [timer t]"];
    for (case, report, expected) in [
        ("it ran", done(), &["store [no timer t]"][..]),
        ("it set itself again", changes(vec![set("t", 5)]), &["store [no timer t, timer t]"]),
        ("it failed", trapped(), &[r#"set Timer("t") in 5s"#]),
    ] {
        let mut subject = with_timer();
        assert_eq!(subject.due(timer()), ["runnable timer"], "{case}");
        let mut actions = subject.run_next(LaneKind::Timer, report);
        if case == "it set itself again" {
            assert_eq!(actions.remove(0), again[0], "{case}");
        }
        assert_eq!(actions, expected, "{case}");
    }
}

#[test]
fn a_timer_that_fails_ten_times_is_given_up() {
    let mut subject = with_timer();
    for tries in 1..=MAX_TRIES {
        subject.due(timer());
        let actions = subject.run_next(LaneKind::Timer, guest_error("away"));
        let is_last = tries == MAX_TRIES;
        assert_eq!(actions == ["store [no timer t]"], is_last, "{tries}: {actions:?}");
    }
    assert_eq!(subject.due(timer()), [""; 0]);
}

#[test]
fn a_timer_that_cannot_run_now_is_due_again_in_five_seconds() {
    let later = [r#"set Timer("t") in 5s"#];
    let mut subject = with_timer();
    subject.host.store_works = false;
    assert_eq!(subject.due(timer()), later);
    subject.host.store_works = true;
    subject.host.agent_is_busy = true;
    assert_eq!(subject.due(timer()), later);
    subject.command(ChannelCommand::Drain);
    assert_eq!(subject.due(timer()), [""; 0]);
}

#[test]
fn a_timer_that_is_cancelled_has_no_deadline() {
    let mut subject = with_timer();
    subject.due(Due::Poll);
    let cancel = changes(vec![TimerChange::Cancel { name: "t".into() }]);
    assert_eq!(subject.run_next(LaneKind::Poll, cancel), [r#"cancel Timer("t")"#, "store [no timer t]"]);
    assert_eq!(subject.due(timer()), [""; 0]);
}

/// The guest is told the limits when it sets a timer; what it set before, in other callbacks, is known here only.
#[test]
fn timers_over_the_limits_are_dropped_when_they_are_committed() {
    let mut subject = Subject::ready_with(|settings| settings.limits.timers = 2);
    subject.due(Due::Poll);
    let actions = subject.run_next(LaneKind::Poll, changes(vec![set("a", 1), set("b", 1), set("c", 1)]));
    let expected = [r#"set Timer("a") in 1s"#, r#"set Timer("b") in 1s"#, "store [timer a, timer b]"];
    assert_eq!(actions, expected);
    assert_eq!(subject.channel.counters.dropped, 1);
    subject.due(Due::Poll);
    let actions = subject.run_next(LaneKind::Poll, changes(vec![set("b", 2)]));
    assert_eq!(actions, [r#"set Timer("b") in 2s"#, "store [timer b]"], "one that is known is set again");
}

#[test]
fn timers_are_due_when_the_clock_was_set_ahead_unless_they_run_already() {
    let mut subject = with_timer();
    assert_eq!(subject.command(ChannelCommand::ClockAhead), [""; 0], "it is not time");
    subject.at.unix_ms += 60_000;
    assert_eq!(subject.command(ChannelCommand::ClockAhead), [r#"set Timer("t") in 0ns"#]);
    subject.due(timer());
    assert_eq!(subject.command(ChannelCommand::ClockAhead), [""; 0], "it waits in its lane");
    subject.start_next(LaneKind::Timer).expect("it runs");
    assert_eq!(subject.command(ChannelCommand::ClockAhead), [""; 0], "it runs");
}
