//! Leases in a database: that the transactions do what the state machine says, and what several hosts do to each other.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::lease::{LeaseOutcome, Leases, Operation};
use super::table::{Announcement, LeaseTable, Offer};
use crate::store::database::JoinedHost;
use crate::store::{
    Batch, Change, Connector, DatabaseAddress, HeldChannels, MysqlStore, NumberedBatch, Opener, Scope, Store,
    StoreError,
};
use crate::test_support::mariadb;

/// A host's process: its store, its leases, and what it believes to hold.
struct TestProcess {
    joined: JoinedHost,
    open: Opener,
    store: Box<dyn Store>,
    table: LeaseTable,
    held: HeldChannels,
}

impl TestProcess {
    fn start(address: &str, name: &str, time_to_live: Duration) -> Self {
        let connector = Connector::new(DatabaseAddress::parse(address).unwrap(), None);
        let (held, joined) = (HeldChannels::default(), JoinedHost::default());
        let open = MysqlStore::opener(connector.clone(), name, Scope::Held(held.clone()), joined.clone());
        let store = open().unwrap();
        let time_to_live_ms = time_to_live.as_millis() as u64;
        let mut table = LeaseTable::new(connector, joined.clone(), time_to_live_ms);
        table.beat(&Announcement::default()).unwrap();
        Self { joined, open, store, table, held }
    }

    fn incarnation(&self) -> u64 {
        self.joined.known().unwrap().incarnation()
    }

    fn take(&mut self, channel: &str) -> Option<u64> {
        self.table.announce(&[channel.into()]).unwrap();
        let number = self.number(channel);
        let epoch = self.table.take(number, &[1; 32]).unwrap()?;
        self.held.hold(channel.into(), epoch);
        Some(epoch)
    }

    fn number(&mut self, channel: &str) -> u32 {
        let view = self.table.view().unwrap();
        view.channels.iter().find(|known| known.wanted.name == channel).unwrap().number
    }

    fn commit(&mut self, channel: &str, content: &str) -> Result<(), StoreError> {
        let number = self.store.last_number()? + 1;
        self.store.commit(&[entry(number, channel, content)])
    }
}

fn entry(number: u64, channel: &str, content: &str) -> NumberedBatch {
    let change = Change::PutFile { channel: channel.into(), path: "f".into(), content: content.into() };
    NumberedBatch { number, batch: Batch { changes: vec![change] } }
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_channel_is_written_by_the_host_that_holds_it_and_by_no_other() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database();
    let (mut one, mut two) =
        (TestProcess::start(&address, "h1", LONG), TestProcess::start(&address, "h2", LONG));
    assert!(matches!(one.commit("a", "x"), Err(StoreError::Rejected { batch: 0, .. })), "it is nobody's");
    assert_eq!(one.take("a"), Some(1));
    assert_eq!(two.take("a"), None);
    assert_eq!(one.commit("a", "one"), Ok(()));
    // Whatever a host believes, the database knows.
    two.held.hold("a".into(), 1);
    assert!(matches!(two.commit("a", "two"), Err(StoreError::Rejected { .. })));
    let (number, mine) = (one.number("a"), one.held.clone());
    mine.let_go("a");
    one.table.release(number, 1).unwrap();
    assert_eq!(two.take("a"), Some(2));
    assert_eq!(two.commit("a", "two"), Ok(()));
    // A host that has missed that it gave the channel up.
    mine.hold("a".into(), 1);
    assert!(matches!(one.commit("a", "late"), Err(StoreError::Rejected { .. })));
    let loaded = two.store.load_channel(&"a".into(), 0).unwrap();
    assert_eq!(&*loaded.files["f"], "two");
}

#[test]
fn a_silent_host_is_fenced_and_cannot_commit() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database();
    let mut one = TestProcess::start(&address, "h1", Duration::ZERO);
    let mut two = TestProcess::start(&address, "h2", LONG);
    one.take("a");
    one.commit("a", "one").unwrap();
    let first = one.table.host().unwrap();
    crate::test_support::eventually("its time is over", || two.table.fence(first).unwrap().then_some(()));
    assert!(!two.table.fence(first).unwrap(), "it has nothing more to lose");
    assert_eq!(two.take("a"), Some(2));
    assert!(matches!(one.commit("a", "late"), Err(StoreError::Fenced { .. })));
    assert!(matches!((one.open)(), Err(StoreError::Fenced { .. })), "reopening it does not help");
    assert!(matches!(one.table.beat(&Announcement::default()), Err(StoreError::Fenced { .. })));
    let third = two.table.host().unwrap();
    assert!(!one.table.fence(third).unwrap(), "one that lives is left alone");
    let again = TestProcess::start(&address, "h1", LONG);
    assert!(again.incarnation() > one.incarnation());
}

