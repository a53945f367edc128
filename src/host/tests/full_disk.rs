//! A disk that the queue itself has filled: what is stored is delivered and completed, nothing new is accepted, and when
//! there is room again everything goes on, also across a restart.
//!
//! The disk is a real one of 24 MiB, in a mount namespace of a child process. Where no namespace can be made, the tests say
//! so and prove nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::host::StateLocation;
use crate::store::tests::samples::*;
use crate::store::tests::writing::*;
use crate::store::*;
use crate::test_support::temp_dir::TempDir;
use crate::test_support::upstream::{Upstream, ok};
use crate::test_support::{client, fixtures};
use crate::{AgentResponse, Host};

const DISK: &str = "TINCLAW_TEST_SMALL_DISK";

/// Runs a test of this file again with a small disk of its own.
fn on_a_small_disk(test: &str) {
    let scratch = TempDir::new();
    let disk = scratch.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let script = r#"mount -t tmpfs -o size=24m tmpfs "$1" || exit 77; shift; exec "$@""#;
    let path = format!("{}::{test}", module_path!().trim_start_matches("tinclaw::"));
    let run = |options: &str| {
        Command::new("unshare")
            .args([options, "sh", "-c", script, "sh"])
            .arg(&disk)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &path, "--nocapture"])
            .env(DISK, &disk)
            .output()
    };
    for options in ["-m", "-Urm"] {
        let Ok(output) = run(options) else { continue };
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            assert!(said.contains("1 passed"), "{said}");
            return;
        }
        assert!(output.status.code() == Some(77) || said.contains("unshare"), "{said}");
    }
    eprintln!("no namespace can be made here: nothing is proven");
}

fn small_disk() -> Option<PathBuf> {
    std::env::var_os(DISK).map(PathBuf::from)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < give_up, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn quick() -> StoreThreadConfig {
    StoreThreadConfig {
        reopen_min: Duration::from_millis(1),
        reopen_max: Duration::from_millis(50),
        quiet_after: Duration::from_millis(20),
        ..StoreThreadConfig::default()
    }
}

fn open(disk: &Path) -> (StoreThread, Loaded, Receiver<StoreEvent>) {
    let opener = SqliteStore::opener(disk.join("tinclaw.db"), SqliteOptions::default());
    let (sender, events) = channel();
    let (thread, loaded) =
        StoreThread::start(opener, quick(), move |event| drop(sender.send(event))).unwrap();
    (thread, loaded, events)
}

fn add(handle: &StoreHandle) -> Result<Receipt, StateError> {
    let new = message("a", "c", &"x".repeat(20_000));
    keep(handle, Batch::of(Change::AddMessage(new)))
}

fn ack(handle: &StoreHandle, id: MessageId) -> Result<Receipt, StateError> {
    let reply = Change::AddReply(reply("a", "c", "thank you"));
    keep(handle, batch([reply, Change::MessageAcked { id, at_ms: 5_000 }]))
}

#[test]
fn a_disk_that_the_queue_has_filled_empties() {
    on_a_small_disk("child_whose_queue_fills_the_disk");
}

#[test]
fn child_whose_queue_fills_the_disk() {
    let Some(disk) = small_disk() else { return };
    let (mut store, _, mut events) = open(&disk);
    let mut waiting = BTreeSet::new();
    while let Ok(receipt) = add(&store.handle()) {
        waiting.extend(receipt.messages);
    }
    assert!(waiting.len() > 500, "{}", waiting.len());
    for restart in [false, true] {
        if restart {
            drop(store);
            let (again, loaded, new_events) = open(&disk);
            assert_eq!(loaded.messages.len(), waiting.len());
            (store, events) = (again, new_events);
        }
        let is_low = |event: &StoreEvent| matches!(event, StoreEvent::Low);
        wait_until("the store says that it is full", || events.try_iter().any(|event| is_low(&event)));
        let health = store.handle().health();
        assert_eq!(health.state, StoreState::Full, "{health:?}");
        assert!(health.reason.unwrap().contains("disk is full"));
        for _ in 0..50 {
            let id = waiting.pop_first().unwrap();
            ack(&store.handle(), id).unwrap_or_else(|error| panic!("restarted {restart}, {id:?}: {error}"));
        }
    }
    while let Some(id) = waiting.pop_first() {
        ack(&store.handle(), id).unwrap_or_else(|error| panic!("{id:?}: {error}"));
    }
    wait_until("there is room again", || store.handle().health().state == StoreState::Up);
    add(&store.handle()).unwrap();
    assert!(disk.join("tinclaw.db-reserve").exists());
}

fn host(disk: &Path, upstream: &Upstream) -> Host {
    let runtime = fixtures::runtime();
    let secrets = ["echo_token", "echo_webhook_secret"];
    fixtures::host(&secrets, &[("api.echo.example", upstream.url())])
        .channel(fixtures::channel_with(&runtime, "echo", |_| {}))
        .configure(|config| {
            config.state = StateLocation::Directory { path: disk.to_owned(), durability: Durability::Normal };
        })
        .start()
        .expect("the host starts")
}

fn say(host: &Host, number: u64, length: usize) -> u16 {
    let body = json!({"user": "ann", "text": format!("{number} {}", "x".repeat(length)), "id": number});
    let address = host.local_addr().expect("an address");
    client::webhook(address, "/webhook/echo", &fixtures::value_of("echo_webhook_secret"), &body).status
}

#[test]
fn a_host_on_a_full_disk_delivers_stored_messages_and_refuses_new_ones() {
    on_a_small_disk("child_with_a_host_on_a_full_disk");
}

#[test]
fn child_with_a_host_on_a_full_disk() {
    let Some(disk) = small_disk() else { return };
    let upstream = Upstream::start(|_, _| ok());
    let first = host(&disk, &upstream);
    wait_until("the channel is ready", || say(&first, 0, 1) == 200);
    let accepted = (1..).take_while(|number| say(&first, *number, 40_000) == 200).count();
    assert!(accepted > 200, "{accepted}");
    // Nobody has read anything; a restart with a healthy agent finds the disk as full.
    drop(first);
    let again = host(&disk, &upstream);
    let again = &again;
    let waiting = again.health().unwrap().messages_waiting;
    assert!(waiting > accepted, "{waiting} of {accepted}");
    thread::scope(|scope| {
        // It also ends when the rest of the test has failed, which waits for it.
        let give_up = Instant::now() + Duration::from_secs(300);
        let reader = scope.spawn(move || {
            let mut read = 0;
            while let Ok(delivery) = again.messages().recv_timeout(Duration::from_secs(120)) {
                assert!(Instant::now() < give_up, "the queue does not empty");
                read += 1;
                let response = AgentResponse { content: "thank you".to_owned(), ..AgentResponse::default() };
                match again.respond(&delivery, response) {
                    Ok(_) => delivery.ack(),
                    Err(_) => delivery.nack(Duration::from_millis(20)),
                }
            }
            read
        });
        wait_until("the queue is empty", || {
            let health = again.health().unwrap();
            health.messages_waiting == 0 && health.channels[0].replies_pending == 0
        });
        wait_until("a new message is accepted", || say(again, 1_000_000, 10) == 200);
        wait_until("it is read", || again.health().unwrap().messages_waiting == 0);
        again.manager().shutdown(Duration::from_secs(5));
        assert!(reader.join().unwrap() >= waiting);
    });
}
