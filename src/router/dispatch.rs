//! Who may start now: free workers, free memory.

use std::sync::{Arc, Weak};
use std::time::Instant;

use crossbeam_channel::Sender;

use super::hosted::Version;
use super::runnable::RunnableLane;
use super::shared::SharedRouter;
use super::state::Router;
use crate::channel::ChannelName;
use crate::channel::lane::LaneKind;
use crate::channel::workspace::WorkspaceSnapshot;
use crate::event::callback::{Callback, CallbackKind, CallbackReport};
use crate::event::completion::{Completion, Ticket};
use crate::event::setup::ReadStartConfig;
use crate::model::deadline::deadline_after;
use crate::sandbox::{
    CallbackContext, CallbackRunner, MemoryBudget, MemoryReservation, PreparedChannelModule, StopFlag,
    WasmChannelError,
};
use crate::secrets::SecretError;

/// Why a lane's next job does not start.
enum NotStarted {
    /// This lane has nothing to start, or may not.
    NotRunnable,
    /// There is no room in the memory budget.
    Memory,
}

/// The share of the memory budget that is kept for small callbacks while large ones wait: every channel can then run one of
/// up to [`Floors::FLOOR_SHARE`] of the budget.
pub(super) struct Floors {
    reserve: MemoryBudget,
    floor: usize,
}

impl Floors {
    const RESERVE_SHARE: usize = 8;
    const FLOOR_SHARE: usize = 64;

    /// Splits a budget: what all callbacks share, and what is kept for small ones.
    pub fn split(bytes: usize) -> (MemoryBudget, Self) {
        let reserve = bytes / Self::RESERVE_SHARE;
        let floors = Self { reserve: MemoryBudget::new(reserve), floor: bytes / Self::FLOOR_SHARE };
        (MemoryBudget::new(bytes - reserve), floors)
    }

    /// Memory for a callback of a channel that has none running, if it is small enough.
    fn reserve(&self, wanted: usize) -> Option<MemoryReservation> {
        if wanted <= self.floor { self.reserve.reserve(wanted) } else { None }
    }
}

impl Router {
    /// Starts every job that can start, lanes in the order in which they got their jobs.
    pub(super) fn start_what_can_start(&mut self) {
        while !self.runnable.is_empty() && self.storage.takes_work() {
            let (workers, running_in) = (self.workers.capacity(), self.running_in);
            let next = self.runnable.pop(|kind| has_worker_for(kind, workers, &running_in));
            let Some(entry) = next else { return };
            match self.start_next_of(&entry) {
                Ok(()) => self.look_again_at(&entry),
                Err(NotStarted::NotRunnable) => self.unmark(&entry),
                Err(NotStarted::Memory) => self.runnable.starve(entry),
            }
        }
    }

    /// A job of this lane has started: the next one may be able to.
    fn look_again_at(&mut self, entry: &RunnableLane<ChannelName>) {
        self.unmark(entry);
        let hosted = self.channels.get_mut(&entry.key);
        if hosted.is_some_and(|hosted| hosted.channel.mark_if_runnable(entry.lane)) {
            self.runnable.push(entry.key.clone(), entry.lane);
        }
    }

    fn unmark(&mut self, entry: &RunnableLane<ChannelName>) {
        if let Some(hosted) = self.channels.get_mut(&entry.key) {
            hosted.channel.unmark(entry.lane);
        }
    }

