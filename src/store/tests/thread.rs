//! The store thread: group commit, order, outages and recovery.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wit_abi::types::InboundAttachment;

use super::faulty::{Fault, Script};
use super::samples::*;
use super::writing::*;
use crate::model::clock;
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
    events.recv_timeout(Duration::from_secs(90)).expect("an event")
}

fn recovered(events: &Receiver<StoreEvent>) {
    while !matches!(next(events), StoreEvent::Recovered) {}
}

fn texts(handle: &StoreHandle) -> Vec<String> {
    let all = MessageFilter { limit: MAX_ROWS, ..MessageFilter::default() };
    let messages = handle.query(move |store| store.messages(&all)).unwrap();
    messages.into_iter().rev().map(|message| message.excerpt).collect()
}

fn note(text: &str) -> Batch {
    Batch::of(Change::AddMessage(message("a", "c", text)))
}

/// Waits until `holds`; the deadline only keeps a failing test from hanging. It asks less often than moments become quiet.
fn wait_until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(90);
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
        let query = move |_: &mut dyn Store| {
            entered.send(()).unwrap();
            let _until_released = released.recv();
            Ok(())
        };
        handle.query(query).unwrap();
    });
    inside.recv().unwrap();
    Release(Some(release), Some(asking))
}

type Outcomes = Arc<Mutex<Vec<(usize, Result<Receipt, StateError>)>>>;

/// Sends what has happened. Notes everything that is told of it.
fn send(handle: &StoreHandle, batches: Vec<Batch>) -> Outcomes {
    let outcomes = Outcomes::default();
    for (place, batch) in batches.into_iter().enumerate() {
        let outcomes = Arc::clone(&outcomes);
        let (batch, receipt) = with_ids(handle.ids(), batch);
        handle.commit(batch, move |outcome| {
            outcomes.lock().unwrap().push((place, outcome.map(|()| receipt.clone())));
        });
    }
    outcomes
}

/// Sends something that nobody waits for.
fn send_soon(handle: &StoreHandle, text: &str) {
    handle.commit_soon(with_ids(handle.ids(), note(text)).0);
}

#[test]
fn gathered_batches_are_committed_in_one_transaction_in_order() {
    let (thread, _events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let occupied = occupy(&handle);
    let outcomes = send(&handle, (0..50).map(|at| note(&at.to_string())).collect());
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
        let outcomes = send(&handle, vec![note("x"); 50]);
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
                let commit = || keep(&handle, note("x")).unwrap().messages[0];
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
        handle.commit(with_ids(handle.ids(), note("x")).0, |_| ());
        assert_eq!(handle.query(|store| store.load(0)).unwrap().messages.len(), count);
    }
}

#[test]
fn deferred_batches_are_committed_with_the_next_group() {
    let (thread, _events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let occupied = occupy(&handle);
    for _ in 0..20 {
        send_soon(&handle, "soon");
    }
    let outcomes = send(&handle, vec![note("now")]);
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
        send_soon(&handle, "soon");
        wait_until(|| handle.health().commits == kept);
    }
}

