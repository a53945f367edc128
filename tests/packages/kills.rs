//! The program is killed at random moments of an installation, an upgrade and a removal: what counts is the old state or the new one.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli_support::Place;
use crate::home::*;

/// The numbers of a simple generator, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        // Knuth's constants for a linear congruential generator.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}

/// How often something is killed: so often, or `TINCLAW_KILL_ROUNDS` for a long run.
fn rounds(count: usize) -> usize {
    std::env::var("TINCLAW_KILL_ROUNDS").map_or(count, |rounds| rounds.parse().unwrap())
}

/// Starts a command and kills it after a while.
fn killed(place: &Place, arguments: &[&str], after: Duration) {
    let mut command = place.command(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    let _ = child.kill();
    let _ = child.wait();
}

/// The version that lies in the directory, if any; an error when the files and what was approved are not of one version.
fn version_on_disk(place: &Place) -> Result<Option<String>, String> {
    let names = files(place);
    let record = std::fs::read(place.state().join("channels/everything.json")).ok();
    let record: Value = record.map(|text| serde_json::from_slice(&text).unwrap()).unwrap_or_default();
    if names.is_empty() {
        return if record["approved"].is_null() { Ok(None) } else { Err(format!("no files, but {record}")) };
    }
    if names != ["everything.capabilities.json", "everything.wasm"] {
        return Err(format!("the files are {names:?}"));
    }
    let version = installed_version(place);
    let approved = record["approved"]["rights"].as_str().unwrap_or("{}");
    let approved: Value = serde_json::from_str(approved).unwrap();
    let approved = &approved["config"]["display_name"];
    // Each version has a guest of its own.
    let guest = std::fs::read(place.path().join("channels/everything.wasm")).unwrap();
    if approved != version.as_str() || !guest.ends_with(version.as_bytes()) {
        let end = String::from_utf8_lossy(&guest[guest.len() - 3..]);
        return Err(format!(
            "the capability file is {version}, {approved} is approved, the guest ends in {end}"
        ));
    }
    Ok(Some(version))
}

/// The same where nothing may be half done.
fn consistent_version(place: &Place) -> Option<String> {
    version_on_disk(place).unwrap_or_else(|reason| panic!("half of a version: {reason}"))
}

#[test]
fn commands_that_are_killed_leave_the_old_state_or_the_new_one() {
    let place = home();
    let guest = version_of(&place, "one", &guest_of("one"), |_| {});
    let install = ["install", text(&guest), "--yes"];
    let begun = Instant::now();
    place.run(&install).good();
    let took = u64::try_from(begun.elapsed().as_micros()).unwrap();
    let mut numbers = Numbers(7);
    let mut killed_in = [0, 0];
    for _ in 0..rounds(100) {
        let is_installed = consistent_version(&place).is_some();
        let after = Duration::from_micros(numbers.below(took * 5 / 4));
        let remove = ["remove", "everything"];
        killed(&place, if is_installed { &remove } else { &install }, after);
        // Any command about packages finishes what was begun.
        place.run(&["approve", "nothing"]);
        let is_changed = consistent_version(&place).is_some() != is_installed;
        killed_in[usize::from(is_changed)] += 1;
    }
    println!("{} were killed before, {} after it counted", killed_in[0], killed_in[1]);
}

#[test]
fn a_host_that_is_killed_during_an_upgrade_starts_with_the_old_version_or_the_new_one() {
    let place = home();
    let versions = ["one", "two"].map(|name| version_of(&place, name, &guest_of(name), |_| {}));
    place.run(&["install", text(&versions[0]), "--yes"]).good();
    let mut numbers = Numbers(11);
    for round in 0..rounds(8) {
        let host = place.host(&[], &[]);
        // An upgrade that was cut short may go on at the start: which version it is may change until it runs, and its files are
        // moved one after the other while the host runs.
        let version = crate::support::eventually("the version on the disk runs", || {
            running_version(&place)
                .filter(|running| version_on_disk(&place).ok().flatten().as_ref() == Some(running))
        });
        let other = if version == "one" { &versions[1] } else { &versions[0] };
        let mut upgrade = place.command(&["upgrade", "everything", text(other)]);
        let mut child = upgrade.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(numbers.below(1_500)));
        // Dropping a host kills it.
        drop(host);
        let _ = child.kill();
        let _ = child.wait();
        place.run(&["approve", "nothing"]);
        let found = consistent_version(&place);
        assert!(matches!(found.as_deref(), Some("one" | "two")), "round {round}: {found:?}");
    }
}

