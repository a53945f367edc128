//! Jobs on their way into lanes and out of them.

use std::time::Instant;

use super::turn::{Action, Turn};
use super::{Channel, Phase};
use crate::channel::job::{Job, Purpose, RunningJob};
use crate::channel::lane::LaneKind;
use crate::channel::workspace::WorkspaceSnapshot;
use crate::event::callback::Callback;
use crate::event::completion::Ticket;

/// A callback that is to be run.
#[derive(Debug)]
pub struct Started {
    pub callback: Callback,
    /// Whether it is a callback of the version that is tried.
    pub is_trial: bool,
    pub workspace: WorkspaceSnapshot,
}

impl Channel {
    /// Puts a job at the end of its lane; returns it when too many wait there.
    pub(super) fn enqueue(&mut self, job: Job, turn: &mut Turn<'_>) -> Result<(), Box<Job>> {
        let lane = job.purpose.lane();
        self.lane(lane).push(job).map_err(Box::new)?;
        self.mark(lane, turn);
        Ok(())
    }

    /// Runs a job again from the present state, before any other of its lane.
    pub(super) fn run_again(
        &mut self,
        running: RunningJob,
        change: impl FnOnce(&mut Job),
        turn: &mut Turn<'_>,
    ) {
        let RunningJob { lane, mut job, .. } = running;
        change(&mut job);
        self.lane(lane).put_back(job);
        self.mark(lane, turn);
    }

    /// A callback's place in its lane is free again.
    pub(super) fn free_lane(&mut self, lane: LaneKind, turn: &mut Turn<'_>) {
        self.lane(lane).finished();
        self.mark(lane, turn);
        if lane == LaneKind::Outbound {
            self.begin_due_replies(turn);
        }
    }

    pub(super) fn mark_all(&mut self, turn: &mut Turn<'_>) {
        for lane in LaneKind::ALL {
            self.mark(lane, turn);
        }
    }

    fn mark(&mut self, lane: LaneKind, turn: &mut Turn<'_>) {
        if self.mark_if_runnable(lane) {
            turn.act(Action::Runnable(lane));
        }
    }

    /// Whether a lane has become runnable since it was looked at.
    pub fn mark_if_runnable(&mut self, lane: LaneKind) -> bool {
        let is_new = !self.is_marked[lane as usize] && self.lane(lane).is_runnable();
        self.is_marked[lane as usize] |= is_new;
        is_new
    }

    /// A lane that was said to be runnable has been looked at.
    pub fn unmark(&mut self, lane: LaneKind) {
        self.is_marked[lane as usize] = false;
    }

    /// What the next job of a lane is given of the memory budget: what the channel needed lately, or all that it may have when
    /// the budget has once refused it more. None when no job may start.
    pub fn next_wants(&mut self, lane: LaneKind) -> Option<usize> {
        if !self.lane(lane).is_runnable() || !self.may_run(lane) {
            return None;
        }
        let job = self.lane(lane).peek();
        let with_full_memory = job.is_some_and(|job| job.with_full_memory);
        if job.is_some_and(|job| matches!(job.purpose, Purpose::Trial)) {
            return Some(self.trial_wants(with_full_memory));
        }
        Some(if with_full_memory { self.settings.limits.memory_bytes } else { self.expected_memory })
    }

    /// Starts the next job of a lane as `ticket`.
    pub fn start_next(&mut self, lane: LaneKind, ticket: Ticket) -> Option<Started> {
        let job = self.lane(lane).start_next()?;
        let callback = job.callback.clone();
        let is_trial = matches!(job.purpose, Purpose::Trial);
        let workspace_version = self.workspace.version();
        self.running.push(RunningJob { ticket, lane, job, workspace_version });
        Some(Started { callback, is_trial, workspace: self.workspace.snapshot() })
    }

    pub(super) fn take_running(&mut self, ticket: Ticket) -> Option<RunningJob> {
        let at = self.running.iter().position(|running| running.ticket == ticket)?;
        Some(self.running.swap_remove(at))
    }

    /// Whether jobs of this lane may run in the present state.
    fn may_run(&self, lane: LaneKind) -> bool {
        match self.state {
            Phase::Ready => true,
            // A version that cannot start, or that fails, is what another one is for.
            Phase::Starting | Phase::Paused if lane == LaneKind::Trial => true,
            Phase::Starting | Phase::Stopping => lane == LaneKind::Inbound,
            Phase::Paused => false,
        }
    }

    /// Whether a callback of this channel runs, or has ended and keeps its place.
    pub fn runs_anything(&self) -> bool {
        self.lanes.iter().any(|lane| lane.runs_anything())
    }

    /// How many jobs wait: inbound; polls and timers; replies and status updates.
    pub(super) fn waiting(&self) -> [usize; 3] {
        let of = |kind: LaneKind| self.lanes[kind as usize].waiting();
        [
            of(LaneKind::Inbound),
            of(LaneKind::Poll) + of(LaneKind::Timer),
            of(LaneKind::Outbound) + of(LaneKind::Status),
        ]
    }

    /// When the request that has waited for longest began to, for those who refuse it after a while.
    pub(super) fn oldest_request(&mut self) -> Option<Instant> {
        let oldest = self.lane(LaneKind::Inbound).peek()?;
        oldest.purpose.is_request().then_some(oldest.queued)
    }
}
