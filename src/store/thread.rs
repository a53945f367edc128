//! The one thread that owns an engine: group commit, quiet moments, and what happens when the engine fails.
//!
//! Every batch stays in the journal until it is durable. After a failure the engine is dropped, and never written to again:
//! after a failed sync the system may claim success for pages that it has lost. It is reopened with growing pauses until it
//! opens, shows the number of a batch that it may have, takes a probe, and has taken every batch after that number.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use log::{error, info, warn};

use super::backlog::LINGER;
use super::engine::{Ids, Maintenance, Store};
use super::error::{StateError, StoreError};
use super::handle::{CallerStore, Commit, Executor, Owner, Query, RetriedQuery, StoreHandle, StoreRequest};
use super::health::{LOW, StoreStatus};
use super::journal::Journal;
use super::memory::MemoryStore;
use super::record::Loaded;
use super::retention::{PruneStats, Retention};
use crate::model::clock::steady_ms;
use crate::model::closing_queue::{ClosingReceiver, closing_queue};
use crate::model::deadline::deadline_after;
use crate::model::wait::receive_within;

/// Opens an engine; called at the start and after every failure.
pub type Opener = Box<dyn Fn() -> Result<Box<dyn Store>, StoreError> + Send>;

/// What the store thread tells by itself.
#[derive(Debug)]
pub enum StoreEvent {
    /// The store has failed. What has happened waits for it; everything else is refused.
    Unavailable {
        /// What is the matter, and what an operator can do.
        reason: Arc<str>,
    },
    /// The store was reopened and has everything that waited for it.
    Recovered,
    /// Less is under way than before, and somebody has asked for that.
    Room,
    /// The disk is full: what is stored can still be completed, but nothing new should be accepted.
    Low,
    /// There is room again.
    Roomy,
}

/// How the store thread works.
#[derive(Clone, Debug)]
pub struct StoreThreadConfig {
    /// How many requests may wait before senders have to: default 1024.
    pub queue: usize,
    /// How many batches go into one transaction at most: default 512.
    pub group_batches: usize,
    /// A group takes no further batch once it has this many bytes: default 4 MiB.
    pub group_bytes: u64,
    /// How long nothing must have arrived for the moment to count as quiet: default 2 s.
    pub quiet_after: Duration,
    /// How often pruning runs, in quiet moments; without one it waits up to five times as long, or for 10,000
    /// batches: default 60 s.
    pub prune_every: Duration,
    /// What pruning keeps.
    pub retention: Retention,
    /// The first pause before the store is reopened; doubles each time: default 1 s.
    pub reopen_min: Duration,
    /// The longest pause: default 30 s.
    pub reopen_max: Duration,
}

impl Default for StoreThreadConfig {
    fn default() -> Self {
        Self {
            queue: 1024,
            group_batches: 512,
            group_bytes: 4 << 20,
            quiet_after: Duration::from_secs(2),
            prune_every: Duration::from_secs(60),
            retention: Retention::default(),
            reopen_min: Duration::from_secs(1),
            reopen_max: Duration::from_secs(30),
        }
    }
}

/// The running store thread. Dropping it stops it.
pub struct StoreThread {
    handle: StoreHandle,
    thread: Option<JoinHandle<()>>,
}

impl StoreThread {
    /// Opens the engine, reads what it holds, and starts the thread `tinclaw-store`.
    ///
    /// `on_event` runs on that thread and must never wait for one that may be waiting for the store.
    ///
    /// # Errors
    /// Whatever keeps the engine from being opened or read.
    pub fn start(
        opener: Opener,
        config: StoreThreadConfig,
        on_event: impl FnMut(StoreEvent) + Send + 'static,
    ) -> Result<(Self, Loaded), StoreError> {
        let mut engine = opener()?;
        let loaded = engine.load(steady_ms())?;
        let journal = Journal::after(engine.last_number()?);
        let ids = Ids::after(loaded.last_ids);
        let shared = Arc::new(StoreStatus::new());
        shared.measured(engine.usage()?);
        let (sender, requests) = closing_queue(config.queue);
        let worker = Worker {
            requests,
            carried: None,
            journal,
            ids: ids.clone(),
            retried_queries: VecDeque::new(),
            deferred_due: None,
            shared: Arc::clone(&shared),
            opener,
            on_event: Box::new(on_event),
            failures: 0,
            low: false,
            schedule: PruneSchedule::after_pause(config.prune_every),
            config,
        };
        let thread = Builder::new()
            .name("tinclaw-store".to_owned())
            .spawn(move || worker.run(engine))
            .map_err(|cause| StoreError::Thread { detail: cause.to_string() })?;
        let handle = StoreHandle { executor: Executor::Thread(sender), shared, ids };
        Ok((Self { handle, thread: Some(thread) }, loaded))
    }

