//! What the router knows of one channel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::Registration;
use crate::channel::workspace::{Workspace, WorkspaceLimits, WorkspacePath, workspace_path};
use crate::event::setup::ChannelSetup;
use crate::model::log_throttle::{LogThrottle, Suppressed};
use crate::model::rate_limit::ChannelEmitRateLimiter;
use crate::store::LoadedChannel;

use super::dedupe::RecentRequests;
use super::emission::Emission;
use super::outbox::Outbox;
use super::poll::PollState;
use super::thinking::Thinking;
use super::timers::Timers;
use super::waiting::WaitingRequests;
use crate::channel::breaker::Breaker;
use crate::channel::credentials::CredentialHealth;
use crate::channel::job::{Job, Running};
use crate::channel::lane::{Lane, LaneKind};
use crate::event::callback::CallbackReport;
use crate::event::link::{ChannelLink, LinkFrame};
use crate::sandbox::StopFlag;

/// Webhooks of one channel that may wait for their turn.
const INBOUND_CAPACITY: usize = 256;

/// Timers that may wait for their turn; one that finds no room is due again later.
const TIMER_CAPACITY: usize = 256;

/// Status updates that may wait for their turn; what finds no room is dropped.
const STATUS_CAPACITY: usize = 64;

/// Lines of each kind that a channel may cause in a minute.
const LINES_A_MINUTE: u32 = 20;

/// Kinds of log lines that a guest, or whoever writes to it, can cause without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogKind {
    CallbackFailed,
    WorkspaceConflict,
    MessagesDropped,
    EmitRate,
    TimersDropped,
    TimerGivenUp,
    ReplyStepsAside,
    ReplyGivenUp,
}

/// One channel.
pub struct Channel {
    pub setup: ChannelSetup,
    pub state: State,
    /// Ends what runs when the channel is removed.
    pub stop: StopFlag,
    lanes: [Lane<Job>; LaneKind::COUNT],
    /// Whether each lane is among the router's runnable ones.
    pub is_marked: [bool; LaneKind::COUNT],
    pub workspace: Workspace,
    pub breaker: Breaker,
    pub registration: Option<Registration>,
    pub start_failures: u32,
    pub poll: PollState,
    pub timers: Timers,
    pub outbox: Outbox,
    pub thinking: Thinking,
    /// The websocket, once it was opened.
    pub link: Option<Arc<dyn ChannelLink>>,
    /// Frames that are not durable yet, in the order of arrival; their number is bounded by the link.
    pub held_frames: VecDeque<LinkFrame>,
    /// Whether frames are on their way to the store.
    pub is_storing_frames: bool,
    pub seen: RecentRequests,
    /// Requests that wait for a change of the workspace.
    pub waiting_requests: WaitingRequests,
    pub emission: Emission<(Running, CallbackReport)>,
    /// For lines that the guest, or whoever writes to it, can cause.
    pub log: LogThrottle<LogKind>,
    pub credentials: CredentialHealth,
    pub counters: Counters,
    /// The last failure, for health.
    pub last_failure: Option<String>,
    /// The most memory that recent callbacks needed: what the next one is given from the start.
    pub expected_memory: usize,
}

/// Whether a channel takes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `on-start` is queued, running or waiting for its next try.
    Starting,
    Ready,
    /// Resting after failures.
    Paused,
    Stopping,
}

/// What happened since the host started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub succeeded: u64,
    pub failed: u64,
    pub emitted: u64,
    pub dropped: u64,
}

impl Channel {
    /// Whether a line of this kind may be written now, and how many were left out before it.
    pub fn may_log(&mut self, kind: LogKind) -> Option<Suppressed> {
        self.log.check(&kind, Instant::now())
    }

    pub fn new(setup: ChannelSetup, stored: LoadedChannel) -> Self {
        let limits = &setup.limits;
        let lanes = [
            Lane::new(limits.inbound_concurrency, INBOUND_CAPACITY),
            // A second poll is never queued.
            Lane::new(1, 1),
            Lane::new(1, TIMER_CAPACITY),
            // No more replies are under way than the lane runs at a time; the others wait in the store.
            Lane::new(limits.outbound_concurrency, usize::MAX),
            Lane::new(1, STATUS_CAPACITY),
        ];
        Self {
            lanes,
            is_marked: [false; LaneKind::COUNT],
            workspace: load_workspace(&setup, &stored),
            breaker: Breaker::default(),
            registration: None,
            start_failures: 0,
            poll: PollState::default(),
            timers: Timers::load(stored.timers),
            outbox: Outbox::default(),
            thinking: Thinking::default(),
            link: None,
            held_frames: VecDeque::new(),
            is_storing_frames: false,
            seen: RecentRequests::default(),
            waiting_requests: WaitingRequests::default(),
            emission: Emission::new(
                ChannelEmitRateLimiter::new(limits.messages_per_minute, limits.messages_per_hour),
                Instant::now(),
            ),
            log: LogThrottle::new(LINES_A_MINUTE, Duration::from_secs(60)),
            credentials: CredentialHealth::default(),
            counters: Counters::default(),
            last_failure: None,
            expected_memory: setup.module.initial_memory_bytes(),
            state: State::Starting,
            stop: StopFlag::default(),
            setup,
        }
    }

    pub fn lane(&mut self, kind: LaneKind) -> &mut Lane<Job> {
        &mut self.lanes[kind as usize]
    }

    /// Whether a callback of this channel runs.
    pub fn runs_anything(&self) -> bool {
        self.lanes.iter().any(Lane::runs_anything)
    }

    /// How many jobs wait: inbound; polls and timers; replies and status updates.
    pub fn waiting(&self) -> [usize; 3] {
        let of = |kind: LaneKind| self.lanes[kind as usize].waiting();
        [
            of(LaneKind::Inbound),
            of(LaneKind::Poll) + of(LaneKind::Timer),
            of(LaneKind::Outbound) + of(LaneKind::Status),
        ]
    }
}

fn load_workspace(setup: &ChannelSetup, stored: &LoadedChannel) -> Workspace {
    let limits = WorkspaceLimits {
        file_bytes: setup.limits.workspace_file_bytes,
        total_bytes: usize::try_from(setup.limits.workspace_bytes).unwrap_or(usize::MAX),
        files: setup.limits.workspace_files,
    };
    let files = stored.files.iter().filter_map(|(path, content)| {
        checked(path)
            .map_err(|error| log::error!(target: setup.name.as_str(), "channel {}: stored file {path:?}: {error}", setup.name))
            .ok()
            .map(|path| (path, Arc::clone(content)))
    });
    Workspace::load(limits, files)
}

fn checked(path: &str) -> Result<WorkspacePath, crate::channel::workspace::PathError> {
    workspace_path(path)
}
