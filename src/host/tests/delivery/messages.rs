//! Messages on their way to the agent.

use std::time::Duration;

use serde_json::json;

use super::support::*;
use crate::store::{MessageFilter, MessageState};
use crate::test_support::upstream::{Upstream, ok};
use crate::test_support::{eventually, fixtures};

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn an_unacknowledged_message_is_redelivered_after_a_restart_with_its_attempt_number() {
    let (state, upstream) = (TempDir::new(), nobody());
    let host = || start(kept_in(everything(&upstream, |_| {}), state.path()));
    let first = host();
    first.task(&sequence([emit("ann", "acknowledged"), emit("bob", "held"), emit("cid", "never taken")]));
    let (ann, bob) = (first.next(), first.next());
    assert_eq!((ann.attempt(), bob.attempt()), (1, 1));
    let id = bob.id();
    ann.ack();
    first.host.shutdown();
    drop(bob);
    let second = host();
    let (bob, cid) = (second.next(), second.next());
    assert_eq!((bob.message().content.as_str(), bob.attempt(), bob.id()), ("held", 2, id));
    // First deliveries are not on record, so after a restart every message may have been delivered once.
    assert_eq!((cid.message().content.as_str(), cid.attempt()), ("never taken", 2));
    second.assert_no_message();
}

#[test]
fn transcripts_survive_a_restart_and_are_kept_per_conversation() {
    let (state, upstream) = (TempDir::new(), nobody());
    let host = || start(kept_in(everything(&upstream, |_| {}), state.path()));
    let first = host();
    first.task(&emit("ann", "1"));
    let delivery = first.next();
    assert_eq!(delivery.transcript(), Ok(None));
    delivery.remember(Some("she said 1".to_owned())).unwrap();
    assert_eq!(delivery.transcript(), Ok(Some("she said 1".to_owned())));
    delivery.ack();
    first.host.shutdown();
    let second = host();
    second.task(&sequence([emit("ann", "2"), emit("bob", "3")]));
    let (ann, bob) = (second.next(), second.next());
    assert_eq!((ann.transcript(), bob.transcript()), (Ok(Some("she said 1".to_owned())), Ok(None)));
    ann.remember(None).unwrap();
    assert_eq!(ann.transcript(), Ok(None));
}

#[test]
fn a_later_message_of_a_conversation_waits_for_one_that_was_requeued_and_another_conversation_does_not() {
    let upstream = nobody();
    let running = start(everything(&upstream, |_| {}));
    running.task(&sequence([emit("ann", "1"), emit("ann", "2"), emit("bob", "3")]));
    let first = running.next();
    assert_eq!(first.message().content, "1");
    first.nack(LONG);
    assert_eq!(running.take(1), ["3"]);
    running.assert_no_message();
}

#[test]
fn a_message_that_is_refused_or_dropped_is_redelivered_before_the_later_ones() {
    let upstream = nobody();
    let running = start(everything(&upstream, |_| {}));
    running.task(&sequence([emit("ann", "1"), emit("ann", "2")]));
    running.next().nack(Duration::from_millis(1));
    drop(running.next());
    let third = running.next();
    assert_eq!((third.message().content.as_str(), third.attempt()), ("1", 3));
    third.ack();
    assert_eq!(running.take(1), ["2"]);
}

#[test]
fn a_message_that_is_held_too_long_goes_to_the_next_reader() {
    let upstream = nobody();
    let running = start(
        everything(&upstream, |_| {})
            .configure(|config| config.delivery.ack_timeout = Duration::from_millis(50)),
    );
    running.task(&emit("ann", "1"));
    let (lost, found) = (running.next(), running.next());
    assert_eq!((lost.id(), lost.attempt(), found.attempt()), (found.id(), 1, 2));
    drop(lost);
    found.ack();
    assert_eq!(running.host.health().unwrap().messages_waiting, 0);
}