    /// A store in memory, without a thread: whoever has something to commit does so. Of what is completed it keeps little.
    pub fn in_memory(store: MemoryStore, retention: &Retention) -> Self {
        let ids = Ids::after(store.last_ids());
        let executor = Executor::Caller(Arc::new(CallerStore::new(store, retention)));
        Self { handle: StoreHandle { executor, shared: Arc::new(StoreStatus::new()), ids }, thread: None }
    }

    /// A way to it.
    pub fn handle(&self) -> StoreHandle {
        self.handle.clone()
    }

    /// Keeps what was sent before, closes the engine and ends the thread. What is sent later fails with
    /// [`StateError::Stopped`].
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for StoreThread {
    fn drop(&mut self) {
        match &self.handle.executor {
            Executor::Thread(requests) => requests.send(StoreRequest::Stop),
            Executor::Caller(store) => store.stop(&self.handle.shared),
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the store thread has panicked");
        }
    }
}

struct Worker {
    requests: ClosingReceiver<StoreRequest>,
    /// Taken out of the queue while a group was gathered, and still to be done.
    carried: Option<StoreRequest>,
    /// Batches that are not known to be durable.
    journal: Journal<Owner>,
    /// What ids are given out of.
    ids: Ids,
    /// Queries that wait for the engine to be reopened.
    retried_queries: VecDeque<RetriedQuery>,
    /// When batches that are to be kept soon are a group of their own; none while there are none.
    deferred_due: Option<Instant>,
    shared: Arc<StoreStatus>,
    opener: Opener,
    on_event: Box<dyn FnMut(StoreEvent) + Send>,
    config: StoreThreadConfig,
    /// Failures since the last committed group; sets the pause.
    failures: u32,
    /// There is room only for what lets stored records leave.
    low: bool,
    schedule: PruneSchedule,
}

/// When pruning is due.
struct PruneSchedule {
    at: Instant,
    /// The last round left something.
    behind: bool,
    /// Batches since the last round.
    batches: usize,
}

impl PruneSchedule {
    /// A busy store gets a round after so many batches.
    const BATCHES: usize = 10_000;
    /// And the next ones after so many, as long as it is behind. A round forgets more than that, so it catches up.
    const BATCHES_BEHIND: usize = 1_000;
    /// And after so many when the disk is full.
    const BATCHES_LOW: usize = 64;

    fn after_pause(every: Duration) -> Self {
        Self { at: deadline_after(Instant::now(), every), behind: false, batches: 0 }
    }

    fn after(done: &PruneStats, every: Duration) -> Self {
        let pause = if done.more { Duration::ZERO } else { every };
        Self { behind: done.more, ..Self::after_pause(pause) }
    }

    /// Whether it cannot wait for a quiet moment.
    fn is_overdue(&self, every: Duration, low: bool, now: Instant) -> bool {
        let enough = match (low, self.behind) {
            (true, _) => Self::BATCHES_LOW,
            (false, true) => Self::BATCHES_BEHIND,
            (false, false) => Self::BATCHES,
        };
        self.batches >= enough || (!self.behind && now >= deadline_after(self.at, every.saturating_mul(4)))
    }
}

/// Marks the store as stopped on drop, so also when the thread panics.
struct MarkStoppedOnDrop(Arc<StoreStatus>);

impl Drop for MarkStoppedOnDrop {
    fn drop(&mut self) {
        self.0.stopped();
    }
}

/// Why the engine is served no longer.
enum Exit {
    Stop,
    Failed(StoreError),
}

impl Worker {
    fn run(mut self, engine: Box<dyn Store>) {
        let _on_drop = MarkStoppedOnDrop(Arc::clone(&self.shared));
        let mut engine = Some(engine);
        loop {
            let present = engine.take();
            // Nothing of what a panic left half-way is used again: the engine is dropped, and everything is reloaded.
            match catch_unwind(AssertUnwindSafe(|| self.turn(present))) {
                Ok(Some(next)) => engine = Some(next),
                Ok(None) => return,
                Err(_) => error!("the store thread has panicked; please report this"),
            }
        }
    }

