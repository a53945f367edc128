//! What a store that fails for a while leaves of what was under way.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::lanes::slow;
use super::support::*;
use crate::event::health::ChannelState;
use crate::host::tests::crash::hooked::{self, Hook, Step};
use crate::host::{StateLocation, StoreOpener};
use crate::store::tests::faulty::{Fault, Script};
use crate::store::tests::{samples, writing};
use crate::store::{Batch, Change, MemoryStore, MessageFilter, ReplyState, Store, StoreError, StoreState};
use crate::test_support::upstream::{Upstream, ok};
use crate::test_support::{client, eventually, fixtures};
use crate::{HostBuilder, StatusType, StatusUpdate};

/// State in this memory, which fails as the script says.
fn failing(builder: HostBuilder, script: &Script, memory: &MemoryStore) -> HostBuilder {
    let opener = Mutex::new(script.opener(memory.opener()));
    let opener = StoreOpener::new(move || opener.lock().unwrap()());
    builder.configure(|config| config.state = StateLocation::Custom(opener))
}

/// State in this memory, with `hook` around its steps.
fn hooked(builder: HostBuilder, memory: &MemoryStore, hook: Hook) -> HostBuilder {
    let memory = memory.clone();
    builder.configure(|config| {
        config.state = hooked::state(move || Ok(Box::new(memory.clone()) as Box<dyn Store>), hook);
    })
}

impl RunningHost {
    /// Has something stored that nobody reads, so that a store that is to fail does.
    fn fail_a_write(&self) {
        let refused = self.host.broadcast(&name("everything"), "nobody", text("lost"));
        assert!(refused.is_err(), "{refused:?}");
    }

    fn store_is(&self, state: StoreState) {
        eventually("the store's state", || (self.host.health().ok()?.store.state == state).then_some(()));
    }

    /// How often a callback has run, as far as that is kept.
    fn count(&self, callback: &str) -> Value {
        let seen: Value =
            serde_json::from_str(self.file(&format!("seen/{callback}")).as_str().expect("it ran")).unwrap();
        seen["count"].clone()
    }
}

fn status() -> StatusUpdate {
    StatusUpdate { status: StatusType::ToolStarted, message: "m".into(), metadata_json: "{}".into() }
}

/// When the outage ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    BeforeTheCallback,
    AfterTheCallback,
}

#[test]
fn channels_that_were_starting_or_waiting_to_start_in_an_outage_are_ready_after_it() {
    for ends in [Ends::BeforeTheCallback, Ends::AfterTheCallback] {
        let (script, memory, gate) = (Script::default(), MemoryStore::new(), Gate::default());
        let upstream = slow(&gate);
        let runtime = fixtures::runtime();
        let waiting = fixtures::channel(&runtime, "echo_plain");
        let builder = everything(&upstream, |file| file["config"] = json!({"on_start": get("/slow")}));
        // One worker: the second start waits for the first.
        let builder = builder.channel(waiting).configure(|config| config.workers = 1);
        let running = start(failing(builder, &script, &memory));
        upstream.wait_for("the first start", |_| true);
        script.fail_always(Fault::SyncLost);
        running.fail_a_write();
        match ends {
            Ends::BeforeTheCallback => {
                script.clear();
                running.store_is(StoreState::Up);
                gate.open();
            }
            Ends::AfterTheCallback => {
                gate.open();
                // What it did waits for the store; it is not run again.
                running.ready("everything");
                script.clear();
            }
        }
        running.ready("echo_plain");
        running.ready("everything");
        assert_eq!(running.count("on-start"), 1, "{ends:?}");
    }
}

/// What `on-start` did was lost with the commit, so it ran again, beside a request that still counted on the first one.
#[test]
fn a_start_whose_commit_fails_is_kept_later_and_not_made_again() {
    let (memory, fails, gate) = (MemoryStore::new(), Gate::default(), Gate::default());
    let upstream = slow(&gate);
    let has_failed = AtomicBool::new(false);
    let hook: Hook = {
        let fails = fails.clone();
        Arc::new(move |step| {
            if step == Step::BeforeCommit && !has_failed.swap(true, Ordering::Relaxed) {
                fails.pass();
                return Err(StoreError::Full { path: "tinclaw.db".into() });
            }
            Ok(())
        })
    };
    let running = start(hooked(everything(&upstream, |_| {}), &memory, hook));
    running.ready("everything");
    std::thread::scope(|scope| {
        let old = scope.spawn(|| running.post(&get("/slow")));
        upstream.wait_for("the request", |_| true);
        fails.open();
        running.store_is(StoreState::Down);
        assert_eq!(running.health("everything").state, ChannelState::Ready);
        gate.open();
        let status = old.join().unwrap().status;
        assert!(status == 503 || status == 200, "{status}: the store may be up again by now");
    });
    running.store_is(StoreState::Up);
    running.ready("everything");
    assert_eq!(running.count("on-start"), 1);
}

