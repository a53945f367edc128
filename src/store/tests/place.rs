//! The state directory: who may use it, and what happens when it is changed under a running store.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::samples::*;
use super::writing::*;
use crate::store::*;
use crate::test_support::own_process::is_alone;
use crate::test_support::temp_dir::TempDir;

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// Whether `work` writes a line about `path` with this in it.
fn warns(path: &Path, part: &str, work: impl FnOnce()) -> bool {
    // Later calls have installed it already.
    let _ = log::set_logger(&Collector).map(|()| log::set_max_level(log::LevelFilter::Warn));
    work();
    let name = path.display().to_string();
    LOGGED.lock().unwrap().iter().any(|line| line.contains(&name) && line.contains(part))
}

fn quick() -> StoreThreadConfig {
    StoreThreadConfig {
        reopen_min: Duration::from_millis(1),
        reopen_max: Duration::from_millis(2),
        ..StoreThreadConfig::default()
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < give_up, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

type Meddling = fn(&TempDir);

// In an idle moment after the directory was deleted, the missing reserve was taken for a full disk, and the log said so.
#[test]
fn a_directory_that_was_deleted_is_no_full_disk() {
    let scratch = TempDir::new();
    let mut store = SqliteStore::open(scratch.join("tinclaw.db"), Durability::Full).unwrap();
    store.maintain(Maintenance::Idle).unwrap();
    fs::remove_dir_all(scratch.path()).unwrap();
    let error = store.maintain(Maintenance::Idle).unwrap_err().to_string();
    assert!(error.contains("was deleted"), "{error}");
    assert!(!store.is_low());
}

// The database was deleted while the host ran: webhooks got 200, the store was "up", and everything was lost at the next
// kill. Reopening must not make an empty one, either.
#[test]
fn nothing_is_committed_to_files_that_were_deleted_or_replaced() {
    let cases: [(&str, Meddling, &str); 5] = [
        ("the directory was deleted", |scratch| fs::remove_dir_all(scratch.path()).unwrap(), "was deleted"),
        (
            "the database was deleted",
            |scratch| fs::remove_file(scratch.join("tinclaw.db")).unwrap(),
            "was deleted",
        ),
        (
            "the log was deleted",
            |scratch| fs::remove_file(scratch.join("tinclaw.db-wal")).unwrap(),
            "was deleted",
        ),
        (
            "the database was replaced by a copy",
            |scratch| {
                let copy = scratch.path().join("copy");
                fs::copy(scratch.join("tinclaw.db"), &copy).unwrap();
                fs::rename(copy, scratch.join("tinclaw.db")).unwrap();
            },
            "was replaced",
        ),
        (
            "the log was replaced",
            |scratch| {
                let copy = scratch.path().join("copy");
                fs::copy(scratch.join("tinclaw.db-wal"), &copy).unwrap();
                fs::rename(copy, scratch.join("tinclaw.db-wal")).unwrap();
            },
            "was replaced",
        ),
    ];
    for (case, change, reason) in cases {
        let scratch = TempDir::new();
        let opener = SqliteStore::opener(scratch.join("tinclaw.db"), SqliteOptions::default());
        let (thread, _) = StoreThread::start(opener, quick(), |_| {}).unwrap();
        let handle = thread.handle();
        let commit = |content| keep(&handle, Batch::of(Change::AddMessage(message("a", "c", content))));
        commit("before").unwrap();
        let existed = scratch.join("tinclaw.db").exists();
        change(&scratch);
        let exists = scratch.join("tinclaw.db").exists();
        let error = commit("after").unwrap_err();
        assert!(matches!(error, StateError::Unavailable { .. }), "{case}: {error:?}");
        assert!(error.to_string().contains(reason), "{case}: {error}");
        // Some tries later it still says so, and has made nothing.
        std::thread::sleep(Duration::from_millis(50));
        let health = handle.health();
        assert_eq!(health.state, StoreState::Down, "{case}");
        assert!(health.reason.unwrap().contains(reason), "{case}");
        assert_eq!((existed, scratch.join("tinclaw.db").exists()), (true, exists), "{case}");
    }
}

#[test]
fn files_that_are_put_back_are_used_again() {
    let scratch = TempDir::new();
    let away = TempDir::new();
    let opener = SqliteStore::opener(scratch.join("tinclaw.db"), SqliteOptions::default());
    let (events, recovered) = channel();
    let (thread, _) = StoreThread::start(opener, quick(), move |event| drop(events.send(event))).unwrap();
    let handle = thread.handle();
    let commit = |content| keep(&handle, Batch::of(Change::AddMessage(message("a", "c", content))));
    commit("before").unwrap();
    fs::rename(scratch.join("tinclaw.db"), away.join("tinclaw.db")).unwrap();
    assert!(commit("meanwhile").is_err());
    fs::rename(away.join("tinclaw.db"), scratch.join("tinclaw.db")).unwrap();
    wait_until("the store is up", || handle.health().state == StoreState::Up);
    commit("after").unwrap();
    let messages = handle.query(|store| store.messages(&MessageFilter::default())).unwrap();
    assert_eq!(messages.len(), 2);
    drop(recovered);
}

/// Another program's connection.
fn foreign(scratch: &TempDir) -> rusqlite::Connection {
    rusqlite::Connection::open(scratch.join("tinclaw.db")).unwrap()
}

// Another program held the write lock while a message came, and let go. It was the last to close the file, so SQLite moved the log to
// the database and removed it. The host took that for a deletion, and refused everything until a restart.
#[test]
fn a_log_that_another_program_has_moved_and_removed_is_no_loss() {
    let scratch = TempDir::new();
    let opener = SqliteStore::opener(scratch.join("tinclaw.db"), SqliteOptions::default());
    let mut store = opener().unwrap();
    let batch = |number| [NumberedBatch { number, batch: Batch::of(Change::AddMessage(sample(number))) }];
    store.commit(&batch(1)).unwrap();
    let other = foreign(&scratch);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(store.commit(&batch(2)), Err(StoreError::Locked { .. })));
    drop(store);
    other.execute_batch("ROLLBACK").unwrap();
    other.close().unwrap();
    assert!(!scratch.join("tinclaw.db-wal").exists(), "SQLite removes it");
    let mut store = opener().unwrap();
    assert_eq!(store.last_number().unwrap(), 1);
    store.commit(&batch(2)).unwrap();
}

fn sample(number: u64) -> NewMessage {
    let content = format!("message {number} {}", "x".repeat(500));
    NewMessage { id: MessageId(number), ..message("a", "c", &content) }
}

// `cp backup.db tinclaw.db` and `truncate -s 0` keep the inode: 200 went on, and at the next start messages were lost or the start
// was refused.
#[test]
fn nothing_is_committed_to_files_that_were_overwritten_in_place() {
    let cases: [(&str, Meddling); 4] = [
        ("cut to nothing", |scratch| fs::write(scratch.join("tinclaw.db"), "").unwrap()),
        ("an old copy", |scratch| {
            let old = fs::read(scratch.join("old")).unwrap();
            fs::write(scratch.join("tinclaw.db"), old).unwrap();
        }),
        ("as large as before", |scratch| {
            let mut bytes = fs::read(scratch.join("tinclaw.db")).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle..].fill(7);
            fs::write(scratch.join("tinclaw.db"), bytes).unwrap();
        }),
        ("the log is cut to nothing", |scratch| fs::write(scratch.join("tinclaw.db-wal"), "").unwrap()),
    ];
    for (case, change) in cases {
        let scratch = TempDir::new();
        drop(SqliteStore::open(scratch.join("tinclaw.db"), Durability::Full).unwrap());
        fs::copy(scratch.join("tinclaw.db"), scratch.join("old")).unwrap();
        let opener = SqliteStore::opener(scratch.join("tinclaw.db"), SqliteOptions::default());
        let (thread, _) = StoreThread::start(opener, quick(), |_| {}).unwrap();
        let handle = thread.handle();
        let commit = |content| keep(&handle, Batch::of(Change::AddMessage(message("a", "c", content))));
        commit("before").unwrap();
        commit("and another").unwrap();
        // A file system may count its time in steps of some milliseconds.
        std::thread::sleep(Duration::from_millis(20));
        change(&scratch);
        let error = commit("after").unwrap_err();
        assert!(matches!(error, StateError::Unavailable { .. }), "{case}: {error:?}");
        assert!(error.to_string().contains("was overwritten"), "{case}: {error}");
        // It is not opened again, whatever it holds then.
        std::thread::sleep(Duration::from_millis(50));
        let health = handle.health();
        assert_eq!(health.state, StoreState::Down, "{case}");
        assert!(health.reason.unwrap().contains("was overwritten"), "{case}");
    }
}