#[test]
fn a_second_process_of_a_name_ends_the_first_one() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database();
    let mut first = TestProcess::start(&address, "h1", LONG);
    first.take("a");
    let mut second = TestProcess::start(&address, "h1", LONG);
    assert!(matches!(first.commit("a", "x"), Err(StoreError::Fenced { .. })));
    assert_eq!(second.take("a"), Some(2), "what the first one had is free");
    assert_eq!(second.commit("a", "x"), Ok(()));
}

#[test]
fn ids_of_two_hosts_do_not_overlap_and_grow_within_a_channel_that_moves() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database();
    let (mut one, mut two) =
        (TestProcess::start(&address, "h1", LONG), TestProcess::start(&address, "h2", LONG));
    let (first, second) = (one.store.load(0).unwrap().last_ids, two.store.load(0).unwrap().last_ids);
    assert!(second.message >= first.message + (1 << 24), "{first:?} {second:?}");
    two.take("a");
    let mut new = crate::store::tests::samples::message("a", "c", "x");
    new.id = crate::store::MessageId(second.message + 1);
    let batch = Batch { changes: vec![Change::AddMessage(new)] };
    two.store.commit(&[NumberedBatch { number: 1, batch }]).unwrap();
    assert_eq!(two.store.load_channel(&"a".into(), 0).unwrap().ids_after, second, "they are its own");
    let (number, epoch) = (two.number("a"), two.held.epoch("a").unwrap());
    two.table.release(number, epoch).unwrap();
    one.take("a");
    let after = one.store.load_channel(&"a".into(), 0).unwrap().ids_after;
    assert!(after.message > second.message + 1, "{after:?}");
    assert_eq!(one.store.load(0).unwrap().last_ids.message, after.message);
}

/// The connection broke when a stretch had been taken and nobody knew it. The host found its stretch large enough when it asked again, and went on
/// with ids that were smaller than those in the channel.
#[test]
fn an_id_range_is_used_although_the_response_to_its_reservation_was_lost() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database();
    let (mut one, mut two) =
        (TestProcess::start(&address, "h1", LONG), TestProcess::start(&address, "h2", LONG));
    let largest = two.store.load(0).unwrap().last_ids.message + 1;
    two.take("a");
    let mut new = crate::store::tests::samples::message("a", "c", "x");
    new.id = crate::store::MessageId(largest);
    let batch = Batch { changes: vec![Change::AddMessage(new)] };
    two.store.commit(&[NumberedBatch { number: 1, batch }]).unwrap();
    let (number, epoch) = (two.number("a"), two.held.epoch("a").unwrap());
    two.table.release(number, epoch).unwrap();
    one.take("a");
    drop(one.store.load_channel(&"a".into(), 0));
    let mut reopened = (one.open)().unwrap();
    let after = reopened.load_channel(&"a".into(), 0).unwrap().ids_after;
    assert!(after.message > largest, "{after:?} {largest}");
}

#[test]
fn a_view_has_who_lives_and_who_has_what() {
    let Some(server) = mariadb::server() else { return };
    let address = server.database();
    let mut one = TestProcess::start(&address, "h1", LONG);
    let offer = Offer { digest: [7; 32], paths: vec!["/hook".to_owned()] };
    let announced = Announcement {
        weight: 3,
        is_draining: true,
        url: "http://192.0.2.1:8080".to_owned(),
        offers: BTreeMap::from([("a".to_owned(), offer)]),
    };
    one.table.beat(&announced).unwrap();
    let epoch = one.take("a");
    let view = one.table.view().unwrap();
    assert_eq!((view.hosts.len(), &view.hosts[0].announced, view.hosts[0].is_alive), (1, &announced, true));
    let channel = &view.channels[0];
    assert_eq!((channel.wanted.host, channel.wanted.digest), (one.table.host(), Some([1; 32])));
    assert_eq!((Some(channel.epoch), view.lost_hosts()), (epoch, vec![]));
    one.table.leave().unwrap();
    let view = one.table.view().unwrap();
    assert_eq!((view.hosts[0].is_alive, view.channels[0].wanted.host), (false, None));
    assert_eq!(view.candidates(), []);
}

