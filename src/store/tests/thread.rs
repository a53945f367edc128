//! The store thread: group commit, order, outages and recovery.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::faulty::{Fault, Script};
use super::samples::*;
use crate::store::*;

fn quick() -> StoreThreadConfig {
    StoreThreadConfig {
        quiet_after: Duration::from_millis(5),
        reopen_min: Duration::from_millis(5),
        reopen_max: Duration::from_millis(20),
        ..StoreThreadConfig::default()
    }
}

fn start(opener: Opener, config: StoreThreadConfig) -> (StoreThread, Receiver<StoreEvent>) {
    let (sender, events) = channel();
    let (thread, _) = StoreThread::start(opener, config, move |event| drop(sender.send(event))).unwrap();
    (thread, events)
}

fn next(events: &Receiver<StoreEvent>) -> StoreEvent {
    events.recv_timeout(Duration::from_secs(20)).expect("an event")
}

fn recovered(events: &Receiver<StoreEvent>) -> (Generation, Loaded) {
    loop {
        if let StoreEvent::Recovered { generation, loaded } = next(events) {
            return (generation, *loaded);
        }
    }
}

fn note(text: &str) -> Batch {
    Batch::of(Change::AddMessage(message("a", "c", text)))
}

/// Waits until `holds`; the deadline only keeps a failing test from hanging. It asks less often than moments become quiet.
fn wait_until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "it never came to hold");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Occupies the store thread until the returned value is dropped, so that what is sent meanwhile gathers.
fn occupy(handle: &StoreHandle) -> impl Drop + use<> {
    struct Release(Option<std::sync::mpsc::Sender<()>>, Option<std::thread::JoinHandle<()>>);
    impl Drop for Release {
        fn drop(&mut self) {
            drop(self.0.take());
            self.1.take().unwrap().join().unwrap();
        }
    }
    let (release, released) = channel::<()>();
    let (entered, inside) = channel();
    let handle = handle.clone();
    let asking = std::thread::spawn(move || {
        let question = move |_: &mut dyn Store| {
            entered.send(()).unwrap();
            let _until_released = released.recv();
            Ok(())
        };
        handle.query(question).unwrap();
    });
    inside.recv().unwrap();
    Release(Some(release), Some(asking))
}

type Outcomes = Arc<Mutex<Vec<(usize, Result<Receipt, CommitError>)>>>;

fn send(handle: &StoreHandle, generation: Generation, batches: Vec<Batch>) -> Outcomes {
    let outcomes = Outcomes::default();
    for (place, batch) in batches.into_iter().enumerate() {
        let outcomes = Arc::clone(&outcomes);
        handle.commit(generation, batch, move |outcome| outcomes.lock().unwrap().push((place, outcome)));
    }
    outcomes
}

