//! What other threads can see of the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::backlog::{Backlog, Deferred};
use super::commit_time::{CommitClock, CommitTimes};
use super::engine::StoreUsage;
use crate::model::clock::{time_of, unix_ms};

/// Whether the store can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreState {
    /// It takes batches.
    Up,
    /// The disk is full: what is stored is delivered and completed, but nothing new is accepted.
    Full,
    /// It has failed and is reopened from time to time. What has happened waits for it; everything else is refused.
    Down,
    /// It was stopped.
    Stopped,
}

/// How the store is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreHealth {
    /// Whether it can be used.
    pub state: StoreState,
    /// Why not.
    pub reason: Option<Arc<str>>,
    /// When `state` became what it is.
    pub changed_at: SystemTime,
    /// Batches that were committed since the start.
    pub commits: u64,
    /// Transactions that they took.
    pub groups: u64,
    /// How often the store has gone down since the start.
    pub outages: u64,
    /// What the engine takes, as of the last quiet moment.
    pub usage: StoreUsage,
    /// How long its transactions took.
    pub(crate) commit_times: CommitTimes,
}

/// What is said of a full disk.
pub(super) const LOW: &str = "the disk is full: stored messages and replies are delivered, but no new messages are accepted \
                              until there is room; free some";

/// What the store thread shows to its handles.
pub(super) struct StoreStatus {
    /// These three are only ever counted up, by the one that runs the engine: batches, transactions, and times it went down.
    commits: AtomicU64,
    groups: AtomicU64,
    outages: AtomicU64,
    commit_clock: CommitClock,
    /// Batches that are to be kept soon.
    pub(super) deferred: Deferred,
    /// What was sent and has no outcome yet.
    pub(super) backlog: Backlog,
    /// State, reason and time belong together, hence a lock; it is held for a copy only.
    condition: Mutex<Condition>,
}

struct Condition {
    state: StoreState,
    reason: Option<Arc<str>>,
    since_ms: u64,
    usage: StoreUsage,
}

impl StoreStatus {
    pub(super) fn new() -> Self {
        let condition = Condition {
            state: StoreState::Up,
            reason: None,
            since_ms: unix_ms(),
            usage: StoreUsage::default(),
        };
        Self {
            commits: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            outages: AtomicU64::new(0),
            commit_clock: CommitClock::default(),
            deferred: Deferred::new(),
            backlog: Backlog::default(),
            condition: Mutex::new(condition),
        }
    }

    pub(super) fn committed(&self, batches: usize) {
        self.commits.fetch_add(batches as u64, Ordering::Relaxed);
        self.groups.fetch_add(1, Ordering::Relaxed);
    }

    /// A transaction took this long.
    pub(super) fn took(&self, time: Duration) {
        self.commit_clock.note(time);
    }

    pub(super) fn measured(&self, usage: StoreUsage) {
        self.condition().usage = usage;
    }

    pub(super) fn went_down(&self, reason: Arc<str>) {
        self.outages.fetch_add(1, Ordering::Relaxed);
        self.turn(StoreState::Down, Some(reason));
    }

    /// Another reason for the same outage.
    pub(super) fn still_down(&self, reason: Arc<str>) {
        self.condition().reason = Some(reason);
    }

    pub(super) fn came_up(&self) {
        self.turn(StoreState::Up, None);
    }

    /// There is no more room for what is new, or there is again.
    pub(super) fn is_low(&self, low: bool) {
        match low {
            true => self.turn(StoreState::Full, Some(LOW.into())),
            false => self.turn(StoreState::Up, None),
        }
    }

    pub(super) fn stopped(&self) {
        self.turn(StoreState::Stopped, None);
        self.deferred.close();
    }

    pub(super) fn health(&self) -> StoreHealth {
        let condition = self.condition();
        StoreHealth {
            state: condition.state,
            reason: condition.reason.clone(),
            changed_at: time_of(condition.since_ms),
            commits: self.commits.load(Ordering::Relaxed),
            groups: self.groups.load(Ordering::Relaxed),
            outages: self.outages.load(Ordering::Relaxed),
            usage: condition.usage,
            commit_times: self.commit_clock.times(),
        }
    }

    fn turn(&self, state: StoreState, reason: Option<Arc<str>>) {
        let mut condition = self.condition();
        condition.state = state;
        condition.reason = reason;
        condition.since_ms = unix_ms();
    }

    fn condition(&self) -> MutexGuard<'_, Condition> {
        // Plain data that is whole at every moment: a panic elsewhere does not spoil it.
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
