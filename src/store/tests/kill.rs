//! A process that is killed at any moment: what it had acknowledged is there, and nothing is half.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::samples::*;
use super::writing::commit;
use crate::store::*;
use crate::test_support::own_process::test_in_a_child;
use crate::test_support::temp_dir::TempDir;

const CHILD: &str = "TINCLAW_TEST_STORE_KILLED";
const ROUNDS: u64 = 20;

#[test]
fn acknowledged_commits_survive_sigkill_at_random_moments() {
    let scratch = TempDir::new();
    let (mut told_in_all, mut unfinished) = (0, 0);
    let mut random = Random(0x5EED ^ u64::from(std::process::id()));
    let mut told: BTreeMap<u64, [u64; 3]> = BTreeMap::new();
    for round in 0..ROUNDS {
        let begin = told.len() as u64 + unfinished;
        let lines =
            run_and_kill(&scratch.join("tinclaw.db"), begin, Duration::from_micros(random.below(60_000)));
        told_in_all += lines.len();
        told.extend(lines);
        unfinished = verify(&scratch.join("tinclaw.db"), &told, round) - told.len() as u64;
    }
    println!(
        "{ROUNDS} kills, {told_in_all} batches acknowledged, all there; {unfinished} kept without a receipt"
    );
    assert!(told_in_all > ROUNDS as usize);
}

/// Runs the child until it has told something and a while longer; what it told.
fn run_and_kill(path: &Path, begin: u64, after: Duration) -> BTreeMap<u64, [u64; 3]> {
    let mut child = test_in_a_child(module_path!(), "child_that_is_killed")
        .env(CHILD, path)
        .env("TINCLAW_TEST_BEGIN", begin.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.by_ref().find(|line| line.starts_with("kept "));
    std::thread::sleep(after);
    child.kill().unwrap();
    let told = first.into_iter().chain(lines).filter_map(|line| parse(&line)).collect();
    assert!(!child.wait().unwrap().success(), "it was killed");
    told
}

/// `kept NUMBER MESSAGE MESSAGE REPLY.`; the dot shows that the line is whole.
fn parse(line: &str) -> Option<(u64, [u64; 3])> {
    let numbers: Vec<u64> =
        line.strip_prefix("kept ")?.strip_suffix('.')?.split(' ').map(|each| each.parse().unwrap()).collect();
    let [number, one, two, reply] = numbers[..] else { return None };
    Some((number, [one, two, reply]))
}

/// Every batch is there as a whole or not at all, and those that were told are. How many there are.
fn verify(path: &Path, told: &BTreeMap<u64, [u64; 3]>, round: u64) -> u64 {
    let mut store = SqliteStore::open(path, Durability::Full).unwrap();
    let loaded = store.load(0).unwrap();
    let mut found: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for pending in &loaded.messages {
        let number = pending.conversation.parse().unwrap();
        found.entry(number).or_default().push(pending.id.0);
    }
    for pending in &loaded.replies() {
        let number = pending.conversation.parse().unwrap();
        found.entry(number).or_default().push(pending.id.0);
    }
    for (number, ids) in &found {
        assert_eq!(ids.len(), 3, "round {round}: batch {number} is half");
    }
    for (number, ids) in told {
        assert_eq!(
            found.get(number).map(Vec::as_slice),
            Some(ids.as_slice()),
            "round {round}: batch {number} was told"
        );
    }
    let count = found.len() as u64;
    assert_eq!(
        found.keys().copied().collect::<Vec<_>>(),
        (0..count).collect::<Vec<_>>(),
        "round {round}: a gap"
    );
    let last = loaded.channels["a"].files["last"].parse::<u64>().unwrap();
    assert_eq!(last + 1, count, "round {round}: the workspace is of another moment than the messages");
    count
}

#[test]
fn child_that_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut number: u64 = std::env::var("TINCLAW_TEST_BEGIN").unwrap().parse().unwrap();
    let mut store = SqliteStore::open(path, Durability::Full).unwrap();
    let mut out = std::io::stdout();
    loop {
        let group: Vec<_> = (0..1 + number % 3).map(|at| numbered(number + at)).collect();
        let receipts = commit(&mut store, &group).unwrap();
        for receipt in receipts {
            let (messages, reply) = (&receipt.messages, receipt.replies[0]);
            let line = format!("kept {number} {} {} {reply}.\n", messages[0], messages[1]);
            out.write_all(line.as_bytes()).unwrap();
            out.flush().unwrap();
            number += 1;
        }
        // A megabyte of log comes together every few dozen groups: then this is a checkpoint.
        store.maintain(Maintenance::Idle).unwrap();
    }
}

fn numbered(number: u64) -> Batch {
    let conversation = number.to_string();
    batch([
        Change::AddMessage(message("a", &conversation, &"x".repeat(9_000))),
        Change::AddMessage(message("a", &conversation, "y")),
        Change::AddReply(reply("a", &conversation, &"z".repeat(3_000))),
        file("a", "last", &conversation),
    ])
}

/// xorshift64*: enough to spread the moments.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end
    }
}
