//! Goes through every state that two hosts and a database can reach, within bounds, and looks whether what is promised holds in each.
//!
//! Hosts send any operation at any time: a host whose clock is wrong, or that was paused for an hour, is one that sends at a time at which it
//! should not. Between a host and the database, an operation may wait for any time, be carried out without that its response arrives (the host then
//! sends it again), be carried out a second time later because a connection broke in the middle, or be lost with the process that
//! sent it, and be carried out all the same after another process has taken that one's place.
//!
//! A beat and a fence carry nothing that becomes old, so one that arrives late is like one that is sent late: they are carried out at once.

use std::collections::{BTreeSet, HashSet};

use super::lease::{LeaseOutcome, Leases, Operation};
use super::placement::HostNumber;

const CHANNEL: u32 = 1;
const HOSTS: [HostNumber; 2] = [1, 2];
/// How long a host lives after a beat, in ticks of the database's clock.
const TIME_TO_LIVE: u64 = 1;

/// How far the search goes.
#[derive(Clone, Copy)]
struct SearchBounds {
    ticks: u64,
    incarnations: u64,
    epochs: u64,
    batches: u64,
    /// Operations under way that nobody waits for.
    strays: usize,
}

const BOUNDS: SearchBounds = SearchBounds { ticks: 2, incarnations: 2, epochs: 2, batches: 1, strays: 1 };

/// A host's process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct ModelProcess {
    /// As what it has joined; none while it is down.
    incarnation: Option<u64>,
    /// In which epoch it believes to have the channel.
    held: Option<u64>,
    next_batch: u64,
    /// What the thread of the leases waits for.
    leasing: Option<Operation>,
    /// What the thread of the store waits for.
    storing: Option<Operation>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct World {
    leases: Leases,
    now: u64,
    processes: [ModelProcess; 2],
    strays: BTreeSet<Operation>,
    /// The last commit to the channel that was kept: epoch and host.
    committed: Option<(u64, HostNumber)>,
    /// Batches that were kept: host, incarnation, number.
    kept: BTreeSet<(HostNumber, u64, u64)>,
}

type LeaseRules = fn(&mut Leases, &Operation, u64) -> LeaseOutcome;

/// The rules as they are.
fn sound(leases: &mut Leases, operation: &Operation, now: u64) -> LeaseOutcome {
    leases.apply(operation, now, TIME_TO_LIVE)
}

struct Search {
    rules: LeaseRules,
    bounds: SearchBounds,
    seen: HashSet<World>,
    next: Vec<World>,
    /// Whether both hosts have committed to the channel in some state: otherwise nothing was searched.
    has_seen_both: bool,
}

impl Search {
    /// Looks at everything that can be reached; the number of states, or what is wrong in one of them.
    fn run(rules: LeaseRules, bounds: SearchBounds) -> Result<usize, String> {
        let start = World::default();
        let mut search = Self {
            rules,
            bounds,
            seen: HashSet::from([start.clone()]),
            next: vec![start],
            has_seen_both: false,
        };
        while let Some(world) = search.next.pop() {
            search.expand(&world)?;
        }
        assert!(search.has_seen_both, "the bounds are so narrow that nothing happens");
        Ok(search.seen.len())
    }

    fn reach(&mut self, world: World) {
        if !self.seen.contains(&world) {
            self.seen.insert(world.clone());
            self.next.push(world);
        }
    }

    fn expand(&mut self, world: &World) -> Result<(), String> {
        if world.now < self.bounds.ticks {
            let mut later = world.clone();
            later.now += 1;
            self.reach(later);
        }
        for stray in &world.strays {
            let mut without = world.clone();
            without.strays.remove(stray);
            self.reach(without.clone());
            self.carry_out(&mut without, stray)?;
            self.reach(without);
        }
        for place in 0..HOSTS.len() {
            self.live(world, place)?;
        }
        Ok(())
    }

