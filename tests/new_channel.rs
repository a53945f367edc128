//! `tinclaw new`: what it writes loads, and builds where there is a compiler for guests.

mod cli_support;
mod support;

use std::process::Command;

use cli_support::Place;
use tinclaw::{ChannelCapabilitiesFile, ChannelName};

#[test]
fn a_new_channel_has_its_files_and_the_kit() {
    let place = Place::new();
    let ran = place.run(&["new", "my-bot"]);
    let said = ran.good();
    for part in ["cd my-bot", "release/my_bot.wasm channels/", "tinclaw check channels"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let folder = place.path().join("my-bot");
    for path in
        ["Cargo.toml", "src/lib.rs", "tinclaw.toml", "kit/Cargo.toml", "kit/src/lib.rs", "kit/wit/world.wit"]
    {
        assert!(folder.join(path).is_file(), "{path}");
    }
    let bytes = std::fs::read(folder.join("channels/my_bot.capabilities.json")).unwrap();
    let name = ChannelName::new("my_bot").unwrap();
    ChannelCapabilitiesFile::parse("my_bot.capabilities.json", &name, &bytes).unwrap();
    let other = place.run(&["new", "other", "--json"]).json();
    let files = other["files"].as_array().unwrap();
    assert_eq!((&other["channel"], &other["directory"]), (&"other".into(), &"other".into()));
    assert!(files.contains(&"other/src/lib.rs".into()) && files.contains(&"other/kit/src/lib.rs".into()));
}

#[test]
fn an_existing_folder_and_a_wrong_name_are_refused() {
    let place = Place::new();
    place.file("shout/mine", "precious");
    let ran = place.run(&["new", "shout"]);
    assert!(ran.code == Some(1) && ran.err.contains("shout is there already"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(place.path().join("shout")).unwrap().count(), 1);
    for wrong in ["Shout", "../shout", "fn", "1st"] {
        assert_eq!(place.run(&["new", wrong]).code, Some(2), "{wrong}");
    }
}

/// Builds the crate in a folder for WebAssembly, where that is possible here: with rustup's target, or as
/// `channels/build.sh` does with `GUEST_RUST_SH`.
fn build(place: &Place) -> Option<bool> {
    let folder = place.path().join("shout");
    let target = "wasm32-unknown-unknown";
    if let Some(script) = std::env::var_os("GUEST_RUST_SH") {
        let build = ". \"$GUEST_RUST_SH\" && guest_cargo build --release";
        let built = Command::new("bash")
            .args(["-c", build])
            .env("GUEST_RUST_SH", script)
            .current_dir(folder)
            .status();
        return Some(built.expect("bash").success());
    }
    let libraries =
        Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output().ok()?;
    std::fs::metadata(String::from_utf8(libraries.stdout).ok()?.trim()).ok()?;
    let built =
        Command::new("cargo").args(["build", "--release", "--target", target]).current_dir(folder).status();
    Some(built.expect("cargo").success())
}

#[test]
fn a_new_channel_builds_and_passes_the_check() {
    let place = Place::new();
    place.run(&["new", "shout"]).good();
    let Some(is_built) = build(&place) else {
        eprintln!("skipped: there is no compiler for guests here");
        return;
    };
    assert!(is_built);
    let folder = place.path().join("shout");
    let wasm = folder.join("target/wasm32-unknown-unknown/release/shout.wasm");
    std::fs::copy(wasm, folder.join("channels/shout.wasm")).unwrap();
    let output = place.command(&["check", "--start", "channels"]).current_dir(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 channel"), "{said}");
}