#[test]
fn writes_through_sqlite_are_not_taken_for_a_replaced_file() {
    let scratch = TempDir::new();
    let mut store = SqliteStore::open(scratch.join("tinclaw.db"), Durability::Normal).unwrap();
    let mut number = 0;
    let mut commit = |store: &mut SqliteStore, case: &str| {
        number += 1;
        let batch = Batch::of(Change::AddMessage(sample(number)));
        store.commit(&[NumberedBatch { number, batch }]).unwrap_or_else(|error| panic!("{case}: {error}"));
    };
    for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
        for round in 0..3 {
            let case = format!("{mode} {round}");
            (0..5).for_each(|_| commit(&mut store, &case));
            std::thread::sleep(Duration::from_millis(20));
            let other = foreign(&scratch);
            other.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())).unwrap();
            commit(&mut store, &case);
            other.execute_batch("CREATE TABLE other (x); DROP TABLE other; VACUUM").unwrap();
            other.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())).unwrap();
            commit(&mut store, &case);
            drop(other);
            commit(&mut store, &case);
        }
    }
    // This connection's own checkpoints, of a busy and of an idle moment.
    for _ in 0..2 {
        for _ in 0..2000 {
            commit(&mut store, "busy");
            store.maintain(Maintenance::BetweenGroups).unwrap();
        }
        store.maintain(Maintenance::Idle).unwrap();
    }
}

