//! A running channel as a state machine: what happened goes in, what the host has to do comes out.
//!
//! It knows no thread, no clock and no store: the moment and a view of the host come with each [`Turn`], and what is to be
//! started, stored, sent or waited for goes out as [`Action`]s. The router carries them out.
//!
//! | file | what happened |
//! |---|---|
//! | `turn` | the turn, its actions, and the view of the host |
//! | `lanes` | jobs that are queued, started and run again |
//! | `start` | `on-start`, and what it registered |
//! | `requests`, `parked` | requests, duplicates, and those that wait for a change of the workspace |
//! | `finished`, `effects`, `over_rate` | the end of a callback, what it did, and what its emit rate holds back |
//! | `polls`, `timers` | what happens by the clock |
//! | `frames`, `sockets` | what arrives through a websocket |
//! | `replies`, `statuses` | what the agent says |
//! | `upgrade` | another version of the channel |
//! | `pauses` | failures in a row, and a store that fails and comes back |
//! | `end` | shutdown and removal |
//! | `health` | how the channel is |
//! | `served` | what a callback came to, for the trace of what it served |

mod effects;
mod end;
mod finished;
mod frames;
mod health;
mod lanes;
mod over_rate;
mod parked;
mod pauses;
mod polls;
mod replies;
mod requests;
mod served;
mod sockets;
mod start;
mod statuses;
#[cfg(test)]
mod tests;
mod timers;
mod turn;
mod upgrade;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;

use crate::channel::activity::Activity;
use crate::channel::breaker::Breaker;
use crate::channel::callback_totals::CallbackTotals;
use crate::channel::credentials::CredentialHealth;
use crate::channel::dedupe::RecentRequests;
use crate::channel::emission::Emission;
use crate::channel::job::{Job, RunningJob};
use crate::channel::lane::{Lane, LaneKind};
use crate::channel::outbox::{Outbox, RetryPolicy};
use crate::channel::poll::PollState;
use crate::channel::thinking::Thinking;
use crate::channel::timers::Timers;
use crate::channel::waiting_requests::WaitingRequests;
use crate::channel::workspace::{LimitNames, Workspace, WorkspaceLimits, workspace_path};
use crate::channel::{ChannelLimits, ChannelName, Registration};
use crate::event::arrival::Due;
use crate::event::callback::{CallbackKind, CallbackReport};
use crate::event::completion::Stored;
use crate::event::link::LinkEvent;
use crate::event::setup::ChannelSetup;
use crate::model::clock::Moment;
use crate::model::diagnostic::Diagnostic;
use crate::model::log_throttle::{LogThrottle, PROGRESS_LINES_A_MINUTE, Suppressed};
use crate::model::rate_limit::ChannelEmitRateLimiter;
use crate::store::{Ids, LoadedChannel, ReplyId};

pub use self::turn::{Action, ChannelCommand, ChannelLogLine, HostView, PendingResponse, Turn};

/// Webhooks of one channel that may wait for their turn.
const INBOUND_CAPACITY: usize = 256;

/// Timers that may wait for their turn; one that finds no room is due again later.
const TIMER_CAPACITY: usize = 256;

/// Status updates that may wait for their turn; what finds no room is dropped.
const STATUS_CAPACITY: usize = 64;

/// Another version that is tried, behind this one when it has to register again what an earlier one changed.
const TRIAL_CAPACITY: usize = 2;

/// How much of a guest's SHA-256 is shown: enough to tell builds apart.
const GUEST_BYTES: usize = 6;

/// Lines of each kind that a channel may cause in a minute.
const LINES_A_MINUTE: u32 = 20;

/// Kinds of log lines that a guest, or whoever writes to it, can cause without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ChannelLogKind {
    CallbackFailed,
    WorkspaceConflict,
    MessagesDropped,
    EmitRate,
    TimersDropped,
    TimerGivenUp,
    FrameGivenUp,
    ReplyFailed,
    ReplyStepsAside,
    ReplyGivenUp,
}

/// What does not change while a channel runs.
#[derive(Clone, Debug)]
pub struct MachineSettings {
    pub name: ChannelName,
    pub limits: ChannelLimits,
    /// Whether a message's own `message_id` recognises duplicates.
    pub message_id_from_metadata: bool,
    /// Whether it has a websocket.
    pub has_link: bool,
    /// Whether its guest is called for each frame. Otherwise it finds them in its workspace.
    pub has_socket_handler: bool,
    /// The ABI that its guest is built for, if replies have no attachments there.
    pub abi_without_attachments: Option<String>,
    /// The beginning of its guest's SHA-256, in hexadecimal.
    pub guest: String,
    /// Bytes of memory that an instance begins with.
    pub initial_memory: usize,
    /// Errors and warnings that hold as long as it runs.
    pub problems: Vec<Diagnostic>,
    /// How its replies are retried.
    pub retry: RetryPolicy,
    /// Ids for what is to be stored.
    pub ids: Ids,
}

