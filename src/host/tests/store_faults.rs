//! A store that fails under a running host: nothing that was acknowledged is missing afterwards, nothing is done twice that
//! need not be, and work resumes by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::host::tests::crash::hooked::{self, Hook, Step};
use crate::host::{StateLocation, StoreOpener};
use crate::store::tests::faulty::{Fault, Script};
use crate::store::*;
use crate::test_support::own_process::test_in_a_child;
use crate::test_support::temp_dir::TempDir;
use crate::test_support::upstream::{Upstream, ok};
use crate::test_support::{client, eventually, fixtures};
use crate::{AgentResponse, Host, HostBuilder};

fn start(builder: HostBuilder) -> (Host, SocketAddr) {
    let host = builder.start().expect("the host starts");
    assert!(host.failed_channels().is_empty(), "{:?}", host.failed_channels());
    let address = host.local_addr().expect("an address");
    (host, address)
}

fn echo(upstream: &Upstream) -> HostBuilder {
    let runtime = fixtures::runtime();
    fixtures::host(&["echo_token", "echo_webhook_secret"], &[("api.echo.example", upstream.url())]).channel(
        fixtures::channel_with(&runtime, "echo", |file| {
            file["capabilities"]["channel"]["webhook"]["dedupe"] = json!({"json_pointer": "/id"});
        }),
    )
}

fn everything(upstream: &Upstream, change: impl FnOnce(&mut Value)) -> HostBuilder {
    let runtime = fixtures::runtime();
    fixtures::host(&[], &[("api.everything.example", upstream.url())]).channel(fixtures::channel_with(
        &runtime,
        "everything",
        change,
    ))
}

/// State in a file of this directory, which fails as the script says.
fn failing(script: &Script, state: &TempDir) -> StateLocation {
    let inner = SqliteStore::opener(state.path().join("tinclaw.db"), SqliteOptions::default());
    let opener = Mutex::new(script.opener(inner));
    StateLocation::Custom(StoreOpener::new(move || opener.lock().unwrap()()))
}

fn say(host: SocketAddr, number: u64) -> client::Reply {
    let body = json!({"user": "ann", "text": number.to_string(), "id": number});
    client::webhook(host, "/webhook/echo", &fixtures::value_of("echo_webhook_secret"), &body)
}

fn task(host: SocketAddr, task: &Value) -> client::Reply {
    let headers = [("content-type", "application/json")];
    client::request(host, "POST", "/webhook/everything", &headers, task.to_string().as_bytes())
}

fn accepted(host: SocketAddr, wanted: &Value) -> Value {
    eventually("the task is done", || {
        let reply = task(host, wanted);
        (reply.status == 200).then(|| reply.json()["ok"].clone())
    })
}

fn read(host: SocketAddr, path: &str) -> Value {
    accepted(host, &json!({"do": "workspace-read", "path": path}))
}

/// An agent that replies to everything, and counts what it gets by the provider's id.
fn reply_to_all(host: &Host, got: &Mutex<BTreeMap<String, BTreeSet<u64>>>) {
    for delivery in host.messages() {
        let content = delivery.message().content.clone();
        got.lock().unwrap().entry(content.clone()).or_default().insert(delivery.id().0);
        match host.respond(&delivery, AgentResponse { content, ..AgentResponse::default() }) {
            Ok(_) => delivery.ack(),
            // The store is away, which is no failure of the agent.
            Err(_) => delivery.release(Duration::from_millis(20)),
        }
    }
}

/// Ends the agent with the test, also when that fails.
struct StopAtEnd<'a>(&'a Host);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.manager().shutdown(Duration::from_secs(5));
    }
}

