//! Many webhooks over 20 channels: what the host takes at the start, on the way and at the end, in memory and on disk.
//! Both should stay flat. Prints, decides nothing: `cargo test --release --lib measure_soak -- --ignored --nocapture`, with `TINCLAW_SOAK_WEBHOOKS=200000` for
//! the long one (20,000 without).
//!
//! The store begins as it is after a busy day: each channel remembers as many ids of requests as it may, and as many
//! completed messages are kept as may be. Without that both would grow up to these limits for as long as the run takes.
//!
//! Client, agent and host are one process, so the memory is that of all three.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wit_abi::types::EmittedMessage;

use super::load::{self, Client, Scratch};
use crate::host::StateLocation;
use crate::net::channel_response::ChannelResponse;
use crate::store::{
    Batch, Change, ChannelKey, DedupeId, Durability, MessageId, NewMessage, NumberedBatch, Retention,
    SqliteStore, Store,
};

const CHANNELS: usize = 20;
const CONNECTIONS: usize = 16;
const REPORTS: u64 = 10;

#[test]
#[ignore = "measures time, which only a release build on a quiet machine makes meaningful"]
fn measure_soak() {
    let webhooks: u64 =
        std::env::var("TINCLAW_SOAK_WEBHOOKS").map_or(20_000, |count| count.parse().expect("a number"));
    let scratch = Scratch::new("soak");
    fill(&scratch.0.join("tinclaw.db"));
    let state = StateLocation::Directory { path: scratch.0.clone(), durability: Durability::Full };
    let host = load::host(state, CHANNELS);
    let agent = load::agent(&host);
    let begin = Instant::now();
    println!(
        "{:>9} {:>8} {:>11} {:>12} {:>10} {:>8}",
        "webhooks", "seconds", "memory MB", "database MB", "log MB", "refused"
    );
    let (next, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let report = |done: u64| {
        println!(
            "{done:>9} {:>8.0} {:>11.1} {:>12.1} {:>10.1} {:>8}",
            begin.elapsed().as_secs_f64(),
            resident(),
            megabytes(&scratch.0.join("tinclaw.db")),
            megabytes(&scratch.0.join("tinclaw.db-wal")),
            refused.load(Ordering::Relaxed),
        );
    };
    report(0);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            let (next, refused, report, mut client) = (&next, &refused, &report, Client::new(&host));
            scope.spawn(move || {
                loop {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    if id >= webhooks {
                        return;
                    }
                    refused.fetch_add(client.deliver(id as usize % CHANNELS, id), Ordering::Relaxed);
                    let done = id + 1;
                    if done.is_multiple_of((webhooks / REPORTS).max(1)) {
                        report(done);
                    }
                }
            });
        }
    });
    while host.health().expect("health").messages_waiting > 0 {
        thread::sleep(Duration::from_millis(50));
    }
    // A quiet moment, in which the store tidies up.
    thread::sleep(Duration::from_secs(5));
    report(webhooks);
    host.shutdown();
    agent.join().expect("the agent");
}

/// Fills what is bounded up to its bounds.
fn fill(path: &Path) {
    let retention = Retention::default();
    let mut store = SqliteStore::open(path, Durability::Normal).expect("a store");
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() as u64;
    for place in 0..CHANNELS {
        let first = place as u64 * retention.max_dedupe_keys + 1;
        let channel: ChannelKey = format!("echo_{place}").into();
        let seen = |number: u64| Change::Dedupe {
            id: DedupeId(first + number),
            channel: channel.clone(),
            key: (u128::MAX - u128::from(number)).to_le_bytes(),
            at_ms: now_ms,
            expires_ms: now_ms + 24 * 3_600_000,
            response: Some(Arc::new(ChannelResponse {
                status: 200,
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                body: b"{\"ok\":true}".as_slice().into(),
            })),
        };
        commit(&mut store, (0..retention.max_dedupe_keys).map(seen).collect());
    }
    let emitted = |number: u64| EmittedMessage {
        user_id: format!("user{}", number % 100),
        content: "hello there".to_owned(),
        metadata_json: "{}".to_owned(),
        ..EmittedMessage::default()
    };
    let completed = |number: u64| {
        let message = NewMessage {
            id: MessageId(number),
            channel: "echo_0".into(),
            conversation: format!("echo_0/user/user{}", number % 100).into(),
            message: Arc::new(emitted(number)),
            attachment_data: Vec::new(),
            received_ms: now_ms,
        };
        [Change::AddMessage(message), Change::MessageAcked { id: MessageId(number), at_ms: now_ms }]
    };
    commit(&mut store, (1..=retention.max_completed).flat_map(completed).collect());
}

fn commit(store: &mut SqliteStore, changes: Vec<Change>) {
    let number = store.last_number().expect("it is sound") + 1;
    store.commit(&[NumberedBatch { number, batch: Batch { changes } }]).expect("it is kept");
}

fn megabytes(file: &Path) -> f64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len()) as f64 / 1e6
}

/// This process's memory in megabytes, as Linux counts it.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("the process's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kilobytes * 1024.0 / 1e6
}