#[test]
fn what_gathers_is_committed_in_one_transaction_and_answered_in_order() {
    let (thread, _events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let occupied = occupy(&handle);
    let outcomes = send(&handle, handle.generation(), (0..50).map(|at| note(&at.to_string())).collect());
    drop(occupied);
    wait_until(|| outcomes.lock().unwrap().len() == 50);
    let outcomes = outcomes.lock().unwrap();
    for (place, outcome) in outcomes.iter() {
        assert_eq!(outcome.as_ref().unwrap().messages, [MessageId(*place as u64 + 1)]);
    }
    assert!(outcomes.is_sorted_by_key(|(place, _)| *place));
    let health = handle.health();
    assert_eq!((health.commits, health.groups), (50, 1));
}

#[test]
fn a_group_is_bounded_in_number_and_in_bytes() {
    let cases = [
        ("by number", 10, u64::MAX, 5),
        ("by bytes, each larger than a group", 1000, 1, 50),
        ("by neither", 1000, u64::MAX, 1),
    ];
    for (name, group_batches, group_bytes, groups) in cases {
        let config = StoreThreadConfig { group_batches, group_bytes, ..quick() };
        let (thread, _events) = start(MemoryStore::new().opener(), config);
        let handle = thread.handle();
        let occupied = occupy(&handle);
        let outcomes = send(&handle, handle.generation(), vec![note("x"); 50]);
        drop(occupied);
        wait_until(|| outcomes.lock().unwrap().len() == 50);
        assert_eq!(handle.health().groups, groups, "{name}");
    }
}

#[test]
fn many_callers_get_ids_of_their_own() {
    let (thread, _events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let mut ids: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let commit = || handle.commit_and_wait(handle.generation(), note("x")).unwrap().messages[0];
                scope.spawn(move || (0..50).map(|_| commit()).collect::<Vec<_>>())
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    ids.sort();
    assert_eq!(ids, (1..=400).map(MessageId).collect::<Vec<_>>());
}

#[test]
fn a_read_sees_earlier_commits() {
    let (thread, _events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    for count in 1..=20 {
        handle.commit(handle.generation(), note("x"), |_| ());
        assert_eq!(handle.query(|store| store.load(0)).unwrap().messages.len(), count);
    }
}

#[test]
fn deferred_batches_are_committed_with_the_next_group() {
    let (thread, _events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let occupied = occupy(&handle);
    for _ in 0..20 {
        handle.commit_soon(handle.generation(), note("soon"), |receipt| drop(receipt.unwrap()));
    }
    let outcomes = send(&handle, handle.generation(), vec![note("now")]);
    drop(occupied);
    wait_until(|| outcomes.lock().unwrap().len() == 1);
    let health = handle.health();
    assert_eq!((health.commits, health.groups), (21, 1));
}

#[test]
fn deferred_batches_are_committed_without_a_further_request() {
    let (thread, _events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    for kept in 1..=3 {
        handle.commit_soon(handle.generation(), note("soon"), |_| ());
        wait_until(|| handle.health().commits == kept);
    }
}

#[test]
fn more_than_may_wait_is_kept_all_the_same() {
    let (thread, _events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let occupied = occupy(&handle);
    for _ in 0..1025 {
        handle.commit_soon(handle.generation(), note("soon"), |_| ());
    }
    drop(occupied);
    wait_until(|| handle.health().commits == 1025);
}

#[test]
fn reads_and_shutdown_see_deferred_batches() {
    let store = MemoryStore::new();
    let (thread, _events) = start(store.opener(), quick());
    let handle = thread.handle();
    for count in 1..=5 {
        handle.commit_soon(handle.generation(), note("x"), |_| ());
        assert_eq!(handle.query(|store| store.load(0)).unwrap().messages.len(), count);
    }
    handle.commit_soon(handle.generation(), note("last"), |_| ());
    thread.stop();
    assert_eq!((store.opener())().unwrap().load(0).unwrap().messages.len(), 6);
    let (sender, told) = channel();
    handle.commit_soon(handle.generation(), note("too late"), move |outcome| sender.send(outcome).unwrap());
    assert_eq!(told.recv().unwrap(), Err(CommitError::Stopped));
}

#[test]
fn an_outage_is_reported_to_deferred_batches() {
    let script = Script::default();
    let (thread, events) = start(script.opener(MemoryStore::new().opener()), quick());
    let handle = thread.handle();
    let (sender, told) = channel();
    let send_soon = |text: &str| {
        let sender = sender.clone();
        let tell = move |outcome: Result<Receipt, CommitError>| sender.send(outcome.is_ok()).unwrap();
        handle.commit_soon(handle.generation(), note(text), tell);
    };
    script.fail_at(1, Fault::DiskFull);
    send_soon("lost");
    assert!(!told.recv().unwrap());
    assert!(matches!(next(&events), StoreEvent::Unavailable { .. }));
    let (second, _) = recovered(&events);
    wait_until(|| handle.generation() == second);
    send_soon("kept");
    assert!(told.recv().unwrap());
}

#[test]
fn a_batch_at_fault_fails_alone() {
    let (thread, events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let mut bad = message("a", "c", "x");
    bad.attachments = vec![NewAttachment::default(); MAX_ATTACHMENTS + 1];
    let bad = Batch::of(Change::AddMessage(bad));
    let occupied = occupy(&handle);
    let outcomes = send(
        &handle,
        handle.generation(),
        vec![note("1"), bad.clone(), note("2"), bad.clone(), bad, note("3")],
    );
    drop(occupied);
    wait_until(|| outcomes.lock().unwrap().len() == 6);
    let kept: Vec<_> = outcomes
        .lock()
        .unwrap()
        .iter()
        .map(|(place, outcome)| match outcome {
            Ok(receipt) => (*place, receipt.messages[0].0),
            Err(CommitError::Rejected { .. }) => (*place, 0),
            Err(other) => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kept, [(0, 1), (1, 0), (2, 2), (3, 0), (4, 0), (5, 3)]);
    assert_eq!(handle.health().state, StoreState::Up);
    assert!(events.try_recv().is_err(), "the store is well");
}

#[test]
fn a_failure_ends_its_generation_for_all_that_was_sent_or_will_be() {
    let script = Script::default();
    let (thread, events) = start(script.opener(MemoryStore::new().opener()), quick());
    let handle = thread.handle();
    let first = handle.generation();
    handle.commit_and_wait(first, note("kept")).unwrap();
    script.fail_at(1, Fault::DiskFull);

    let occupied = occupy(&handle);
    let outcomes = send(&handle, first, vec![note("lost"); 20]);
    drop(occupied);
    wait_until(|| outcomes.lock().unwrap().len() == 20);
    for (_, outcome) in outcomes.lock().unwrap().iter() {
        let Err(CommitError::Unavailable { reason, retry_after }) = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("no space left"), "{reason}");
        assert!(*retry_after >= Duration::from_secs(1));
    }

    assert!(matches!(next(&events), StoreEvent::Unavailable { .. }));
    let (second, loaded) = recovered(&events);
    assert!(second > first);
    assert_eq!(loaded.messages.len(), 1);
    wait_until(|| handle.generation() == second);
    let late = handle.commit_and_wait(first, note("builds on what was lost"));
    assert!(matches!(late, Err(CommitError::Unavailable { .. })), "{late:?}");
    handle.commit_and_wait(second, note("kept")).unwrap();
    assert_eq!(handle.query(|store| store.load(0)).unwrap().messages.len(), 2);
    assert!(!script.used_after_failure());
}

#[test]
fn the_event_of_a_recovery_comes_before_anything_of_the_new_generation() {
    let script = Script::default();
    let store = MemoryStore::new();
    let handle: Arc<OnceLock<StoreHandle>> = Arc::default();
    let (sender, seen) = channel();
    let on_event = {
        let handle = Arc::clone(&handle);
        move |event| {
            if let StoreEvent::Recovered { generation, .. } = event {
                let handle = handle.get().unwrap();
                sender.send((generation, handle.generation(), handle.health().state)).unwrap();
            }
        }
    };
    let (thread, _) = StoreThread::start(script.opener(store.opener()), quick(), on_event).unwrap();
    assert!(handle.set(thread.handle()).is_ok());
    script.fail_at(1, Fault::SyncLost);
    drop(thread.handle().commit_and_wait(thread.handle().generation(), note("x")));
    let (announced, valid, state) = seen.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(valid < announced);
    assert_eq!(state, StoreState::Down);
    wait_until(|| thread.handle().generation() == announced);
}

#[test]
fn while_it_is_down_everything_is_refused_at_once_and_health_says_why() {
    let script = Script::default();
    let (thread, events) = start(script.opener(MemoryStore::new().opener()), quick());
    let handle = thread.handle();
    script.fail_always(Fault::ReadOnly);
    handle.commit_and_wait(handle.generation(), note("x")).unwrap_err();
    for _ in 0..10 {
        let refused = handle.commit_and_wait(handle.generation(), note("x")).unwrap_err();
        let CommitError::Unavailable { reason, .. } = refused else { panic!("{refused:?}") };
        assert!(reason.contains("read-only"), "{reason}");
        let refused = handle.query(|store| store.load(0)).unwrap_err();
        assert!(matches!(refused, CommitError::Unavailable { .. }));
    }
    let health = handle.health();
    assert_eq!((health.state, health.outages, health.commits), (StoreState::Down, 1, 0));
    assert!(health.reason.unwrap().contains("read-only"));
    wait_until(|| script.openings() > 3);
    assert_eq!(handle.health().outages, 1, "it is one outage, however often it is tried");
    script.clear();
    let (generation, _) = recovered(&events);
    handle.commit_and_wait(generation, note("x")).unwrap();
    let health = handle.health();
    assert_eq!((health.state, health.reason, health.outages), (StoreState::Up, None, 1));
}

#[test]
fn openings_that_fail_are_tried_again() {
    let script = Script::default();
    let (thread, events) = start(script.opener(MemoryStore::new().opener()), quick());
    let handle = thread.handle();
    script.refuse_openings(3);
    script.fail_at(1, Fault::ShortWrite);
    handle.commit_and_wait(handle.generation(), note("x")).unwrap_err();
    let (generation, _) = recovered(&events);
    assert_eq!(script.openings(), 5);
    handle.commit_and_wait(generation, note("x")).unwrap();
}

#[test]
fn a_store_that_cannot_be_opened_at_the_start_says_so() {
    let script = Script::default();
    script.refuse_openings(1);
    let started = StoreThread::start(script.opener(MemoryStore::new().opener()), quick(), |_| ());
    assert!(matches!(started.err(), Some(StoreError::Io { .. })));
}

#[test]
fn a_question_that_meets_damage_takes_the_store_down() {
    let (thread, events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let damage = || StoreError::Damaged { path: "x".into(), detail: "a page is gone".to_owned() };
    let answer = handle.query(move |_| Err::<(), _>(damage()));
    assert!(
        matches!(answer, Err(CommitError::Unavailable { reason, .. }) if reason.contains("a page is gone"))
    );
    assert!(matches!(next(&events), StoreEvent::Unavailable { .. }));
    recovered(&events);
}

#[test]
fn stopping_commits_earlier_batches_and_refuses_later_ones() {
    let store = MemoryStore::new();
    let (thread, _events) = start(store.opener(), quick());
    let handle = thread.handle();
    let generation = handle.generation();
    let outcomes = send(&handle, generation, vec![note("x"); 100]);
    thread.stop();
    assert_eq!(outcomes.lock().unwrap().iter().filter(|(_, outcome)| outcome.is_ok()).count(), 100);
    assert_eq!(handle.commit_and_wait(generation, note("late")), Err(CommitError::Stopped));
    assert_eq!(handle.query(|store| store.load(0)), Err(CommitError::Stopped));
    assert_eq!(handle.health().state, StoreState::Stopped);
    assert_eq!(store.clone().load(0).unwrap().messages.len(), 100);
}

#[test]
fn stopping_does_not_wait_for_an_outage_to_end() {
    let script = Script::default();
    let config = StoreThreadConfig { reopen_min: Duration::from_secs(3600), ..quick() };
    let config = StoreThreadConfig { reopen_max: Duration::from_secs(3600), ..config };
    let (thread, _events) = start(script.opener(MemoryStore::new().opener()), config);
    let handle = thread.handle();
    script.fail_always(Fault::DiskFull);
    handle.commit_and_wait(handle.generation(), note("x")).unwrap_err();
    thread.stop();
    assert_eq!(script.openings(), 1);
}

/// 2026-01-02: older than what is kept, and not so old that the clock must have been wrong.
const LONG_AGO_MS: u64 = 1_767_312_000_000;

#[test]
fn quiet_moments_are_used_for_pruning() {
    let config = StoreThreadConfig { prune_every: Duration::from_millis(10), ..quick() };
    let (thread, _events) = start(MemoryStore::new().opener(), config);
    let handle = thread.handle();
    let id = handle.commit_and_wait(handle.generation(), note("x")).unwrap().messages[0];
    let kept = handle.commit_and_wait(handle.generation(), note("y")).unwrap().messages[0];
    handle
        .commit_and_wait(handle.generation(), Batch::of(Change::MessageAcked { id, at_ms: LONG_AGO_MS }))
        .unwrap();
    wait_until(|| handle.query(move |store| store.message(id)).unwrap().is_none());
    assert!(handle.query(move |store| store.message(kept)).unwrap().is_some());
}

#[test]
fn pruning_runs_even_when_it_is_never_quiet() {
    let config = StoreThreadConfig {
        prune_every: Duration::from_millis(1),
        quiet_after: Duration::from_secs(3600),
        ..quick()
    };
    let (thread, _events) = start(MemoryStore::new().opener(), config);
    let handle = thread.handle();
    let id = handle.commit_and_wait(handle.generation(), note("x")).unwrap().messages[0];
    handle
        .commit_and_wait(handle.generation(), Batch::of(Change::MessageAcked { id, at_ms: LONG_AGO_MS }))
        .unwrap();
    wait_until(|| {
        handle.commit_and_wait(handle.generation(), note("y")).unwrap();
        handle.query(move |store| store.message(id)).unwrap().is_none()
    });
}

// The thread ended, and the host went on without a store until somebody looked at its health.
#[test]
fn a_callback_that_panics_costs_a_generation_and_not_the_store() {
    let (thread, events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    handle.commit(handle.generation(), note("x"), |_| panic!("on purpose"));
    let StoreEvent::Unavailable { reason } = next(&events) else { panic!("not told") };
    assert!(reason.contains("please report this"), "{reason}");
    let (generation, loaded) = recovered(&events);
    assert_eq!(loaded.messages.len(), 1, "what was committed is there");
    handle.commit_and_wait(generation, note("y")).unwrap();
}

#[test]
fn a_store_in_memory_commits_on_the_caller_and_forgets_completed_records() {
    let thread = StoreThread::in_memory(MemoryStore::new(), &Retention::default());
    let handle = thread.handle();
    let caller = std::thread::current().id();
    let kept = handle.commit_and_wait(handle.generation(), note("kept")).unwrap().messages[0];
    for _ in 0..2_000 {
        let id = handle.commit_and_wait(handle.generation(), note("x")).unwrap().messages[0];
        let ack = Batch::of(Change::MessageAcked { id, at_ms: 1 });
        handle.commit_soon(handle.generation(), ack, move |receipt| {
            assert!(receipt.is_ok());
            assert_eq!(std::thread::current().id(), caller);
        });
    }
    let all = MessageFilter { limit: MAX_ROWS, ..MessageFilter::default() };
    let left = handle.query(move |store| store.messages(&all)).unwrap();
    assert!(left.len() <= 1 + 256 + 128, "{}", left.len());
    assert!(handle.query(move |store| store.message(kept)).unwrap().is_some());
    thread.stop();
    assert_eq!(handle.commit_and_wait(handle.generation(), note("y")), Err(CommitError::Stopped));
    assert_eq!(handle.query(|store| store.usage()), Err(CommitError::Stopped));
    assert_eq!(handle.health().state, StoreState::Stopped);
}

#[test]
fn handles_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    fn sent<T: Send>() {}
    shared::<StoreHandle>();
    sent::<StoreThread>();
    sent::<SqliteStore>();
    shared::<MemoryStore>();
}