    /// Serves an engine until it fails, and opens the next one; `None` when the thread is to stop.
    fn turn(&mut self, engine: Option<Box<dyn Store>>) -> Option<Box<dyn Store>> {
        let exit = match engine {
            Some(mut engine) => self.serve(engine.as_mut()),
            None => Exit::Failed(StoreError::Panicked),
        };
        match exit {
            Exit::Stop => None,
            Exit::Failed(error) => {
                self.went_down(&error);
                self.reopen()
            }
        }
    }

    /// Works with a sound engine until it fails or the thread is to stop.
    fn serve(&mut self, engine: &mut dyn Store) -> Exit {
        let mut is_idle = false;
        self.tell_of_room(engine);
        loop {
            let pause = if is_idle && !self.low { until(self.schedule.at) } else { self.config.quiet_after };
            let outcome = match self.next(self.deferred_due.map_or(pause, |due| pause.min(until(due)))) {
                Err(RecvTimeoutError::Timeout) if self.deferred_due.is_some() => {
                    is_idle = false;
                    self.flush_deferred(engine)
                }
                Err(RecvTimeoutError::Timeout) => {
                    is_idle = true;
                    self.quiet(engine)
                }
                Ok(StoreRequest::Commit(first)) => {
                    is_idle = false;
                    self.gather(first);
                    self.commit_waiting(engine)
                }
                Ok(StoreRequest::Deferred) => {
                    self.deferred_due.get_or_insert_with(|| deadline_after(Instant::now(), LINGER));
                    Ok(())
                }
                Ok(StoreRequest::Query(query)) => self.ask(engine, query),
                Ok(StoreRequest::RetriedQuery(query)) => self.run_until_done(engine, query),
                Ok(StoreRequest::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    // There is no time to repair a failure: those who wait are told that the store has stopped.
                    drop(self.flush_deferred(engine));
                    return Exit::Stop;
                }
            };
            self.tell_of_less_work();
            if let Err(error) = outcome {
                return Exit::Failed(error);
            }
        }
    }

    fn next(&mut self, pause: Duration) -> Result<StoreRequest, RecvTimeoutError> {
        match self.carried.take() {
            Some(request) => Ok(request),
            None => receive_within(self.requests.channel(), pause),
        }
    }

    /// A query sees everything that was sent before it.
    fn ask(&mut self, engine: &mut dyn Store, query: Query) -> Result<(), StoreError> {
        if let Err(failure) = self.flush_deferred(engine) {
            drop(query(Err(StateError::of_query(&failure))));
            return Err(failure);
        }
        match query(Ok(engine)) {
            Some(error) if error.is_unavailable() => Err(error),
            _ => Ok(()),
        }
    }

    /// The same for a query that is run again until it succeeds.
    fn run_until_done(&mut self, engine: &mut dyn Store, query: RetriedQuery) -> Result<(), StoreError> {
        self.retried_queries.push_back(query);
        self.flush_deferred(engine)?;
        self.run_waiting_queries(engine)
    }