/// A version of its own that asks for one path more than the one before.
fn version_with_paths(place: &Place, number: usize) -> std::path::PathBuf {
    let name = format!("v{number:03}");
    version_of(place, &name, &guest_of(&name), |file| {
        let paths = file["capabilities"]["channel"]["allowed_paths"].as_array_mut().unwrap();
        paths.extend((1..=number).map(|more| Value::from(format!("/webhook/everything/more/{more}"))));
    })
}

/// Without a host an approval is one renamed file; with one, files are moved.
#[test]
fn an_approval_during_which_the_host_is_killed_counts_or_can_be_given_again() {
    let place = home();
    place.run(&["install", text(&version_with_paths(&place, 0)), "--yes"]).good();
    let (approve, mut took, mut numbers) = (["approve", "everything", "--yes"], None, Numbers(19));
    for number in 1..=rounds(15) {
        let (old, new) = (format!("v{:03}", number - 1), format!("v{number:03}"));
        let host = place.host(&[], &[]);
        wait_for_version(&place, &old);
        let said = place.run(&["upgrade", "everything", text(&version_with_paths(&place, number)), "--json"]);
        assert_eq!(said.json()["state"], "waits_for_approval");
        let begun = Instant::now();
        match took {
            // The first one is not killed: it shows how long it takes.
            None => {
                place.run(&approve).good();
                took = Some(u64::try_from(begun.elapsed().as_micros()).unwrap());
            }
            Some(took) => killed(&place, &approve, Duration::from_micros(numbers.below(took * 5 / 4))),
        }
        drop(host);
        place.run(&["approve", "nothing"]);
        let found = consistent_version(&place).unwrap();
        assert!(found == old || found == new, "{number}: {found}");
        // What had not counted still waits, and what had is not asked again.
        let _host = place.host(&[], &[]);
        place.run(&approve);
        wait_for_version(&place, &new);
    }
}

/// What becomes of the two hosts of a take-over when one is killed at some moment of it: the other one serves.
///
/// The old one ended after it had passed its socket on, and when the new one was killed then, nobody served.
#[test]
fn a_takeover_in_which_a_host_is_killed_leaves_one_that_serves_and_loses_no_message() {
    let place = home();
    let (mut numbers, rounds) = (Numbers(23), rounds(8));
    let mut old = place.host(&[], &[]);
    for round in 0..rounds {
        // The chat does not show all that were ever sent.
        if round > 0 {
            old.hears(&format!("message {}", round - 1));
        }
        old.say(&round.to_string(), &format!("message {round}"));
        // A request that does not end keeps the old host from stopping, so that it is killed in the middle.
        let mut unfinished = std::net::TcpStream::connect(old.address).unwrap();
        unfinished
            .write_all(b"POST /chat/send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            .unwrap();
        let said = std::fs::File::create(place.path().join("next")).unwrap();
        let mut takes = place.command(&["run", "--takeover", "--listen", "127.0.0.1:0"]);
        let mut next = takes.stdout(said).stderr(Stdio::null()).spawn().unwrap();
        if round % 4 == 0 {
            crate::support::eventually("the old host stops", || old.log().contains("stopping").then_some(()));
        } else {
            std::thread::sleep(Duration::from_millis(numbers.below(600)));
            // Half of them between the end of the one and the start of the other.
            if round % 3 == 0 {
                drop(unfinished);
                std::thread::sleep(Duration::from_millis(numbers.below(600)));
            }
        }
        let serves = || place.run(&["health"]).code == Some(0);
        if round % 2 == 0 {
            old.signal("KILL");
            crate::support::eventually("the new host serves", || serves().then_some(()));
            old.wait();
        } else {
            let _ = next.kill();
            crate::support::eventually("one of them serves, or served", || {
                let served = std::fs::read_to_string(place.path().join("next")).unwrap();
                (serves() || served.contains("listening on") && old.has_ended()).then_some(())
            });
        }
        let _ = next.kill();
        let _ = next.wait();
        // The same one goes on, with its address and its process.
        if round % 2 == 0 || old.has_ended() {
            old = place.host(&[], &[]);
        }
    }
    old.hears(&format!("message {}", rounds - 1));
    old.stop();
}