impl MachineSettings {
    /// Those of a channel that is to be run.
    pub fn new(setup: &ChannelSetup, retry: RetryPolicy, ids: Ids) -> Self {
        let abi_version = setup.module.abi_version();
        Self {
            name: setup.name.clone(),
            limits: setup.limits,
            message_id_from_metadata: setup.message_id_from_metadata,
            has_link: setup.open_link.is_some(),
            has_socket_handler: setup.module.exports(CallbackKind::SocketText),
            abi_without_attachments: (!abi_version.response_attachments).then(|| abi_version.to_string()),
            guest: HEXLOWER.encode(&setup.module.digest()[..GUEST_BYTES]),
            initial_memory: setup.module.initial_memory_bytes(),
            problems: setup.problems().collect(),
            retry,
            ids,
        }
    }
}

/// A channel while it runs.
pub struct Channel {
    settings: MachineSettings,
    state: Phase,
    /// The host stops, or the channel is taken out: nothing begins any more.
    is_ending: bool,
    lanes: [Lane<Job>; LaneKind::COUNT],
    /// Whether the host was told that a lane is runnable, and has not looked at it yet.
    is_marked: [bool; LaneKind::COUNT],
    running: Vec<RunningJob>,
    workspace: Workspace,
    breaker: Breaker,
    registration: Option<Registration>,
    /// Attempts at `on-start` in a row that failed; 0 after one that succeeded. It sets the wait.
    start_failures: u32,
    poll: PollState,
    timers: Timers,
    outbox: Outbox,
    thinking: Thinking,
    /// News of the websocket that nothing durable came of yet, in the order of arrival, and how often the callback for each
    /// was run; their number is bounded by the link.
    held_news: VecDeque<(LinkEvent, u32)>,
    /// Whether a callback for news of the websocket waits or runs.
    is_socket_busy: bool,
    /// Until when the oldest frame waits, after its callback has failed.
    socket_waits_until: Option<Instant>,
    /// Whether frames are on their way to the store.
    is_storing_frames: bool,
    /// What is wrong with stored files, until it is said in the log.
    unusable_files: Vec<String>,
    recent_requests: RecentRequests,
    /// Requests that wait for a change of the workspace.
    waiting_requests: WaitingRequests,
    emission: Emission<(RunningJob, CallbackReport)>,
    log: LogThrottle<ChannelLogKind>,
    /// Lines about replies that were delivered: an agent may send any number of them.
    delivered_log: LogThrottle,
    credentials: CredentialHealth,
    counters: ChannelCounters,
    activity: Activity,
    /// The last failure, for health.
    last_failure: Option<String>,
    /// Another version that is being tried.
    candidate: Option<Box<MachineSettings>>,
    /// Why the last other version was dropped, for health.
    refused_version: Option<String>,
    /// The most memory that recent callbacks needed: what the next one is given from the start.
    expected_memory: usize,
}

/// Whether a channel takes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `on-start` is queued, running or waiting for its next try.
    Starting,
    Ready,
    /// Resting after failures.
    Paused,
    Stopping,
}

/// What happened since the host started.
#[derive(Clone, Copy, Debug, Default)]
struct ChannelCounters {
    succeeded: u64,
    failed: u64,
    emitted: u64,
    dropped: u64,
    callbacks: CallbackTotals,
}

impl Channel {
    /// A channel with what was durable for it. It begins with [`ChannelCommand::Start`].
    pub fn new(settings: MachineSettings, stored: LoadedChannel, at: Moment) -> Self {
        let limits = &settings.limits;
        let lanes = [
            Lane::new(limits.inbound_concurrency, INBOUND_CAPACITY),
            // A second poll is never queued.
            Lane::new(1, 1),
            Lane::new(1, TIMER_CAPACITY),
            // No more replies are under way than the lane runs at a time; the others wait in the store.
            Lane::new(limits.outbound_concurrency, usize::MAX),
            Lane::new(1, STATUS_CAPACITY),
            Lane::new(1, TRIAL_CAPACITY),
        ];
        let rate = ChannelEmitRateLimiter::new(limits.messages_per_minute, limits.messages_per_hour);
        let mut outbox = Outbox::default();
        for reply in &stored.replies {
            outbox.add(reply, &settings.retry, at);
        }
        let mut recent_requests = RecentRequests::default();
        for record in &stored.dedupe_keys {
            recent_requests.load(record, at.steady_ms);
        }
        let (workspace, unusable_files) = load_workspace(&settings, &stored);
        Self {
            lanes,
            is_marked: [false; LaneKind::COUNT],
            running: Vec::new(),
            workspace,
            breaker: Breaker::default(),
            registration: None,
            start_failures: 0,
            poll: PollState::default(),
            timers: Timers::load(stored.timers),
            outbox,
            thinking: Thinking::default(),
            held_news: VecDeque::new(),
            is_socket_busy: false,
            socket_waits_until: None,
            is_storing_frames: false,
            unusable_files,
            recent_requests,
            waiting_requests: WaitingRequests::default(),
            emission: Emission::new(rate, at.now),
            log: LogThrottle::new(LINES_A_MINUTE, Duration::from_secs(60)),
            delivered_log: LogThrottle::new(PROGRESS_LINES_A_MINUTE, Duration::from_secs(60)),
            credentials: CredentialHealth::default(),
            counters: ChannelCounters::default(),
            activity: Activity::default(),
            last_failure: None,
            candidate: None,
            refused_version: None,
            expected_memory: settings.initial_memory,
            state: Phase::Starting,
            is_ending: false,
            settings,
        }
    }

