//! Many webhooks over 20 channels: what the host takes at the start, on the way and at the end, in memory and on disk.
//! Both should stay flat. Prints, decides nothing: `cargo bench --bench soak`, with `TINCLAW_SOAK_WEBHOOKS=200000` for
//! the long one (20,000 without).
//!
//! Client, agent and host are one process, so the memory is that of all three.

mod load;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use load::{Client, Scratch};
use tinclaw::host::StateLocation;
use tinclaw::store::Durability;

const CHANNELS: usize = 20;
const CONNECTIONS: usize = 16;
const REPORTS: u64 = 10;

fn main() {
    let webhooks: u64 =
        std::env::var("TINCLAW_SOAK_WEBHOOKS").map_or(20_000, |count| count.parse().expect("a number"));
    let scratch = Scratch::new("soak");
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
