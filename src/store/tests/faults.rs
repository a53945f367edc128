//! Whatever the disk does, at whichever step: nothing that was acknowledged is missing afterwards, nothing is half, and
//! work goes on.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::faulty::{Fault, Script};
use super::samples::*;
use super::writing::*;
use crate::store::*;
use crate::test_support::own_process::test_in_a_child;
use crate::test_support::temp_dir::TempDir;

/// How far a webhook and the reply to it have come, as far as the store has said so.
#[derive(Debug, Default, PartialEq)]
struct Confirmed {
    message: Option<MessageId>,
    delivery_started: bool,
    reply: Option<ReplyId>,
    tried: bool,
    delivered: bool,
}

/// The steps of a webhook and of its reply, in order; stops at the first that fails.
fn run(commit: &mut dyn FnMut(Batch) -> Option<Receipt>) -> Confirmed {
    let mut confirmed = Confirmed::default();
    let _: Option<()> = (|| {
        let mut new = message("a", "c", "hello");
        attach_bytes(&mut new, bytes(20_000));
        let changes =
            [file("a", "cursor", "1"), Change::AddMessage(new), dedupe("a", 1, 0, u64::MAX, Some("ok"))];
        let id = commit(batch(changes))?.messages[0];
        confirmed.message = Some(id);
        commit(Batch::of(Change::MessageAttempt { id, attempt: 1, at_ms: LATER + 10 }))?;
        confirmed.delivery_started = true;
        let response = NewReply { in_reply_to: Some(id), ..reply("a", "c", &"y".repeat(10_000)) };
        let changes = [Change::MessageAcked { id, at_ms: LATER + 20 }, Change::AddReply(response)];
        let id = commit(batch(changes))?.replies[0];
        confirmed.reply = Some(id);
        commit(Batch::of(Change::ReplyAttempt { id, attempt: 1, at_ms: LATER + 30 }))?;
        confirmed.tried = true;
        commit(Batch::of(Change::ReplyDelivered { id, at_ms: LATER + 40 }))?;
        confirmed.delivered = true;
        Some(())
    })();
    confirmed
}

/// In the future, so that pruning does not find old what these tests write.
const LATER: u64 = 4_000_000_000_000;

/// How many commits `run` takes.
const STEPS: u32 = 5;

/// The store has everything that it has said, and every step of it as a whole.
fn verify(store: &mut dyn Store, confirmed: &Confirmed, case: &str) {
    let loaded = store.load(0).unwrap();
    let message = confirmed.message.map(|id| store.message(id).unwrap().expect(case));
    if let Some(message) = &message {
        assert!(message.attempt >= u32::from(confirmed.delivery_started), "{case}");
        assert_eq!(store.attachment(message.id, 0).unwrap(), Some(bytes(20_000)), "{case}");
        assert_eq!(store.stored_response(loaded.dedupe_keys()[0].id).unwrap().unwrap().status, 200, "{case}");
    }
    let first = store.messages(&MessageFilter::default()).unwrap();
    let webhook = (
        loaded.channels.get("a").map_or(0, |channel| channel.files.len()),
        first.len(),
        loaded.dedupe_keys().len(),
    );
    assert!(webhook == (0, 0, 0) || webhook == (1, 1, 1), "{case}: half a webhook {webhook:?}");
    let acked = first.first().is_some_and(|message| message.state == MessageState::Acked);
    let replies = store.replies(&ReplyFilter::default()).unwrap();
    assert_eq!(acked, !replies.is_empty(), "{case}: an acknowledgement without its reply, or the reverse");
    if let Some(id) = confirmed.reply {
        let reply = store.reply(id).unwrap().expect(case);
        assert_eq!(reply.body.content.len(), 10_000, "{case}");
        assert!(reply.attempts >= u32::from(confirmed.tried), "{case}");
        if confirmed.delivered {
            assert_eq!(reply.state, ReplyState::Delivered, "{case}");
        } else if confirmed.tried && reply.state == ReplyState::Pending {
            assert!(loaded.replies()[0].redelivery, "{case}: it may have arrived");
        }
    }
}