    /// Everything that a host can do next, and that can happen to it.
    fn live(&mut self, world: &World, place: usize) -> Result<(), String> {
        let host = HOSTS[place];
        let process = &world.processes[place];
        let Some(incarnation) = process.incarnation else { return self.start(world, place) };
        self.reach(crashed(world, place, self.bounds));
        let mut fenced = world.clone();
        self.carry_out(&mut fenced, &Operation::Fence { host: HOSTS[1 - place] })?;
        self.reach(fenced);
        let mut beaten = world.clone();
        let beat = Operation::Beat { host, incarnation };
        match self.carry_out(&mut beaten, &beat)? {
            LeaseOutcome::Fenced => self.reach(crashed(world, place, self.bounds)),
            _ => self.reach(beaten),
        }
        if process.leasing.is_none()
            && let Some(operation) = lease_operation(world, place, incarnation)
        {
            let mut sent = world.clone();
            // A channel is stopped before it is given up: nothing more is stored for it.
            if let Operation::Release { .. } = operation {
                sent.processes[place].held = None;
            }
            sent.processes[place].leasing = Some(operation);
            self.reach(sent);
        }
        if let (None, Some(epoch)) = (&process.storing, process.held)
            && process.next_batch <= self.bounds.batches
        {
            let mut sent = world.clone();
            let batch = process.next_batch;
            sent.processes[place].storing =
                Some(Operation::Commit { host, incarnation, channel: CHANNEL, epoch, batch });
            self.reach(sent);
        }
        for operation in [&process.leasing, &process.storing].into_iter().flatten() {
            self.deliver(world, place, operation)?;
        }
        Ok(())
    }

    fn start(&mut self, world: &World, place: usize) -> Result<(), String> {
        let host = HOSTS[place];
        let joined = world.leases.hosts.get(&host).map_or(0, |row| row.incarnation);
        if joined >= self.bounds.incarnations {
            return Ok(());
        }
        let mut started = world.clone();
        let outcome = self.carry_out(&mut started, &Operation::Join { host })?;
        let LeaseOutcome::Joined(incarnation) = outcome else { return Err(format!("{outcome:?} of a join")) };
        let next_batch = started.leases.hosts[&host].last_batch + 1;
        started.processes[place] =
            ModelProcess { incarnation: Some(incarnation), next_batch, ..ModelProcess::default() };
        self.reach(started);
        Ok(())
    }

    /// An operation that a host waits for gets through, with its response or without, or a copy of it goes astray.
    fn deliver(&mut self, world: &World, place: usize, operation: &Operation) -> Result<(), String> {
        if let Operation::Take { .. } = operation
            && world.leases.channels.get(&CHANNEL).is_some_and(|row| row.epoch >= self.bounds.epochs)
        {
            return Ok(());
        }
        let mut lost = world.clone();
        let outcome = self.carry_out(&mut lost, operation)?;
        let mut responded = lost.clone();
        self.reach(lost);
        response(&mut responded, place, operation, outcome, self.bounds)?;
        self.reach(responded);
        if world.strays.len() < self.bounds.strays {
            let mut astray = world.clone();
            astray.strays.insert(operation.clone());
            self.reach(astray);
        }
        Ok(())
    }

    /// Runs a transaction and looks whether it may have been kept.
    fn carry_out(&mut self, world: &mut World, operation: &Operation) -> Result<LeaseOutcome, String> {
        let outcome = (self.rules)(&mut world.leases, operation, world.now);
        let (Operation::Commit { host, incarnation, epoch, batch, .. }, LeaseOutcome::Done) =
            (operation, outcome)
        else {
            return Ok(outcome);
        };
        if let Some((last_epoch, last_host)) = world.committed {
            if *epoch < last_epoch {
                return Err(format!("host {host} commits in epoch {epoch} after {last_epoch}: {world:?}"));
            }
            if *epoch == last_epoch && *host != last_host {
                return Err(format!("hosts {last_host} and {host} commit in epoch {epoch}: {world:?}"));
            }
            self.has_seen_both |= *host != last_host;
        }
        world.committed = Some((*epoch, *host));
        if !world.kept.insert((*host, *incarnation, *batch)) {
            return Err(format!("batch {batch} of host {host} is kept twice: {world:?}"));
        }
        Ok(outcome)
    }
}

/// What the thread of the leases may send.
fn lease_operation(world: &World, place: usize, incarnation: u64) -> Option<Operation> {
    let (host, process) = (HOSTS[place], &world.processes[place]);
    match process.held {
        None => Some(Operation::Take { host, incarnation, channel: CHANNEL }),
        // What was begun is waited for.
        Some(epoch) if process.storing.is_none() => {
            Some(Operation::Release { host, incarnation, channel: CHANNEL, epoch })
        }
        Some(_) => None,
    }
}

