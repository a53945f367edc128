//! One host per state directory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use crate::store::{Holder, HostLock, LockError};
use crate::test_support::own_process::test_in_a_child;
use crate::test_support::temp_dir::TempDir;

const CHILD: &str = "TINCLAW_TEST_STORE_LOCK";

fn holder(directory: &Path) -> Option<u32> {
    match HostLock::acquire(directory) {
        Err(LockError::Held { holder, .. }) => holder,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_is_created_private_and_held_by_one() {
    let scratch = TempDir::new();
    let directory = scratch.path().join("deep/state");
    let lock = HostLock::acquire(&directory).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join("tinclaw.lock"))), (0o700, 0o600));
    assert_eq!(holder(&directory), Some(std::process::id()));
    let text = HostLock::acquire(&directory).unwrap_err().to_string();
    assert!(text.contains("deep/state is in use by another tinclaw (process "), "{text}");
    assert_eq!(Holder::of(&directory), Some(Holder { pid: Some(std::process::id()) }));
    drop(lock);
    assert_eq!(Holder::of(&directory), None);
    assert_eq!(Holder::of(&directory.join("none")), None);
    HostLock::acquire(&directory).unwrap();
}

#[test]
fn a_process_that_dies_lets_go() {
    let scratch = TempDir::new();
    let mut child = test_in_a_child(module_path!(), "child_that_holds_the_lock")
        .env(CHILD, scratch.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("held")));
    assert_eq!(holder(scratch.path()), Some(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    HostLock::acquire(scratch.path()).unwrap();
}

#[test]
fn child_that_holds_the_lock() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let _lock = HostLock::acquire(Path::new(&directory)).unwrap();
    println!("held");
    // Until it is killed, or whoever started it is gone.
    drop(std::io::stdin().lines().next());
}

#[test]
fn a_file_in_place_of_the_directory_is_an_error_that_names_it() {
    let scratch = TempDir::new();
    let path = scratch.path().join("file");
    fs::write(&path, "x").unwrap();
    let error = HostLock::acquire(&path).unwrap_err();
    assert!(error.to_string().contains("file cannot be used"), "{error}");
}
