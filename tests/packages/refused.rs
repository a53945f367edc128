//! Configurations that a start refuses: `config check`, `reload` and `run` say the same of them, and a host that runs goes on.

use crate::cli_support::{Place, RunningHost};
use crate::home::*;
use crate::support::eventually;

fn configure(place: &Place, text: &str) {
    place.file("tinclaw.toml", text);
}

/// A home without the web chat, whose channel runs.
fn running_home() -> (Place, RunningHost) {
    let place = home();
    place.channel("everything");
    configure(&place, GOOD);
    let host = place.host(&[], &[]);
    wait_for_version(&place, "Everything");
    (place, host)
}

const GOOD: &str = "channels = [\"channels\"]\n";

fn is_as_it_was(place: &Place, host: &RunningHost, case: &str) {
    assert_eq!((post(host), running_version(place).as_deref()), (200, Some("Everything")), "{case}");
    assert!(!host.log().contains("stopping"), "{case}: {}", host.log());
}

/// `config check` found nothing wrong with these, `reload` took them, and `run --takeover` ended the running host before it found out.
#[test]
fn a_reload_refuses_what_a_start_refuses_before_changing_anything() {
    let (place, host) = running_home();
    for (settings, expected) in [
        ("proxy = \"foo\"", "proxy: "),
        ("allow_private_hosts = [\"*\"]", "allow_private_hosts: '*'"),
        ("http_rewrite = { \"a b\" = \"x\" }", "http_rewrite: 'a b'"),
        (
            "admin = \"127.0.0.1:0\"\nadmin_token = \"nobody_stored_it\"",
            "there is no secret nobody_stored_it",
        ),
        (
            "admin = \"unix:/nonexistent/dir/x\"",
            "admin: the admin API cannot listen at unix:/nonexistent/dir/x",
        ),
        ("admin = \"192.0.2.1:1\"\nadmin_token = \"t\"", "there is no secret t"),
        ("access_log = \"/nonexistent/a\"", "access_log \"/nonexistent/a\""),
        ("access_log = \"\"", "access_log \"\""),
        ("log = \"bogus\"", "log: \"bogus\" is not a log level"),
        ("log = \"info,=debug\"", "\"=debug\" names no target"),
        ("log_file = \"/nonexistent/a/b\"", "log_file \"/nonexistent/a/b\""),
        ("log_file = \".\"", "log_file \".\""),
        ("log_file = \"\"", "log_file \"\""),
        ("tools = [\"no-such-directory\"]", "tools: no-such-directory does not exist"),
        ("tool_files = \"none\"\ntools = [\"channels\"]", "none, which tools shall read, is no directory"),
    ] {
        configure(&place, &format!("{settings}\n{GOOD}"));
        let ran = place.run(&["config", "check"]);
        assert!(ran.code == Some(1) && ran.out.contains(expected), "{settings}: {}{}", ran.out, ran.err);
        let ran = place.run(&["reload"]);
        assert!(ran.code == Some(1) && ran.err.contains(expected), "{settings}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains("nothing was changed"), "{settings}: {}", ran.err);
        let ran = place.run(&["run", "--takeover"]);
        assert!(ran.code >= Some(1) && ran.err.contains(expected), "{settings}: {}{}", ran.out, ran.err);
        is_as_it_was(&place, &host, settings);
    }
    configure(&place, GOOD);
    assert!(place.run(&["config", "check"]).good().contains("0 errors"));
    assert_eq!(place.run(&["reload"]).good(), "nothing has changed\n");
    host.stop();
}

/// The running host was ended for one that had no channel it may run.
#[test]
fn a_start_without_a_channel_that_may_run_ends_no_host() {
    let (place, host) = running_home();
    let required = format!("{GOOD}[trust]\nrequire_signature = true\n");
    configure(&place, &required);
    let ran = place.run(&["run", "--takeover"]);
    assert!(ran.code == Some(1) && ran.err.contains("it is not signed"), "{}", ran.err);
    is_as_it_was(&place, &host, "unsigned");
    let ran = place.run(&["config", "check"]);
    assert!(ran.code == Some(1) && ran.out.contains("it is not signed"), "{}", ran.out);
    // The one that runs goes on, and the operator hears that a restart would not start it.
    for _ in 0..2 {
        let ran = place.run(&["reload"]);
        let expected = "goes on, and would be refused at a restart: channel everything: it is not signed";
        assert!(ran.code == Some(1) && ran.out.contains(expected), "{}{}", ran.out, ran.err);
    }
    let ran = place.run(&["reload", "--json"]);
    assert_eq!(ran.json()["refused_at_restart"].as_array().unwrap().len(), 1);
    is_as_it_was(&place, &host, "unsigned");
    host.stop();
}

/// The account was taken out, and the exit code was 0.
#[test]
fn a_guest_that_is_nowhere_is_an_error_and_its_account_goes_on() {
    let (place, host) = running_home();
    let account = |guest: &str| format!("{GOOD}[channel.second]\nguest = \"{guest}\"\n");
    configure(&place, &account("everything"));
    place.run(&["reload"]).good();
    configure(&place, &account("nope"));
    for command in [&["config", "check"][..], &["reload"]] {
        let ran = place.run(command);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(ran.code == Some(1) && said.contains("channel second: there is no guest nope"), "{said}");
    }
    let channels = place.run(&["channels", "list"]);
    assert!(channels.good().contains("second"), "{}", channels.out);
    host.stop();
}

/// The file was gone for a moment, or empty between two writes of an editor: the host took every channel out, and said that all was well.
#[test]
fn a_configuration_that_has_gone_takes_no_channel_out() {
    let (place, host) = running_home();
    let path = place.path().join("tinclaw.toml");
    let away = place.path().join("away.toml");
    std::fs::rename(&path, &away).unwrap();
    let gone = || place.run(&["reload"]);
    let ran = gone();
    assert!(
        ran.code == Some(1) && ran.err.contains("cannot read the configuration tinclaw.toml"),
        "{}",
        ran.err
    );
    is_as_it_was(&place, &host, "gone");
    for (text, code) in [("", 1), ("\n", 1), (GOOD, 0)] {
        configure(&place, text);
        let ran = place.run(&["reload"]);
        assert_eq!(ran.code, Some(code), "{text}: {}{}", ran.out, ran.err);
        assert!(code == 0 || ran.err.contains("tinclaw.toml is empty"), "{}", ran.err);
        is_as_it_was(&place, &host, text);
    }
    // Its directory of channels as well.
    std::fs::rename(place.path().join("channels"), place.path().join("moved")).unwrap();
    assert!(gone().err.contains("channels does not exist"), "{}", gone().err);
    std::fs::rename(place.path().join("moved"), place.path().join("channels")).unwrap();
    is_as_it_was(&place, &host, "without its directory");
    host.stop();
}

/// A reload waited for ever for somebody who writes into a pipe.
#[test]
fn a_configuration_that_is_a_pipe_is_refused() {
    let (place, host) = running_home();
    let path = place.path().join("tinclaw.toml");
    std::fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    host.signal("HUP");
    eventually("the log says so", || host.log().contains("is not an ordinary file").then_some(()));
    let ran = place.run(&["reload"]);
    assert!(ran.code == Some(2) && ran.err.contains("it is not a regular file"), "{}", ran.err);
    assert_eq!(post(&host), 200);
    host.stop();
}

/// The host made an empty state directory and took all channels as approved.
#[test]
fn a_reload_adopts_no_channel() {
    let (place, host) = running_home();
    let away = place.path().join("away");
    std::fs::rename(place.state(), &away).unwrap();
    host.signal("HUP");
    eventually("the log says so", || host.log().contains("put the state directory back").then_some(()));
    assert!(!place.state().exists());
    std::fs::rename(&away, place.state()).unwrap();
    is_as_it_was(&place, &host, "moved");
    host.stop();
}
