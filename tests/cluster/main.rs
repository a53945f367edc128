//! Three hosts on a database of three nodes: webhooks to all of them, while hosts and nodes are killed and stopped.
//!
//! `TINCLAW_CLUSTER_ROUNDS` says how many times something is done to them (5 without it), and `TINCLAW_CLUSTER_SEED` which things.

#[path = "../cli_support/mod.rs"]
mod cli_support;
mod galera;
mod load;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cli_support::{Place, RunningHost};
use galera::Galera;
use load::{Load, SECRET, longest_gap, replies};
use support::eventually;
use support::upstream::{Upstream, ok};

/// Other accounts of the fixture `echo`, each a channel.
const ACCOUNTS: [&str; 5] = ["a1", "a2", "a3", "a4", "a5"];
/// Longer than a host may say nothing before its channels go to others.
const BEYOND_THE_LEASE: Duration = Duration::from_secs(13);

/// Numbers that are the same for the same seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Three places of hosts, and the host that runs in each.
struct Hosts {
    places: Vec<Place>,
    running: Vec<Option<RunningHost>>,
    addresses: load::Addresses,
    /// What hosts that have ended had said.
    logs: Vec<String>,
}

impl Hosts {
    fn start(galera: &Galera, upstream: &Upstream) -> Self {
        let places: Vec<Place> = (0..3).map(|number| place(number, galera, upstream)).collect();
        let running: Vec<Option<RunningHost>> = places.iter().map(|place| Some(run(place))).collect();
        let address = |host: usize| Mutex::new(running[host].as_ref().unwrap().address);
        let addresses = Arc::new([address(0), address(1), address(2)]);
        Self { places, running, addresses, logs: Vec::new() }
    }

    fn restart(&mut self, host: usize) {
        let running = run(&self.places[host]);
        *self.addresses[host].lock().unwrap() = running.address;
        self.running[host] = Some(running);
    }

    /// Restarts those that have found that others have taken over, as a supervisor does.
    fn supervise(&mut self) {
        for host in 0..self.running.len() {
            if self.running[host].as_mut().is_some_and(RunningHost::has_ended) {
                let mut ended = self.take(host);
                assert_eq!(ended.wait().code(), Some(75), "{}", ended.log());
                self.logs.push(ended.log());
                self.restart(host);
            }
        }
    }

    /// Takes the log of a host that has ended or is about to.
    fn take(&mut self, host: usize) -> RunningHost {
        self.running[host].take().expect("it runs")
    }

    fn kill(&mut self, host: usize) {
        let mut running = self.take(host);
        running.signal("KILL");
        running.wait();
        self.logs.push(running.log());
    }

    fn stop_cleanly(&mut self, host: usize) {
        let log = self.take(host).stop();
        self.logs.push(log);
    }

    /// Stops a host for longer than its lease lasts. When it goes on, it finds that it has to end.
    fn pause(&mut self, host: usize) {
        let mut running = self.take(host);
        running.signal("STOP");
        thread::sleep(BEYOND_THE_LEASE);
        running.signal("CONT");
        let status = running.wait();
        assert_eq!(status.code(), Some(75), "{}", running.log());
        self.logs.push(running.log());
    }

    fn all_logs(&self) -> Vec<String> {
        let running = self.running.iter().flatten().map(RunningHost::log);
        self.logs.iter().cloned().chain(running).collect()
    }
}

fn place(number: usize, galera: &Galera, upstream: &Upstream) -> Place {
    let place = Place::new();
    place.channel("echo");
    for prefix in ACCOUNTS.iter().map(|name| format!("{name}.")).chain([String::new()]) {
        place.file(&format!("secrets/{prefix}echo_token"), "t");
        place.file(&format!("secrets/{prefix}echo_webhook_secret"), SECRET);
    }
    place.file("secrets/cluster_secret", "the secret of all three hosts");
    let mut config = format!(
        "store = \"{}\"\nchannels = [\"channels\"]\nwebchat = false\n[secrets]\ndirectory = \"secrets\"\n\
         [http_rewrite]\n\"api.echo.example\" = \"{}\"\n[cluster]\nhost = \"h{}\"\n",
        galera.address(number),
        upstream.url(),
        number + 1,
    );
    for name in ACCOUNTS {
        write!(config, "[channel.{name}]\nguest = \"echo\"\n").unwrap();
    }
    place.file("tinclaw.toml", config);
    place
}

fn run(place: &Place) -> RunningHost {
    place.host(&["--config", "tinclaw.toml"], &[])
}

fn number_from(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |value| value.parse().expect("a number"))
}