#[test]
fn a_view_says_why_nobody_has_a_channel() {
    use super::placement::Wanted;
    use super::table::{ClusterHost, ClusterView};
    let host = |is_draining, is_alive, digest| ClusterHost {
        host: 1,
        name: "h1".to_owned(),
        is_alive,
        announced: Announcement {
            is_draining,
            offers: BTreeMap::from([("a".to_owned(), Offer { digest, paths: Vec::new() })]),
            ..Announcement::default()
        },
    };
    let of = |name: &str| Wanted { name: name.to_owned(), host: None, digest: Some([1; 32]) };
    for (case, host, channel, expected) in [
        ("fit", host(false, true, [1; 32]), of("a"), "about to take"),
        ("other version", host(false, true, [2; 32]), of("a"), "version of its files"),
        ("draining", host(true, true, [1; 32]), of("a"), "is draining"),
        ("gone", host(false, false, [1; 32]), of("a"), "no host that lives has its files"),
        ("no files", host(false, true, [1; 32]), of("b"), "no host that lives has its files"),
    ] {
        let view = ClusterView { hosts: vec![host], channels: Vec::new() };
        let why = view.why_nobody_has(&channel);
        assert!(why.contains(expected), "{case}: {why}");
    }
}

/// The transactions in SQL and the state machine that was searched are the same.
#[test]
fn the_database_does_what_the_state_machine_says() {
    let Some(server) = mariadb::server() else { return };
    let operations = prop::collection::vec((0..6_u8, 0..2_usize, 0..2_usize), 1..30);
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&operations, |operations| {
            let address = server.database();
            let outcome = compare(&address, &operations);
            server.drop_database(&address);
            outcome
        })
        .unwrap();
}

/// Times are left out: a host lives for ever, or is dead at once. Which is the host's first number.
fn compare(address: &str, operations: &[(u8, usize, usize)]) -> Result<(), TestCaseError> {
    let mut leases = Leases::default();
    let times = [Duration::ZERO, LONG];
    let mut processes: Vec<TestProcess> = Vec::new();
    for (host, time) in (1..).zip(times) {
        processes.push(TestProcess::start(address, &format!("h{host}"), time));
        leases.apply(&Operation::Join { host }, 0, time.as_millis() as u64);
    }
    let channels = ["a", "b"];
    for name in channels {
        processes[0].table.announce(&[name.into()]).unwrap();
    }
    // The host that is dead at once has to be dead by the database's clock, too.
    std::thread::sleep(Duration::from_millis(5));
    for &(kind, place, channel) in operations {
        let host = processes[place].table.host().unwrap();
        let incarnation = processes[place].incarnation();
        let (name, number) = (channels[channel], processes[place].number(channels[channel]));
        let epoch = processes[place].held.epoch(name).unwrap_or(0);
        let modelled = place as u32 + 1;
        let channel = channel as u32;
        let mut apply = |operation| leases.apply(&operation, 1, 600_000);
        let process = &mut processes[place];
        match kind {
            0 | 1 => {
                let expected = apply(Operation::Take { host: modelled, incarnation, channel });
                let found = match process.table.take(number, &[1; 32]) {
                    Ok(Some(epoch)) => {
                        process.held.hold(name.into(), epoch);
                        LeaseOutcome::Taken(epoch)
                    }
                    Ok(None) => LeaseOutcome::Refused,
                    Err(_) => LeaseOutcome::Fenced,
                };
                prop_assert_eq!(found, expected);
            }
            2 => {
                let expected = apply(Operation::Release { host: modelled, incarnation, channel, epoch });
                let found = process.table.release(number, epoch);
                prop_assert_eq!(found.is_err(), expected == LeaseOutcome::Fenced);
            }
            3 => {
                let expected = apply(Operation::Fence { host: modelled });
                let other = 1 - place;
                let found = processes[other].table.fence(host).unwrap();
                prop_assert_eq!(found, expected == LeaseOutcome::Done);
            }
            _ => {
                let last = leases.hosts[&modelled].last_batch;
                let commit =
                    Operation::Commit { host: modelled, incarnation, channel, epoch, batch: last + 1 };
                let expected = leases.apply(&commit, 1, 600_000);
                let found = match processes[place].store.commit(&[entry(last + 1, name, "x")]) {
                    Ok(()) => LeaseOutcome::Done,
                    Err(StoreError::Rejected { .. }) => LeaseOutcome::Refused,
                    Err(StoreError::Fenced { .. } | StoreError::Broken) => LeaseOutcome::Fenced,
                    Err(other) => return Err(TestCaseError::fail(other.to_string())),
                };
                prop_assert_eq!(found, expected);
            }
        }
    }
    Ok(())
}
