//! What is particular to the SQLite file: its mode, what is refused and left as it is, locks, quotas, its size.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rusqlite::Connection;

use super::samples::*;
use super::writing::commit;
use crate::store::*;
use crate::test_support::own_process::test_in_a_child;
use crate::test_support::temp_dir::TempDir;

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, Durability::Full)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn add(store: &mut SqliteStore, text: &str) -> MessageId {
    commit(store, &[Batch::of(Change::AddMessage(message("a", "c", text)))]).unwrap()[0].messages[0]
}

/// A database with some hundred messages, closed.
fn filled(scratch: &TempDir) -> PathBuf {
    let mut store = open(&scratch.join("tinclaw.db")).unwrap();
    let changes =
        (0..300).map(|at| Change::AddMessage(message("a", "c", &format!("{at} {}", "x".repeat(500)))));
    commit(&mut store, &[Batch { changes: changes.collect() }]).unwrap();
    scratch.join("tinclaw.db")
}

#[test]
fn files_are_private_from_the_start_and_made_so_when_they_are_not() {
    let scratch = TempDir::new();
    let mut store = open(&scratch.join("tinclaw.db")).unwrap();
    add(&mut store, "x");
    let shm = scratch.path().join("tinclaw.db-shm");
    assert_eq!(
        (mode(&scratch.join("tinclaw.db")), mode(&scratch.join("tinclaw.db-wal")), mode(&shm)),
        (0o600, 0o600, 0o600)
    );
    drop(store);
    fs::set_permissions(scratch.join("tinclaw.db"), fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&scratch.join("tinclaw.db")).unwrap());
    assert_eq!(mode(&scratch.join("tinclaw.db")), 0o600);
}

#[test]
fn a_damaged_or_foreign_database_is_refused_and_left_unchanged() {
    let sound = |_: &TempDir, path: &Path| fs::read(path).unwrap();
    type Spoil = fn(&TempDir, &Path, Vec<u8>) -> Vec<u8>;
    type IsExpected = fn(&StoreError) -> bool;
    let cases: [(&str, Spoil, IsExpected); 9] = [
        ("a text", |_, _, _| b"dear diary, today I have".to_vec(), damaged),
        ("a few bytes", |_, _, _| b"SQL".to_vec(), damaged),
        ("a header that is garbage", |_, _, bytes| overwrite(bytes, 0, 100), damaged),
        ("a header that is right, and garbage behind it", |_, _, bytes| overwrite(bytes, 16, 2000), damaged),
        (
            "garbage in the middle",
            |_, _, bytes| {
                let middle = bytes.len() / 2 / 1024 * 1024;
                overwrite(bytes, middle, 6 * 1024)
            },
            damaged,
        ),
        ("a file that was cut off", |_, _, bytes| bytes[..bytes.len() / 2].to_vec(), damaged),
        (
            "an empty file with a log beside it",
            |scratch, _, _| {
                fs::write(scratch.join("tinclaw.db-wal"), b"the last that is left").unwrap();
                Vec::new()
            },
            damaged,
        ),
        (
            "a newer schema",
            |_, path, _| pragma(path, "user_version = 999"),
            |error| matches!(error, StoreError::Newer { found: 999, .. }),
        ),
        (
            "another program's",
            |_, path, _| pragma(path, "application_id = 77"),
            |error| matches!(error, StoreError::Foreign { .. }),
        ),
    ];
    for (name, spoil, expected) in cases {
        let scratch = TempDir::new();
        let path = filled(&scratch);
        let bytes = spoil(&scratch, &path, sound(&scratch, &path));
        fs::write(&path, &bytes).unwrap();
        for attempt in 0..2 {
            let error = open(&path).err().unwrap_or_else(|| panic!("{name} was opened"));
            assert!(expected(&error), "{name}: {error:?}");
            assert!(error.is_unavailable());
            assert!(fs::read(&path).unwrap() == bytes, "{name}: changed by attempt {attempt}");
        }
    }
}

fn damaged(error: &StoreError) -> bool {
    matches!(error, StoreError::Damaged { .. })
}

fn overwrite(mut bytes: Vec<u8>, at: usize, length: usize) -> Vec<u8> {
    bytes[at..at + length].fill(0xA5);
    bytes
}

fn pragma(path: &Path, setting: &str) -> Vec<u8> {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(&format!("PRAGMA {setting}; PRAGMA wal_checkpoint(TRUNCATE)")).unwrap();
    drop(conn);
    fs::read(path).unwrap()
}