    fn start_next_of(&mut self, entry: &RunnableLane<ChannelName>) -> Result<(), NotStarted> {
        let lane = entry.lane;
        let hosted = self.channels.get_mut(&entry.key).ok_or(NotStarted::NotRunnable)?;
        let wanted = hosted.channel.next_wants(lane).ok_or(NotStarted::NotRunnable)?;
        // More than the whole budget would never be there, and everybody would wait for it.
        let wanted = wanted.min(self.budget.limit());
        let may_overtake = !self.runnable.is_behind_a_starved_one(entry);
        let shared = if may_overtake { self.budget.reserve(wanted) } else { None };
        let memory = match shared {
            None if !hosted.channel.runs_anything() => self.floors.reserve(wanted),
            shared => shared,
        };
        let memory = memory.ok_or(NotStarted::Memory)?;
        let ticket = Ticket(self.last_ticket + 1);
        let started = hosted.channel.start_next(lane, ticket).ok_or(NotStarted::NotRunnable)?;
        let kind = started.callback.kind();
        let outcome = PendingReport {
            completed: self.completed.clone(),
            ticket,
            channel: entry.key.shared(),
            kind,
            report: None,
            is_reported: false,
        };
        let version = hosted.version_of(started.is_trial);
        let stop = if kind == CallbackKind::HttpRequest { &self.stop_webhooks } else { &self.stop };
        let context = context(version, &hosted.stop, started.workspace, memory, stop);
        let work = Work {
            context,
            callback: started.callback,
            start_config: version.start_config.clone(),
            module: version.module.clone(),
            runner: hosted.runner.clone(),
            outcome,
        };
        self.last_ticket = ticket.0;
        self.running_in[lane as usize] += 1;
        self.running.insert(ticket, RunningCallback { channel: entry.key.clone(), lane, kind });
        self.give_to_worker(work);
        Ok(())
    }

    fn give_to_worker(&mut self, work: Work) {
        if self.worker_is_free && self.for_this_worker.is_none() {
            self.for_this_worker = Some(work);
            return;
        }
        let shared = self.shared.clone();
        // A job that finds no worker is dropped, and its outcome reports that.
        let _ = self.workers.submit(Box::new(move || work.run_and_go_on(&shared)));
    }
}

/// A callback that a worker runs.
pub(super) struct RunningCallback {
    pub channel: ChannelName,
    pub lane: LaneKind,
    pub kind: CallbackKind,
}

/// What a callback is run with. Its instance is made by the worker.
fn context(
    version: &Version,
    stop_of_channel: &StopFlag,
    workspace: WorkspaceSnapshot,
    memory: MemoryReservation,
    stop: &StopFlag,
) -> CallbackContext {
    CallbackContext {
        channel: version.runtime.clone(),
        workspace,
        deadline: deadline_after(Instant::now(), version.runtime.limits.callback_timeout),
        stop: stop.or(stop_of_channel),
        memory,
    }
}

/// The callback as the guest gets it: `on-start` with the channel's configuration, which is made here, on a worker, because
/// it reads secrets.
fn with_config(callback: Callback, start_config: &ReadStartConfig) -> Result<Callback, SecretError> {
    match callback {
        Callback::Start { .. } => Ok(Callback::Start { config_json: start_config()? }),
        other => Ok(other),
    }
}

/// A lane may use all workers but a few, so that a burst in one kind of lane leaves the others able to work; polls, which
/// may wait half a minute for an upstream server, use at most half, and status updates and versions that are tried a quarter.
fn has_worker_for(lane: LaneKind, workers: usize, running_in: &[usize; LaneKind::COUNT]) -> bool {
    let most = match lane {
        LaneKind::Poll => workers / 2,
        LaneKind::Status | LaneKind::Trial => workers / 4,
        LaneKind::Inbound | LaneKind::Timer | LaneKind::Outbound => workers - workers / 8,
    };
    running_in.iter().sum::<usize>() < workers && running_in[lane as usize] < most.max(1)
}

/// A callback that a worker is to run.
pub(super) struct Work {
    // Before the outcome: fields are dropped in this order, and the memory of its context is free when a callback that found
    // no worker is reported.
    context: CallbackContext,
    callback: Callback,
    start_config: ReadStartConfig,
    module: Arc<PreparedChannelModule>,
    runner: Option<Arc<dyn CallbackRunner>>,
    outcome: PendingReport,
}

