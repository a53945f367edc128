//! A host that stops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lanes::{polling, slow};
use super::support::*;
use crate::event::{Event, ShutdownPhase, Wakeup};
use crate::store::ReplyState;
use crate::test_support::upstream::{Upstream, ok};

fn seen(running: &RunningHost, callback: &str) -> Value {
    let file = running.file(&format!("seen/{callback}"));
    file.as_str().map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON"))
}

#[test]
fn shutdown_lets_what_runs_end_and_runs_on_shutdown_once() {
    let gate = Gate::default();
    let (state, upstream) = (TempDir::new(), slow(&gate));
    let host = || {
        let builder = kept_in(everything(&upstream, |_| {}), state.path());
        start(builder.configure(|config| config.router.webhook_grace = Duration::from_secs(3600)))
    };
    let first = host();
    first.ready("everything");
    std::thread::scope(|scope| {
        let last = scope.spawn(|| first.post(&sequence([get("/slow"), emit("ann", "last")])));
        upstream.wait_for("the last request", |_| true);
        let stopped = scope.spawn(|| first.host.manager().shutdown(Duration::from_secs(20)));
        crate::test_support::eventually("the shutdown begins", || first.host.health().is_err().then_some(()));
        gate.open();
        assert_eq!(last.join().unwrap().status, 200);
        stopped.join().unwrap();
    });
    drop(first);
    let second = host();
    assert_eq!(second.take(1), ["last"]);
    assert_eq!(seen(&second, "on-shutdown")["count"], 1);
}

/// A webhook whose guest waited for another server held the end of the host up for ten seconds.
#[test]
fn shutdown_cuts_off_the_request_of_a_webhook_which_gets_503() {
    let gate = Gate::default();
    let (state, upstream) = (TempDir::new(), slow(&gate));
    let host = || start(kept_in(everything(&upstream, |_| {}), state.path()));
    let first = host();
    first.ready("everything");
    assert_eq!(first.post(&emit("ann", "accepted")).status, 200);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| first.post(&sequence([get("/slow"), emit("ann", "not accepted")])));
        upstream.wait_for("the request", |_| true);
        // It would wait for the end of the callback's time, and longer.
        first.host.manager().shutdown(Duration::from_secs(3600));
        assert_eq!(waits.join().unwrap().status, 503);
    });
    gate.open();
    drop(first);
    let second = host();
    assert_eq!(second.take(1), ["accepted"]);
    second.ready("everything");
    assert_eq!(second.post(&emit("ann", "next")).status, 200);
    assert_eq!(second.take(1), ["next"]);
}

#[test]
fn shutdown_does_not_wait_for_an_upstream_server_and_a_reply_that_was_out_is_marked() {
    let gate = Gate::default();
    let (state, upstream) = (TempDir::new(), slow(&gate));
    let first = start(kept_in(everything(&upstream, polling), state.path()));
    first.task_in("on-respond", &get("/slow/reply"));
    first.task_in("on-poll", &get("/slow/poll"));
    first.task(&emit("ann", "hello"));
    let delivery = first.next();
    let reply = first.host.respond(&delivery, text("hello back")).unwrap();
    delivery.ack();
    upstream.wait_for("the reply", |request| request.target == "/slow/reply");
    upstream.wait_for("the poll", |request| request.target == "/slow/poll");
    let begin = Instant::now();
    first.host.manager().shutdown(Duration::from_millis(100));
    assert!(begin.elapsed() < Duration::from_secs(10), "it took {:?}", begin.elapsed());
    drop(first);
    let back = Upstream::start(|_, _| ok());
    let second = start(kept_in(everything(&back, |_| {}), state.path()));
    second.reply_state(reply, ReplyState::Delivered);
    assert_eq!(seen(&second, "on-shutdown")["count"], 1);
    let metadata: Value =
        serde_json::from_str(seen(&second, "on-respond")["last"]["metadata"].as_str().unwrap()).unwrap();
    assert_eq!(metadata["redelivery"], true);
    gate.open();
}

/// `on-shutdown` was queued and nobody started it before the next event, which was the end of the grace.
#[test]
fn a_shutdown_ends_when_nothing_is_left_to_do_however_long_its_grace() {
    let gate = Gate::default();
    let upstream = slow(&gate);
    // The watch over requests that wait would wake the router, too.
    let builder = everything(&upstream, |_| {});
    let builder = builder.configure(|config| config.router.queue_timeout = Duration::from_secs(3600));
    let running = Arc::new(start(builder));
    running.task_in("on-respond", &get("/slow"));
    running.host.respond_to(&name("everything"), text("hello")).unwrap();
    upstream.wait_for("the reply", |_| true);
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn({
        let running = running.clone();
        move || {
            running.host.manager().shutdown(Duration::from_secs(3600));
            done.send(()).unwrap();
        }
    });
    crate::test_support::eventually("the shutdown begins", || running.host.health().is_err().then_some(()));
    gate.open();
    let ends = is_done.recv_timeout(PATIENCE);
    // A host whose shutdown does not end cannot be dropped either.
    std::mem::forget(running);
    ends.expect("the shutdown ends");
}

/// The end of the grace for what ran before was queued already when the last of it ended, and stopped `on-shutdown`.
#[test]
fn the_end_of_an_earlier_grace_does_not_cut_on_shutdown_short() {
    let gate = Gate::default();
    let (state, upstream) = (TempDir::new(), slow(&gate));
    let first = start(kept_in(everything(&upstream, |_| {}), state.path()));
    first.task_in("on-shutdown", &sequence([get("/slow"), write("last", "written")]));
    std::thread::scope(|scope| {
        scope.spawn(|| first.host.manager().shutdown(Duration::from_secs(3600)));
        upstream.wait_for("on-shutdown", |_| true);
        let late = Event::Due(Wakeup::GraceOver(ShutdownPhase::Draining));
        first.host.manager().events.send(late).expect("the router runs");
        gate.open();
    });
    drop(first);
    let second = start(kept_in(everything(&upstream, |_| {}), state.path()));
    assert_eq!(second.file("last"), "written");
}

#[test]
fn rate_limited_messages_are_stored_at_shutdown() {
    let (state, upstream) = (TempDir::new(), nobody());
    let host = || {
        let everything = everything(&upstream, |file| {
            polling(file);
            file["capabilities"]["channel"]["emit_rate_limit"] =
                json!({"messages_per_minute": 1, "messages_per_hour": 100});
        });
        start(kept_in(everything, state.path()))
    };
    let first = host();
    first.task(&emit("ann", "within the rate"));
    let once = write("tasks/on-poll", "{\"do\": \"now-millis\"}");
    let logged = json!({"do": "log", "level": "info", "message": "polled"});
    let before = first.health("everything").succeeded;
    first.task_in("on-poll", &sequence([emit("feed", "over the rate"), once, logged]));
    // The poll runs and is held: no further one succeeds.
    crate::test_support::eventually("the poll is held", || {
        let succeeded = first.health("everything").succeeded;
        std::thread::sleep(Duration::from_millis(100));
        (succeeded > before && succeeded == first.health("everything").succeeded).then_some(())
    });
    first.host.shutdown();
    let second = host();
    assert_eq!(second.take(2), ["within the rate", "over the rate"]);
}