    fn run_waiting_queries(&mut self, engine: &mut dyn Store) -> Result<(), StoreError> {
        while let Some(mut query) = self.retried_queries.pop_front() {
            if let Err(error) = query(engine) {
                self.retried_queries.push_front(query);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Commits what no group has come by for.
    fn flush_deferred(&mut self, engine: &mut dyn Store) -> Result<(), StoreError> {
        if self.deferred_due.is_none() {
            return Ok(());
        }
        let commits = self.shared.deferred.take_or_rest(false);
        if commits.is_empty() {
            self.deferred_due = None;
            return Ok(());
        }
        commits.into_iter().for_each(|commit| self.append(commit));
        self.commit_waiting(engine)
    }

    fn append(&mut self, commit: Commit) {
        self.journal.push(commit.batch, commit.owner);
    }

    /// Puts a batch into the journal together with what else has arrived, up to the limits of a group. Another kind of request
    /// ends the group, so that it sees what was sent before it.
    fn gather(&mut self, first: Commit) {
        for commit in self.shared.deferred.take() {
            self.append(commit);
        }
        let (mut next, mut bytes) = (Some(first), 0);
        while let Some(commit) = next.take() {
            bytes += commit.batch.bytes();
            self.append(commit);
            if self.journal.len() >= self.config.group_batches || bytes >= self.config.group_bytes {
                return;
            }
            match self.requests.channel().try_recv() {
                Ok(StoreRequest::Commit(commit)) => next = Some(commit),
                Ok(other) => self.carried = Some(other),
                Err(_) => {}
            }
        }
    }

    /// Commits everything in the journal, group by group, and tells the owners.
    fn commit_waiting(&mut self, engine: &mut dyn Store) -> Result<(), StoreError> {
        self.deferred_due = self.deferred_due.map(|_| deadline_after(Instant::now(), LINGER));
        while !self.journal.is_empty() {
            let kept = self.commit_group(engine)?;
            self.tell_durable();
            self.schedule.batches += kept;
            if self.schedule.is_overdue(self.config.prune_every, self.low, Instant::now()) {
                self.prune(engine)?;
            }
            engine.maintain(Maintenance::BetweenGroups)?;
            if let Some(floor) = engine.next_ids(self.ids.last())? {
                self.ids.raise(floor);
            }
        }
        Ok(())
    }

    /// Commits the first group of the journal; how many batches it had. A batch that is at fault is left out, and the rest is
    /// tried again without it.
    fn commit_group(&mut self, engine: &mut dyn Store) -> Result<usize, StoreError> {
        loop {
            let group = self.journal.group(self.config.group_batches, self.config.group_bytes);
            let Some(last) = group.last().map(|entry| entry.number) else { return Ok(0) };
            let count = group.len();
            let begun = Instant::now();
            match engine.commit(group) {
                Ok(()) => {
                    self.failures = 0;
                    self.shared.took(begun.elapsed());
                    self.shared.committed(count);
                    self.journal.committed(last);
                    return Ok(count);
                }
                Err(StoreError::Rejected { batch, reason }) if batch < count => {
                    if let Some(owner) = self.journal.reject(batch) {
                        owner.done.end(Err(StateError::Rejected { reason }));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells the owners of durable batches. Each is out of the journal before it is told: one that panics takes no other
    /// with it.
    fn tell_durable(&mut self) {
        while let Some(owner) = self.journal.pop_durable() {
            owner.done.end(Ok(()));
        }
    }

    fn tell_of_less_work(&mut self) {
        if self.shared.backlog.take_awaited() {
            (self.on_event)(StoreEvent::Room);
        }
    }

    fn quiet(&mut self, engine: &mut dyn Store) -> Result<(), StoreError> {
        if self.low || Instant::now() >= self.schedule.at {
            self.prune(engine)?;
        }
        engine.maintain(Maintenance::Idle)?;
        self.shared.measured(engine.usage()?);
        self.tell_of_room(engine);
        Ok(())
    }

    fn prune(&mut self, engine: &mut dyn Store) -> Result<(), StoreError> {
        let done = engine.prune(&self.retention(engine.is_low()), steady_ms())?;
        self.schedule = PruneSchedule::after(&done, self.config.prune_every);
        self.shared.measured(engine.usage()?);
        Ok(())
    }

    /// Tells when there is no more room for what is new, and when there is room again.
    fn tell_of_room(&mut self, engine: &dyn Store) {
        let low = engine.is_low();
        if low == self.low {
            return;
        }
        self.low = low;
        self.shared.is_low(low);
        if low {
            warn!("{LOW}");
        } else {
            info!("there is room for new messages again");
        }
        (self.on_event)(if low { StoreEvent::Low } else { StoreEvent::Roomy });
    }

    fn went_down(&mut self, error: &StoreError) {
        let reason: Arc<str> = error.to_string().into();
        error!("nothing can be stored: {reason}");
        self.shared.went_down(Arc::clone(&reason));
        self.deferred_due = None;
        (self.on_event)(StoreEvent::Unavailable { reason: Arc::clone(&reason) });
        for commit in self.shared.deferred.take_or_rest(true) {
            self.append(commit);
        }
        let unavailable = StateError::Unavailable { reason, retry_after: whole_seconds(self.pause()) };
        for owner in self.journal.owners() {
            owner.done.delay(unavailable.clone());
        }
    }

    /// Lets wait or refuses what arrives until the store could be reopened and has what waited; `None` when the thread is
    /// to stop.
    fn reopen(&mut self) -> Option<Box<dyn Store>> {
        loop {
            let next_try = deadline_after(Instant::now(), self.pause());
            self.failures = self.failures.saturating_add(1);
            if !self.hold_until(next_try) {
                self.warn_of_loss();
                return None;
            }
            match self.open_and_resend() {
                Ok(engine) => {
                    self.came_up();
                    return Some(engine);
                }
                Err(error) => {
                    warn!("the store is still unavailable: {error}");
                    self.shared.still_down(error.to_string().into());
                }
            }
        }
    }

    /// Lets wait what has happened, and refuses the rest; false when the thread is to stop.
    fn hold_until(&mut self, next_try: Instant) -> bool {
        let reason = self.shared.health().reason.unwrap_or_else(|| "the store has failed".into());
        loop {
            let unavailable = || StateError::Unavailable {
                reason: Arc::clone(&reason),
                retry_after: whole_seconds(until(next_try)),
            };
            match self.next(until(next_try)) {
                Ok(StoreRequest::Commit(Commit { owner, .. })) if owner.is_optional => {
                    owner.done.end(Err(unavailable()));
                }
                Ok(StoreRequest::Commit(mut commit)) => {
                    commit.owner.done.delay(unavailable());
                    self.append(commit);
                }
                Ok(StoreRequest::Query(query)) => drop(query(Err(unavailable()))),
                Ok(StoreRequest::RetriedQuery(query)) => self.retried_queries.push_back(query),
                Ok(StoreRequest::Deferred) => {
                    for commit in self.shared.deferred.take_or_rest(true) {
                        self.append(commit);
                    }
                }
                Ok(StoreRequest::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => return true,
            }
            self.tell_of_less_work();
            if Instant::now() >= next_try {
                return true;
            }
        }
    }

    fn open_and_resend(&mut self) -> Result<Box<dyn Store>, StoreError> {
        let mut engine = (self.opener)()?;
        self.journal.reopened(engine.last_number()?)?;
        // A store that is full by its own limit gets room this way, before the probe asks for some.
        while engine.prune(&self.retention(engine.is_low()), steady_ms())?.more {}
        engine.probe()?;
        self.tell_durable();
        for owner in self.journal.withdraw(|owner| !owner.is_optional) {
            owner.done.give_up();
        }
        self.commit_waiting(engine.as_mut())?;
        self.run_waiting_queries(engine.as_mut())?;
        Ok(engine)
    }

    fn came_up(&mut self) {
        info!("the store is available again");
        (self.on_event)(StoreEvent::Recovered);
        self.shared.came_up();
        self.low = false;
        self.tell_of_less_work();
    }

    /// The host ends while the store is unavailable.
    fn warn_of_loss(&self) {
        if !self.journal.is_empty() {
            error!(
                "the host ends while nothing can be stored: what was done with {} messages, replies or callbacks is lost; \
                 some messages and replies may be delivered again",
                self.journal.len()
            );
        }
    }

    fn retention(&self, low: bool) -> Retention {
        if low { self.config.retention.without_completed() } else { self.config.retention.clone() }
    }

    fn pause(&self) -> Duration {
        backoff(self.config.reopen_min, self.config.reopen_max, self.failures)
    }
}

fn backoff(min: Duration, max: Duration, failures: u32) -> Duration {
    min.saturating_mul(1 << failures.min(16)).min(max)
}

fn until(instant: Instant) -> Duration {
    instant.saturating_duration_since(Instant::now())
}

/// For `Retry-After`: rounded up, at least one second.
fn whole_seconds(pause: Duration) -> Duration {
    let up = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
    Duration::from_secs(up.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_the_first_to_the_longest() {
        let pause = |failures| backoff(Duration::from_secs(1), Duration::from_secs(30), failures).as_secs();
        let pauses: Vec<u64> = (0..8).map(pause).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(pause(u32::MAX), 30);
    }

    #[test]
    fn pruning_that_finds_no_quiet_moment_comes_by_time_or_by_number() {
        let (every, now) = (Duration::from_secs(60), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        let cases = [
            ("nothing to do yet", false, 9_999, later(60), false),
            ("many batches", false, 10_000, later(1), true),
            ("four intervals too late", false, 1, later(300), true),
            ("not quite", false, 1, later(299), false),
            ("behind, and just done", true, 999, later(300), false),
            ("behind, and more has come", true, 1_000, later(1), true),
        ];
        for (name, behind, batches, at, expected) in cases {
            let schedule = PruneSchedule { at: later(60), behind, batches };
            assert_eq!(schedule.is_overdue(every, false, at), expected, "{name}");
        }
        let schedule = |batches| PruneSchedule { at: later(60), behind: false, batches };
        assert!(!schedule(63).is_overdue(every, true, now) && schedule(64).is_overdue(every, true, now));
        let behind = PruneSchedule::after(&PruneStats { more: true, ..PruneStats::default() }, every);
        assert!(behind.behind && behind.at <= Instant::now());
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        for (pause_ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (29_500, 30)] {
            assert_eq!(whole_seconds(Duration::from_millis(pause_ms)).as_secs(), seconds, "{pause_ms} ms");
        }
    }
}
