//! Replies on their way to the provider.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::support::*;
use crate::secrets::MemorySecrets;
use crate::store::{ReplyFilter, ReplyState};
use crate::test_support::eventually;
use crate::test_support::upstream::{Recorded, Upstream, ok};
use crate::{Delivery, HostBuilder};

fn failing() -> crate::test_support::upstream::Response {
    (500, Vec::new(), b"away".to_vec())
}

fn text_of(request: &Recorded) -> String {
    request.json()["text"].as_str().expect("a text").to_owned()
}

fn texts(upstream: &Upstream) -> Vec<String> {
    upstream.requests().iter().map(text_of).collect()
}

fn retrying_soon(builder: HostBuilder) -> HostBuilder {
    builder.configure(|config| config.router.retry.initial_backoff = Duration::from_millis(5))
}

fn said(running: &RunningHost, user: &str) -> Delivery {
    assert_eq!(running.say(user, "hello").status, 200);
    running.next()
}

#[test]
fn a_reply_that_fails_is_sent_again_until_it_arrives() {
    let upstream = Upstream::start(|_, before| if before < 3 { failing() } else { ok() });
    let running = start(retrying_soon(echo(&upstream, |_| {})));
    let reply = running.host.respond(&said(&running, "ann"), text("hello back")).unwrap();
    running.reply_state(reply, ReplyState::Delivered);
    assert_eq!(texts(&upstream), ["hello back"; 4]);
    let record = running.host.reply(reply).unwrap().unwrap();
    assert_eq!(record.attempts, 4);
    assert!(!record.redelivery, "the upstream server had responded each time");
}

#[test]
fn a_reply_is_not_sent_again_before_the_upstream_wants_it() {
    for response in [
        (429, vec![("retry-after".to_owned(), "1".to_owned())], Vec::new()),
        (429, Vec::new(), json!({"ok": false, "parameters": {"retry_after": 1}}).to_string().into_bytes()),
    ] {
        let times = Arc::new(Mutex::new(Vec::new()));
        let upstream = Upstream::start({
            let times = times.clone();
            move |_, before| {
                times.lock().unwrap().push(Instant::now());
                if before == 0 { response.clone() } else { ok() }
            }
        });
        let running = start(retrying_soon(echo(&upstream, |_| {})));
        let reply = running.host.respond(&said(&running, "ann"), text("hello back")).unwrap();
        running.reply_state(reply, ReplyState::Delivered);
        let times = times.lock().unwrap();
        assert!(times[1] - times[0] >= Duration::from_secs(1), "{:?}", times[1] - times[0]);
    }
}

#[test]
fn replies_of_a_conversation_come_in_order_while_another_conversation_goes_on() {
    let is_back = Arc::new(AtomicBool::new(false));
    let upstream = Upstream::start({
        let is_back = is_back.clone();
        move |request, _| {
            let fails = text_of(request) == "a1" && !is_back.load(Ordering::Relaxed);
            if fails { failing() } else { ok() }
        }
    });
    let running = start(retrying_soon(echo(&upstream, |_| {})));
    let (ann, bob) = (said(&running, "ann"), said(&running, "bob"));
    for (delivery, content) in [(&ann, "a1"), (&ann, "a2"), (&bob, "b1"), (&bob, "b2")] {
        running.host.respond(delivery, text(content)).unwrap();
    }
    upstream.wait_for("the other conversation's replies", |request| text_of(request) == "b2");
    assert!(!texts(&upstream).contains(&"a2".to_owned()));
    is_back.store(true, Ordering::Relaxed);
    upstream.wait_for("the later reply", |request| text_of(request) == "a2");
    let mut order = texts(&upstream);
    order.dedup();
    let place = |content: &str| order.iter().rposition(|each| each == content).expect("it arrived");
    assert!(place("a1") < place("a2") && place("b1") < place("b2"), "{order:?}");
}