/// Work that took longer than the ack timeout was taken for a dead agent, and the message was worked on twice.
#[test]
fn a_delivery_that_is_extended_is_not_redelivered() {
    let upstream = nobody();
    let running = start(everything(&upstream, |_| {}).configure(|config| {
        config.delivery.ack_timeout = Duration::from_millis(50);
        config.delivery.max_attempts = 1;
    }));
    running.task(&emit("ann", "1"));
    let long = running.host.messages().recv().unwrap();
    assert!(long.extend(LONG));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(running.host.messages().try_recv().unwrap_err(), crate::RecvError::TimedOut);
    assert!(long.extend(LONG));
    long.ack();
    assert_eq!(running.host.health().unwrap().messages_waiting, 0);
}

/// A message that failed again and again was redelivered for ever, and its conversation waited for ever.
#[test]
fn a_message_that_failed_too_often_is_a_dead_letter_and_its_conversation_goes_on() {
    let (state, upstream) = (TempDir::new(), nobody());
    let host = || {
        start(
            kept_in(everything(&upstream, |_| {}), state.path())
                .configure(|config| config.delivery.max_attempts = 2),
        )
    };
    let running = host();
    running.task(&sequence([emit("ann", "bad"), emit("ann", "good")]));
    let first = running.next();
    let id = first.id();
    assert!(!first.is_last_attempt());
    assert!(!first.fail("once", Duration::ZERO));
    // What is no fault of the message does not count.
    running.next().release(Duration::ZERO);
    let last = running.next();
    assert_eq!((last.id(), last.attempt(), last.is_last_attempt()), (id, 2, true));
    assert!(last.fail("twice", Duration::ZERO));
    assert_eq!(running.take(1), ["good"]);
    running.host.shutdown();
    let again = host();
    again.assert_no_message();
    let record = again.host.message(id).unwrap().unwrap();
    assert_eq!((record.state, record.error.as_deref()), (MessageState::Dead, Some("twice")));
    assert!(again.host.redeliver_message(id).unwrap());
    let retried = again.next();
    assert_eq!((retried.id(), retried.attempt()), (id, 1));
    retried.ack();
}

/// Only agents of the program told people that their message was given up: readers of the library, and deliveries whose
/// time was over, left them without a word.
#[test]
fn the_sender_is_notified_of_every_dead_letter_with_any_reader() {
    let upstream = Upstream::start(|_, _| ok());
    let running = start(echo(&upstream, |_| {}).configure(|config| {
        config.delivery.ack_timeout = Duration::from_millis(300);
        config.delivery.max_attempts = 1;
        config.dead_letter_text = Some("given up".to_owned());
    }));
    let told = |count: usize| {
        eventually("the sender is told", || (upstream.requests().len() == count).then_some(()));
        assert!(upstream.requests().iter().all(|request| request.json()["text"] == "given up"));
    };
    assert_eq!(running.say("ann", "failed").status, 200);
    running.next().fail("once", Duration::ZERO);
    told(1);
    assert_eq!(running.say("ann", "dropped").status, 200);
    drop(running.next());
    told(2);
    assert_eq!(running.say("ann", "expired").status, 200);
    let expired = running.next();
    // Nobody asks for another message: once, only the next reader noticed.
    told(3);
    let record = running.host.message(expired.id()).unwrap().unwrap();
    assert_eq!(record.state, MessageState::Dead);
    drop(expired);
    assert_eq!(upstream.requests().len(), 3, "once for each");
}

/// Only the next reader noticed that the time of a delivery was over: with an agent that hung at its last message nobody did.
#[test]
fn an_expired_last_attempt_is_noticed_without_a_reader() {
    let upstream = nobody();
    let running = start(everything(&upstream, |_| {}).configure(|config| {
        config.delivery.ack_timeout = Duration::from_millis(100);
        config.delivery.max_attempts = 1;
        config.dead_letter_text = None;
    }));
    // The second one is the first that is under way after the thread had something to wait for.
    for content in ["first", "second"] {
        running.task(&emit("ann", content));
        let held = running.next();
        let id = held.id();
        eventually("it is given up", || {
            let record = running.host.message(id).unwrap().unwrap();
            (record.state == MessageState::Dead).then_some(())
        });
        assert_eq!(running.host.health().unwrap().messages_waiting, 0);
        drop(held);
    }
}

