//! An installation that nobody has touched: what was installed runs, and nothing is wrong with its files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use crate::cli_support::Place;
use crate::home::version;
use crate::support::{eventually, fixtures};

// `install webchat` said that the web chat would not run from the next start on, although it is what was installed; and with
// `webchat = true` the host said that its file has the name of another channel, while `config check` and `channels list` found nothing.
#[test]
fn an_installed_web_chat_takes_the_place_of_the_bundled_one() {
    let place = Place::new();
    place.file("tinclaw.toml", "channels = [\"channels\"]\n");
    fs::create_dir(place.path().join("channels")).unwrap();
    let ran = place.run(&["install", "webchat", "--yes"]);
    assert!(!ran.good().contains("webchat = true"), "{}", ran.out);
    for configuration in ["channels = [\"channels\"]\nwebchat = true\n", "channels = [\"channels\"]\n"] {
        place.file("tinclaw.toml", configuration);
        place.run(&["config", "check"]).good();
        let listed = place.run(&["channels", "list", "--json"]).json();
        assert_eq!(listed["channels"], json!([{"name": "webchat"}]), "{listed}");
        let host = place.host(&[], &[]);
        host.say("1", "hello");
        host.hears("hello");
        let log = host.log();
        assert!(!log.contains("name of another channel") && !log.contains("does not run"), "{log}");
        host.stop();
    }
}

// `install` made the state directory readable by everybody, and `doctor` reported that as an error of an untouched installation.
#[test]
fn whichever_command_makes_the_state_directory_it_is_its_owners_alone() {
    let archive = Place::new();
    let guest = version(&archive, "one", |_| {});
    let guest = guest.to_str().unwrap();
    for command in [
        &["install", "webchat", "--yes"][..],
        &["install", guest, "--yes"],
        &["channels", "install", "webchat", "--yes", "--to", "others"],
        &["secrets", "set", "a_secret"],
    ] {
        let place = Place::new();
        let ran = place.run_with_input(command, "value\n");
        assert!(mode(&place.state()) == Some(0o700), "{command:?}: {:?} {}", mode(&place.state()), ran.err);
    }
}

#[test]
fn a_host_tightens_the_usual_state_directory_and_leaves_one_that_was_named() {
    let place = Place::new();
    let usual = place.path().join(".local/state/tinclaw");
    for directory in [usual.clone(), place.state()] {
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    }
    let named = place.host(&[], &[]);
    assert_eq!(mode(&place.state()), Some(0o755));
    named.stop();
    let mut host =
        place.command(&["run", "--listen", "127.0.0.1:0"]).env_remove("TINCLAW_STATE_DIR").spawn().unwrap();
    eventually("it is tightened", || (mode(&usual) == Some(0o700)).then_some(()));
    host.kill().unwrap();
    host.wait().unwrap();
}

fn mode(path: &Path) -> Option<u32> {
    Some(fs::metadata(path).ok()?.permissions().mode() & 0o777)
}

// `dm_policy = "foo"` was accepted by `setup`, `config check` and `check`; the guest failed at each start, for ever.
#[test]
fn a_value_that_a_channel_does_not_accept_is_refused_before_it_starts() {
    let place = Place::new();
    let token = place.file("token", "123456:first-token");
    let secret = format!("--secret=telegram_bot_token={}", token.display());
    for setting in ["dm_policy=foo", "poll_interval_ms=often"] {
        let ran = place.run(&["setup", "telegram", "--no-check", &secret, "--set", setting]);
        assert!(ran.code == Some(2) && ran.err.contains("give "), "{setting}: {}{}", ran.out, ran.err);
    }
    place.run(&["install", "telegram", "--yes"]).good();
    let installed = place.path().join(".local/share/tinclaw/channels");
    for (setting, expected) in [
        (
            "dm_policy = \"foo\"",
            "`channel.telegram.config.dm_policy`: channel telegram does not accept this value; give pairing",
        ),
        ("poll_interval_ms = \"often\"", "give a number"),
    ] {
        place.file("tinclaw.toml", format!("[channel.telegram.config]\n{setting}\n"));
        let ran = place.run(&["config", "check"]);
        assert!(ran.code == Some(1) && ran.out.contains(expected), "{setting}: {}{}", ran.out, ran.err);
        let ran = place.run(&["check", installed.to_str().unwrap()]);
        assert!(ran.code == Some(1) && ran.out.contains(expected), "{setting}: {}{}", ran.out, ran.err);
    }
}

// `check` said nothing about a guest without a capability file, although such a channel can do nothing.
#[test]
fn a_channel_that_may_do_nothing_is_warned_of() {
    let place = Place::new();
    let guest = place.file("guests/echo.wasm", fixtures::guest("echo"));
    let guest = guest.to_str().unwrap();
    for file in [None, Some("{}")] {
        file.map(|text| place.file("guests/echo.capabilities.json", text));
        let ran = place.run(&["check", guest]);
        assert!(ran.good().contains("it may do nothing"), "{file:?}: {}", ran.out);
    }
}

// Each error led somewhere else: to the owner of a file that is not there, to an option that was not given, to Rust's ranges.
#[test]
fn an_error_says_what_helps() {
    let place = Place::new();
    for (arguments, expected, not) in [
        (&["call", "nosuch.wasm", "on-poll"][..], "correct the path", "owner"),
        (&["sign", "nosuch.wasm", "--key", "k"], "correct the path", "owner"),
        (&["record", "echo", "--seconds", "0"], "expected a whole number from 1 to 3600", "..="),
        (&["messages", "list"], "`tinclaw run` starts one", "???"),
    ] {
        let ran = place.run(arguments);
        let said = ran.err.contains(expected) && !ran.err.contains(not);
        assert!(ran.code != Some(0) && said, "{arguments:?}: {}", ran.err);
    }
    let ran = place.command(&["health"]).env("TINCLAW_HOST", "shelf").output().unwrap();
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(error.contains("TINCLAW_HOST: \"shelf\" is no host") && !error.contains("--host:"), "{error}");
    let root = place.path().join("root");
    let ran = place.run(&["service", "uninstall", "--root", root.to_str().unwrap()]);
    assert!(ran.good().contains("nothing was removed") && !ran.out.contains("daemon-reload"), "{}", ran.out);
}