#[test]
fn a_reply_that_traps_three_times_is_a_dead_letter_until_an_operator_sends_it_again() {
    let upstream = Upstream::start(|_, _| ok());
    let running = start(retrying_soon(everything(&upstream, |_| {})));
    running.task_in("on-respond", &sequence([get("/sent"), json!({"do": "panic", "message": "oh no"})]));
    running.task(&emit("ann", "hello"));
    let delivery = running.next();
    let reply = running.host.respond(&delivery, text("hello back")).unwrap();
    running.reply_state(reply, ReplyState::Dead);
    assert_eq!(upstream.requests().len(), 3);
    let dead = ReplyFilter { state: Some(ReplyState::Dead), ..ReplyFilter::default() };
    let dead = running.host.list_replies(dead).unwrap();
    assert_eq!(dead.iter().map(|letter| letter.id).collect::<Vec<_>>(), [reply]);
    let record = running.host.reply(reply).unwrap().unwrap();
    assert!(record.error.as_deref().is_some_and(|error| error.contains("on-respond")), "{:?}", record.error);
    running.task_in("on-respond", &get("/sent"));
    assert!(running.host.retry_reply(reply).unwrap());
    running.reply_state(reply, ReplyState::Delivered);
    assert!(!running.host.retry_reply(reply).unwrap(), "it was delivered");
    // Each of the attempts had sent something when it trapped: the guest is told that the provider may have it.
    let seen: serde_json::Value =
        serde_json::from_str(running.file("seen/on-respond").as_str().expect("the guest was called"))
            .unwrap();
    let metadata = seen["last"]["metadata"].as_str().expect("metadata");
    assert_eq!(serde_json::from_str::<serde_json::Value>(metadata).unwrap()["redelivery"], true, "{seen}");
}

/// What came of one reply and that the next is about to be sent are one transaction: a serial lane waits for the medium
/// once for each reply, however slow that is.
#[test]
fn each_reply_of_a_lane_costs_one_transaction() {
    const REPLIES: u64 = 12;
    let gate = Gate::default();
    let upstream = behind(&gate);
    let running = start(everything(&upstream, |_| {}));
    running.task_in("on-respond", &get("/sent"));
    let reply = || running.host.respond_to(&name("everything"), text("hello")).unwrap();
    let first = reply();
    upstream.wait_for("the first reply", |_| true);
    let others: Vec<_> = (1..REPLIES).map(|_| reply()).collect();
    let last = *others.last().unwrap();
    let commits = || running.host.health().unwrap().store.commits;
    let before = commits();
    gate.open();
    running.reply_state(last, ReplyState::Delivered);
    running.reply_state(first, ReplyState::Delivered);
    assert_eq!(commits() - before, REPLIES);
    assert_eq!(upstream.requests().len() as u64, REPLIES);
}

#[test]
fn a_trap_before_a_restart_counts_as_one_of_three() {
    let (state, gate) = (TempDir::new(), Gate::default());
    let away = Upstream::start({
        let gate = gate.clone();
        move |_, before| {
            if before > 0 {
                gate.pass();
            }
            ok()
        }
    });
    let first = start(kept_in(retrying_soon(everything(&away, |_| {})), state.path()));
    first.task_in("on-respond", &sequence([get("/sent"), json!({"do": "panic", "message": "oh no"})]));
    let reply = first.host.respond_to(&name("everything"), text("hello")).unwrap();
    eventually("the second attempt", || (away.requests().len() == 2).then_some(()));
    first.host.manager().shutdown(Duration::from_millis(100));
    drop(first);
    let upstream = Upstream::start(|_, _| ok());
    let second = start(kept_in(retrying_soon(everything(&upstream, |_| {})), state.path()));
    second.reply_state(reply, ReplyState::Dead);
    assert_eq!(upstream.requests().len(), 2, "the one that was stopped is no trap, the one before it is");
    gate.open();
}

