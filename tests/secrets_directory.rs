//! Secrets in a directory: systemd credentials, Docker and Kubernetes volumes.

mod support;

use std::os::unix::fs::symlink;

use support::own_process::test_in_a_child;
use support::temp_dir::TempDir;
use tinclaw::secrets::{
    DirectorySecrets, EncryptedFile, KeySource, Secret, SecretEditor, SecretError, SecretStore,
};

fn open(directory: &TempDir) -> DirectorySecrets {
    DirectorySecrets::open(&directory.join("")).unwrap()
}

#[test]
fn a_file_is_a_secret_without_what_surrounds_it() {
    let directory = TempDir::new();
    let rows: &[(&str, &[u8], Option<&str>)] = &[
        ("plain", b"value", Some("value")),
        ("line_feed", b"value\n", Some("value")),
        ("windows", b"value\r\n", Some("value")),
        ("two", b"value\n\n", Some("value")),
        ("quoted", b"\xef\xbb\xbf\"value\"\n", Some("value")),
        ("inner", b"-----BEGIN-----\nx\n-----END-----\n", Some("-----BEGIN-----\nx\n-----END-----")),
        ("empty", b"", None),
        ("only_line_break", b"\n", None),
    ];
    let store = open(&directory);
    for (name, content, expected) in rows {
        directory.write(name, content);
        assert_eq!(store.get(name).unwrap(), expected.map(Secret::from), "{name}");
    }
}

#[test]
fn names_are_found_in_any_case() {
    let directory = TempDir::new();
    directory.write("SLACK_TOKEN", b"upper");
    directory.write("Both", b"upper");
    directory.write("both", b"lower");
    directory.write("..data_is_no_name", b"x");
    directory.write("backup~", b"x");
    let store = open(&directory);
    assert_eq!(store.get("slack_token").unwrap(), Some(Secret::from("upper")));
    assert_eq!(store.get("BOTH").unwrap(), Some(Secret::from("lower")));
    assert_eq!(store.get("absent").unwrap(), None);
    assert_eq!(store.names().unwrap(), ["both", "slack_token"]);
}

#[test]
fn names_never_lead_elsewhere() {
    let directory = TempDir::new();
    directory.write("inside", b"x");
    for name in ["../inside", "/etc/passwd", "a/b", "..", ".", ".hidden", ""] {
        assert!(matches!(open(&directory).get(name), Err(SecretError::BadName { .. })), "{name:?}");
    }
}

#[test]
fn links_inside_are_followed_as_kubernetes_makes_them() {
    let directory = TempDir::new();
    directory.write("..2026_11_22/token", b"first");
    symlink("..2026_11_22", directory.join("..data")).unwrap();
    symlink("..data/token", directory.join("token")).unwrap();
    let store = open(&directory);
    assert_eq!(store.get("token").unwrap(), Some(Secret::from("first")));
    assert_eq!(store.names().unwrap(), ["token"]);
    directory.write("..2026_11_23/token", b"second");
    symlink("..2026_11_23", directory.join("..data_tmp")).unwrap();
    std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
    assert_eq!(store.get("token").unwrap(), Some(Secret::from("second")));
}