#[test]
fn more_than_may_wait_is_kept_all_the_same() {
    let (thread, _events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let occupied = occupy(&handle);
    for _ in 0..1025 {
        send_soon(&handle, "soon");
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
        send_soon(&handle, "x");
        assert_eq!(handle.query(|store| store.load(0)).unwrap().messages.len(), count);
    }
    send_soon(&handle, "last");
    thread.stop();
    assert_eq!((store.opener())().unwrap().load(0).unwrap().messages.len(), 6);
    send_soon(&handle, "too late");
    let late = send(&handle, vec![note("too late")]);
    assert_eq!(*late.lock().unwrap(), [(0, Err(StateError::Stopped))]);
    assert!(handle.is_idle(), "nothing is left that waits");
}

#[test]
fn deferred_batches_outlive_an_outage() {
    let script = Script::default();
    let (thread, events) = start(script.opener(MemoryStore::new().opener()), quick());
    let handle = thread.handle();
    script.fail_at(1, Fault::DiskFull);
    send_soon(&handle, "before");
    assert!(matches!(next(&events), StoreEvent::Unavailable { .. }));
    send_soon(&handle, "meanwhile or after");
    recovered(&events);
    wait_until(|| handle.health().commits == 2);
    assert_eq!(texts(&handle), ["before", "meanwhile or after"]);
}

#[test]
fn a_batch_at_fault_fails_alone() {
    let (thread, events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let mut bad = message("a", "c", "x");
    attach(&mut bad, vec![(InboundAttachment::default(), None); MAX_ATTACHMENTS + 1]);
    let bad = Batch::of(Change::AddMessage(bad));
    let occupied = occupy(&handle);
    let outcomes = send(&handle, vec![note("1"), bad.clone(), note("2"), bad.clone(), bad, note("3")]);
    drop(occupied);
    wait_until(|| outcomes.lock().unwrap().len() == 6);
    let mut kept: Vec<_> = outcomes
        .lock()
        .unwrap()
        .iter()
        .map(|(place, outcome)| match outcome {
            Ok(receipt) => (*place, receipt.messages[0].0),
            Err(StateError::Rejected { .. }) => (*place, 0),
            Err(other) => panic!("{other:?}"),
        })
        .collect();
    kept.sort();
    assert_eq!(kept, [(0, 1), (1, 0), (2, 3), (3, 0), (4, 0), (5, 6)]);
    assert_eq!(handle.health().state, StoreState::Up);
    assert!(events.try_recv().is_err(), "the store is well");
}

/// What is sent has happened: the store that failed has it later, once and in order.
#[test]
fn batches_sent_before_and_during_an_outage_are_stored_once_in_order() {
    for fault in Fault::ALL {
        let script = Script::default();
        let (thread, events) = start(script.opener(MemoryStore::new().opener()), quick());
        let handle = thread.handle();
        keep(&handle, note("first")).unwrap();
        script.fail_at(1, fault);
        script.refuse_openings(1);
        let occupied = occupy(&handle);
        let before = send(&handle, (0..20).map(|at| note(&at.to_string())).collect());
        drop(occupied);
        assert!(matches!(next(&events), StoreEvent::Unavailable { .. }));
        let meanwhile = send(&handle, (20..30).map(|at| note(&at.to_string())).collect());
        recovered(&events);
        wait_until(|| handle.is_idle());
        let numbers = (0..30).map(|at| at.to_string());
        let expected: Vec<_> = std::iter::once("first".to_owned()).chain(numbers).collect();
        assert_eq!(texts(&handle), expected, "{fault:?}");
        for (sent, count) in [(before, 20), (meanwhile, 10)] {
            let told = sent.lock().unwrap();
            let kept = told.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(place, _)| *place);
            assert_eq!(kept.collect::<Vec<_>>(), (0..count).collect::<Vec<_>>(), "{fault:?}");
            let waits = told.iter().filter_map(|(_, outcome)| outcome.as_ref().err());
            for outcome in waits {
                let StateError::Unavailable { retry_after, .. } = outcome else { panic!("{outcome:?}") };
                assert!(*retry_after >= Duration::from_secs(1));
            }
        }
        assert!(!script.used_after_failure());
    }
}

#[test]
fn refusable_batches_are_refused_during_an_outage() {
    for (fault, kept_all_the_same) in [(Fault::SyncLost, false), (Fault::SyncKept, true)] {
        let script = Script::default();
        let (thread, events) = start(script.opener(MemoryStore::new().opener()), quick());
        let handle = thread.handle();
        script.fail_at(1, fault);
        let told = Arc::new(Mutex::new(Vec::new()));
        let news = told.clone();
        let (batch, _) = with_ids(handle.ids(), note("under way"));
        handle.try_commit(batch, move |outcome| news.lock().unwrap().push(outcome.is_ok()));
        recovered(&events);
        wait_until(|| handle.is_idle());
        let (expected, stored) = if kept_all_the_same { (vec![false, true], 1) } else { (vec![false], 0) };
        assert_eq!(*told.lock().unwrap(), expected, "{fault:?}");
        assert_eq!(texts(&handle).len(), stored, "{fault:?}");
    }
}

// The host went on with an old copy of the database, or an empty one, and what it had told others to be kept was gone.
#[test]
fn a_store_that_shows_less_than_it_had_promised_is_not_used() {
    let script = Script::default();
    let (right, wrong) = (MemoryStore::new(), MemoryStore::new());
    let is_replaced = Arc::new(AtomicBool::new(true));
    let (first, openings) = (AtomicBool::new(true), is_replaced.clone());
    let (right_one, wrong_one) = (right.clone(), wrong.clone());
    let opener: Opener = Box::new(move || {
        let is_wrong = !first.swap(false, Ordering::SeqCst) && openings.load(Ordering::SeqCst);
        Ok(Box::new(if is_wrong { wrong_one.clone() } else { right_one.clone() }))
    });
    let (thread, events) = start(script.opener(opener), quick());
    let handle = thread.handle();
    keep(&handle, note("promised")).unwrap();
    script.fail_at(1, Fault::DiskFull);
    let sent = send(&handle, vec![note("sent")]);
    wait_until(|| handle.health().reason.is_some_and(|reason| reason.contains("replaced by another one")));
    assert_eq!(handle.health().state, StoreState::Down);
    assert!(keep(&handle, note("new")).is_err());
    assert_eq!(wrong.clone().load(0).unwrap(), Loaded::default(), "nothing was written to it");
    is_replaced.store(false, Ordering::SeqCst);
    recovered(&events);
    assert_eq!(texts(&handle), ["promised", "sent"]);
    assert!(sent.lock().unwrap().last().unwrap().1.is_ok());
}

#[test]
fn a_query_that_may_wait_gets_its_result_after_an_outage_and_reads_what_was_sent_before_it() {
    let script = Script::default();
    let (thread, events) = start(script.opener(MemoryStore::new().opener()), quick());
    let handle = thread.handle();
    script.fail_at(1, Fault::SyncLost);
    let (sender, results) = channel();
    let occupied = occupy(&handle);
    let _sent = send(&handle, vec![note("x")]);
    handle
        .ask_when_available(|store| store.load(0), move |loaded| sender.send(loaded.messages.len()).unwrap());
    assert!(!handle.is_idle());
    drop(occupied);
    recovered(&events);
    assert_eq!(results.recv_timeout(Duration::from_secs(60)), Ok(1));
    wait_until(|| handle.is_idle());
}

/// Half a thousand batches under way are enough: who has more waits, and is told when there may be room.
#[test]
fn a_sender_that_found_the_queue_full_is_woken_when_there_is_room() {
    let (thread, events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let occupied = occupy(&handle);
    let _sent = send(&handle, vec![note("x"); 511]);
    assert!(!handle.has_room(), "with the query that occupies the store");
    drop(occupied);
    while !matches!(next(&events), StoreEvent::Room) {}
    wait_until(|| handle.has_room() && handle.is_idle_or_wakes());
}

#[test]
fn the_event_of_a_recovery_comes_when_the_store_has_what_waited_for_it() {
    let script = Script::default();
    let store = MemoryStore::new();
    let reader = store.clone();
    let (sender, counts) = channel();
    let on_event = move |event| {
        if let StoreEvent::Recovered = event {
            sender.send(reader.clone().load(0).unwrap().messages.len()).unwrap();
        }
    };
    let (thread, _) = StoreThread::start(script.opener(store.opener()), quick(), on_event).unwrap();
    let handle = thread.handle();
    script.fail_at(1, Fault::SyncLost);
    let _sent = send(&handle, vec![note("x"), note("y")]);
    assert_eq!(counts.recv_timeout(Duration::from_secs(60)), Ok(2));
    wait_until(|| handle.health().state == StoreState::Up);
}

#[test]
fn while_it_is_down_what_may_fail_is_refused_at_once_and_health_says_why() {
    let script = Script::default();
    let (thread, events) = start(script.opener(MemoryStore::new().opener()), quick());
    let handle = thread.handle();
    script.fail_always(Fault::ReadOnly);
    keep(&handle, note("x")).unwrap_err();
    for _ in 0..10 {
        let refused = keep(&handle, note("x")).unwrap_err();
        let StateError::Unavailable { reason, .. } = refused else { panic!("{refused:?}") };
        assert!(reason.contains("read-only"), "{reason}");
        let refused = handle.query(|store| store.load(0)).unwrap_err();
        assert!(matches!(refused, StateError::Unavailable { .. }));
    }
    let health = handle.health();
    assert_eq!((health.state, health.outages, health.commits), (StoreState::Down, 1, 0));
    assert!(health.reason.unwrap().contains("read-only"));
    wait_until(|| script.openings() > 3);
    assert_eq!(handle.health().outages, 1, "it is one outage, however often it is tried");
    script.clear();
    recovered(&events);
    keep(&handle, note("x")).unwrap();
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
    keep(&handle, note("x")).unwrap_err();
    recovered(&events);
    assert_eq!(script.openings(), 5);
    keep(&handle, note("x")).unwrap();
}

#[test]
fn a_store_that_cannot_be_opened_at_the_start_says_so() {
    let script = Script::default();
    script.refuse_openings(1);
    let started = StoreThread::start(script.opener(MemoryStore::new().opener()), quick(), |_| ());
    assert!(matches!(started.err(), Some(StoreError::Io { .. })));
}

#[test]
fn a_query_that_meets_damage_takes_the_store_down() {
    let (thread, events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let damage = || StoreError::Damaged { path: "x".into(), detail: "a page is gone".to_owned() };
    let result = handle.query(move |_| Err::<(), _>(damage()));
    assert!(
        matches!(result, Err(StateError::Unavailable { reason, .. }) if reason.contains("a page is gone"))
    );
    assert!(matches!(next(&events), StoreEvent::Unavailable { .. }));
    recovered(&events);
}

#[test]
fn stopping_commits_earlier_batches_and_refuses_later_ones() {
    let store = MemoryStore::new();
    let (thread, _events) = start(store.opener(), quick());
    let handle = thread.handle();
    let outcomes = send(&handle, vec![note("x"); 100]);
    thread.stop();
    assert_eq!(outcomes.lock().unwrap().iter().filter(|(_, outcome)| outcome.is_ok()).count(), 100);
    assert_eq!(keep(&handle, note("late")), Err(StateError::Stopped));
    assert_eq!(handle.query(|store| store.load(0)), Err(StateError::Stopped));
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
    keep(&handle, note("x")).unwrap_err();
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
    let id = keep(&handle, note("x")).unwrap().messages[0];
    let kept = keep(&handle, note("y")).unwrap().messages[0];
    keep(&handle, Batch::of(Change::MessageAcked { id, at_ms: LONG_AGO_MS })).unwrap();
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
    let id = keep(&handle, note("x")).unwrap().messages[0];
    keep(&handle, Batch::of(Change::MessageAcked { id, at_ms: LONG_AGO_MS })).unwrap();
    wait_until(|| {
        keep(&handle, note("y")).unwrap();
        handle.query(move |store| store.message(id)).unwrap().is_none()
    });
}

// The thread ended, and the host went on without a store until somebody looked at its health.
#[test]
fn a_callback_that_panics_costs_an_outage_and_nothing_that_was_sent() {
    let (thread, events) = start(MemoryStore::new().opener(), quick());
    let handle = thread.handle();
    let occupied = occupy(&handle);
    handle.commit(with_ids(handle.ids(), note("x")).0, |_| panic!("on purpose"));
    let behind = send(&handle, vec![note("y")]);
    drop(occupied);
    let StoreEvent::Unavailable { reason } = next(&events) else { panic!("not told") };
    assert!(reason.contains("please report this"), "{reason}");
    recovered(&events);
    wait_until(|| handle.is_idle());
    assert_eq!(texts(&handle), ["x", "y"]);
    assert!(behind.lock().unwrap().last().unwrap().1.is_ok());
}

#[test]
fn a_store_in_memory_commits_on_the_caller_and_forgets_completed_records() {
    let thread = StoreThread::in_memory(MemoryStore::new(), &Retention::default());
    let handle = thread.handle();
    let caller = std::thread::current().id();
    let kept = keep(&handle, note("kept")).unwrap().messages[0];
    for _ in 0..2_000 {
        let id = keep(&handle, note("x")).unwrap().messages[0];
        let ack = Batch::of(Change::MessageAcked { id, at_ms: 1 });
        handle.commit(ack, move |outcome| {
            assert!(outcome.is_ok());
            assert_eq!(std::thread::current().id(), caller);
        });
    }
    let all = MessageFilter { limit: MAX_ROWS, ..MessageFilter::default() };
    let left = handle.query(move |store| store.messages(&all)).unwrap();
    assert!(left.len() <= 1 + 256 + 128, "{}", left.len());
    assert!(handle.query(move |store| store.message(kept)).unwrap().is_some());
    thread.stop();
    assert_eq!(keep(&handle, note("y")), Err(StateError::Stopped));
    assert_eq!(handle.query(|store| store.usage()), Err(StateError::Stopped));
    assert_eq!(handle.health().state, StoreState::Stopped);
}

/// What is kept for days is kept for days really spent, not until the network tells a board the year.
#[test]
fn records_outlive_a_wall_clock_that_is_set_ahead() {
    let thread = StoreThread::in_memory(MemoryStore::new(), &Retention::default());
    let handle = thread.handle();
    let id = keep(&handle, note("x")).unwrap().messages[0];
    keep(&handle, Batch::of(Change::MessageAcked { id, at_ms: clock::unix_ms() })).unwrap();
    let years = Duration::from_secs(50 * 365 * 86_400);
    // So many batches that what is too old is removed in between.
    clock::with_wall_clock_ahead(years, || (0..600).for_each(|_| drop(keep(&handle, note("y")).unwrap())));
    assert!(handle.query(move |store| store.message(id)).unwrap().is_some());
    thread.stop();
}

/// The same for the thread of a store on a disk, which looks at the clock itself.
#[test]
fn records_on_a_disk_outlive_a_wall_clock_that_is_set_ahead() {
    let (store, now) = (MemoryStore::new(), clock::unix_ms());
    let open = store.opener();
    let opener: Opener = Box::new(move || {
        clock::set_wall_clock_ahead(Duration::from_secs(50 * 365 * 86_400));
        open()
    });
    let config = StoreThreadConfig { prune_every: Duration::from_millis(1), ..quick() };
    let script = Script::default();
    let (thread, events) = start(script.opener(opener), config);
    let handle = thread.handle();
    // Reopened, on the thread whose clock is meant.
    script.fail_at(1, Fault::SyncLost);
    let _ = keep(&handle, note("x"));
    recovered(&events);
    let id = keep(&handle, note("x")).unwrap().messages[0];
    keep(&handle, Batch::of(Change::MessageAcked { id, at_ms: now })).unwrap();
    // Long enough for quiet moments, in which is removed what is too old.
    for _ in 0..10 {
        keep(&handle, note("y")).unwrap();
        std::thread::sleep(Duration::from_millis(40));
    }
    thread.stop();
    let mut store = (store.opener())().unwrap();
    assert!(store.message(id).unwrap().is_some());
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
