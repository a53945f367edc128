//! What durability costs: webhooks a second with full durability, with less, and in memory, and how often a file was
//! forced to the medium for 1,000 of them. Prints, decides nothing: `cargo bench --bench durability`.
//!
//! Client and host share the machine's cores. Each webhook is recognised by its id, emits one message, and the message is
//! acknowledged; all of that is in the numbers.

mod load;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use load::{Client, Scratch};
use tinclaw::Host;
use tinclaw::host::StateLocation;
use tinclaw::store::Durability;

const RUN: Duration = Duration::from_secs(4);
const CHANNELS: usize = 8;

/// The store measures itself when nothing has come for a while.
const QUIET: Duration = Duration::from_secs(3);

fn main() {
    println!(
        "{:8} {:>11} {:>11} {:>9} {:>9} {:>14} {:>18}",
        "state", "connections", "webhooks/s", "p50 ms", "p99 ms", "per commit", "fsyncs per 1,000"
    );
    for connections in [1, 8, 64] {
        for state in ["full", "normal", "memory"] {
            measure(state, connections);
        }
    }
}

fn measure(state: &str, connections: usize) {
    let scratch = Scratch::new(&format!("{state}-{connections}"));
    let path = scratch.0.clone();
    let host = load::host(
        match state {
            "full" => StateLocation::Directory { path, durability: Durability::Full },
            "normal" => StateLocation::Directory { path, durability: Durability::Normal },
            _ => StateLocation::Memory,
        },
        CHANNELS,
    );
    let agent = load::agent(&host);
    let ids = AtomicU64::new(1);
    for channel in 0..CHANNELS {
        Client::new(&host).deliver(channel, ids.fetch_add(1, Ordering::Relaxed));
    }
    thread::sleep(QUIET);
    let before = host.health().expect("health").store;
    let mut times = run(&host, connections, &ids);
    thread::sleep(QUIET);
    let after = host.health().expect("health").store;
    times.sort();
    let count = times.len() as f64;
    let syncs = (after.usage.syncs - before.usage.syncs) as f64 * 1000.0 / count;
    println!(
        "{state:8} {connections:>11} {:>11.0} {:>9.2} {:>9.2} {:>14.1} {:>18}",
        count / RUN.as_secs_f64(),
        share(&times, 0.5),
        share(&times, 0.99),
        count / (after.groups - before.groups) as f64,
        if state == "memory" { "-".to_owned() } else { format!("{syncs:.0}") },
    );
    host.shutdown();
    agent.join().expect("the agent");
}

fn run(host: &Host, connections: usize, ids: &AtomicU64) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|number| {
                let (stop, mut client) = (&stop, Client::new(host));
                scope.spawn(move || {
                    let mut times = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let begin = Instant::now();
                        client.deliver(number % CHANNELS, ids.fetch_add(1, Ordering::Relaxed));
                        times.push(begin.elapsed());
                    }
                    times
                })
            })
            .collect();
        thread::sleep(RUN);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    })
}

fn share(sorted: &[Duration], of: f64) -> f64 {
    let place = (sorted.len() as f64 * of) as usize;
    sorted[place.min(sorted.len() - 1)].as_secs_f64() * 1e3
}
