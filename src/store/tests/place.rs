//! The state directory: who may use it, and what happens when it is changed under a running store.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

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

// The database was deleted while the host ran: webhooks got 200, the store was "up", and everything was lost at the next
// kill. Opening anew must not make an empty one, either.
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
        assert!(matches!(error, CommitError::Unavailable { .. }), "{case}: {error:?}");
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