/// A webhook, the delivery of its message, the reply and its delivery take five writes or more; each of them fails once.
fn every_write_fails_once(fault: Fault) {
    let (script, state) = (Script::default(), TempDir::new());
    let upstream = Upstream::start(|_, _| ok());
    let (host, address) = start(echo(&upstream).configure(|config| config.state = failing(&script, &state)));
    let got = Mutex::default();
    thread::scope(|scope| {
        scope.spawn(|| reply_to_all(&host, &got));
        let stop = StopAtEnd(&host);
        for number in 1..=6 {
            script.fail_at(u32::try_from(number).unwrap(), fault);
            eventually("the webhook is accepted", || (say(address, number).status == 200).then_some(()));
            let is_done = || {
                let health = host.health().expect("health");
                let is_done = health.messages_waiting == 0 && health.channels[0].replies_pending == 0;
                is_done && health.store.state == StoreState::Up
            };
            let give_up = Instant::now() + Duration::from_secs(90);
            while !is_done() {
                assert!(Instant::now() < give_up, "{fault:?} {number}: {:?}", host.health());
                thread::sleep(Duration::from_millis(5));
            }
            // A response that arrived, a reply that was delivered: both stay so when the provider asks again.
            eventually("the duplicate gets a response", || {
                (say(address, number).status == 200).then_some(())
            });
        }
        script.clear();
        eventually("the store works", || (say(address, 1).status == 200).then_some(()));
        drop(stop);
    });
    assert!(script.openings() > 3, "{fault:?}: the store failed {} times", script.openings() - 1);
    assert!(!script.used_after_failure());
    drop(host);
    let got = got.into_inner().unwrap();
    assert_eq!(got.len(), 6, "{fault:?}: {got:?}");
    assert!(got.values().all(|messages| messages.len() == 1), "{fault:?}: one id, several messages: {got:?}");
    check_store(fault, &state, &upstream);
}

/// Each stored reply has left exactly once, and nothing waits.
fn check_store(fault: Fault, state: &TempDir, upstream: &Upstream) {
    let mut store = SqliteStore::open(state.path().join("tinclaw.db"), Durability::Full).unwrap();
    let loaded = store.load(0).unwrap();
    assert_eq!((loaded.messages.len(), loaded.replies().len()), (0, 0), "{fault:?}");
    let replies = store.replies(&ReplyFilter::default()).unwrap();
    assert!(replies.iter().all(|reply| reply.state == ReplyState::Delivered), "{fault:?}: {replies:?}");
    assert!(replies.len() >= 6);
    assert_eq!(upstream.requests().len(), replies.len(), "{fault:?}: {replies:?}");
}

#[test]
fn a_full_disk_at_any_step() {
    every_write_fails_once(Fault::DiskFull);
}

#[test]
fn a_read_only_file_system_at_any_step() {
    every_write_fails_once(Fault::ReadOnly);
}

#[test]
fn a_short_write_at_any_step() {
    every_write_fails_once(Fault::ShortWrite);
}

#[test]
fn a_failing_sync_that_loses_the_data_at_any_step() {
    every_write_fails_once(Fault::SyncLost);
}

/// The store says that it has failed, but what it was given is there: it must neither be lost nor be done twice.
#[test]
fn a_failing_sync_that_keeps_the_data_at_any_step() {
    every_write_fails_once(Fault::SyncKept);
}

#[test]
fn during_an_outage_webhooks_get_503_polls_pause_and_everything_resumes_by_itself() {
    let (script, state) = (Script::default(), TempDir::new());
    let upstream = Upstream::start(|_, _| ok());
    let builder = everything(&upstream, |file| {
        file["config"] = json!({"poll_interval_ms": 20});
        file["capabilities"]["channel"]["min_poll_interval_ms"] = json!(20);
    });
    let (host, address) = start(builder.configure(|config| config.state = failing(&script, &state)));
    let poll = json!({"do": "http-request", "method": "GET", "url": "https://api.everything.example/polled"});
    accepted(address, &json!({"do": "workspace-write", "path": "tasks/on-poll", "content": poll}));
    upstream.wait_for("a poll", |_| true);
    script.fail_always(Fault::DiskFull);
    let emit = json!({"do": "emit-message", "content": "hello"});
    let refused = eventually("the store fails", || {
        let reply = task(address, &emit);
        (reply.status != 200).then_some(reply)
    });
    assert_eq!((refused.status, refused.json()), (503, json!({"error": "store_unavailable"})));
    let retry_after: u64 = refused.header("retry-after").expect("when to retry").parse().unwrap();
    assert!(retry_after >= 1);
    let store = host.health().unwrap().store;
    assert_eq!(store.state, StoreState::Down);
    assert!(store.reason.as_deref().is_some_and(|reason| reason.contains("no space left")), "{store:?}");
    let at_rest = eventually("polls pause", || {
        let before = upstream.requests().len();
        thread::sleep(Duration::from_millis(200));
        (upstream.requests().len() == before).then_some(before)
    });
    script.clear();
    accepted(address, &emit);
    eventually("polls go on", || (upstream.requests().len() > at_rest).then_some(()));
    let kept = eventually("the accepted message", || host.messages().try_recv().ok());
    assert_eq!(kept.message().content, "hello");
}