// A named pipe as the database: the start waited in open(2) for ever.
#[test]
fn what_is_no_regular_file_is_refused() {
    for name in ["tinclaw.db", "tinclaw.db-wal", "tinclaw.db-shm", "tinclaw.db-journal"] {
        let scratch = TempDir::new();
        let path = scratch.join(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let open = SqliteStore::open(scratch.join("tinclaw.db"), Durability::Full);
        let error = open.err().expect(name).to_string();
        assert!(error.contains("not a regular file") && error.contains(name), "{error}");
    }
    let scratch = TempDir::new();
    mknodat(CWD, scratch.join("tinclaw.lock"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let error = HostLock::acquire(scratch.path()).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
}

// An empty file was taken for a new database without a word.
#[test]
fn an_empty_database_is_logged() {
    if !is_alone(module_path!(), "an_empty_database_is_logged") {
        return;
    }
    let scratch = TempDir::new();
    fs::write(scratch.join("tinclaw.db"), "").unwrap();
    let open = || drop(SqliteStore::open(scratch.join("tinclaw.db"), Durability::Full).unwrap());
    assert!(warns(&scratch.join("tinclaw.db"), "is there but empty", open));
    let other = TempDir::new();
    assert!(!warns(&other.join("tinclaw.db"), "empty", || drop(
        SqliteStore::open(other.join("tinclaw.db"), Durability::Full).unwrap()
    )));
}

// Whoever removed the lock file let a second host in.
#[test]
fn removing_the_lock_file_does_not_release_the_lock() {
    let scratch = TempDir::new();
    let _lock = HostLock::acquire(scratch.path()).unwrap();
    fs::remove_file(scratch.path().join("tinclaw.lock")).unwrap();
    assert!(matches!(HostLock::acquire(scratch.path()), Err(LockError::Held { .. })));
}

// `tinclaw.lock` as a link: its target was overwritten. `tinclaw.db` as a link: its target's mode was changed.
#[test]
fn symbolic_links_are_not_followed() {
    let (scratch, elsewhere) = (TempDir::new(), TempDir::new());
    let target = elsewhere.path().join("precious");
    fs::write(&target, "precious").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    for name in ["tinclaw.lock", "tinclaw.db", "tinclaw.db-wal", "tinclaw.db-reserve"] {
        symlink(&target, scratch.path().join(name)).unwrap();
        let refused = match name {
            "tinclaw.lock" => HostLock::acquire(scratch.path()).err().map(|error| error.to_string()),
            _ => SqliteStore::open(scratch.join("tinclaw.db"), Durability::Full)
                .map(|mut store| {
                    // The disk was called full, and the first webhook got 503.
                    assert!(!store.is_low(), "the disk is not full");
                    store.maintain(Maintenance::Idle).unwrap();
                    assert!(!store.is_low() && scratch.join(name).is_symlink());
                })
                .err()
                .map(|error| error.to_string()),
        };
        if name == "tinclaw.db-reserve" {
            assert_eq!(refused, None, "the store works without");
        } else {
            let refused = refused.expect(name);
            assert!(refused.contains("symbolic link") && refused.contains(name), "{refused}");
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious", "{name}");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o644, "{name}");
        let _ = fs::remove_file(scratch.path().join(name));
    }
}

#[test]
fn a_directory_that_others_can_write_to_is_reported() {
    if !is_alone(module_path!(), "a_directory_that_others_can_write_to_is_reported") {
        return;
    }
    for (mode, is_reported) in [(0o700, false), (0o755, false), (0o775, true), (0o777, true)] {
        let scratch = TempDir::new();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(mode)).unwrap();
        let acquire = || drop(HostLock::acquire(scratch.path()).unwrap());
        assert_eq!(warns(scratch.path(), "can be written by other users", acquire), is_reported, "{mode:o}");
    }
}
