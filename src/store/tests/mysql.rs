//! What only the engine on a database does: connections that break, nodes that do not serve, batches whose response was lost.

use std::thread;
use std::time::Duration;

use ::mysql::prelude::Queryable;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::samples::*;
use super::writing::{self, with_ids};
use crate::secrets::Secret;
use crate::store::database::JoinedHost;
use crate::store::*;
use crate::test_support::mariadb;

fn opener(address: &str) -> Opener {
    let connector = Connector::new(DatabaseAddress::parse(address).unwrap(), None);
    MysqlStore::opener(connector, "h1", Scope::All, JoinedHost::default())
}

/// A batch that adds a message with a step and a file, numbered after what the store has.
fn next(store: &mut dyn Store) -> NumberedBatch {
    let ids = Ids::after(store.load(0).unwrap().last_ids);
    let step = TraceStep::new(TraceSubject::Message(MessageId(1)), TraceKind::Accepted, 1, "x");
    let changes = [Change::AddMessage(message("a", "c", "x")), Change::Trace(step), file("a", "f", "x")];
    let (batch, _) = with_ids(&ids, batch(changes));
    NumberedBatch { number: store.last_number().unwrap() + 1, batch }
}

/// The response to a commit was lost with its connection, the host sent the batch again on the next one, and the steps after it had numbers
/// that were taken.
#[test]
fn a_batch_that_is_sent_twice_is_stored_once() {
    let Some(server) = mariadb::server() else { return };
    let open = opener(&server.database());
    let mut store = open().unwrap();
    let first = next(store.as_mut());
    store.commit(std::slice::from_ref(&first)).unwrap();
    // The same process with another connection, which knows nothing of the first one.
    let mut other = open().unwrap();
    other.commit(std::slice::from_ref(&first)).unwrap();
    assert_eq!(other.load(0).unwrap().messages.len(), 1);
    let second = next(other.as_mut());
    other.commit(std::slice::from_ref(&second)).unwrap();
    // The first connection sends what the other one has kept, and then goes on.
    store.commit(&[second]).unwrap();
    let third = next(store.as_mut());
    store.commit(&[third]).unwrap();
    assert_eq!(store.load(0).unwrap().messages.len(), 3);
    assert_eq!(store.trace(TraceSubject::Message(MessageId(1))).unwrap().len(), 3);
}

#[test]
fn a_lost_connection_is_reopened() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database();
    let name = address.rsplit('/').next().unwrap().to_owned();
    let mut store = opener(&address)().unwrap();
    let mut admin = server.connect();
    for round in 1..=3 {
        let mine = format!("SELECT id FROM information_schema.processlist WHERE db = '{name}'");
        let connections: Vec<u64> = admin.query(mine).unwrap();
        for connection in connections {
            admin.query_drop(format!("KILL {connection}")).unwrap();
        }
        let batch = next(store.as_mut());
        store.commit(&[batch]).unwrap();
        assert_eq!(store.load(0).unwrap().messages.len(), round);
    }
}

#[test]
fn a_node_that_does_not_respond_is_passed_over() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database().replace("root@", "root@127.0.0.1:1,");
    let mut store = opener(&address)().unwrap();
    let batch = next(store.as_mut());
    store.commit(&[batch]).unwrap();
    let nobody = opener("mysql://root@127.0.0.1:1/none")().map(drop).unwrap_err();
    assert!(nobody.is_unavailable() && nobody.to_string().contains("127.0.0.1:1/none"), "{nobody}");
}

#[test]
fn a_lock_that_another_transaction_holds_is_waited_for() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database();
    let name = address.rsplit('/').next().unwrap().to_owned();
    let mut store = opener(&address)().unwrap();
    let batch = next(store.as_mut());
    let mut other = server.connect();
    other.query_drop("START TRANSACTION").unwrap();
    other.query_drop(format!("SELECT * FROM {name}.host FOR UPDATE")).unwrap();
    let waiting = thread::spawn(move || {
        store.commit(&[batch]).unwrap();
        store.load(0).unwrap().messages.len()
    });
    thread::sleep(Duration::from_millis(200));
    other.query_drop("ROLLBACK").unwrap();
    assert_eq!(waiting.join().unwrap(), 1);
}

/// Whoever else writes to the host's row makes transactions fail on a cluster whose nodes certify them against each other.
#[test]
fn commits_get_through_while_somebody_else_writes_to_the_hosts_row() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database();
    let name = address.rsplit('/').next().unwrap().to_owned();
    let mut store = opener(&address)().unwrap();
    let mut other = server.connect_to_last();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writes = thread::spawn(move || {
        let mut count = 0;
        while stopped.try_recv().is_err() {
            // It loses to the host's own transactions at times, and does not care.
            count +=
                u64::from(other.query_drop(format!("UPDATE {name}.host SET changes = changes + 1")).is_ok());
            thread::sleep(Duration::from_millis(1));
        }
        count
    });
    for _ in 0..50 {
        let batch = next(store.as_mut());
        store.commit(&[batch]).unwrap();
    }
    stop.send(()).unwrap();
    assert!(writes.join().unwrap() > 0);
    assert_eq!((store.load(0).unwrap().messages.len(), store.last_number()), (50, Ok(50)));
}