#[test]
fn a_directory_and_a_missing_directory_are_refused() {
    let scratch = TempDir::new();
    fs::create_dir(scratch.join("tinclaw.db")).unwrap();
    assert!(matches!(open(&scratch.join("tinclaw.db")), Err(StoreError::NotAFile { .. })));
    let error = open(&scratch.path().join("missing/tinclaw.db")).err().unwrap();
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
}

#[test]
fn damage_that_is_met_later_makes_the_store_unusable() {
    let scratch = TempDir::new();
    let path = scratch.join("tinclaw.db");
    let mut store = open(&path).unwrap();
    let changes: Vec<_> =
        (0..300).map(|_| Change::AddMessage(message("a", "c", &"x".repeat(20_000)))).collect();
    commit(&mut store, &[Batch { changes }]).unwrap();
    store.maintain(Maintenance::Idle).unwrap();
    // Behind the store's back, as a worn card does. There is more of it than SQLite's cache holds.
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, overwrite(bytes.clone(), 1024 * 8, bytes.len() - 1024 * 8)).unwrap();
    let error = (1..=300).find_map(|id| store.message(MessageId(id)).err()).expect("an error");
    assert!(damaged(&error), "{error:?}");
    assert_eq!(commit(&mut store, &[]), Err(StoreError::Broken));
}

#[test]
fn a_read_only_file_is_refused_with_its_reason() {
    let scratch = TempDir::new();
    let path = filled(&scratch);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    if fs::OpenOptions::new().write(true).open(&path).is_ok() {
        eprintln!("skipped: this user may write what is read-only");
        return;
    }
    assert!(matches!(open(&path), Err(StoreError::ReadOnly { .. })));
}

#[test]
fn a_locked_database_file_works_again_once_it_is_released() {
    let scratch = TempDir::new();
    let path = filled(&scratch);
    let mut store = open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = commit(&mut store, &[Batch::of(Change::AddMessage(message("a", "c", "x")))]).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    drop(store);
    other.execute_batch("ROLLBACK").unwrap();
    let mut store = open(&path).unwrap();
    assert_eq!(add(&mut store, "y"), MessageId(301));
}

#[test]
fn two_writers_see_what_the_other_has_numbered() {
    let scratch = TempDir::new();
    let (mut one, mut two) =
        (open(&scratch.join("tinclaw.db")).unwrap(), open(&scratch.join("tinclaw.db")).unwrap());
    let mut ids = Vec::new();
    for at in 0..5 {
        ids.push(add(&mut one, "x"));
        ids.push(add(&mut two, "x"));
        let channel = format!("channel {at}");
        commit(&mut one, &[Batch::of(file(&channel, "f", "1"))]).unwrap();
        commit(&mut two, &[Batch::of(file(&channel, "f", "2"))]).unwrap();
    }
    assert_eq!(ids, (1..=10).map(MessageId).collect::<Vec<_>>());
    let loaded = one.load(0).unwrap();
    assert!(
        loaded.channels.values().flat_map(|channel| channel.files.values()).all(|content| &**content == "2")
    );
}

/// Made by the release before batches had numbers.
#[test]
fn a_database_of_the_release_before_is_brought_forward_with_everything_in_it() {
    let scratch = TempDir::new();
    fs::write(scratch.join("tinclaw.db"), include_bytes!("version_4.db")).unwrap();
    let mut store = open(&scratch.join("tinclaw.db")).unwrap();
    let loaded = store.load(0).unwrap();
    assert_eq!(&*loaded.channels["a"].files["state/cursor"], "17");
    assert_eq!(loaded.channels["a"].timers[0].due_ms, 9_000);
    assert_eq!((loaded.messages.len(), loaded.messages[0].id), (1, MessageId(1)));
    assert_eq!(store.attachment(MessageId(1), 0).unwrap(), Some(bytes(300)));
    assert!(loaded.replies()[0].redelivery && loaded.replies()[0].attempts == 1);
    assert_eq!(store.stored_response(loaded.dedupe_keys()[0].id).unwrap().unwrap().status, 200);
    assert_eq!(loaded.pairing.allowed, [("a".into(), "ada".to_owned())]);
    assert_eq!(
        loaded.last_ids,
        LastIds { message: 2, reply: 1, dedupe_key: 1 },
        "2 was acknowledged and forgotten"
    );
    assert_eq!(store.last_number(), Ok(0));
    assert_eq!(add(&mut store, "new"), MessageId(3));
    drop(store);
    let mut store = open(&scratch.join("tinclaw.db")).unwrap();
    assert_eq!((store.last_number(), store.load(0).unwrap().messages.len()), (Ok(1), 2));
}