/// A webhook that was told 503 because the store had failed was undone. Now it is kept later: its duplicate is recognised.
#[test]
fn a_webhook_whose_commit_fails_is_kept_later_and_its_duplicate_makes_no_second_message() {
    for fault in Fault::ALL {
        let (script, memory) = (Script::default(), MemoryStore::new());
        let upstream = nobody();
        let builder = echo(&upstream, |file| {
            file["capabilities"]["channel"]["webhook"]["dedupe"] = json!({"json_pointer": "/id"});
        });
        let running = start(failing(builder, &script, &memory));
        running.ready("echo");
        running.host.list_messages(MessageFilter::default()).expect("what came before is stored");
        script.fail_at(1, fault);
        let body = json!({"user": "ann", "text": "hello", "id": 7});
        let secret = fixtures::value_of("echo_webhook_secret");
        let say = || client::webhook(running.address, "/webhook/echo", &secret, &body).status;
        assert_eq!(say(), 503, "{fault:?}");
        eventually("the duplicate is accepted", || (say() == 200).then_some(()));
        assert_eq!(running.take(1), ["hello"], "{fault:?}");
        running.assert_no_message();
        assert_eq!(memory.clone().load(0).unwrap().last_ids.message, 1, "{fault:?}");
    }
}

/// `on-respond` writes a file, emits a message and sets a timer; the store fails around its end. `fail` makes it fail
/// while the callback waits for its upstream server, `after` follows when that has responded.
fn a_reply_with_effects(
    case: &str,
    fail: impl Fn(&Script, &RunningHost),
    after: impl Fn(&Script, &RunningHost),
) {
    let (script, memory, gate) = (Script::default(), MemoryStore::new(), Gate::default());
    let upstream = slow(&gate);
    let first = start(failing(everything(&upstream, |_| {}), &script, &memory));
    let timer = json!({"do": "timer-set", "name": "t", "delay_ms": 1, "payload": emit("bob", "the timer's")});
    let effects = [get("/slow"), write("written", "late"), emit("ann", "the reply's"), timer];
    first.task_in("on-respond", &sequence(effects));
    let reply = first.host.respond_to(&name("everything"), text("hello")).unwrap();
    upstream.wait_for("the reply", |_| true);
    fail(&script, &first);
    gate.open();
    after(&script, &first);
    let mut taken = first.take(2);
    taken.sort();
    assert_eq!(taken, ["the reply's", "the timer's"], "{case}");
    eventually("the delivery is on record", || {
        (first.host.reply(reply).ok()??.state == ReplyState::Delivered).then_some(())
    });
    first.host.shutdown();
    let second = start(failing(everything(&upstream, |_| {}), &script, &memory));
    assert_eq!(second.file("written"), "late", "{case}");
    assert_eq!(second.count("on-respond"), 1, "{case}");
    assert_eq!(second.count("on-timer"), 1, "{case}");
    second.assert_no_message();
    assert_eq!(upstream.requests().len(), 1, "{case}");
}

#[test]
fn emissions_of_a_reply_during_an_outage_are_stored_once_afterwards() {
    let outage = |script: &Script, running: &RunningHost| {
        script.fail_always(Fault::DiskFull);
        running.fail_a_write();
    };
    a_reply_with_effects("ended in an outage", outage, |script, running| {
        eventually("the lane is free", || (running.health("everything").replies_pending == 0).then_some(()));
        script.clear();
    });
    let over = |script: &Script, running: &RunningHost| {
        outage(script, running);
        script.clear();
        running.store_is(StoreState::Up);
    };
    a_reply_with_effects("ended after an outage", over, |_, _| {});
}

#[test]
fn emissions_of_a_reply_are_stored_once_when_its_commit_fails() {
    for fault in Fault::ALL {
        let fail = |script: &Script, _: &RunningHost| script.fail_at(1, fault);
        a_reply_with_effects(&format!("{fault:?}"), fail, |_, running| running.store_is(StoreState::Down));
    }
}