fn quick() -> StoreThreadConfig {
    StoreThreadConfig {
        reopen_min: Duration::from_millis(1),
        reopen_max: Duration::from_millis(2),
        ..StoreThreadConfig::default()
    }
}

fn recovered(events: &Receiver<StoreEvent>) {
    while !matches!(events.recv_timeout(Duration::from_secs(60)).expect("a recovery"), StoreEvent::Recovered)
    {
    }
}

#[test]
fn every_fault_at_every_step() {
    for fault in Fault::ALL {
        for step in 1..=STEPS {
            let case = format!("{fault:?} at step {step}");
            let scratch = TempDir::new();
            let script = Script::default();
            let opener = SqliteStore::opener(scratch.join("tinclaw.db"), SqliteOptions::default());
            let (sender, events) = channel();
            let (thread, _) =
                StoreThread::start(script.opener(opener), quick(), move |event| drop(sender.send(event)))
                    .unwrap();
            let handle = thread.handle();
            script.fail_at(step, fault);
            let confirmed = run(&mut |batch| keep(&handle, batch).ok());
            assert!(!confirmed.delivered, "{case}: the failure was reported");
            recovered(&events);
            handle
                .query(move |store| {
                    verify(store, &confirmed, &case);
                    Ok(())
                })
                .unwrap();
            keep(&handle, Batch::of(file("b", "after", "x"))).unwrap();
            assert!(!script.used_after_failure());
        }
    }
}

/// What has happened is sent again after the failure, and none of it is stored twice.
#[test]
fn durable_events_survive_every_fault_at_every_step() {
    for fault in Fault::ALL {
        for step in 1..=STEPS {
            let case = format!("{fault:?} at step {step}");
            let scratch = TempDir::new();
            let script = Script::default();
            let opener = SqliteStore::opener(scratch.join("tinclaw.db"), SqliteOptions::default());
            let (thread, _) = StoreThread::start(script.opener(opener), quick(), |_| {}).unwrap();
            let handle = thread.handle();
            script.fail_at(step, fault);
            let told = Arc::new(Mutex::new(Vec::new()));
            let mut steps = 0;
            let confirmed = run(&mut |batch| {
                steps += 1;
                let (batch, receipt) = with_ids(handle.ids(), batch);
                let (told, number) = (told.clone(), steps);
                let (news, first_news) = channel();
                handle.commit(batch, move |outcome| {
                    told.lock().unwrap().push((number, outcome.is_ok()));
                    let _ = news.send(());
                });
                // Each is a write of its own, so that the fault hits each of them.
                first_news.recv_timeout(Duration::from_secs(60)).unwrap();
                Some(receipt)
            });
            assert!(confirmed.delivered && steps == STEPS);
            // Asked until the store works again: it then has everything.
            while handle.query(|store| store.usage()).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
            thread.stop();
            let mut store = SqliteStore::open(scratch.join("tinclaw.db"), Durability::Full).unwrap();
            verify(&mut store, &confirmed, &case);
            assert_eq!(store.messages(&MessageFilter::default()).unwrap().len(), 1, "{case}");
            assert_eq!(store.replies(&ReplyFilter::default()).unwrap().len(), 1, "{case}");
            let told = told.lock().unwrap();
            let kept: Vec<u32> = told.iter().filter(|(_, kept)| *kept).map(|(number, _)| *number).collect();
            assert_eq!(kept, (1..=STEPS).collect::<Vec<_>>(), "{case}: each is told once, in order");
            assert!(told.len() > kept.len(), "{case}: one at least was told to wait");
            assert!(!script.used_after_failure());
        }
    }
}

