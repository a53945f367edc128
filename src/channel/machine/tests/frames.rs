//! Frames of a websocket.

use super::*;
use crate::channel::frames::{PROCESSING_FILE, WAITING_FILE};
use crate::event::link::{FrameAcknowledgement, LinkEventKind};

fn with_link() -> Subject {
    Subject::ready_with(|settings| settings.has_link = true)
}

impl Subject {
    fn frame(&mut self, text: &str) -> Vec<String> {
        let acknowledgement = FrameAcknowledgement::new(|_| {});
        let news = LinkEvent { kind: LinkEventKind::Frame(text.into()), acknowledgement };
        self.turn(|channel, turn| channel.link_news(news, turn))
    }
}

#[test]
fn the_websocket_is_opened_when_the_channel_has_started_and_tried_again_when_it_could_not_be() {
    let mut subject = Subject::new(MachineSettings { has_link: true, ..settings() });
    let started = subject.turn(|channel, turn| channel.registered(registration(), turn));
    assert_eq!(started, ["set Poll in 0ns", "open link"]);
    let later = subject.turn(|channel, turn| channel.link_not_opened(turn));
    assert_eq!(later, ["set Frames in 5s"]);
    assert_eq!(subject.due(Due::Frames), ["open link"]);
}

#[test]
fn a_frame_is_stored_then_worked_on_and_those_that_arrive_meanwhile_are_stored_together() {
    let mut subject = with_link();
    assert_eq!(
        subject.frame("a"),
        [
            format!(r#"store [{WAITING_FILE}=["a"]], then acknowledge 1"#),
            format!(r#"store [{WAITING_FILE}=[], {PROCESSING_FILE}=["a"]]"#),
            "runnable poll".to_owned(),
        ]
    );
    assert_eq!(subject.frame("b"), [""; 0], "one group at a time");
    assert_eq!(subject.frame("c"), [""; 0]);
    let stored = subject.stored(Stored::Frames);
    assert_eq!(stored, [format!(r#"store [{WAITING_FILE}=["b","c"]], then acknowledge 2"#)]);
    let worked_on = ended(CallbackValue::Done, effects(&[], &[(PROCESSING_FILE, "[]")]));
    assert_eq!(
        subject.run_next(LaneKind::Poll, worked_on),
        [
            format!("store [{PROCESSING_FILE}=[]]"),
            format!(r#"store [{WAITING_FILE}=[], {PROCESSING_FILE}=["b","c"]]"#),
            "runnable poll".to_owned(),
        ]
    );
}

#[test]
fn frames_wait_while_nothing_can_be_stored_and_are_looked_at_again() {
    let mut subject = with_link();
    subject.host.store_works = false;
    assert_eq!(subject.frame("a"), ["set Frames in 5s"]);
    subject.host.store_works = true;
    let actions = subject.due(Due::Frames);
    assert_eq!(actions[..2], ["open link", r#"store [state/gateway_event_queue=["a"]], then acknowledge 1"#]);
}

#[test]
fn frames_wait_while_a_mebibyte_of_them_waits_for_the_guest() {
    let full = |bytes: usize| {
        let mut subject = with_link();
        // With the brackets and quotes of the file.
        subject.frame("a");
        subject.frame(&"x".repeat(bytes - 4));
        subject.stored(Stored::Frames);
        subject.frame("b");
        subject.stored(Stored::Frames)
    };
    assert!(full((1 << 20) - 1)[0].starts_with("store "));
    assert_eq!(full(1 << 20), ["set Frames in 5s"]);
}

#[test]
fn frames_that_a_poll_failed_at_are_tried_again_later() {
    let mut subject = with_link();
    subject.frame("a");
    let failed = subject.run_next(LaneKind::Poll, guest_error("away"));
    assert_eq!(failed, ["set Poll in 60s", "set Frames in 5s"]);
}

fn with_handler() -> Subject {
    Subject::ready_with(|settings| (settings.has_link, settings.has_socket_handler) = (true, true))
}

#[test]
fn a_handler_is_called_for_one_frame_at_a_time_and_each_is_acknowledged_when_it_is_durable() {
    let mut subject = with_handler();
    assert_eq!(subject.frame("a"), ["runnable inbound"]);
    assert_eq!(subject.frame("b"), [""; 0], "one after the other");
    let worked_on = ended(CallbackValue::Done, effects(&[], &[("seen", "a")]));
    let actions = subject.run_next(LaneKind::Inbound, worked_on);
    assert_eq!(actions, ["store [seen=a], then acknowledge 1", "runnable inbound"]);
}

/// A frame whose callback always failed held up those behind it for ever, or paused its channel.
#[test]
fn a_frame_whose_callback_fails_is_tried_four_times_and_given_up() {
    let mut subject = with_handler();
    subject.frame("poison");
    subject.frame("b");
    for _ in 1..4 {
        let failed = subject.run_next(LaneKind::Inbound, guest_error("trap"));
        assert!(failed[0].starts_with("set Frames in "), "{failed:?}");
        assert_eq!(subject.due(Due::Frames), ["open link"], "it is not hurried");
        subject.at.now += std::time::Duration::from_secs(60);
        assert_eq!(subject.due(Due::Frames), ["open link", "runnable inbound"]);
    }
    assert_eq!(
        subject.run_next(LaneKind::Inbound, guest_error("trap")),
        ["runnable inbound"],
        "the next one"
    );
}