/// The process is gone; what it has sent is under way.
fn crashed(world: &World, place: usize, bounds: SearchBounds) -> World {
    let mut crashed = world.clone();
    let process = std::mem::take(&mut crashed.processes[place]);
    for operation in [process.storing, process.leasing].into_iter().flatten() {
        if crashed.strays.len() < bounds.strays {
            crashed.strays.insert(operation);
        }
    }
    crashed
}

fn response(
    world: &mut World,
    place: usize,
    operation: &Operation,
    outcome: LeaseOutcome,
    bounds: SearchBounds,
) -> Result<(), String> {
    if outcome == LeaseOutcome::Fenced {
        *world = crashed(world, place, bounds);
        return Ok(());
    }
    let kept = |host, incarnation, batch| world.kept.contains(&(host, incarnation, batch));
    let process = &world.processes[place];
    let mut after = process.clone();
    match (operation, outcome) {
        (Operation::Commit { host, incarnation, batch, .. }, _) => {
            let is_kept = kept(*host, *incarnation, *batch);
            if is_kept != matches!(outcome, LeaseOutcome::Done | LeaseOutcome::DoneBefore) {
                return Err(format!("{outcome:?} for batch {batch}, kept: {is_kept}: {world:?}"));
            }
            after.storing = None;
            after.next_batch += 1;
        }
        (Operation::Take { .. }, LeaseOutcome::Taken(epoch)) => {
            after.leasing = None;
            after.held = Some(epoch);
        }
        _ => after.leasing = None,
    }
    world.processes[place] = after;
    let held: Vec<u64> = world.processes.iter().filter_map(|process| process.held).collect();
    let both = world.processes.iter().all(|process| process.held.is_some());
    if both && held[0] == held[1] {
        return Err(format!("both hosts have the channel in epoch {}: {world:?}", held[0]));
    }
    Ok(())
}

#[test]
fn no_two_hosts_commit_in_one_epoch_whatever_happens() {
    let states = Search::run(sound, BOUNDS).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{states} states");
    assert!(states > 100_000, "{states} states: the bounds have become narrow");
}

/// Rules that are wrong are found out: the search can fail.
#[test]
fn rules_that_are_wrong_are_found_out() {
    let cases: [(&str, LeaseRules); 3] = [
        ("a commit that carries nothing", |leases, operation, now| match operation {
            Operation::Commit { host, channel, batch, .. } => {
                let (incarnation, row) =
                    (leases.hosts[host].incarnation, leases.channels.get(channel).cloned());
                let epoch = row.map_or(0, |row| row.epoch);
                let owner = leases.channels.get(channel).and_then(|row| row.host);
                leases.channels.entry(*channel).or_default().host = Some(*host);
                let commit =
                    Operation::Commit { host: *host, incarnation, channel: *channel, epoch, batch: *batch };
                let outcome = sound(leases, &commit, now);
                leases.channels.entry(*channel).or_default().host = owner;
                outcome
            }
            other => sound(leases, other, now),
        }),
        ("an epoch that stays", |leases, operation, now| {
            let outcome = sound(leases, operation, now);
            if let (Operation::Take { channel, .. }, LeaseOutcome::Taken(_)) = (operation, outcome) {
                leases.channels.entry(*channel).or_default().epoch = 1;
                return LeaseOutcome::Taken(1);
            }
            outcome
        }),
        ("a channel that is taken from a host that lives", |leases, operation, now| {
            if let Operation::Take { channel, .. } = operation {
                leases.channels.entry(*channel).or_default().host = None;
                leases.channels.entry(*channel).or_default().epoch = 0;
            }
            sound(leases, operation, now)
        }),
    ];
    for (case, rules) in cases {
        assert!(Search::run(rules, BOUNDS).is_err(), "{case}");
    }
}

/// A batch that is looked for by nothing is kept twice.
#[test]
fn a_commit_that_does_not_look_for_its_batch_is_found_out() {
    let blind: LeaseRules = |leases, operation, now| {
        if let Operation::Commit { host, .. } = operation
            && let Some(row) = leases.hosts.get_mut(host)
        {
            row.last_batch = 0;
        }
        sound(leases, operation, now)
    };
    assert!(Search::run(blind, BOUNDS).is_err());
}