/// An approval that could not be stored held until the next restart, although the operator had been told that it failed.
#[test]
fn a_pairing_whose_approval_cannot_be_stored_is_not_approved_and_can_be_later() {
    let (script, state) = (Script::default(), TempDir::new());
    let upstream = Upstream::start(|_, _| ok());
    let (host, address) =
        start(everything(&upstream, |_| {}).configure(|config| config.state = failing(&script, &state)));
    let ask = json!({"do": "pairing-upsert-request", "channel": "everything", "id": "u1", "meta_json": "{}"});
    let code = accepted(address, &ask)["code"].as_str().expect("a code").to_owned();
    let channel = "everything".parse().expect("a name");
    script.fail_always(Fault::DiskFull);
    host.pairing().approve(&channel, &code, Some("ann")).expect_err("the disk is full");
    assert!(host.pairing().approved().is_empty());
    assert_eq!(host.pairing().pending().len(), 1, "they wait as before");
    script.clear();
    eventually("the store works", || host.pairing().approve(&channel, &code, Some("ann")).ok());
    assert_eq!(host.pairing().approved()[0].identity, "ann");
}

/// The guest counts on what it wrote in `on-start`: a channel that was ready before this was durable starts again.
#[test]
fn a_start_that_could_not_be_stored_is_made_again() {
    let (script, state) = (Script::default(), TempDir::new());
    let upstream = Upstream::start(|_, _| ok());
    script.fail_at(1, Fault::SyncLost);
    let (_host, address) =
        start(everything(&upstream, |_| {}).configure(|config| config.state = failing(&script, &state)));
    eventually("the store was opened again", || (script.openings() >= 2).then_some(()));
    let seen = read(address, "seen/on-start");
    let seen: Value = serde_json::from_str(seen.as_str().expect("on-start has written it")).unwrap();
    assert_eq!(seen["count"], 1);
}

/// A store whose commits wait as long as the gate is closed.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn close(&self) {
        *self.0.0.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = false;
        self.0.1.notify_all();
    }

    fn hook(&self) -> Hook {
        let gate = self.clone();
        Arc::new(move |step| {
            if step == Step::BeforeCommit {
                let closed = gate.0.0.lock().unwrap();
                drop(gate.0.1.wait_timeout_while(closed, Duration::from_secs(60), |closed| *closed).unwrap());
            }
            Ok(())
        })
    }
}

fn in_memory(hook: Hook) -> StateLocation {
    // It never fails, so it is opened once.
    hooked::state(|| Ok(Box::new(MemoryStore::default())), hook)
}

/// A guest that recognises duplicates by its workspace responds to the second request without doing anything. That response
/// acknowledges the first one, too: it must not leave before the first one is durable.
#[test]
fn a_response_without_changes_waits_for_the_state_that_it_rests_on() {
    let gate = Gate::default();
    let upstream = Upstream::start(|_, _| ok());
    let (host, address) =
        start(everything(&upstream, |_| {}).configure(|config| config.state = in_memory(gate.hook())));
    accepted(address, &json!({"do": "now-millis"}));
    gate.close();
    let has_response = AtomicBool::new(false);
    thread::scope(|scope| {
        let first = scope.spawn(|| task(address, &json!({"do": "emit-message", "content": "hello"})));
        eventually("the first has run", || (host.health().unwrap().channels[0].emitted == 1).then_some(()));
        let second = scope.spawn(|| {
            let reply = task(address, &json!({"do": "now-millis"}));
            has_response.store(true, Ordering::Relaxed);
            reply
        });
        eventually("the second has run", || {
            (host.health().unwrap().channels[0].succeeded >= 4).then_some(())
        });
        thread::sleep(Duration::from_millis(100));
        let had_response = has_response.load(Ordering::Relaxed);
        gate.open();
        assert_eq!((first.join().unwrap().status, second.join().unwrap().status), (200, 200));
        assert!(!had_response, "the response left before what it rests on was durable");
    });
}

