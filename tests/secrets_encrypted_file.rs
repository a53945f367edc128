//! Secrets in an encrypted file: what an operator sets is what the host reads, and nothing else reads it.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use support::temp_dir::TempDir;
use tinclaw::secrets::{
    ChainSecrets, EncryptedFile, EnvSecrets, KeySource, MemorySecrets, Secret, SecretEditor, SecretError,
    SecretStore,
};

/// The least that Argon2 takes: these tests are not about its cost.
const QUICK: (u32, u32) = (8, 1);

fn passphrase(text: &str) -> KeySource {
    KeySource::Passphrase(Secret::from(text))
}

fn editor(directory: &TempDir, key: &KeySource) -> SecretEditor {
    SecretEditor::open(&directory.join("secrets.enc"), key).unwrap().with_cost(QUICK.0, QUICK.1)
}

#[test]
fn a_secret_is_set_read_listed_and_removed() {
    let directory = TempDir::new();
    let key = passphrase("correct horse");
    let editor = editor(&directory, &key);
    assert!(editor.list().unwrap().is_empty());
    editor.set("SLACK_Token", Secret::from("xoxb-1")).unwrap();
    editor.set("other", Secret::from("o")).unwrap();
    assert_eq!(editor.list().unwrap(), ["other", "slack_token"]);

    let store = EncryptedFile::open(&directory.join("secrets.enc"), &key).unwrap();
    assert_eq!(store.get("slack_token").unwrap(), Some(Secret::from("xoxb-1")));
    assert_eq!(store.get("missing").unwrap(), None);
    assert_eq!(store.names().unwrap(), ["other", "slack_token"]);

    assert!(editor.remove("slack_TOKEN").unwrap());
    assert!(!editor.remove("slack_token").unwrap());
    assert_eq!(editor.list().unwrap(), ["other"]);
}

#[test]
fn setting_only_when_missing_keeps_the_present_value() {
    let directory = TempDir::new();
    let key = passphrase("correct horse");
    let editor = editor(&directory, &key);
    assert!(editor.set_missing("Token", Secret::from("first")).unwrap());
    assert!(!editor.set_missing("token", Secret::from("second")).unwrap());
    let store = EncryptedFile::open(&directory.join("secrets.enc"), &key).unwrap();
    assert_eq!(store.get("token").unwrap(), Some(Secret::from("first")));
    editor.remove("token").unwrap();
    assert!(editor.set_missing("token", Secret::from("third")).unwrap());
}

#[test]
fn a_running_host_uses_a_changed_secret_at_once() {
    let directory = TempDir::new();
    let key = passphrase("correct horse");
    let editor = editor(&directory, &key);
    editor.set("token", Secret::from("old")).unwrap();
    let store = EncryptedFile::open(&directory.join("secrets.enc"), &key).unwrap();
    for value in ["new", "two", "six"] {
        editor.set("token", Secret::from(value)).unwrap();
        assert_eq!(store.get("token").unwrap(), Some(Secret::from(value)));
    }
}

#[test]
fn missing_wrong_key_damaged_and_newer_are_told_apart() {
    let directory = TempDir::new();
    let path = directory.join("secrets.enc");
    let key = passphrase("correct horse");
    assert!(matches!(EncryptedFile::open(&path, &key), Err(SecretError::Missing { .. })));
    editor(&directory, &key).set("token", Secret::from("the value of it")).unwrap();
    assert!(matches!(
        EncryptedFile::open(&path, &passphrase("battery staple")),
        Err(SecretError::WrongKey { .. })
    ));
    assert!(matches!(
        editor(&directory, &passphrase("battery staple")).list(),
        Err(SecretError::WrongKey { .. })
    ));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(EncryptedFile::open(&path, &key), Err(SecretError::Damaged { .. })));
    fs::write(&path, "something else\n").unwrap();
    assert!(matches!(EncryptedFile::open(&path, &key), Err(SecretError::Damaged { .. })));
}

#[test]
fn a_wrong_key_never_replaces_the_file() {
    let directory = TempDir::new();
    let path = directory.join("secrets.enc");
    editor(&directory, &passphrase("correct horse")).set("token", Secret::from("v")).unwrap();
    let before = fs::read(&path).unwrap();
    assert!(editor(&directory, &passphrase("battery staple")).set("token", Secret::from("w")).is_err());
    assert!(editor(&directory, &passphrase("battery staple")).remove("token").is_err());
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn the_file_is_for_its_owner_only_and_holds_no_plain_text() {
    let directory = TempDir::new();
    let path = directory.join("deep/er/secrets.enc");
    let editor = SecretEditor::open(&path, &passphrase("correct horse")).unwrap().with_cost(QUICK.0, QUICK.1);
    editor.set("some_name", Secret::from("some value")).unwrap();
    editor.set("some_name", Secret::from("some other value")).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
    assert!(!text.contains("some"), "{text}");
    let mut names: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["secrets.enc", "secrets.enc.lock"]);
}