#[test]
fn a_reply_is_given_up_when_its_time_is_over_and_can_be_dropped() {
    let upstream = Upstream::start(|_, _| failing());
    let running = start(
        retrying_soon(echo(&upstream, |_| {}))
            .configure(|config| config.router.retry.max_elapsed = Duration::from_millis(20)),
    );
    let reply = running.host.respond(&said(&running, "ann"), text("hello back")).unwrap();
    running.reply_state(reply, ReplyState::Dead);
    let error = running.host.reply(reply).unwrap().unwrap().error.expect("the last error");
    assert!(error.contains("500: away"), "{error}");
    assert!(running.host.drop_reply(reply).unwrap());
    assert!(!running.host.drop_reply(reply).unwrap());
    assert_eq!(running.host.reply(reply).unwrap().unwrap().state, ReplyState::Dropped);
}

/// Telegram's 400 and WhatsApp's 403 were tried seven times in 45 s, and on for a day, while everything after them in that
/// conversation waited.
#[test]
fn a_reply_that_is_refused_for_good_is_a_dead_letter_at_once_and_the_next_goes_out() {
    let upstream = Upstream::start(|request, _| match text_of(request).as_str() {
        "refused" => (400, Vec::new(), b"Bad Request: chat not found".to_vec()),
        _ => ok(),
    });
    let running = start(echo(&upstream, |_| {}));
    let ann = said(&running, "ann");
    let refused = running.host.respond(&ann, text("refused")).unwrap();
    let next = running.host.respond(&ann, text("next")).unwrap();
    running.reply_state(next, ReplyState::Delivered);
    let record = running.host.reply(refused).unwrap().unwrap();
    assert_eq!((record.state, record.attempts), (ReplyState::Dead, 1));
    let error = record.error.expect("the service's words");
    assert!(error.contains("responded with 400") && error.contains("chat not found"), "{error}");
    assert_eq!(texts(&upstream), ["refused", "next"]);
}

#[test]
fn a_reply_that_the_host_itself_refuses_is_a_dead_letter_at_once() {
    let upstream = Upstream::start(|_, _| ok());
    let tasks = [
        (
            "too large",
            json!({"do": "http-request", "method": "POST", "url": "https://api.everything.example/x",
            "body": "x", "repeat": 65_537}),
            "max_request_bytes",
        ),
        (
            "not allowed",
            json!({"do": "http-request", "method": "GET", "url": "https://elsewhere.example/"}),
            "allow-list",
        ),
        (
            "a secret in its URL",
            json!({"do": "http-request", "method": "GET", "url": "https://api.everything.example/k3y-0123456789abcdef"}),
            "everything_header",
        ),
        (
            "without its secret",
            json!({"do": "http-request", "method": "GET", "url": "https://api.everything.example/keyed"}),
            "everything_key",
        ),
    ];
    for (case, task, words) in tasks {
        let builder = everything(&upstream, |file| {
            file["capabilities"]["http"]["max_request_bytes"] = json!(65_536);
            let is_needed = words == "everything_key";
            file["setup"]["required_secrets"][0]["optional"] = json!(!is_needed);
            file["capabilities"]["http"]["credentials"]["everything_key"]["optional"] = json!(!is_needed);
        });
        let running = start(builder.configure(|config| {
            config.secrets = Arc::new(MemorySecrets::from([("everything_header", "k3y-0123456789abcdef")]));
        }));
        running.task_in("on-respond", &task);
        let reply = running.host.respond_to(&name("everything"), text("hello")).unwrap();
        running.reply_state(reply, ReplyState::Dead);
        let record = running.host.reply(reply).unwrap().unwrap();
        assert_eq!(record.attempts, 1, "{case}");
        assert!(
            record.error.as_ref().is_some_and(|error| error.contains(words)),
            "{case}: {:?}",
            record.error
        );
    }
    assert!(upstream.requests().is_empty());
}