    /// The host, an operator or the agent wants something.
    pub fn command(&mut self, command: ChannelCommand, turn: &mut Turn<'_>) {
        match command {
            ChannelCommand::Start => self.start(turn),
            ChannelCommand::Status(update) => self.status(update, turn),
            ChannelCommand::Deliver(reply) => self.deliver(&reply, turn),
            ChannelCommand::DropReply(id) => self.drop_reply(id, turn),
            ChannelCommand::ClockAhead => self.clock_went_ahead(turn),
            ChannelCommand::StoreFailed => self.refuse_waiting_requests(turn),
            ChannelCommand::StoreRecovered => self.store_recovered(turn),
            ChannelCommand::Drain => self.drain(turn),
            ChannelCommand::Shutdown => self.shut_down(turn),
            ChannelCommand::Remove => self.remove(turn),
            ChannelCommand::Try(settings) => self.try_version(*settings, turn),
        }
    }

    /// A deadline has passed.
    pub fn due(&mut self, due: Due, turn: &mut Turn<'_>) {
        match due {
            Due::Start => self.start(turn),
            Due::Poll => self.poll_due(turn),
            Due::Timer(name) => self.timer_due(&name, turn),
            Due::Resume => self.resume(turn),
            Due::Replies => self.begin_due_replies(turn),
            Due::WaitingRequests => self.waiting_due(turn),
            Due::Frames => self.frames_due(turn),
            Due::Thinking(conversation) => self.repeat_thinking(&conversation, turn),
            Due::EmitRoom => self.release_held(turn),
        }
    }

    /// The store has done what the channel waits for.
    pub fn stored(&mut self, stored: Stored, turn: &mut Turn<'_>) {
        match stored {
            Stored::Attempt(id, record) => self.reply_ready(id, record, turn),
            Stored::NoAttempt(id) => self.reply_not_ready(id, turn),
            Stored::Frames => self.frames_stored(turn),
        }
    }

    pub fn name(&self) -> &ChannelName {
        &self.settings.name
    }

    /// How many replies are not delivered yet.
    pub fn replies(&self) -> usize {
        self.outbox.len()
    }

    pub fn has_reply(&self, id: ReplyId) -> bool {
        self.outbox.has(id)
    }

    fn is_ready(&self) -> bool {
        self.state == Phase::Ready
    }

    fn lane(&mut self, kind: LaneKind) -> &mut Lane<Job> {
        &mut self.lanes[kind as usize]
    }

    /// Whether a line of this kind may be written now, and how many were left out before it.
    fn may_log(&mut self, kind: ChannelLogKind, turn: &Turn<'_>) -> Option<Suppressed> {
        self.log.check(&kind, turn.at.now)
    }
}

/// The workspace, and what is wrong with files that are not in it.
fn load_workspace(settings: &MachineSettings, stored: &LoadedChannel) -> (Workspace, Vec<String>) {
    let MachineSettings { name, limits, .. } = settings;
    let mut unusable = Vec::new();
    let files = stored.files.iter().filter_map(|(path, content)| match workspace_path(path) {
        Ok(path) => Some((path, Arc::clone(content))),
        Err(error) => {
            unusable.push(format!("channel {name}: stored file {path:?}: {error}"));
            None
        }
    });
    let workspace = Workspace::load(workspace_limits(limits), files);
    (workspace, unusable)
}

fn workspace_limits(limits: &ChannelLimits) -> WorkspaceLimits {
    WorkspaceLimits {
        file_bytes: limits.workspace_file_bytes,
        total_bytes: usize::try_from(limits.workspace_bytes).unwrap_or(usize::MAX),
        files: limits.workspace_files,
        names: LimitNames::OF_CHANNELS,
    }
}
