use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::home::*;
use crate::support::eventually;

#[test]
fn a_version_that_asks_for_no_more_takes_the_place_of_the_other_without_a_gap() {
    let place = home();
    let host = place.host(&[], &[]);
    place.run(&["install", text(&version(&place, "one", asks_for_more)), "--yes"]).good();
    wait_for_version(&place, "one");
    let (is_over, two) = (AtomicBool::new(false), version(&place, "two", |_| {}));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut sent = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(post(&host), 200);
                sent += 1;
            }
            sent
        });
        let ran = place.run(&["upgrade", "everything", text(&two), "--json"]);
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(ran.json()["state"], "installed");
        assert!(load.join().unwrap() > 0);
    });
    assert_eq!(running_version(&place).as_deref(), Some("two"));
    assert_eq!(installed_version(&place), "two");
    host.stop();
}

#[test]
fn a_version_that_asks_for_more_waits_and_says_what_is_new() {
    let place = home();
    let host = place.host(&[], &[]);
    place.run(&["install", text(&version(&place, "one", |_| {})), "--yes"]).good();
    let ran = place.run(&["upgrade", "everything", text(&version(&place, "two", asks_for_more)), "--json"]);
    let said = ran.json();
    assert_eq!(said["state"], "waits_for_approval");
    assert_eq!(said["added"], serde_json::json!([format!("takes requests at {MORE}")]));
    assert_eq!(installed_version(&place), "one");
    wait_for_version(&place, "one");
    let ran = place.run(&["approve", "everything", "--yes"]);
    assert!(
        ran.good().contains(&format!("asks for more than was approved:\n  takes requests at {MORE}\n")),
        "{}",
        ran.out
    );
    wait_for_version(&place, "two");
    assert_eq!(installed_version(&place), "two");
    host.stop();
}

#[test]
fn a_version_that_cannot_start_leaves_the_last_good_one_also_at_the_next_start() {
    let place = home();
    let host = place.host(&[], &[]);
    place.run(&["install", text(&version(&place, "good", |_| {})), "--yes"]).good();
    let bad = version(&place, "bad", |file| file["config"]["fail"] = "no token".into());
    let ran = place.run(&["upgrade", "everything", text(&bad)]);
    assert!(
        ran.code == Some(1) && ran.err.contains("cannot start") && ran.err.contains("no token"),
        "{}",
        ran.err
    );
    assert_eq!((post(&host), installed_version(&place).as_str()), (200, "good"));
    host.stop();
    // Without a host nobody can try it before.
    assert!(place.run(&["upgrade", "everything", text(&bad)]).good().contains("it is tried"), "it waits");
    let host = place.host(&[], &[]);
    eventually("it was tried", || host.log().contains("the new version cannot start").then_some(()));
    wait_for_version(&place, "good");
    assert_eq!(installed_version(&place), "good");
    host.stop();
    let better = version(&place, "better", |_| {});
    place.run(&["upgrade", "everything", text(&better)]).good();
    let host = place.host(&[], &[]);
    wait_for_version(&place, "better");
    eventually("its files are in their places", || (installed_version(&place) == "better").then_some(()));
    host.stop();
}

#[test]
fn a_guest_that_is_none_is_refused_before_anything_is_written() {
    let place = home();
    let guest = version_of(&place, "broken", b"no guest", |_| {});
    let ran = place.run(&["install", text(&guest), "--yes"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(files(&place).is_empty());
    let ran = place.run(&["upgrade", "everything", text(&guest), "--yes"]);
    assert!(ran.err.contains("is not installed"), "{}", ran.err);
}

/// A host that had just started took the package by itself, between the two steps of the installation, which then failed: "no
/// package waits".
#[test]
fn a_package_that_the_host_took_by_itself_is_installed_all_the_same() {
    let place = home();
    let host = place.host(&[], &[]);
    place.run(&["install", text(&version(&place, "one", |_| {})), "--yes"]).good();
    let record = std::fs::read_to_string(place.state().join("channels/everything.json")).unwrap();
    let approved = serde_json::from_str::<serde_json::Value>(&record).unwrap()["approved"].clone();
    let apply = |guest: &serde_json::Value| {
        let body = serde_json::json!({
            "change": "apply", "channel": "everything", "guest": guest, "capabilities": approved["capabilities"],
        });
        ask(&place, "/api/v1/change", &body.to_string())
    };
    let response = apply(&approved["guest"]);
    assert!(response.starts_with("HTTP/1.1 200 ") && response.contains("\"installed\""), "{response}");
    let response = apply(&"another".into());
    assert!(response.contains("no package of channel everything waits"), "{response}");
    host.stop();
}

/// What the admin API of the running host responds to a POST.
fn ask(place: &crate::cli_support::Place, path: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(place.state().join("admin.sock")).unwrap();
    let length = body.len();
    let head = "Host: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";
    write!(stream, "POST {path} HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}