/// A reply that failed for a day held up everything behind it in its conversation.
#[test]
fn a_reply_that_has_failed_for_long_no_longer_holds_up_its_conversation() {
    let is_back = Arc::new(AtomicBool::new(false));
    let upstream = Upstream::start({
        let is_back = is_back.clone();
        move |request, _| {
            let fails = text_of(request) == "a1" && !is_back.load(Ordering::Relaxed);
            if fails { failing() } else { ok() }
        }
    });
    let running = start(
        retrying_soon(echo(&upstream, |_| {}))
            .configure(|config| config.router.retry.max_blocking = Duration::from_millis(50)),
    );
    let ann = said(&running, "ann");
    let first = running.host.respond(&ann, text("a1")).unwrap();
    let others = ["a2", "a3"].map(|content| running.host.respond(&ann, text(content)).unwrap());
    for other in others {
        running.reply_state(other, ReplyState::Delivered);
    }
    assert_eq!(running.host.reply(first).unwrap().unwrap().state, ReplyState::Pending);
    let mut order = texts(&upstream);
    order.retain(|content| content != "a1");
    assert_eq!(order, ["a2", "a3"]);
    is_back.store(true, Ordering::Relaxed);
    running.reply_state(first, ReplyState::Delivered);
}

#[test]
fn a_reply_that_an_operator_drops_gives_way_to_the_next_and_comes_back_when_wanted() {
    let is_back = Arc::new(AtomicBool::new(false));
    let upstream = Upstream::start({
        let is_back = is_back.clone();
        move |request, _| {
            let fails = text_of(request) == "unwanted" && !is_back.load(Ordering::Relaxed);
            if fails { failing() } else { ok() }
        }
    });
    let running = start(
        echo(&upstream, |_| {})
            .configure(|config| config.router.retry.initial_backoff = Duration::from_secs(3600)),
    );
    let delivery = said(&running, "ann");
    let unwanted = running.host.respond(&delivery, text("unwanted")).unwrap();
    let next = running.host.respond(&delivery, text("next")).unwrap();
    upstream.wait_for("the first attempt", |_| true);
    assert!(running.host.drop_reply(unwanted).unwrap());
    running.reply_state(next, ReplyState::Delivered);
    is_back.store(true, Ordering::Relaxed);
    assert!(running.host.retry_reply(unwanted).unwrap());
    running.reply_state(unwanted, ReplyState::Delivered);
    eventually("nothing is left", || (running.health("echo").replies_pending == 0).then_some(()));
}

/// On a slow machine the router once ended before it heard that an attempt was on record, and the next start took the reply
/// for one that might have been sent.
#[test]
fn replies_survive_a_restart_in_order() {
    let state = TempDir::new();
    let away = Upstream::start(|_, _| failing());
    let first = start(kept_in(retrying_soon(echo(&away, |_| {})), state.path()));
    let ann = said(&first, "ann");
    for content in ["1", "2", "3"] {
        first.host.respond(&ann, text(content)).unwrap();
    }
    ann.ack();
    away.wait_for("an attempt", |_| true);
    first.host.shutdown();
    let upstream = Upstream::start(|_, _| ok());
    let second = start(kept_in(retrying_soon(echo(&upstream, |_| {})), state.path()));
    upstream.wait_for("the last reply", |request| text_of(request) == "3");
    assert_eq!(texts(&upstream), ["1", "2", "3"]);
    for summary in second.host.list_replies(ReplyFilter::default()).unwrap() {
        let record = second.host.reply(summary.id).unwrap().unwrap();
        assert!(!record.redelivery, "the host was shut down in order: {}", record.body.content);
    }
}

