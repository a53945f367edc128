use std::process::Command;

use serde_json::Value;

use crate::cli_support::Place;
use crate::home::*;

/// A key pair of the program: the secret key's file, and the public key.
fn keys(place: &Place, file: &str) -> String {
    let ran = place.run(&["sign", "--new-key", "--key", file, "--json"]);
    ran.good();
    ran.json()["key"].as_str().unwrap().to_owned()
}

fn trust(place: &Place, keys: &[&str], require: bool) {
    let keys = keys.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>().join(", ");
    place.file(
        "tinclaw.toml",
        format!("channels = [\"channels\"]\nwebchat = true\n[trust]\nkeys = [{keys}]\nrequire_signature = {require}\n"),
    );
}

#[test]
fn a_package_that_is_not_signed_or_was_changed_is_refused_with_the_reason() {
    let place = home();
    let key = keys(&place, "author.key");
    trust(&place, &[&key], true);
    let guest = version(&place, "one", |_| {});
    let ran = place.run(&["install", text(&guest), "--yes"]);
    assert!(ran.code == Some(1) && ran.err.contains("it is not signed"), "{}", ran.err);
    // A setting was named that this command does not ask about.
    let ran = place.run(&["verify", text(&guest)]);
    assert!(ran.err.contains("it is not signed") && !ran.err.contains("require_signature"), "{}", ran.err);
    let made = place.run(&["sign", "--new-key", "--key", "other.key"]);
    assert!(made.good().contains("other.key is not encrypted"), "{}", made.out);
    place.run(&["sign", text(&guest), "--key", "author.key"]).good();
    assert_eq!(place.run(&["verify", text(&guest), "--json"]).json()["channel"], "everything");
    place.run(&["install", text(&guest), "--yes"]).good();
    let signed = [
        "everything.capabilities.json",
        "everything.manifest.json",
        "everything.manifest.json.minisig",
        "everything.wasm",
    ];
    assert_eq!(files(&place), signed);
    let host = place.host(&[], &[]);
    wait_for_version(&place, "one");
    host.stop();

    // Somebody changes the capability file in the directory, to less.
    let path = place.path().join("channels/everything.capabilities.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    file["capabilities"]["http"]["allowlist"] = serde_json::json!([]);
    std::fs::write(&path, file.to_string()).unwrap();
    let log = place.host(&[], &[]).stop();
    assert!(log.contains("channel everything: the capability file is not the one of the manifest"), "{log}");
    assert!(place.run(&["verify", "channels/everything.wasm"]).err.contains("the package was changed"));
}

#[test]
fn a_key_is_replaced_by_another_one_while_both_are_trusted() {
    let place = home();
    let (old, new) = (keys(&place, "old.key"), keys(&place, "new.key"));
    let guest = version(&place, "one", |_| {});
    place.run(&["sign", text(&guest), "--key", "old.key"]).good();
    trust(&place, &[&old, &new], true);
    place.run(&["install", text(&guest), "--yes"]).good();
    trust(&place, &[&new], true);
    let ran = place.run(&["verify", text(&guest)]);
    assert!(ran.code == Some(1) && ran.err.contains("which is not trusted"), "{}", ran.err);
    let log = place.host(&[], &[]).stop();
    assert!(log.contains("which is not trusted"), "{log}");
    let two = version(&place, "two", |_| {});
    place.run(&["sign", text(&two), "--key", "new.key"]).good();
    place.run(&["upgrade", "everything", text(&two)]).good();
    let host = place.host(&[], &[]);
    wait_for_version(&place, "two");
    host.stop();
}

/// The same build, signed again with the new key, was "this version already": its signature was not taken, and the channel was refused
/// when the old key was taken out.
#[test]
fn a_signature_of_the_same_build_is_taken_and_outlives_the_old_key() {
    let place = home();
    let (old, new) = (keys(&place, "old.key"), keys(&place, "new.key"));
    let guest = version(&place, "one", |_| {});
    place.run(&["sign", text(&guest), "--key", "old.key"]).good();
    trust(&place, &[&old, &new], true);
    let host = place.host(&[], &[]);
    place.run(&["install", text(&guest), "--yes"]).good();
    place.run(&["sign", text(&guest), "--key", "new.key"]).good();
    let ran = place.run(&["upgrade", "everything", text(&guest)]);
    assert!(ran.good().contains("upgraded everything; it runs"), "{}", ran.out);
    assert!(place.run(&["upgrade", "everything", text(&guest)]).good().contains("this version already"));
    host.stop();
    trust(&place, &[&new], true);
    let host = place.host(&[], &[]);
    wait_for_version(&place, "one");
    host.stop();
}

#[test]
fn channels_of_the_program_need_no_signature() {
    let place = home();
    trust(&place, &[], true);
    place.run(&["install", "webhook", "--yes"]).good();
    let host = place.host(&[], &[]);
    assert!(host.said.contains("webhook"), "{} {}", host.said, host.log());
    host.stop();
}

/// The tool of the format's author, where it is installed.
#[test]
fn minisign_verifies_what_is_signed_here_and_the_other_way_round() {
    if Command::new("minisign").arg("-v").output().is_err() {
        return;
    }
    let place = home();
    let minisign = |arguments: &[&str]| {
        let output = Command::new("minisign").args(arguments).current_dir(place.path()).output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    };
    let ours = keys(&place, "ours.key");
    let guest = version(&place, "one", |_| {});
    place.run(&["sign", text(&guest), "--key", "ours.key"]).good();
    let said = minisign(&["-Vm", "one/everything.manifest.json", "-P", &ours]);
    assert!(said.contains("Trusted comment: channel everything 0.1.0"), "{said}");
    assert!(minisign(&["-Vm", "one/everything.manifest.json", "-p", "ours.pub"]).contains("verified"));

    minisign(&["-GWf", "-p", "theirs.pub", "-s", "theirs.key"]);
    let public = std::fs::read_to_string(place.path().join("theirs.pub")).unwrap();
    let theirs = public.lines().nth(1).unwrap();
    // It signs with our key, and we with its key.
    minisign(&["-Sm", "one/everything.manifest.json", "-s", "theirs.key", "-t", "by the tool"]);
    place.run(&["verify", text(&guest), "--key", theirs]).good();
    place.run(&["sign", text(&guest), "--key", "theirs.key"]).good();
    minisign(&["-Vm", "one/everything.manifest.json", "-P", theirs]);
    minisign(&["-Sm", "one/everything.manifest.json", "-s", "ours.key"]);
    place.run(&["verify", text(&guest), "--key", &ours]).good();
}