/// Made by the release whose tables had other names. The largest id of a dedupe key was that of one that had expired.
#[test]
fn a_database_with_the_names_of_schema_6_is_brought_forward_with_everything_in_it() {
    let scratch = TempDir::new();
    let path = scratch.join("tinclaw.db");
    fs::write(&path, include_bytes!("version_6.db")).unwrap();
    let mut store = open(&path).unwrap();
    let loaded = store.load(0).unwrap();
    let reply = store.reply(loaded.replies()[0].id).unwrap().unwrap();
    assert_eq!(reply.in_reply_to, Some(MessageId(1)));
    assert_eq!(loaded.dedupe_keys().len(), 1);
    assert_eq!(&*store.stored_response(loaded.dedupe_keys()[0].id).unwrap().unwrap().body, b"first");
    assert_eq!(loaded.last_ids, LastIds { message: 1, reply: 1, dedupe_key: 2 });
    let lock = &loaded.pairing.locks[0];
    assert_eq!((lock.wrong_codes, lock.locked_until_ms), (3, 5_000));

    let receipts = commit(&mut store, &[batch([dedupe("a", 3, 0, u64::MAX, None)])]).unwrap();
    assert_eq!(receipts[0].dedupe_keys, [DedupeId(3)]);
    drop(store);
    assert_eq!(open(&path).unwrap().load(0).unwrap().dedupe_keys().len(), 2, "and it opens again");
}

