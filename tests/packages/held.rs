//! What waits, is not approved, or is disabled: shown wherever the operator looks, with the command that helps.

use serde_json::Value;

use crate::cli_support::Place;
use crate::home::*;
use crate::support::{client, eventually};

/// Standard output of every command that shows channels, whatever their exit codes are.
fn views(place: &Place, channel: &str) -> Vec<(String, String)> {
    let commands: [&[&str]; 5] =
        [&["channels", "list"], &["status"], &["status", channel], &["health"], &["doctor"]];
    commands.iter().map(|command| (command.join(" "), place.run(command).out)).collect()
}

/// The words of what the host holds back.
fn held(place: &Place) -> Vec<(String, String)> {
    let health = place.run(&["health", "--json"]).json();
    let held = health["held"].as_array().unwrap().clone();
    let text = |held: &Value, field: &str| held[field].as_str().unwrap().to_owned();
    held.iter().map(|held| (text(held, "name"), text(held, "state"))).collect()
}

fn pair(name: &str, state: &str) -> (String, String) {
    (name.to_owned(), state.to_owned())
}

/// A version that waited for an approval was in no list, and `status` advised `setup` and a restart, which did not help.
#[test]
fn pending_packages_are_shown_everywhere_and_can_be_discarded() {
    let place = home();
    let host = place.host(&[], &[]);
    let one = version(&place, "one", |_| {});
    place.run(&["install", text(&one)]).waiting();
    assert_eq!(held(&place), [pair("everything", "waiting")]);
    for (command, shown) in views(&place, "everything") {
        assert!(shown.contains("tinclaw approve everything"), "{command}: {shown}");
        assert!(shown.contains("takes requests at /webhook/everything"), "{command}: {shown}");
        assert!(!shown.contains("tinclaw setup everything"), "{command}: {shown}");
    }
    assert!(place.run(&["remove", "everything"]).good().contains("discarded the package"));
    assert!(held(&place).is_empty());
    assert_eq!(place.run(&["remove", "everything"]).code, Some(1));

    place.run(&["install", text(&one), "--yes"]).good();
    wait_for_version(&place, "one");
    place.run(&["upgrade", "everything", text(&version(&place, "two", asks_for_more))]).waiting();
    for (command, shown) in views(&place, "everything") {
        assert!(shown.contains("tinclaw approve everything") && shown.contains(MORE), "{command}: {shown}");
    }
    assert_eq!(place.run(&["health"]).code, Some(0), "what runs is well");
    place.run(&["approve", "everything", "--reject"]).good();
    assert!(held(&place).is_empty() && running_version(&place).as_deref() == Some("one"));
    host.stop();
}

/// Somebody copied a capability file with more rights and restarted the host: the channel was gone, and nothing said why.
#[test]
fn files_that_are_not_approved_are_shown_and_approved_or_removed() {
    let place = home();
    let host = place.host(&[], &[]);
    place.run(&["install", text(&version(&place, "one", |_| {})), "--yes"]).good();
    host.stop();
    version(&place, "channels", asks_for_more);
    let host = place.host(&[], &[]);
    assert_eq!(held(&place), [pair("everything", "not_approved")]);
    for (command, shown) in views(&place, "everything") {
        assert!(shown.contains("tinclaw approve everything") && shown.contains(MORE), "{command}: {shown}");
        assert!(!shown.contains("tinclaw setup everything"), "{command}: {shown}");
    }
    assert_eq!(place.run(&["health"]).code, Some(1));
    host.stop();
    let shown = place.run(&["channels", "list"]);
    assert!(shown.out.contains("would load: webchat\n") && shown.code == Some(1), "{}", shown.out);
    let host = place.host(&[], &[]);
    place.run(&["approve", "everything", "--yes"]).good();
    wait_for_version(&place, "channels");
    assert!(held(&place).is_empty() && place.run(&["health"]).code == Some(0));
    host.stop();
}