#[test]
fn a_host_without_order_delivers_a_whole_conversation_at_once() {
    let upstream = nobody();
    let running = start(everything(&upstream, |_| {}).configure(|config| config.delivery.in_order = false));
    running.task(&sequence([emit("ann", "1"), emit("ann", "2")]));
    let (first, second) = (running.next(), running.next());
    assert_eq!((first.message().content.as_str(), second.message().content.as_str()), ("1", "2"));
}

#[test]
fn a_webhook_is_refused_while_too_many_messages_wait_and_taken_again_when_one_is_acknowledged() {
    let upstream = nobody();
    let running = start(everything(&upstream, |_| {}).configure(|config| config.queue.messages = 2));
    running.task(&emit("ann", "1"));
    running.task(&emit("ann", "2"));
    let refused = running.post(&emit("ann", "3"));
    assert_eq!((refused.status, refused.json()), (503, json!({"error": "busy"})));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(running.take(1), ["1"]);
    assert_eq!(running.post(&emit("ann", "3")).status, 200);
    assert_eq!(running.take(2), ["2", "3"]);
}

#[test]
fn bytes_that_wait_count_whatever_they_are_and_also_when_an_operator_has_them_again() {
    let upstream = nobody();
    let running = start(everything(&upstream, |_| {}).configure(|config| config.queue.bytes = 5_000));
    let mut large = emit("ann", "small");
    large["metadata_json"] = json!({"large": "x".repeat(5_000)});
    running.task(&large);
    assert_eq!(running.post(&emit("ann", "refused")).status, 503);
    let delivery = running.next();
    let id = delivery.id();
    delivery.ack();
    running.task(&json!({"do": "now-millis"}));
    assert!(running.host.redeliver_message(id).unwrap());
    assert_eq!(running.post(&emit("ann", "refused")).status, 503);
    assert_eq!(running.take(1), ["small"]);
    assert_eq!(running.post(&emit("ann", "accepted")).status, 200);
}

#[test]
fn a_channel_is_not_polled_while_too_many_messages_wait() {
    let upstream = Upstream::start(|request, _| {
        let after: u64 = request.target.rsplit('=').next().and_then(|after| after.parse().ok()).unwrap_or(0);
        let items = json!({"items": [{"id": after + 1, "user": "ann", "text": format!("{}", after + 1)}]});
        (200, Vec::new(), items.to_string().into_bytes())
    });
    let runtime = fixtures::runtime();
    let channel = fixtures::channel_with(&runtime, "feed", |file| {
        file["config"]["interval_ms"] = json!(20);
        file["capabilities"]["channel"]["min_poll_interval_ms"] = json!(20);
    });
    let builder = fixtures::host(&["feed_key"], &[("feed.example", upstream.url())]).channel(channel);
    let running = start(builder.configure(|config| config.queue.messages = 3));
    let polls = || upstream.requests().len();
    let at_rest = eventually("polling stops", || {
        let before = polls();
        std::thread::sleep(Duration::from_millis(200));
        (before > 0 && polls() == before).then_some(before)
    });
    // One more poll may have begun before the last message was durable.
    assert!((3..=4).contains(&at_rest), "{at_rest} polls for 3 messages");
    assert_eq!(running.take(5), ["1", "2", "3", "4", "5"]);
}

#[test]
fn an_operator_can_have_a_message_again_and_take_one_away() {
    let upstream = nobody();
    let running = start(everything(&upstream, |_| {}));
    running.task(&sequence([emit("ann", "again"), emit("bob", "away")]));
    let ann = running.next();
    let id = ann.id();
    assert!(!running.host.redeliver_message(id).unwrap(), "it is not completed");
    ann.ack();
    assert!(running.host.redeliver_message(id).unwrap());
    let listed = running.host.list_messages(MessageFilter::default()).unwrap();
    let away = listed.iter().find(|message| message.excerpt == "away").expect("it waits").id;
    assert!(running.host.drop_message(away).unwrap());
    assert!(!running.host.drop_message(away).unwrap(), "it is completed");
    let replayed = running.next();
    assert_eq!((replayed.id(), replayed.attempt()), (id, 2));
    replayed.ack();
    running.assert_no_message();
    assert_eq!(running.host.message(away).unwrap().unwrap().state, MessageState::Dropped);
    assert_eq!(running.host.list_messages(MessageFilter::default()).unwrap().len(), 2, "no copy was made");
}