#[test]
fn a_limit_of_the_size_is_kept_and_can_be_raised() {
    let scratch = TempDir::new();
    let with = |max_bytes| {
        let options = SqliteOptions { max_bytes: Some(max_bytes), ..SqliteOptions::default() };
        SqliteStore::open_with(scratch.join("tinclaw.db"), &options).unwrap()
    };
    let mut store = with(300_000);
    let large = Batch::of(Change::AddMessage(message("a", "c", &"x".repeat(50_000))));
    let mut kept = 0;
    let error = loop {
        match commit(&mut store, std::slice::from_ref(&large)) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!((3..6).contains(&kept), "{kept}");
    drop(store);
    assert!(fs::metadata(scratch.join("tinclaw.db")).unwrap().len() <= 300_000);
    let mut store = with(600_000);
    assert_eq!(store.load(0).unwrap().messages.len(), kept);
    commit(&mut store, &[large]).unwrap();
}

#[test]
fn the_log_is_bounded_under_load_and_emptied_in_quiet_moments() {
    let scratch = TempDir::new();
    let mut store = open(&scratch.join("tinclaw.db")).unwrap();
    let group: Vec<_> =
        (0..64).map(|_| Batch::of(Change::AddMessage(message("a", "c", &"x".repeat(4_000))))).collect();
    let mut largest = 0;
    for _ in 0..80 {
        commit(&mut store, &group).unwrap();
        store.maintain(Maintenance::BetweenGroups).unwrap();
        largest = largest.max(store.usage().unwrap().log_bytes);
    }
    let usage = store.usage().unwrap();
    assert!(usage.bytes > 20 << 20, "{usage:?}");
    assert!(largest < 8 << 20, "{largest}");
    assert!(usage.syncs > 80, "{usage:?}");
    store.maintain(Maintenance::Idle).unwrap();
    assert_eq!(store.usage().unwrap().log_bytes, 0);
    assert_eq!(store.load(0).unwrap().messages.len(), 80 * 64);
}

/// The log is not measured after each small transaction, and is bounded all the same.
#[test]
fn the_log_of_many_small_transactions_is_bounded() {
    let scratch = TempDir::new();
    let mut store = SqliteStore::open(scratch.join("tinclaw.db"), Durability::Normal).unwrap();
    let mut largest = 0;
    for _ in 0..3_000 {
        add(&mut store, "x");
        store.maintain(Maintenance::BetweenGroups).unwrap();
        largest = largest.max(store.usage().unwrap().log_bytes);
    }
    assert!(largest > 4 << 20, "there was enough for a checkpoint: {largest}");
    assert!(largest < 5 << 20, "{largest}");
}

#[test]
fn a_small_log_is_left_alone_in_quiet_moments() {
    let scratch = TempDir::new();
    let mut store = open(&scratch.join("tinclaw.db")).unwrap();
    add(&mut store, "x");
    let before = store.usage().unwrap();
    store.maintain(Maintenance::Idle).unwrap();
    assert_eq!(store.usage().unwrap(), before, "every checkpoint wears the card");
}

#[test]
fn the_database_does_not_grow_with_messages_that_are_done() {
    let scratch = TempDir::new();
    let mut store = SqliteStore::open(scratch.join("tinclaw.db"), Durability::Normal).unwrap();
    let retention = Retention { max_completed: 50, max_dedupe_keys: 50, ..Retention::default() };
    let mut sizes = Vec::new();
    for round in 0..12_u64 {
        for number in 0..100 {
            let id = MessageId(round * 100 + number + 1);
            let changes = batch([
                Change::AddMessage(message("a", "c", &"x".repeat(1_000))),
                dedupe("a", number as u8, 0, u64::MAX, Some("ok")),
                Change::MessageAcked { id, at_ms: u64::MAX },
            ]);
            commit(&mut store, &[changes]).unwrap();
        }
        while store.prune(&retention, 0).unwrap().more {}
        store.maintain(Maintenance::Idle).unwrap();
        sizes.push(store.usage().unwrap().bytes);
    }
    assert_eq!(store.messages(&MessageFilter { limit: 1000, ..MessageFilter::default() }).unwrap().len(), 50);
    assert!(sizes[11] <= sizes[2], "{sizes:?}");
}

#[test]
fn free_pages_are_returned_to_the_file_system() {
    let scratch = TempDir::new();
    let mut store = open(&scratch.join("tinclaw.db")).unwrap();
    let mut new = message("a", "c", "x");
    attach_bytes(&mut new, bytes(8 << 20));
    let id = commit(&mut store, &[Batch::of(Change::AddMessage(new))]).unwrap()[0].messages[0];
    commit(&mut store, &[Batch::of(Change::MessageAcked { id, at_ms: 0 })]).unwrap();
    store.prune(&Retention::default(), u64::from(u32::MAX)).unwrap();
    assert!(store.usage().unwrap().bytes > 8 << 20);
    for _ in 0..40 {
        store.maintain(Maintenance::Idle).unwrap();
    }
    drop(store);
    assert!(fs::metadata(scratch.join("tinclaw.db")).unwrap().len() < 1 << 20);
}

#[test]
fn a_weaker_durability_keeps_everything_when_the_store_is_closed_in_order() {
    let scratch = TempDir::new();
    let mut store = SqliteStore::open(scratch.join("tinclaw.db"), Durability::Normal).unwrap();
    add(&mut store, "x");
    assert_eq!(store.usage().unwrap().syncs, 0);
    drop(store);
    assert_eq!(open(&scratch.join("tinclaw.db")).unwrap().load(0).unwrap().messages.len(), 1);
}

const CHILD: &str = "TINCLAW_TEST_STORE_LIMITED";

/// A disk whose end is met in the middle of a write: `RLIMIT_FSIZE` makes the system cut the write short, then refuse.
#[test]
fn a_write_that_is_cut_short_loses_nothing_that_was_acknowledged() {
    for room in [150_000_u64, 173_456, 300_001] {
        let scratch = TempDir::new();
        let mut child = test_in_a_child(module_path!(), "child_with_a_limited_file_size")
            .env(CHILD, scratch.join("tinclaw.db"))
            .env("TINCLAW_TEST_ROOM", room.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let told: Vec<String> = lines.collect();
        assert!(child.wait().unwrap().success());
        let kept: Vec<u64> =
            told.iter().filter_map(|line| line.strip_prefix("kept ")?.parse().ok()).collect();
        let ends = told.iter().filter(|line| line.starts_with("failed ")).collect::<Vec<_>>();
        assert!(!kept.is_empty() && ends.len() == 1, "{told:?}");
        let mut store = open(&scratch.join("tinclaw.db")).unwrap();
        let found = store.messages(&MessageFilter { limit: 1000, ..MessageFilter::default() }).unwrap();
        assert!(
            found.len() >= kept.len() && found.len() <= kept.len() + 1,
            "{} of {}",
            found.len(),
            kept.len()
        );
        for id in kept {
            assert_eq!(store.message(MessageId(id)).unwrap().unwrap().message.content.len(), 3_000);
        }
        add(&mut store, "and on it goes");
    }
}

#[test]
fn child_with_a_limited_file_size() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let room: u64 = std::env::var("TINCLAW_TEST_ROOM").unwrap().parse().unwrap();
    // Without a handler the signal would end the process; with one the write fails.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false))).unwrap();
    let mut store = open(Path::new(&path)).unwrap();
    let limit = rustix::process::Rlimit { current: Some(room), maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    for _ in 0..500 {
        match commit(&mut store, &[Batch::of(Change::AddMessage(message("a", "c", &"x".repeat(3_000))))]) {
            Ok(receipts) => println!("kept {}", receipts[0].messages[0]),
            Err(error) => {
                println!("failed {error:?}");
                return;
            }
        }
    }
    panic!("the limit was never met");
}