#[test]
fn several_hosts_make_the_tables_at_one_time() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database();
    let hosts: Vec<_> = (0..4)
        .map(|host| {
            let address = address.clone();
            thread::spawn(move || {
                let connector = Connector::new(DatabaseAddress::parse(&address).unwrap(), None);
                let open =
                    MysqlStore::opener(connector, &format!("h{host}"), Scope::All, JoinedHost::default());
                open().unwrap().last_number().unwrap()
            })
        })
        .collect();
    assert!(hosts.into_iter().all(|host| host.join().unwrap() == 0));
}

#[test]
fn tables_of_a_release_that_is_too_new_are_left_alone_and_those_of_the_next_one_used() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database();
    let name = address.rsplit('/').next().unwrap().to_owned();
    let open = opener(&address);
    drop(open().unwrap());
    let mut admin = server.connect();
    let mut set = |version: u64, oldest: u64| {
        admin.query_drop(format!("UPDATE {name}.meta SET value = {version} WHERE name = 'version'")).unwrap();
        admin.query_drop(format!("UPDATE {name}.meta SET value = {oldest} WHERE name = 'oldest'")).unwrap();
        opener(&address)().map(drop)
    };
    assert_eq!(set(2, 1), Ok(()), "hosts of this release work with it");
    assert!(matches!(set(3, 2), Err(StoreError::Newer { found: 3, known: 1, .. })));
}

#[test]
fn batches_over_the_packet_limit_are_refused_and_others_stored() {
    let Some(server) = mariadb::server() else { return };
    let mut store = opener(&server.database())().unwrap();
    let most: u64 = server.connect().query_first("SELECT @@max_allowed_packet").unwrap().unwrap();
    let with = |bytes: u64| Batch::of(file("a", "large", &"x".repeat(bytes as usize)));
    let refused = writing::commit(store.as_mut(), &[with(1), with(most)]).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Rejected { batch: 1, reason } if reason.contains("max_allowed_packet"))
    );
    writing::commit(store.as_mut(), &[with(most - 64)]).unwrap();
    assert_eq!(store.load(0).unwrap().channels["a"].files["large"].len() as u64, most - 64);
}

#[test]
fn encryption_that_the_server_does_not_have_and_a_wrong_password_are_errors_without_the_password() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database();
    let error = opener(&format!("{address}?tls=required"))().map(drop).unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let password = Secret::new("hunter2-hunter2".to_owned());
    let connector = Connector::new(DatabaseAddress::parse(&address).unwrap(), Some(password));
    let open = MysqlStore::opener(connector, "h1", Scope::All, JoinedHost::default());
    let error = open().map(drop).unwrap_err().to_string();
    assert!(error.contains("Access denied") && !error.contains("hunter2"), "{error}");
}

#[test]
fn ids_continue_in_a_new_range_when_the_present_one_is_nearly_used() {
    let Some(server) = mariadb::server() else { return };
    let mut store = opener(&server.database())().unwrap();
    let near = |message| LastIds { message, ..LastIds::default() };
    assert_eq!(store.next_ids(near(1 << 20)), Ok(None));
    let floor = store.next_ids(near((1 << 24) - 1)).unwrap().unwrap();
    assert_eq!((floor.message, floor.reply, floor.dedupe_key), (1 << 24, 1 << 24, 1 << 24));
    assert_eq!(store.next_ids(floor), Ok(None));
    assert_eq!(store.load(0).unwrap().last_ids, floor);
}

/// It does what the engine in memory does.
#[test]
fn it_agrees_with_the_engine_in_memory() {
    let Some(server) = mariadb::server() else { return };
    let batches = prop::collection::vec(prop::collection::vec(super::contract::any_change(), 1..8), 1..12);
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&batches, |batches| {
            let address = server.database();
            let outcome = agree(&address, batches);
            server.drop_database(&address);
            outcome
        })
        .unwrap();
}

fn agree(address: &str, batches: Vec<Vec<Change>>) -> Result<(), TestCaseError> {
    let (mut memory, mut mysql) = (MemoryStore::new(), opener(address)().unwrap());
    let batches: Vec<_> = batches.into_iter().map(|changes| Batch { changes }).collect();
    for group in batches.chunks(3) {
        prop_assert_eq!(writing::commit(&mut memory, group), writing::commit(mysql.as_mut(), group));
    }
    let retention = Retention {
        completed: Duration::from_millis(300),
        max_completed: 3,
        max_dedupe_keys: 2,
        ..Retention::default()
    };
    for round in 0..2 {
        let mut both = [memory.load(400).unwrap(), mysql.load(400).unwrap()];
        for loaded in &mut both {
            loaded.channels.retain(|_, channel| *channel != LoadedChannel::default());
        }
        prop_assert_eq!(&both[0], &both[1]);
        for number in 0..40 {
            prop_assert_eq!(memory.reply(ReplyId(number)), mysql.reply(ReplyId(number)));
            prop_assert_eq!(memory.message(MessageId(number)), mysql.message(MessageId(number)));
        }
        let (messages, replies) = (MessageFilter::default(), ReplyFilter::default());
        prop_assert_eq!(memory.messages(&messages), mysql.messages(&messages));
        prop_assert_eq!(memory.replies(&replies), mysql.replies(&replies));
        if round == 0 {
            prop_assert_eq!(memory.prune(&retention, 900), mysql.prune(&retention, 900));
        }
    }
    Ok(())
}