#[test]
fn a_database_that_is_full_at_every_step() {
    let empty = {
        let scratch = TempDir::new();
        let mut store = SqliteStore::open(scratch.join("tinclaw.db"), Durability::Full).unwrap();
        store.usage().unwrap().bytes
    };
    let (mut complete, mut step_reached) = (false, 0);
    for extra in (0..).step_by(512) {
        let case = format!("{extra} bytes more");
        let scratch = TempDir::new();
        let options = SqliteOptions { max_bytes: Some(empty + extra), ..SqliteOptions::default() };
        let mut store = SqliteStore::open_with(scratch.join("tinclaw.db"), &options).unwrap();
        let mut steps = 0;
        let confirmed = run(&mut |batch| match commit(&mut store, &[batch]) {
            Ok(mut receipts) => {
                steps += 1;
                Some(receipts.remove(0))
            }
            Err(StoreError::Full { .. }) => None,
            Err(other) => panic!("{case}: {other:?}"),
        });
        assert!(steps >= step_reached, "{case}: more room, but less was kept");
        step_reached = steps;
        if !confirmed.delivered {
            assert_eq!(
                store.commit(&[]),
                Err(StoreError::Broken),
                "{case}: a failed connection is not used again"
            );
        }
        drop(store);
        verify(&mut SqliteStore::open_with(scratch.join("tinclaw.db"), &options).unwrap(), &confirmed, &case);
        if confirmed.delivered {
            complete = true;
            break;
        }
    }
    assert!(complete);
}

const CHILD: &str = "TINCLAW_TEST_LIMITED_STEPS";

/// Files that end in the middle of a write, wherever that is: `RLIMIT_FSIZE` makes the system cut the write short, then
/// refuse. The limit holds for a whole process, so this is one of its own.
#[test]
fn a_real_write_error_at_every_step() {
    let child = test_in_a_child(module_path!(), "child_whose_files_end").env(CHILD, "yes").output().unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said} {}", String::from_utf8_lossy(&child.stderr));
    let failed: Vec<usize> =
        said.lines().filter_map(|line| line.strip_prefix("failed in step ")?.parse().ok()).collect();
    assert!((0..STEPS as usize).all(|step| failed.contains(&step)), "{failed:?}");
}

#[test]
fn child_whose_files_end() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    // Without a handler the signal would end the process; with one the write fails.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).unwrap();
    for room in (0..).step_by(777) {
        let scratch = TempDir::new();
        let mut store = SqliteStore::open(scratch.join("tinclaw.db"), Durability::Full).unwrap();
        limit_files(Some(std::fs::metadata(scratch.join("tinclaw.db-wal")).unwrap().len() + room));
        let mut steps = 0;
        let confirmed = run(&mut |batch| match commit(&mut store, &[batch]) {
            Ok(mut receipts) => {
                steps += 1;
                Some(receipts.remove(0))
            }
            Err(error) => {
                assert!(error.is_unavailable(), "{room} bytes more: {error:?}");
                None
            }
        });
        drop(store);
        limit_files(None);
        let mut store = SqliteStore::open(scratch.join("tinclaw.db"), Durability::Full).unwrap();
        verify(&mut store, &confirmed, &format!("{room} bytes more"));
        commit(&mut store, &[Batch::of(file("b", "after", "x"))]).unwrap();
        if confirmed.delivered {
            return;
        }
        println!("failed in step {steps}");
    }
}

fn limit_files(bytes: Option<u64>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = Rlimit { current: bytes, maximum: getrlimit(Resource::Fsize).maximum };
    setrlimit(Resource::Fsize, limit).unwrap();
}

#[test]
fn a_full_database_works_again_when_pruning_has_made_room() {
    let scratch = TempDir::new();
    let options = SqliteOptions { max_bytes: Some(2 << 20), ..SqliteOptions::default() };
    let (sender, events) = channel();
    let (thread, _) =
        StoreThread::start(SqliteStore::opener(scratch.join("tinclaw.db"), options), quick(), move |event| {
            drop(sender.send(event))
        })
        .unwrap();
    let handle = thread.handle();
    // Acknowledged long ago, so that pruning may forget them.
    let old = |number: u64| {
        let id = MessageId(number);
        batch([
            Change::AddMessage(message("a", "c", &"x".repeat(20_000))),
            Change::MessageAcked { id, at_ms: 1 },
        ])
    };
    let mut kept = 0;
    let error = loop {
        match keep(&handle, old(kept + 1)) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, StateError::Unavailable { reason, .. } if reason.contains("no space")),
        "{error:?}"
    );
    assert!(kept > 50, "{kept}");
    recovered(&events);
    keep(&handle, Batch::of(Change::AddMessage(message("a", "c", "new")))).unwrap();
    let left = handle.query(|store| store.messages(&MessageFilter::default())).unwrap();
    assert_eq!(left.len(), 1);
}