/// The attempt was on record, but the reply could not be read: it stayed under way, and its conversation with it.
#[test]
fn a_reply_that_cannot_be_read_once_is_delivered_all_the_same() {
    let state = TempDir::new();
    let db = state.path().join("tinclaw.db");
    let fails = Arc::new(AtomicBool::new(true));
    let hook: Hook = {
        let fails = fails.clone();
        Arc::new(move |step| match step {
            Step::BeforeReadingReply if fails.swap(false, Ordering::Relaxed) => {
                Err(StoreError::Io { path: "tinclaw.db".into(), detail: "read error".into() })
            }
            _ => Ok(()),
        })
    };
    let upstream = Upstream::start(|_, _| ok());
    let open = move || Ok(Box::new(SqliteStore::open(&db, Durability::Full)?) as Box<dyn Store>);
    let (host, address) = start(echo(&upstream).configure(|config| config.state = hooked::state(open, hook)));
    eventually("the webhook is accepted", || (say(address, 1).status == 200).then_some(()));
    let delivery = host.messages().recv_timeout(Duration::from_secs(90)).expect("a message");
    let response = |content: &str| AgentResponse { content: content.into(), ..AgentResponse::default() };
    host.respond(&delivery, response("first")).unwrap();
    upstream.wait_for("the first reply", |request| request.json()["text"] == "first");
    assert!(!fails.load(Ordering::Relaxed), "the read has failed");
    eventually("the second reply is taken", || host.respond(&delivery, response("second")).ok());
    upstream.wait_for("the second reply", |request| request.json()["text"] == "second");
    assert_eq!(upstream.requests().len(), 2);
}

/// A message that could not be read from the store counted as an attempt of the agent, which never saw it: after an outage
/// messages had used up all their attempts.
#[test]
fn a_message_that_cannot_be_read_has_used_up_no_attempt() {
    const FAILURES: u32 = 3;
    let state = TempDir::new();
    let db = state.path().join("tinclaw.db");
    let reads = Arc::new(AtomicU32::new(0));
    let hook: Hook = {
        let reads = reads.clone();
        Arc::new(move |step| {
            if step == Step::BeforeReadingMessage && reads.fetch_add(1, Ordering::Relaxed) < FAILURES {
                return Err(StoreError::Io { path: "tinclaw.db".into(), detail: "read error".into() });
            }
            Ok(())
        })
    };
    let upstream = Upstream::start(|_, _| ok());
    let first = SqliteStore::opener(db.clone(), SqliteOptions::default());
    let first = Mutex::new(first);
    let kept = StateLocation::Custom(StoreOpener::new(move || first.lock().unwrap()()));
    let (host, address) = start(echo(&upstream).configure(|config| config.state = kept));
    eventually("the webhook is accepted", || (say(address, 1).status == 200).then_some(()));
    host.shutdown();
    // After a restart messages are read from the store.
    let open = move || Ok(Box::new(SqliteStore::open(&db, Durability::Full)?) as Box<dyn Store>);
    let (host, _) = start(echo(&upstream).configure(|config| {
        config.state = hooked::state(open, hook);
        config.delivery.max_attempts = FAILURES;
    }));
    let delivery = host.messages().recv_timeout(Duration::from_secs(60)).expect("a message");
    // What was stored without an attempt may have been delivered before the restart, so that counts as one.
    assert_eq!((delivery.message().content.as_str(), delivery.attempt()), ("1", 2));
    assert_eq!(reads.load(Ordering::Relaxed), FAILURES + 1);
    delivery.ack();
}

