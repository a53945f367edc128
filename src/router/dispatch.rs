//! Who may start now: free workers, free memory.

use std::time::Instant;

use crossbeam_channel::Sender;

use crate::channel::ChannelName;
use crate::event::callback::{CallbackKind, CallbackReport};
use crate::event::completion::{Completion, Ticket};
use crate::model::deadline::deadline_after;
use crate::sandbox::{CallbackContext, MemoryReservation, WasmChannelError};

use super::core::Router;
use super::job::{Job, Running};
use super::lane::LaneKind;
use super::slot::{Slot, State};

/// Why a lane's next job does not start.
enum Wait {
    /// This lane has nothing to start, or may not.
    NotNow,
    /// No worker is free for lanes of this kind; other kinds may have one.
    Workers,
    /// The memory budget has no room. Later jobs must not overtake, or a large guest would wait for ever.
    Memory,
}

impl Router {
    /// Starts every job that can start, lanes in the order in which they got their jobs.
    pub(super) fn start_what_can_start(&mut self) {
        let mut kept = Vec::new();
        while let Some((channel, lane)) = self.runnable.pop_front() {
            match self.start_next_of(&channel, lane) {
                Ok(()) => {
                    self.unlist(&channel, lane);
                    self.list(&channel, lane);
                }
                Err(Wait::NotNow) => self.unlist(&channel, lane),
                Err(Wait::Workers) => kept.push((channel, lane)),
                Err(Wait::Memory) => {
                    kept.push((channel, lane));
                    break;
                }
            }
        }
        for entry in kept.into_iter().rev() {
            self.runnable.push_front(entry);
        }
    }

    fn unlist(&mut self, channel: &ChannelName, lane: LaneKind) {
        if let Some(slot) = self.slots.get_mut(channel) {
            slot.listed[lane as usize] = false;
        }
    }

    fn start_next_of(&mut self, channel: &ChannelName, lane: LaneKind) -> Result<(), Wait> {
        let has_worker = self.has_worker_for(lane);
        let storage_works = self.storage.takes_work();
        let Some(slot) = self.slots.get_mut(channel) else { return Err(Wait::NotNow) };
        if !slot.lane(lane).is_runnable() || !may_run(slot, lane) {
            return Err(Wait::NotNow);
        }
        if !has_worker || !storage_works {
            return Err(Wait::Workers);
        }
        // More than the whole budget would never be there, and everybody would wait for it.
        let wanted = wanted_memory(slot, lane).min(self.budget.limit());
        let Some(memory) = self.budget.reserve(wanted) else { return Err(Wait::Memory) };
        let Some(job) = slot.lane(lane).start_next() else { return Err(Wait::NotNow) };
        self.start(channel, lane, job, memory);
        Ok(())
    }

    /// A lane may use all workers but a few, so that a burst in one kind of lane leaves the others able to work;
    /// polls, which may wait half a minute for an upstream server, use at most half, and status updates a quarter.
    fn has_worker_for(&self, lane: LaneKind) -> bool {
        let capacity = self.workers.capacity();
        let running: usize = self.running_in.iter().sum();
        let most = match lane {
            LaneKind::Poll => (capacity / 2).max(1),
            LaneKind::Status => (capacity / 4).max(1),
            LaneKind::Inbound | LaneKind::Timer | LaneKind::Outbound => {
                capacity.saturating_sub(capacity / 8).max(1)
            }
        };
        running < capacity && self.running_in[lane as usize] < most
    }

    fn start(&mut self, channel: &ChannelName, lane: LaneKind, job: Job, memory: MemoryReservation) {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let callback = job.callback.clone();
        let module = self.slots[channel].setup.module.clone();
        let context = self.context(channel, memory);
        let generation = self.storage.generation();
        self.running.insert(ticket, Running { channel: channel.clone(), lane, job, generation });
        self.running_in[lane as usize] += 1;
        let outcome = Outcome {
            completed: self.completed.clone(),
            ticket,
            channel: channel.to_string(),
            kind: callback.kind(),
            report: None,
        };
        // A job that finds no worker is dropped, and its outcome reports that.
        let _ = self.workers.submit(Box::new(move || {
            let mut outcome = outcome;
            outcome.report = Some(module.run(context, &callback));
        }));
    }

    /// What a callback is run with. Its instance is made by the worker.
    fn context(&self, channel: &ChannelName, memory: MemoryReservation) -> CallbackContext {
        let slot = &self.slots[channel];
        CallbackContext {
            channel: slot.setup.runtime.clone(),
            workspace: slot.workspace.snapshot(),
            deadline: deadline_after(Instant::now(), slot.setup.limits.callback_timeout),
            stop: self.stop.clone(),
            memory,
        }
    }
}

/// Sends a callback's report when it is dropped: also when the worker panicked, or there was none. A lane whose callback
/// never ended would stand still for ever.
struct Outcome {
    completed: Sender<Completion>,
    ticket: Ticket,
    channel: String,
    kind: CallbackKind,
    report: Option<CallbackReport>,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        let report = self.report.take().unwrap_or_else(|| {
            let reason = "the worker did not end as it should; please report this".to_owned();
            let channel = self.channel.clone();
            CallbackReport::failed(
                self.kind,
                WasmChannelError::HostFailure { channel, callback: self.kind, reason },
            )
        });
        // The router is gone only when the process ends.
        let _ = self.completed.send(Completion::Callback(self.ticket, Box::new(report)));
    }
}

/// Whether jobs of this lane may run in the channel's present state.
fn may_run(slot: &Slot, lane: LaneKind) -> bool {
    match slot.state {
        State::Ready => true,
        State::Starting | State::Stopping => lane == LaneKind::Inbound,
        State::Paused => false,
    }
}

/// What a job is given of the memory budget from the start: what the channel needed lately, or all that it may have
/// when the budget has once refused it more.
fn wanted_memory(slot: &mut Slot, lane: LaneKind) -> usize {
    let with_full_memory = slot.lane(lane).peek().is_some_and(|job| job.with_full_memory);
    if with_full_memory { slot.setup.limits.memory_bytes } else { slot.expected_memory }
}