#[test]
fn nothing_that_got_200_is_lost_whatever_dies() {
    let Some(galera) = Galera::start() else { return };
    let upstream = Upstream::start(|_, _| ok());
    let mut hosts = Hosts::start(&galera, &upstream);
    let paths: Vec<String> = std::iter::once(String::new())
        .chain(ACCOUNTS.iter().map(|name| format!("/{name}")))
        .map(|mount| format!("{mount}/webhook/echo"))
        .collect();
    let load = Load::start(&hosts.addresses, &paths);
    let rounds = number_from("TINCLAW_CLUSTER_ROUNDS", 5);
    let mut chance = Chance(number_from("TINCLAW_CLUSTER_SEED", u64::from(std::process::id())));
    println!("seed {}", chance.0);
    thread::sleep(Duration::from_secs(3));
    // Each kind of failure once, and then by chance.
    for round in 0..rounds {
        let kind = if round < 4 { round } else { chance.below(4) };
        let victim = chance.below(3) as usize;
        hosts.supervise();
        let began = Instant::now();
        match kind {
            0 => hosts.kill(victim),
            1 => hosts.pause(victim),
            2 => galera.kill(victim),
            _ => hosts.stop_cleanly(victim),
        }
        thread::sleep(Duration::from_millis(500 + chance.below(3_000)));
        let what = match kind {
            2 => {
                galera.restart(victim);
                "node was killed"
            }
            _ => {
                hosts.restart(victim);
                ["host was killed", "host was stopped for a while", "", "host ended"][kind as usize]
            }
        };
        println!("round {}: {what} ({}), {:.1} s", round + 1, victim + 1, began.elapsed().as_secs_f64());
        thread::sleep(Duration::from_secs(2));
    }
    let sent = load.stop();
    let missing = || {
        let replies = replies(&upstream.requests());
        sent.accepted.iter().filter(|it| !replies.contains_key(&it.id)).map(|it| &it.id).collect::<Vec<_>>()
    };
    let give_up = Instant::now() + Duration::from_secs(90);
    while !missing().is_empty() && Instant::now() < give_up {
        thread::sleep(Duration::from_millis(100));
    }
    let replies = replies(&upstream.requests());
    let twice = sent.accepted.iter().filter(|it| replies.get(&it.id).is_some_and(|(_, count)| *count > 1));
    println!(
        "{} webhooks got 200, others {:?} {:?}; {} replies came more than once; a channel took nothing for {:.1} s at most",
        sent.accepted.len(),
        sent.refused,
        sent.words,
        twice.count(),
        longest_gap(&sent, paths.len()).as_secs_f64(),
    );
    let logs = hosts.all_logs();
    assert_eq!(missing(), Vec::<&String>::new(), "{}", logs.join("\n=====\n"));
    assert_eq!(
        swapped(&sent, &replies),
        [],
        "within a conversation, the second was replied to before the first"
    );
    assert!(!sent.refused.contains_key(&404), "every host knows every path: {}", logs.join("\n=====\n"));
    no_epoch_is_had_twice(&logs);
}

/// What was accepted later and replied to earlier, within a conversation.
fn swapped<'a>(sent: &'a load::Sent, replies: &HashMap<String, (usize, usize)>) -> Vec<(&'a str, &'a str)> {
    let mut last: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut swapped = Vec::new();
    for accepted in &sent.accepted {
        let (place, id) = (replies[&accepted.id].0, accepted.id.as_str());
        if let Some((before, earlier)) = last.insert(&accepted.conversation, (place, id))
            && before > place
        {
            swapped.push((earlier, id));
        }
    }
    swapped
}

/// No two hosts, and no host twice, run a channel in one epoch.
fn no_epoch_is_had_twice(logs: &[String]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (host, log) in logs.iter().enumerate() {
        for line in log.lines().filter(|line| line.contains(" runs here, in epoch ")) {
            let (_, what) = line.split_once("channel ").expect("a channel");
            if let Some(other) = seen.insert(what.to_owned(), host) {
                panic!("processes {other} and {host}: channel {what}");
            }
        }
    }
    assert!(seen.len() > 6, "channels moved: {seen:?}");
}

/// The hosts take a share each, and one that drains hands its channels over.
#[test]
fn webhooks_get_to_the_host_that_has_their_channel() {
    let Some(galera) = Galera::start() else { return };
    let upstream = Upstream::start(|_, _| ok());
    let hosts = Hosts::start(&galera, &upstream);
    let said = serde_json::json!({"user": "ann", "text": "hello"});
    for host in hosts.running.iter().flatten() {
        for mount in ["", "/a1", "/a2", "/a3", "/a4", "/a5"] {
            let path = format!("{mount}/webhook/echo");
            let response = eventually("some host has the channel", || {
                let response = support::client::webhook(host.address, &path, SECRET, &said);
                (response.status != 503).then_some(response)
            });
            let body = String::from_utf8_lossy(&response.body);
            assert_eq!(response.status, 200, "{path}: {body}\n{}", hosts.all_logs().join("\n=====\n"));
            assert_eq!(support::client::webhook(host.address, &path, "another", &said).status, 401, "{path}");
        }
        let elsewhere = support::client::webhook(host.address, "/webhook/none", SECRET, &said);
        assert_eq!(elsewhere.status, 404, "what no host has");
        let forged = [("tinclaw-forwarded", "1 192.0.2.1 00"), ("x-webhook-secret", SECRET)];
        let response = support::client::request(host.address, "POST", "/webhook/echo", &forged, b"{}");
        assert_eq!(response.status, 404, "somebody who claims to be another host");
    }
}