#[test]
fn links_that_lead_out_and_odd_files_are_refused() {
    let directory = TempDir::new();
    symlink("/etc/passwd", directory.join("outside")).unwrap();
    symlink("../../../../../../../../etc/passwd", directory.join("climbing")).unwrap();
    std::fs::create_dir(directory.join("folder")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(directory.join("socket")).unwrap();
    let store = open(&directory);
    for name in ["outside", "climbing", "folder"] {
        assert!(matches!(store.get(name), Err(SecretError::Refused { .. })), "{name}");
    }
    assert!(store.get("socket").is_err());
    symlink("nowhere", directory.join("dangling")).unwrap();
    assert_eq!(store.get("dangling").unwrap(), None);
}

#[test]
fn a_link_of_a_longer_name_beside_the_directory_is_outside() {
    let directory = TempDir::new();
    directory.write("store-evil/token", b"x");
    directory.write("store/inside", b"x");
    symlink("../store-evil/token", directory.join("store/token")).unwrap();
    let store = DirectorySecrets::open(&directory.join("store")).unwrap();
    assert!(matches!(store.get("token"), Err(SecretError::Refused { .. })));
}

#[test]
fn sizes_and_encodings_are_checked() {
    let directory = TempDir::new();
    let limit = usize::try_from(Secret::MAX_BYTES).unwrap();
    directory.write("full", "x".repeat(limit).as_bytes());
    directory.write("full_with_line_break", format!("{}\n", "x".repeat(limit)).as_bytes());
    directory.write("over", "x".repeat(limit + 1).as_bytes());
    directory.write("far_over", "x".repeat(limit * 4).as_bytes());
    directory.write("binary", [0xff, 0xfe, 0x00]);
    let store = open(&directory);
    assert_eq!(store.get("full").unwrap().unwrap().len(), limit);
    assert_eq!(store.get("full_with_line_break").unwrap().unwrap().len(), limit);
    assert!(matches!(store.get("over"), Err(SecretError::TooLarge { .. })));
    assert!(matches!(store.get("far_over"), Err(SecretError::TooLarge { .. })));
    assert!(matches!(store.get("binary"), Err(SecretError::NotText { .. })));
}

#[test]
fn a_directory_that_is_not_there_is_an_error_at_start() {
    let directory = TempDir::new();
    let file = directory.write("file", b"x");
    assert!(matches!(DirectorySecrets::open(&directory.join("none")), Err(SecretError::Io { .. })));
    assert!(matches!(DirectorySecrets::open(&file), Err(SecretError::Refused { .. })));
}

/// Runs in a process of its own, which gets its credentials as systemd gives them.
#[test]
fn credentials_of_systemd_are_secrets_and_keys() {
    const CHILD: &str = "TINCLAW_TEST_SYSTEMD_CHILD";
    let name = "credentials_of_systemd_are_secrets_and_keys";
    if std::env::var_os(CHILD).is_none() {
        assert!(matches!(DirectorySecrets::from_systemd(), Err(SecretError::NoVariable { .. })));
        let directory = TempDir::new();
        directory.write("slack_token", b"xoxb\n");
        directory.write("secrets.key", b"0123456789abcdef0123456789abcdef");
        let mut child = test_in_a_child(module_path!(), name);
        child.env(CHILD, "1").env("CREDENTIALS_DIRECTORY", directory.join(""));
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let store = DirectorySecrets::from_systemd().unwrap();
    assert_eq!(store.get("slack_token").unwrap(), Some(Secret::from("xoxb")));
    let elsewhere = TempDir::new();
    let key = KeySource::SystemdCredential("secrets.key".to_owned());
    let editor = SecretEditor::open(&elsewhere.join("secrets.enc"), &key).unwrap();
    editor.set("a", Secret::from("v")).unwrap();
    assert_eq!(EncryptedFile::open(&elsewhere.join("secrets.enc"), &key).unwrap().names().unwrap(), ["a"]);
    let absent = KeySource::SystemdCredential("absent".to_owned());
    assert!(SecretEditor::open(&elsewhere.join("secrets.enc"), &absent).is_err());
}

#[test]
fn the_revision_changes_with_every_value_and_only_then() {
    let directory = TempDir::new();
    let store = open(&directory);
    directory.write("one", b"first");
    let mut seen = vec![store.revision().unwrap()];
    assert_eq!(store.revision(), Some(seen[0]), "nothing changed");
    directory.write("two", b"another");
    seen.push(store.revision().unwrap());
    directory.write("one", b"longer than before");
    seen.push(store.revision().unwrap());
    std::fs::remove_file(directory.join("two")).unwrap();
    seen.push(store.revision().unwrap());
    let distinct: std::collections::BTreeSet<u64> = seen.iter().copied().collect();
    assert_eq!(distinct.len(), seen.len());
}