/// The message could not be read at the moment when it was given up: it ended, and its sender was never told.
#[test]
fn a_message_that_cannot_be_read_is_not_given_up_before_its_sender_can_be_notified() {
    let state = TempDir::new();
    let db = state.path().join("tinclaw.db");
    let reads = Arc::new(AtomicU32::new(0));
    let hook: Hook = Arc::new(move |step| {
        // The first read is that of the delivery.
        if step == Step::BeforeReadingMessage && reads.fetch_add(1, Ordering::Relaxed) == 1 {
            return Err(StoreError::Io { path: "tinclaw.db".into(), detail: "read error".into() });
        }
        Ok(())
    });
    let upstream = Upstream::start(|_, _| ok());
    let first = Mutex::new(SqliteStore::opener(db.clone(), SqliteOptions::default()));
    let kept = StateLocation::Custom(StoreOpener::new(move || first.lock().unwrap()()));
    let (host, address) = start(echo(&upstream).configure(|config| config.state = kept));
    eventually("the webhook is accepted", || (say(address, 1).status == 200).then_some(()));
    host.shutdown();
    let open = move || Ok(Box::new(SqliteStore::open(&db, Durability::Full)?) as Box<dyn Store>);
    let (host, _) = start(echo(&upstream).configure(|config| {
        config.state = hooked::state(open, hook);
        config.delivery.max_attempts = 2;
        config.dead_letter_text = Some("given up".to_owned());
    }));
    let next = || host.messages().recv_timeout(Duration::from_secs(60)).expect("the message");
    assert!(!next().fail("once", Duration::ZERO), "it cannot be read");
    assert!(next().fail("twice", Duration::ZERO));
    upstream.wait_for("the sentence", |request| request.json()["text"] == "given up");
}

/// Acknowledged during an outage: the acknowledgement is stored when the store works again.
#[test]
fn a_message_acknowledged_during_an_outage_is_not_redelivered() {
    let (script, state) = (Script::default(), TempDir::new());
    let upstream = Upstream::start(|_, _| ok());
    let (host, address) = start(echo(&upstream).configure(|config| config.state = failing(&script, &state)));
    eventually("the webhook is accepted", || (say(address, 1).status == 200).then_some(()));
    let delivery = host.messages().recv_timeout(Duration::from_secs(90)).expect("a message");
    script.fail_always(Fault::ReadOnly);
    eventually("the store fails", || (say(address, 2).status == 503).then_some(()));
    delivery.ack();
    script.clear();
    eventually("the store works", || (say(address, 3).status == 200).then_some(()));
    // The second one was told 503 when the store failed, and is kept all the same.
    for content in ["2", "3"] {
        let next = host.messages().recv_timeout(Duration::from_secs(60)).expect("a message");
        assert_eq!(next.message().content, content);
        next.ack();
    }
    host.shutdown();
    let mut store = SqliteStore::open(state.path().join("tinclaw.db"), Durability::Full).unwrap();
    assert_eq!(store.load(0).unwrap().messages, []);
}

/// While nothing can be stored no response can be, whatever the agent does.
#[test]
fn a_delivery_that_fails_during_an_outage_has_used_up_no_attempt() {
    let (script, state) = (Script::default(), TempDir::new());
    let upstream = Upstream::start(|_, _| ok());
    let (host, address) = start(echo(&upstream).configure(|config| {
        config.state = failing(&script, &state);
        config.delivery.max_attempts = 1;
    }));
    eventually("the webhook is accepted", || (say(address, 1).status == 200).then_some(()));
    let delivery = host.messages().recv_timeout(Duration::from_secs(60)).expect("a message");
    script.fail_always(Fault::ReadOnly);
    eventually("the store fails", || (say(address, 2).status == 503).then_some(()));
    assert!(!delivery.fail("the response cannot be stored", Duration::ZERO), "it is no dead letter");
    script.clear();
    eventually("the store works", || (say(address, 3).status == 200).then_some(()));
    let again = host.messages().recv_timeout(Duration::from_secs(60)).expect("a message");
    assert_eq!((again.message().content.as_str(), again.attempt()), ("1", 1));
    again.ack();
    host.shutdown();
}