/// More than fit into the queues between the threads.
#[test]
fn acknowledgements_of_thousands_of_messages_in_an_outage_are_all_stored_after_it() {
    const MESSAGES: usize = 8_000;
    let (script, mut memory) = (Script::default(), MemoryStore::new());
    let message =
        |number: usize| Change::AddMessage(samples::message("everything", &number.to_string(), "hello"));
    writing::commit(&mut memory, &[Batch { changes: (0..MESSAGES).map(message).collect() }]).unwrap();
    let upstream = nobody();
    let running = start(failing(everything(&upstream, |_| {}), &script, &memory));
    running.ready("everything");
    let taken: Vec<_> = (0..MESSAGES).map(|_| running.next()).collect();
    script.fail_always(Fault::DiskFull);
    running.fail_a_write();
    taken.into_iter().for_each(crate::Delivery::ack);
    script.clear();
    running.store_is(StoreState::Up);
    running.task(&emit("ann", "after it"));
    eventually("only the new one is left", || (memory.load(0).unwrap().messages.len() == 1).then_some(()));
    assert_eq!(running.take(1), ["after it"]);
}

#[test]
fn a_reply_behind_a_lane_full_of_status_updates_is_tried_once() {
    let (memory, gate) = (MemoryStore::new(), Gate::default());
    let upstream = slow(&gate);
    let running = start(hooked(everything(&upstream, |_| {}), &memory, Arc::new(|_| Ok(()))));
    running.task_in("on-status", &get("/slow"));
    running.host.status_to(&name("everything"), status()).unwrap();
    upstream.wait_for("the first update", |_| true);
    (0..100).for_each(|_| running.host.status_to(&name("everything"), status()).unwrap());
    eventually("the lane is full", || (running.health("everything").outbound_waiting >= 64).then_some(()));
    let reply = running.host.respond_to(&name("everything"), text("hello")).unwrap();
    eventually("the reply has begun", || {
        (running.host.reply(reply).unwrap().unwrap().attempts > 0).then_some(())
    });
    std::thread::sleep(Duration::from_millis(500));
    gate.open();
    running.reply_state(reply, ReplyState::Delivered);
    let record = running.host.reply(reply).unwrap().unwrap();
    assert_eq!((record.attempts, record.redelivery), (1, false));
}

/// Another channel keeps the store busy when an attempt fails; nothing of its own tells the channel when that is over.
#[test]
fn a_reply_that_is_due_while_the_store_is_busy_starts_later() {
    // The store may be asked for 512 things at a time, so only so many callbacks run ahead of it.
    const MORE_THAN_RUN: u64 = 600;
    let (memory, gate, is_held) = (MemoryStore::new(), Gate::default(), Arc::new(AtomicBool::new(false)));
    let (responses, upstream) = responding_late(500);
    let hook: Hook = {
        let (gate, is_held) = (gate.clone(), is_held.clone());
        Arc::new(move |step| {
            if step == Step::BeforeCommit && is_held.load(Ordering::Relaxed) {
                gate.pass();
            }
            Ok(())
        })
    };
    let runtime = fixtures::runtime();
    let builder = echo(&upstream, |_| {}).channel(fixtures::channel(&runtime, "everything"));
    let builder = builder.configure(|config| config.router.retry.initial_backoff = Duration::from_millis(5));
    let running = start(hooked(builder, &memory, hook));
    running.ready("everything");
    assert_eq!(running.say("ann", "hello").status, 200);
    let delivery = running.next();
    let reply = running.host.respond(&delivery, text("hello back")).unwrap();
    upstream.wait_for("the first attempt", |_| true);
    is_held.store(true, Ordering::Relaxed);
    let before = running.health("everything").succeeded;
    let (mut done, mut rests) = (0, 0);
    eventually("no further callback runs", || {
        (0..20).for_each(|_| running.host.status_to(&name("everything"), status()).unwrap());
        let now = running.health("everything").succeeded - before;
        rests = if now == done { rests + 1 } else { 0 };
        done = now;
        (rests > 20).then_some(())
    });
    assert!((1..MORE_THAN_RUN).contains(&done), "{done}");
    responses.open();
    eventually("the attempt has failed", || (running.health("echo").failed == 1).then_some(()));
    gate.open();
    running.reply_state(reply, ReplyState::Delivered);
}

/// An upstream server that responds to its first request with this status when the gate is opened, and the others well.
fn responding_late(status: u16) -> (Gate, Upstream) {
    let gate = Gate::default();
    let upstream = Upstream::start({
        let gate = gate.clone();
        move |_, before| {
            if before > 0 {
                return ok();
            }
            gate.pass();
            (status, Vec::new(), Vec::new())
        }
    });
    (gate, upstream)
}
