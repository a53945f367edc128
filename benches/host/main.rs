//! The whole host: webhooks a second, latency, CPU and context switches of a webhook, memory, time to start, size of the
//! program. Prints, decides nothing: `cargo bench --bench host`.
//!
//! Each host runs in a process of its own, which is this program with the argument `serve`; its clients are here and share
//! the machine's cores. After `cargo bench --bench host --`:
//!
//! - `--before PATH` measures another build of this bench in the same run, by turns with this one;
//! - `--rounds N` takes medians of so many runs (1 by default), `--seconds N` lets each take so long (4 by default);
//! - `--only WORD` leaves out every line that does not contain the word.

mod clients;
mod daemon;
mod process;
mod served;

use std::path::PathBuf;
use std::time::Duration;

use clients::{Figures, Load};

const RUN: Duration = Duration::from_secs(4);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => served::serve(&arguments[1..]),
        Some("spin") => loop {
            std::hint::spin_loop();
        },
        _ => measure(&Options::read(&arguments)),
    }
}

struct Options {
    before: Option<PathBuf>,
    rounds: usize,
    run: Duration,
    only: String,
}

impl Options {
    fn read(arguments: &[String]) -> Self {
        let value = |name: &str| {
            let place = arguments.iter().position(|argument| argument == name)?;
            arguments.get(place + 1).cloned()
        };
        Self {
            before: value("--before").map(PathBuf::from),
            rounds: value("--rounds").map_or(1, |rounds| rounds.parse().expect("a number of rounds")),
            run: value("--seconds").map_or(RUN, |run| Duration::from_secs(run.parse().expect("seconds"))),
            only: value("--only").unwrap_or_default(),
        }
    }
}

fn measure(options: &Options) {
    for load in loads() {
        if load.to_string().contains(&options.only) {
            compare(&load, options);
        }
    }
    if "program".contains(&options.only) {
        daemon::size_start_and_memory();
    }
}

fn loads() -> Vec<Load> {
    let mut loads = Vec::new();
    for guest in ["echo", "large"] {
        for way in ["fresh", "kept"] {
            loads.extend([1, 8, 64].map(|connections| Load::new(guest, connections, way)));
        }
    }
    for way in ["durable", "busy"] {
        loads.extend([1, 8].map(|connections| Load::new("large", connections, way)));
    }
    loads.push(Load::new("spread", 8, "kept"));
    loads
}

/// Prints a line for the program of before, when there is one, and one for this program.
fn compare(load: &Load, options: &Options) {
    let this = std::env::current_exe().expect("the path of this program");
    let (mut before, mut now) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        before.extend(options.before.as_ref().map(|program| load.run(program, options.run)));
        now.push(load.run(&this, options.run));
    }
    if !before.is_empty() {
        println!("{load} {} (before)", Figures::medians(&before));
    }
    println!("{load} {}", Figures::medians(&now));
}