/// Nothing said that the files beside a running channel were others until the next start, which left it out.
#[test]
fn files_that_are_replaced_under_a_running_channel_are_shown_until_they_are_loaded() {
    let place = home();
    let host = place.host(&[], &[]);
    place.run(&["install", text(&version(&place, "one", |_| {})), "--yes"]).good();
    wait_for_version(&place, "one");
    assert!(held(&place).is_empty());
    // The same bytes again are no change.
    version(&place, "channels", |file| file["config"]["display_name"] = "one".into());
    assert!(held(&place).is_empty());
    // Another guest.
    version_of(&place, "channels", &guest_of("two"), |_| {});
    assert_eq!(held(&place), [pair("everything", "files_changed")]);
    for (command, shown) in views(&place, "everything") {
        assert!(shown.contains("`tinclaw reload everything` loads them"), "{command}: {shown}");
    }
    assert_eq!(place.run(&["health"]).code, Some(0), "what runs is well");
    place.run(&["reload"]).good();
    wait_for_version(&place, "channels");
    assert!(held(&place).is_empty());
    // More rights.
    version_of(&place, "channels", &guest_of("two"), asks_for_more);
    assert_eq!(held(&place), [pair("everything", "files_changed")]);
    for (command, shown) in views(&place, "everything") {
        let is_said = shown.contains("a restart would leave it out") && shown.contains(MORE);
        assert!(is_said && shown.contains("tinclaw approve everything"), "{command}: {shown}");
    }
    assert_eq!(post(&host), 200);
    place.run(&["approve", "everything", "--yes"]).good();
    crate::support::eventually("they are loaded", || held(&place).is_empty().then_some(()));
    host.stop();
}

/// `status` never said that a channel was disabled, and advised a restart.
#[test]
fn a_channel_that_is_disabled_is_shown_as_that() {
    let place = home();
    let host = place.host(&[], &[]);
    place.run(&["install", text(&version(&place, "one", |_| {})), "--yes"]).good();
    place.run(&["disable", "everything"]).good();
    assert_eq!(held(&place), [pair("everything", "disabled")]);
    for (command, shown) in views(&place, "everything") {
        assert!(shown.contains("tinclaw enable everything"), "{command}: {shown}");
        assert!(!shown.contains("restart of the host"), "{command}: {shown}");
    }
    assert_eq!(place.run(&["health"]).code, Some(0), "it is as the operator wants it");
    host.stop();
    let shown = place.run(&["channels", "list"]);
    assert!(shown.good().contains("would load: webchat\n"), "{}", shown.out);
    assert!(shown.out.contains("tinclaw enable everything"), "{}", shown.out);
}

/// `approve` granted what nobody had seen, also a second time.
#[test]
fn nothing_is_approved_that_nobody_agreed_to() {
    let place = home();
    let host = place.host(&[], &[]);
    place.run(&["install", text(&version(&place, "one", |_| {})), "--yes"]).good();
    place.run(&["upgrade", "everything", text(&version(&place, "two", asks_for_more))]).waiting();
    let ran = place.run(&["approve", "everything"]);
    assert!(ran.code == Some(1) && ran.out.contains(MORE) && ran.err.contains("--yes"), "{}", ran.err);
    assert!(place.run(&["approve", "everything", "--show"]).good().contains(MORE));
    let shown = place.run(&["approve", "everything", "--show", "--json"]).json();
    assert_eq!(shown["added"], serde_json::json!([format!("takes requests at {MORE}")]));
    assert_eq!((running_version(&place).as_deref(), held(&place).len()), (Some("one"), 1));
    assert!(place.run(&["approve", "everything", "--yes"]).good().contains("upgraded everything; it runs"));
    wait_for_version(&place, "two");
    let again = place.run(&["approve", "everything", "--yes"]);
    assert!(again.good().contains("is approved already"), "{}", again.out);
    assert_eq!(place.run(&["approve", "everything", "--reject"]).code, Some(1), "nothing waits");
    host.stop();
}

/// A version that was declined was installed by a later `approve`, although the operator had gone back to the one before.
#[test]
fn going_back_to_the_installed_version_discards_the_one_that_waits() {
    let place = home();
    let host = place.host(&[], &[]);
    let one = version(&place, "one", |_| {});
    place.run(&["install", text(&one), "--yes"]).good();
    place.run(&["upgrade", "everything", text(&version(&place, "two", asks_for_more))]).waiting();
    let said = place.run(&["upgrade", "everything", text(&one)]);
    assert!(
        said.good().contains("is this version already; the version that waited is discarded"),
        "{}",
        said.out
    );
    assert!(place.run(&["approve", "everything", "--yes"]).good().contains("approved already"));
    assert_eq!(running_version(&place).as_deref(), Some("one"));
    host.stop();
}