/// A dropped reply kept its place, and was counted, as long as an earlier one of its conversation was being retried.
#[test]
fn a_reply_that_is_dropped_behind_one_that_is_under_way_goes_at_once() {
    let gate = Gate::default();
    let upstream = behind(&gate);
    let running = start(echo(&upstream, |_| {}));
    let ann = said(&running, "ann");
    running.host.respond(&ann, text("1")).unwrap();
    let second = running.host.respond(&ann, text("2")).unwrap();
    upstream.wait_for("the first reply", |_| true);
    assert!(running.host.drop_reply(second).unwrap());
    eventually("only the first is left", || (running.health("echo").replies_pending == 1).then_some(()));
    gate.open();
    eventually("nothing is left", || (running.health("echo").replies_pending == 0).then_some(()));
    assert_eq!(texts(&upstream), ["1"]);
}

#[test]
fn no_more_replies_are_taken_than_may_wait() {
    let upstream = Upstream::start(|_, _| failing());
    let running = start(echo(&upstream, |_| {}).configure(|config| config.queue.replies = 2));
    let ann = said(&running, "ann");
    running.host.respond(&ann, text("1")).unwrap();
    let second = running.host.respond(&ann, text("2")).unwrap();
    assert!(running.host.respond(&ann, text("3")).is_err());
    assert!(running.host.drop_reply(second).unwrap());
    eventually("a place is free", || running.host.respond(&ann, text("3")).ok());
}

/// A token that was revoked while the host ran left the channel "ready".
#[test]
fn a_channel_whose_credentials_are_refused_is_degraded_until_they_are_accepted() {
    use crate::event::health::ChannelState;
    let is_back = Arc::new(AtomicBool::new(false));
    let upstream = Upstream::start({
        let is_back = is_back.clone();
        move |_, _| match is_back.load(Ordering::Relaxed) {
            true => ok(),
            false => (401, Vec::new(), b"Unauthorized".to_vec()),
        }
    });
    let running = start(echo(&upstream, |_| {}));
    let ann = said(&running, "ann");
    for content in ["1", "2", "3"] {
        let reply = running.host.respond(&ann, text(content)).unwrap();
        running.reply_state(reply, ReplyState::Dead);
    }
    let health = running.health("echo");
    assert_eq!(health.state, ChannelState::Degraded);
    let reason = "its credentials are refused: api.echo.example responded with 401: Unauthorized";
    assert!(health.problems.iter().any(|problem| problem.message == reason), "{:?}", health.problems);
    is_back.store(true, Ordering::Relaxed);
    let reply = running.host.respond(&ann, text("4")).unwrap();
    running.reply_state(reply, ReplyState::Delivered);
    eventually("it is ready again", || (running.health("echo").state == ChannelState::Ready).then_some(()));
}

/// Replies of a channel whose files were removed counted against everybody's limit for ever, and its workspace stayed in
/// memory.
#[test]
fn a_channel_that_was_removed_costs_the_others_nothing_and_finds_its_state_when_it_is_back() {
    let state = TempDir::new();
    let away = Upstream::start(|_, _| failing());
    let few = |builder: HostBuilder| builder.configure(|config| config.queue.replies = 1);
    let first = start(kept_in(few(echo(&away, |_| {})), state.path()));
    let waiting = first.host.respond(&said(&first, "ann"), text("later")).unwrap();
    away.wait_for("an attempt", |_| true);
    first.host.shutdown();

    let upstream = Upstream::start(|_, _| ok());
    let second = start(kept_in(few(everything(&upstream, |_| {})), state.path()));
    second.ready("everything");
    let reply = second.host.respond_to(&name("everything"), text("now")).unwrap();
    second.reply_state(reply, ReplyState::Delivered);
    assert_eq!(second.host.reply(waiting).unwrap().unwrap().state, ReplyState::Pending);
    second.task(&write("a-file", "is kept"));
    second.host.shutdown();

    let third = start(kept_in(echo(&upstream, |_| {}), state.path()));
    third.reply_state(waiting, ReplyState::Delivered);
    let back =
        crate::test_support::fixtures::channel(&crate::test_support::fixtures::runtime(), "everything");
    third.host.add(Box::new(back)).unwrap();
    assert_eq!(third.file("a-file"), "is kept", "a channel that is added later is read from the store");
}