/// Deliveries during an outage were put on record afterwards: a message had used up attempts that could not have succeeded.
#[test]
fn a_delivery_during_an_outage_is_neither_the_last_attempt_nor_put_on_record() {
    let (script, state) = (Script::default(), TempDir::new());
    let upstream = Upstream::start(|_, _| ok());
    let running = || {
        start(echo(&upstream).configure(|config| {
            config.state = failing(&script, &state);
            config.delivery.max_attempts = 2;
        }))
    };
    let (host, address) = running();
    eventually("the webhook is accepted", || (say(address, 1).status == 200).then_some(()));
    let next = |host: &Host| host.messages().recv_timeout(Duration::from_secs(60)).expect("a message");
    assert!(!next(&host).fail("once", Duration::ZERO));
    script.fail_always(Fault::ReadOnly);
    eventually("the store fails", || (say(address, 2).status == 503).then_some(()));
    let second = next(&host);
    assert_eq!((second.attempt(), second.is_last_attempt()), (2, false));
    assert!(!second.fail("the response cannot be stored", Duration::ZERO));
    script.clear();
    eventually("the store works", || (say(address, 3).status == 200).then_some(()));
    host.shutdown();
    // What was delivered before a restart counts as one attempt.
    let (host, _) = running();
    let again = next(&host);
    assert_eq!((again.message().content.as_str(), again.attempt(), again.is_last_attempt()), ("1", 2, true));
    again.ack();
    host.shutdown();
}

/// A shutdown waited for a store that was away, because `on-shutdown` could not be run.
#[test]
fn a_host_whose_store_is_away_can_be_shut_down() {
    let (script, state) = (Script::default(), TempDir::new());
    let upstream = Upstream::start(|_, _| ok());
    let (host, address) = start(echo(&upstream).configure(|config| config.state = failing(&script, &state)));
    eventually("the webhook is accepted", || (say(address, 1).status == 200).then_some(()));
    script.fail_always(Fault::DiskFull);
    eventually("the store fails", || (say(address, 2).status == 503).then_some(()));
    let (done, is_done) = std::sync::mpsc::channel();
    thread::spawn(move || {
        host.manager().shutdown(Duration::from_millis(100));
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(90)).expect("the shutdown ends");
}

const CHILD: &str = "TINCLAW_TEST_LIMITED_HOST";

/// Real write errors: the system refuses to let any file of the process grow. A process of its own, because the limit
/// holds for a whole one.
#[test]
fn a_host_whose_files_may_not_grow_refuses_webhooks_until_they_may() {
    let child =
        test_in_a_child(module_path!(), "child_whose_files_may_not_grow").env(CHILD, "yes").output().unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said} {}", String::from_utf8_lossy(&child.stderr));
    assert!(said.contains("resumed after"), "{said}");
}

#[test]
fn child_whose_files_may_not_grow() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    // Without a handler the signal would end the process; with one the write fails.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).unwrap();
    let (state, upstream) = (TempDir::new(), Upstream::start(|_, _| ok()));
    let (host, address) = start(echo(&upstream).state_dir(state.path()));
    eventually("the channel starts", || (say(address, 0).status == 200).then_some(()));
    let log = std::fs::metadata(state.path().join("tinclaw.db-wal")).unwrap().len();
    limit_files(Some(log + 50_000));
    let mut accepted = vec![0];
    let refused = loop {
        let number = accepted.len() as u64;
        let reply = say(address, number);
        if reply.status != 200 {
            break reply;
        }
        accepted.push(number);
    };
    assert_eq!((refused.status, refused.json()), (503, json!({"error": "store_unavailable"})));
    assert!(refused.header("retry-after").is_some());
    let store = host.health().unwrap().store;
    assert!(store.state == StoreState::Down && store.reason.is_some(), "{store:?}");
    limit_files(None);
    let next = accepted.len() as u64;
    eventually("work resumes", || (say(address, next).status == 200).then_some(()));
    accepted.push(next);
    for number in &accepted {
        let delivery = host.messages().recv_timeout(Duration::from_secs(90)).expect("a message");
        assert_eq!(delivery.message().content, number.to_string());
        host.respond(&delivery, AgentResponse { content: number.to_string(), ..AgentResponse::default() })
            .unwrap();
        delivery.ack();
    }
    let last = next.to_string();
    upstream.wait_for("the last reply", |request| request.json()["text"] == last);
    println!("resumed after {} responses", accepted.len());
}

fn limit_files(bytes: Option<u64>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = Rlimit { current: bytes, maximum: getrlimit(Resource::Fsize).maximum };
    setrlimit(Resource::Fsize, limit).unwrap();
}
