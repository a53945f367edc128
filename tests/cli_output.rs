//! What commands do when nobody reads what they print, or it finds no room.

mod cli_support;
mod support;

use std::fs::File;
use std::process::Stdio;

use cli_support::{Place, RunningHost};

/// Commands of every kind that print something; those that need a host ask the one that runs.
const COMMANDS: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["check", "channels/echo.wasm"],
    &["check", "--json", "channels/echo.wasm"],
    &["call", "channels/echo.wasm", "on-start"],
    &["channels", "list"],
    &["config", "show"],
    &["config", "check"],
    &["tools", "list"],
    &["messages", "list"],
    &["replies", "list"],
    &["pairing", "list"],
    &["secrets", "list"],
    &["setup"],
    &["status"],
    &["status", "--json"],
    &["status", "webchat"],
    &["status", "--watch"],
    &["health"],
    &["doctor"],
    &["trace", "1"],
    &["egress", "explain", "echo", "GET", "https://api.echo.example/"],
    &["verify-webhook", "echo", "--input", "request"],
    &["replay", "channels/echo.wasm", "--recording", "recording"],
    &["reload"],
    &["completions", "bash"],
    &["new", "made"],
];

fn place() -> (Place, RunningHost) {
    let place = Place::new();
    place.channel("echo");
    place.file("request", "POST /webhook/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    place.file("recording", "");
    place.file("tinclaw.toml", "channels = [\"channels\"]\nwebchat = true\n");
    let host = place.host(&[], &[]);
    host.say("1", "hello");
    (place, host)
}

/// `check | true`, `status | head -1` and others ended with a panic, exit code 101.
#[test]
fn a_reader_that_has_gone_ends_no_command_with_a_panic() {
    let (place, _host) = place();
    for command in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place.command(command).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0..=2)), "{command:?}: {:?} {said}", output.status);
        assert!(!said.contains("panicked") && !said.contains("roken pipe"), "{command:?}: {said}");
    }
}

/// A full disk ended them in the same way.
#[test]
fn output_that_finds_no_room_is_an_error() {
    let (place, _host) = place();
    for command in COMMANDS {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = place.command(command).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{command:?}: {:?} {said}", output.status);
        assert!(said.contains("error: "), "{command:?}: {said}");
        assert!(!said.contains("panicked"), "{command:?}: {said}");
    }
}

/// The value was stored, and then the program ended with a panic before anybody had seen it.
#[test]
fn a_generated_secret_that_cannot_be_shown_is_not_stored() {
    let place = Place::new();
    for json in [&[][..], &["--json"]] {
        let arguments = [&["secrets", "set", "made", "--generate"], json].concat();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = place.command(&arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("made is not stored"), "{said}");
        assert!(!place.run(&["secrets", "list"]).good().contains("made\n"));
    }
}