impl Work {
    /// Runs it, and what the router has for this worker after it.
    fn run_and_go_on(self, router: &Weak<SharedRouter>) {
        let mut next = Some(self);
        while let Some(work) = next {
            next = work.run().report_to(router);
        }
    }

    fn run(self) -> PendingReport {
        let Self { context, callback, start_config, module, runner, mut outcome } = self;
        let report = match with_config(callback, &start_config) {
            Ok(callback) => match runner {
                Some(runner) => runner.run(&module, context, &callback),
                None => module.run(context, &callback),
            },
            Err(error) => {
                let channel = outcome.channel.to_string();
                let reason = format!("the secrets cannot be read: {error}");
                CallbackReport::failed(outcome.kind, WasmChannelError::StartConfig { channel, reason })
            }
        };
        outcome.report = Some(Box::new(report));
        outcome
    }
}

/// Reports the outcome on drop, so a panicking or missing worker still completes the callback. A lane whose callback never ended
/// would run nothing more.
struct PendingReport {
    completed: Sender<Completion>,
    ticket: Ticket,
    channel: Arc<str>,
    kind: CallbackKind,
    report: Option<Box<CallbackReport>>,
    is_reported: bool,
}

impl PendingReport {
    /// Reports to the router at once when no thread runs it, else by its queue. Returns what this worker is to run next.
    fn report_to(mut self, router: &Weak<SharedRouter>) -> Option<Work> {
        let (router, report) = (router.upgrade()?, self.report.take()?);
        match router.callback_ended(self.ticket, report) {
            Ok(next) => {
                self.is_reported = true;
                next
            }
            Err(report) => {
                self.report = Some(report);
                None
            }
        }
    }
}

impl Drop for PendingReport {
    fn drop(&mut self) {
        if self.is_reported {
            return;
        }
        let report = self.report.take().unwrap_or_else(|| {
            let reason = "the worker did not end as it should; please report this".to_owned();
            let channel = self.channel.to_string();
            Box::new(CallbackReport::failed(
                self.kind,
                WasmChannelError::HostFailure { channel, callback: self.kind, reason },
            ))
        });
        // The router is gone only when the process ends.
        let _ = self.completed.send(Completion::Callback(self.ticket, report));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_lane_has_its_share_of_the_workers() {
        for (lane, workers, share) in [
            (LaneKind::Inbound, 32, 28),
            (LaneKind::Timer, 32, 28),
            (LaneKind::Outbound, 32, 28),
            (LaneKind::Poll, 32, 16),
            (LaneKind::Status, 32, 8),
            (LaneKind::Trial, 32, 8),
            (LaneKind::Inbound, 4, 4),
            (LaneKind::Poll, 1, 1),
            (LaneKind::Status, 1, 1),
        ] {
            let running = |count| {
                let mut running_in = [0; LaneKind::COUNT];
                running_in[lane as usize] = count;
                running_in
            };
            assert!(has_worker_for(lane, workers, &running(share - 1)), "{lane:?} of {workers}");
            assert!(!has_worker_for(lane, workers, &running(share)), "{lane:?} of {workers}");
        }
        assert!(!has_worker_for(LaneKind::Inbound, 8, &[1, 4, 0, 2, 1, 0]), "all workers are taken");
        assert!(has_worker_for(LaneKind::Inbound, 8, &[1, 3, 0, 2, 1, 0]));
    }

    /// A guest that waited for 200 MB held up every other channel.
    #[test]
    fn small_callbacks_have_memory_left_when_the_shared_part_is_taken() {
        let (shared, floors) = Floors::split(64 << 20);
        assert_eq!((shared.limit(), floors.reserve.limit(), floors.floor), (56 << 20, 8 << 20, 1 << 20));
        let all = shared.reserve(56 << 20);
        assert!(all.is_some() && shared.reserve(1).is_none());
        let small = floors.reserve(1 << 20);
        assert!(small.is_some());
        assert!(floors.reserve((1 << 20) + 1).is_none(), "one byte more than the floor");
    }
}