#[test]
fn a_key_file_works_and_a_short_one_is_refused() {
    let directory = TempDir::new();
    let good = directory.write("key", [b"0123456789abcdef0123456789abcdef".as_slice(), b"\n"].concat());
    let key = KeySource::File(good);
    editor(&directory, &key).set("token", Secret::from("v")).unwrap();
    let store = EncryptedFile::open(&directory.join("secrets.enc"), &key).unwrap();
    assert_eq!(store.get("token").unwrap(), Some(Secret::from("v")));
    let short = KeySource::File(directory.write("short", b"0123456789abcdef0123456789abcde"));
    assert!(matches!(SecretEditor::open(&directory.join("x"), &short), Err(SecretError::BadKey { .. })));
    let none = KeySource::File(directory.join("none"));
    assert!(matches!(SecretEditor::open(&directory.join("x"), &none), Err(SecretError::MissingKey { .. })));
}

#[test]
fn values_are_bounded() {
    let directory = TempDir::new();
    let editor = editor(&directory, &passphrase("correct horse"));
    let limit = usize::try_from(Secret::MAX_BYTES).unwrap();
    editor.set("a", Secret::new("x".repeat(limit))).unwrap();
    assert!(matches!(editor.set("b", Secret::new("x".repeat(limit + 1))), Err(SecretError::TooLarge { .. })));
    assert!(matches!(editor.set("c", Secret::from("")), Err(SecretError::Empty { .. })));
    assert!(matches!(editor.set("../d", Secret::from("x")), Err(SecretError::BadName { .. })));
    assert_eq!(editor.list().unwrap(), ["a"]);
}

#[test]
fn files_left_by_a_crash_are_ignored() {
    let directory = TempDir::new();
    let editor = editor(&directory, &passphrase("correct horse"));
    editor.set("a", Secret::from("1")).unwrap();
    directory.write("secrets.enc.new", b"half a file");
    assert_eq!(editor.list().unwrap(), ["a"]);
    editor.set("b", Secret::from("2")).unwrap();
    assert_eq!(editor.list().unwrap(), ["a", "b"]);
}

#[test]
fn two_editors_at_once_lose_nothing() {
    let directory = TempDir::new();
    let key = passphrase("correct horse");
    std::thread::scope(|scope| {
        for writer in ["a", "b"] {
            let editor = editor(&directory, &key);
            scope.spawn(move || {
                for n in 0..10 {
                    editor.set(&format!("{writer}{n}"), Secret::from("v")).unwrap();
                }
            });
        }
    });
    assert_eq!(editor(&directory, &key).list().unwrap().len(), 20);
}

#[test]
fn a_damaged_file_in_a_chain_is_not_passed_over() {
    let directory = TempDir::new();
    let key = passphrase("correct horse");
    editor(&directory, &key).set("token", Secret::from("file")).unwrap();
    let file = EncryptedFile::open(&directory.join("secrets.enc"), &key).unwrap();
    let env = EnvSecrets::from_table([("TINCLAW_SECRET_TOKEN", "environment")]);
    let chain = ChainSecrets::new(vec![Arc::new(file), Arc::new(env)]);
    assert_eq!(chain.get("token").unwrap(), Some(Secret::from("file")));
    directory.write("secrets.enc", b"damage");
    assert!(matches!(chain.get("token"), Err(SecretError::Damaged { .. })));
}

#[test]
fn the_revision_of_a_file_and_of_its_chain_changes_with_every_value() {
    let directory = TempDir::new();
    let key = passphrase("correct horse");
    let editor = editor(&directory, &key);
    editor.set("one", Secret::from("first")).unwrap();
    let file = Arc::new(EncryptedFile::open(&directory.join("secrets.enc"), &key).unwrap());
    let memory = Arc::new(MemorySecrets::new());
    let chain = ChainSecrets::new(vec![memory.clone(), file.clone()]);
    let before = (file.revision(), chain.revision());
    assert!(before.0.is_some() && before.1.is_some());
    assert_eq!((file.revision(), chain.revision()), before, "nothing changed");
    editor.set("one", Secret::from("other")).unwrap();
    let after = (file.revision(), chain.revision());
    assert_ne!(after.0, before.0);
    assert_ne!(after.1, before.1);
    memory.set("two", Secret::from("second")).unwrap();
    assert_ne!(chain.revision(), after.1);
    assert_eq!(file.revision(), after.0);
}