/// A stopped installation kept the lock: `run` and every command about packages waited without end, and no signal ended them.
#[test]
fn a_host_starts_and_stops_while_another_program_keeps_the_packages_locked() {
    let place = home();
    place.file("channels/.packages/lock", "");
    let lock = std::fs::File::open(place.path().join("channels/.packages/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let host = place.host(&[], &[]);
    let log = host.stop();
    assert!(log.contains("are left as they are") && log.contains(".packages/lock"), "{log}");
    let ran = place.run(&["remove", "everything"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let ran = place.run(&["install", text(&version(&place, "one", |_| {})), "--yes"]);
    assert!(ran.code == Some(1) && ran.err.contains("another tinclaw program"), "{}", ran.err);
}

/// A host name that cannot be one was shown for approval, and the channel could never be loaded.
#[test]
fn a_package_that_can_never_run_is_refused_before_anybody_is_asked() {
    let place = home();
    let guest = version(&place, "one", |file| {
        file["capabilities"]["http"]["allowlist"][0]["host"] = "a\u{1b}[2J.example".into();
    });
    let ran = place.run(&["install", text(&guest)]);
    assert!(ran.code == Some(1) && !ran.out.contains("asks for"), "{}{}", ran.out, ran.err);
    assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
    assert!(!place.path().join("channels/.packages/everything.pending").exists());
}

/// "installed; it runs" was said of a version whose only path another channel has.
#[test]
fn a_version_that_serves_no_path_is_an_error() {
    let place = home();
    let host = place.host(&[], &[]);
    place.run(&["install", text(&version(&place, "one", |_| {})), "--yes"]).good();
    let other = version(&place, "two", |file| file["name"] = "other".into());
    let other = {
        let folder = other.parent().unwrap();
        for ending in ["wasm", "capabilities.json"] {
            let (from, to) = (format!("everything.{ending}"), format!("other.{ending}"));
            std::fs::rename(folder.join(from), folder.join(to)).unwrap();
        }
        folder.join("other.wasm")
    };
    let ran = place.run(&["install", text(&other), "--yes"]);
    assert!(ran.code == Some(1) && ran.out.contains("and does not work"), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("/webhook/everything"), "{}", ran.out);
    host.stop();
}

/// `channels install` and `setup` granted what nobody had been shown, and `channels install` spoke of the next start.
#[test]
fn every_way_to_install_shows_what_a_channel_may_do() {
    let place = home();
    let host = place.host(&[], &[]);
    let ran = place.run(&["channels", "install", "webhook"]);
    assert!(
        ran.code == Some(1) && ran.err.contains("it waits for `tinclaw approve webhook`"),
        "{}{}",
        ran.out,
        ran.err
    );
    assert!(ran.out.contains("takes requests at /webhook"), "{}", ran.out);
    let ran = place.run(&["channels", "install", "webhook", "--to", "others"]);
    assert!(ran.code == Some(1) && ran.out.contains("takes requests at /webhook"), "{}", ran.out);
    assert!(!place.path().join("others").exists());
    let ran = place.run(&["channels", "install", "webhook", "--yes"]);
    assert!(ran.out.contains("installed webhook;") && !ran.out.contains("next start"), "{}", ran.out);
    // In place of the package that waits.
    place.run(&["install", "signal"]).waiting();
    let ran = place.run(&[
        "setup",
        "signal",
        "--no-check",
        "--set",
        "api=http://127.0.0.1:9",
        "--set",
        "number=+4915112345678",
    ]);
    assert!(ran.out.contains("gets these rights:\n  "), "{}{}", ran.out, ran.err);
    assert!(held(&place).iter().all(|(name, _)| name != "signal"), "{:?}", held(&place));
    host.stop();
}

/// A channel whose required setting was missing was said to be set up.
#[test]
fn a_channel_without_its_required_setting_is_not_set_up() {
    let place = home();
    place.run(&["install", "signal", "--yes"]).good();
    let listed = place.run(&["setup", "--json"]).json();
    let signal =
        listed["channels"].as_array().unwrap().iter().find(|channel| channel["name"] == "signal").unwrap();
    assert_eq!(signal["state"], "incomplete", "{signal}");
    assert!(!signal["missing_settings"].as_array().unwrap().is_empty(), "{signal}");
}

/// A removal on a full disk took the channel out of the running host, and its files stayed.
#[test]
fn a_removal_that_cannot_be_written_down_changes_nothing() {
    let place = home();
    let host = place.host(&[], &[]);
    place.run(&["install", text(&version(&place, "one", |_| {})), "--yes"]).good();
    wait_for_version(&place, "one");
    let in_the_way = place.file("channels/.packages/everything.new", "");
    assert_eq!(place.run(&["remove", "everything"]).code, Some(1));
    assert_eq!((post(&host), files(&place).len()), (200, 2));
    std::fs::remove_file(in_the_way).unwrap();
    place.run(&["remove", "everything"]).good();
    assert_eq!((post(&host), files(&place).len()), (404, 0));
    host.stop();
}

/// `check` left out where secrets go, what the guest gets, and limits.
#[test]
fn check_shows_what_approve_shows() {
    let place = home();
    let guest = version(&place, "one", |_| {});
    place.run(&["install", text(&guest)]).waiting();
    let asked = place.run(&["approve", "everything", "--show", "--json"]).json();
    let checked = place.run(&["check", text(&guest), "--json"]).json();
    assert_eq!(checked["channels"][0]["rights"], asked["rights"]);
    let shown = place.run(&["check", text(&guest)]);
    for right in asked["rights"].as_array().unwrap() {
        assert!(shown.out.contains(right.as_str().unwrap()), "{right}: {}", shown.out);
    }
}

/// The web chat was gone after the first installation, without a word.
#[test]
fn the_end_of_the_fallback_web_chat_is_reported() {
    let place = home();
    place.file("tinclaw.toml", "channels = [\"channels\"]\n");
    let ran = place.run(&["install", text(&version(&place, "one", |_| {})), "--yes"]);
    assert!(ran.good().contains("`webchat = true` in tinclaw.toml keeps it"), "{}", ran.out);
    let log = place.host(&[], &[]).stop();
    assert!(log.contains("the web chat does not run, because there are channels"), "{log}");
}

/// A reminder of a channel that was removed fired when the channel was installed again.
#[test]
fn timers_of_a_removed_channel_do_not_come_back() {
    for stops in [false, true] {
        let place = home();
        let mut host = place.host(&[], &[]);
        let one = version(&place, "one", |_| {});
        let remind = |host: &crate::cli_support::RunningHost, delay_ms: u64, text: &str| {
            let task = serde_json::json!({"do": "timer-set", "name": text, "delay_ms": delay_ms,
                "payload": {"do": "emit-message", "content": text, "user_id": "7"}});
            let body = task.to_string();
            let response = client::request(host.address, "POST", "/webhook/everything", &[], body.as_bytes());
            assert_eq!(response.status, 200);
        };
        place.run(&["install", text(&one), "--yes"]).good();
        wait_for_version(&place, "one");
        remind(&host, 3_000, "old");
        if stops {
            host.stop();
            place.run(&["remove", "everything"]).good();
            host = place.host(&[], &[]);
        } else {
            place.run(&["remove", "everything"]).good();
        }
        place.run(&["install", text(&one), "--yes"]).good();
        wait_for_version(&place, "one");
        // Due after the old one.
        remind(&host, 3_500, "new");
        let said = || place.run(&["messages", "list", "--json"]).out;
        eventually("the new one fires", || said().contains("\"new\"").then_some(()));
        assert!(!said().contains("\"old\""), "{}", said());
        host.stop();
    }
}

/// Two installations of one file at once left a package that waited for the next start, although nothing was to be done.
#[test]
fn installations_at_once_leave_nothing_that_waits() {
    let place = home();
    let one = version(&place, "one", |_| {});
    let install = || place.run(&["install", text(&one), "--yes"]);
    // All have seen that nothing is installed before the first one may go on, unless the machine is very slow.
    place.file("channels/.packages/lock", "");
    let lock = std::fs::File::open(place.path().join("channels/.packages/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(install)).collect();
        std::thread::sleep(std::time::Duration::from_secs(2));
        drop(lock);
        let codes: Vec<_> = all.into_iter().map(|each| each.join().unwrap().code).collect();
        assert!(codes.contains(&Some(0)), "{codes:?}");
    });
    assert!(!place.path().join("channels/.packages/everything.pending").exists());
    assert_eq!(files(&place), ["everything.capabilities.json", "everything.wasm"]);
}
