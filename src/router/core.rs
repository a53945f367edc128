//! The router's state and its loop.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::channel::ChannelName;
use crate::event::arrival::{AddChannelError, RouterCommand};
use crate::event::callback::CallbackReport;
use crate::event::completion::{Completion, Ticket};
use crate::event::queue::EventReceiver;
use crate::event::setup::{ChannelSetup, StoredChannel};
use crate::event::{Event, ShutdownPhase, Wakeup};
use crate::inbox::Mailbox;
use crate::model::clock::steady_ms;
use crate::router::scheduler::SchedulerHandle;
use crate::sandbox::{MemoryBudget, StopFlag, WorkerPool};
use crate::store::StoreHandle;

use super::dispatch::{Floors, Work};
use super::responded::RespondedQueue;
use super::runnable::Runnable;
use super::shared::SharedRouter;
use super::storage::Storage;
use crate::channel::job::{Job, Running};
use crate::channel::lane::LaneKind;
use crate::channel::outbox::RetryPolicy;
use crate::channel::state::{Channel, State};
pub(super) use crate::model::random::random;

/// What an operator can set about the router.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// Guest memory that all running callbacks may have together.
    pub memory_budget: usize,
    /// How replies are retried.
    pub retry: RetryPolicy,
    /// How long a webhook may wait for its turn before it gets 503.
    pub queue_timeout: Duration,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            memory_budget: 256 * 1024 * 1024,
            retry: RetryPolicy::default(),
            queue_timeout: Duration::from_secs(20),
        }
    }
}

/// The threads and queues that the router works with.
pub struct RouterParts {
    /// News from outside.
    pub events: EventReceiver,
    /// Where completions come in.
    pub completions: Receiver<Completion>,
    /// Where workers and the store thread send completions.
    pub completed: Sender<Completion>,
    /// Deadlines.
    pub scheduler: SchedulerHandle,
    /// Runs callbacks.
    pub workers: WorkerPool,
    /// Keeps what must survive.
    pub store: StoreHandle,
    /// Messages for the agent.
    pub mailbox: Mailbox,
    /// Ends running callbacks at shutdown.
    pub stop: StopFlag,
    /// Replies of channels that are loaded, which are not completed. Whoever makes one durable adds it before the router hears
    /// of it, and the router adds what a channel brings from the store; the router takes away what is delivered, dead,
    /// dropped, or goes with a removed channel. Read by those who add, against the limit of all.
    pub replies_waiting: Arc<AtomicUsize>,
}

/// The event router.
pub struct Router {
    pub(super) events: EventReceiver,
    pub(super) completions: Receiver<Completion>,
    pub(super) completed: Sender<Completion>,
    pub(super) scheduler: SchedulerHandle,
    pub(super) workers: WorkerPool,
    /// How workers find the router.
    pub(super) shared: Weak<SharedRouter>,
    /// A worker runs the router, and takes what is started first.
    pub(super) worker_is_free: bool,
    /// What that worker is to run.
    pub(super) for_this_worker: Option<Work>,
    pub(super) storage: Storage,
    pub(super) mailbox: Mailbox,
    pub(super) stop: StopFlag,
    pub(super) config: RouterConfig,
    pub(super) budget: MemoryBudget,
    /// In the order of their names, so that what is reported is too.
    pub(super) channels: BTreeMap<ChannelName, Channel>,
    pub(super) running: HashMap<Ticket, Running>,
    /// Callbacks that run, by lane.
    pub(super) running_in: [usize; LaneKind::COUNT],
    pub(super) last_ticket: u64,
    pub(super) floors: Floors,
    /// Lanes that may have something to start.
    pub(super) runnable: Runnable<ChannelName>,
    pub(super) replies_waiting: Arc<AtomicUsize>,
    pub(super) responded: RespondedQueue,
    /// Whether [`Wakeup::QueueTimeout`] is set.
    pub(super) watches_queues: bool,
    pub(super) stopping: Option<ShutdownPhase>,
    /// How long callbacks may take at shutdown: those that ran, and then `on-shutdown`.
    pub(super) grace: Duration,
    /// Callbacks that did not end when they were told to: a worker waits for somebody's response.
    pub(super) abandoned: usize,
}

impl Router {
    /// A router that has not begun.
    #[must_use]
    pub fn new(config: RouterConfig, parts: RouterParts) -> Self {
        let (budget, floors) = Floors::split(config.memory_budget);
        Self {
            events: parts.events,
            completions: parts.completions,
            completed: parts.completed.clone(),
            scheduler: parts.scheduler,
            workers: parts.workers,
            shared: Weak::new(),
            worker_is_free: false,
            for_this_worker: None,
            responded: RespondedQueue::new(parts.completed.clone()),
            storage: Storage::new(parts.store, parts.completed),
            mailbox: parts.mailbox,
            stop: parts.stop,
            budget,
            config,
            channels: BTreeMap::new(),
            running: HashMap::new(),
            running_in: [0; LaneKind::COUNT],
            last_ticket: 0,
            runnable: Runnable::default(),
            floors,
            replies_waiting: parts.replies_waiting,
            watches_queues: false,
            stopping: None,
            grace: Duration::ZERO,
            abandoned: 0,
        }
    }

    /// The memory that callbacks share, of which tools may have a part.
    #[must_use]
    pub fn shared_memory(&self) -> MemoryBudget {
        self.budget.clone()
    }

    /// The router as its workers find it.
    #[must_use]
    pub(super) fn shared_as(mut self, shared: Weak<SharedRouter>) -> Self {
        self.shared = shared;
        self
    }

    /// Where news come in.
    pub(super) fn queues(&self) -> (Receiver<Completion>, Receiver<Event>) {
        (self.completions.clone(), self.events.channel().clone())
    }

    /// A completion was taken from its queue.
    pub(super) fn completed(&mut self, completion: Completion) {
        self.complete(completion);
        self.start_what_can_start();
    }

    /// An event was taken from its queue.
    pub(super) fn queued_event(&mut self, event: Event) {
        self.handle(event);
        self.events.handled();
        self.start_what_can_start();
    }

    /// An event that came when no other one waited.
    pub(super) fn event_at_once(&mut self, event: Event) {
        self.complete_queued();
        self.handle(event);
        self.start_what_can_start();
    }

    /// A callback has ended on the calling worker, which runs what is returned.
    pub(super) fn ended_on_worker(&mut self, ticket: Ticket, report: CallbackReport) -> Option<Work> {
        self.complete_queued();
        self.take_responded();
        self.callback_ended(ticket, report);
        self.worker_is_free = true;
        self.start_what_can_start();
        self.worker_is_free = false;
        self.for_this_worker.take()
    }

    /// Whether threads other than the router's own may run it.
    pub(super) fn may_be_run_by_all(&self) -> bool {
        self.stopping.is_none()
    }

    /// Whether every event that was sent has been handled.
    pub(super) fn has_no_event(&self) -> bool {
        self.events.is_caught_up()
    }

    /// Ends the workers. Those whose callback does not end are left behind.
    pub(super) fn end(self) {
        if self.abandoned > 0 {
            self.workers.detach();
        } else {
            self.workers.shutdown();
        }
    }

    /// Completions come before events.
    fn complete_queued(&mut self) {
        while let Ok(completion) = self.completions.try_recv() {
            self.complete(completion);
        }
    }

    fn handle(&mut self, event: Event) {
        self.take_responded();
        match event {
            Event::Webhook(webhook) => self.webhook_arrived(*webhook),
            Event::Frame(arrival) => self.frame_arrived(*arrival),
            Event::Due(wakeup) => self.due(wakeup),
            Event::Command(command) => self.command(command),
        }
    }

    fn due(&mut self, wakeup: Wakeup) {
        match wakeup {
            Wakeup::Start(channel) => self.start_channel(&channel),
            Wakeup::Poll(channel) => self.poll_due(&channel),
            Wakeup::Timer(channel, name) => self.timer_due(&channel, &name),
            Wakeup::Resume(channel) => self.resume(&channel),
            Wakeup::Replies(channel) => self.begin_due_replies(&channel),
            Wakeup::WaitingRequests(channel) => self.waiting_due(&channel),
            Wakeup::Frames(channel) => self.frames_due(&channel),
            Wakeup::Thinking(channel, conversation) => self.repeat_thinking(&channel, &conversation),
            Wakeup::EmitRoom(channel) => self.release_held(&channel),
            Wakeup::ClockAhead => self.clock_went_ahead(),
            Wakeup::QueueTimeout => self.refuse_overdue(),
            Wakeup::GraceOver(phase) => self.grace_is_over(phase),
        }
    }

    fn command(&mut self, command: RouterCommand) {
        match command {
            RouterCommand::Add(setup, stored, done) => {
                // Nobody may wait for the result any more; the channel is added all the same.
                done.send(self.add_channel(*setup, *stored));
            }
            RouterCommand::Remove(channel, done) => done.send(self.remove_channel(&channel)),
            RouterCommand::Status(channel, update) => self.status(&channel, update),
            RouterCommand::RetryReply(reply) => self.reply_stored(reply),
            RouterCommand::DropReply(id) => self.drop_reply(id),
            RouterCommand::Health(reply) => reply.send(self.health()),
            RouterCommand::Shutdown { grace } => self.begin_shutdown(grace),
        }
    }

    fn complete(&mut self, completion: Completion) {
        self.take_responded();
        match completion {
            Completion::Callback(ticket, report) => self.callback_ended(ticket, *report),
            Completion::RepeatsWait => {}
            Completion::MemoryFreed => self.runnable.memory_was_freed(),
            Completion::ReplyStored(reply, _permit) => self.reply_stored(*reply),
            Completion::ReplyReady(channel, id, record) => self.reply_ready(&channel, id, record),
            Completion::FramesStored(channel) => self.frames_stored(&channel),
            Completion::ReplyNotReady(channel, id) => self.reply_not_ready(&channel, id),
            Completion::Store(news) => self.store_news(news),
        }
    }

    fn add_channel(&mut self, setup: ChannelSetup, stored: StoredChannel) -> Result<(), AddChannelError> {
        let name = setup.name.clone();
        if self.stopping.is_some() {
            return Err(AddChannelError::Stopping(name));
        }
        if self.channels.contains_key(&name) {
            return Err(AddChannelError::Duplicate(name));
        }
        let mut slot = Channel::new(setup, stored.state);
        let now = Instant::now();
        for reply in stored.replies {
            // Only those that somebody can deliver count against the limit of all.
            self.replies_waiting.fetch_add(1, Ordering::Relaxed);
            slot.outbox.add(&reply, &self.config.retry, now);
        }
        let now_ms = steady_ms();
        for seen in &stored.seen {
            slot.seen.load(seen, now_ms);
        }
        self.channels.insert(name.clone(), slot);
        self.start_channel(&name);
        Ok(())
    }

    /// Puts a job at the end of its lane.
    pub(super) fn enqueue(&mut self, channel: &ChannelName, job: Job) -> Result<(), Job> {
        let Some(slot) = self.channels.get_mut(channel) else { return Err(job) };
        let lane = job.purpose.lane();
        slot.lane(lane).push(job)?;
        self.mark_runnable(channel, lane);
        Ok(())
    }

    /// Notes that a lane may have something to start.
    pub(super) fn mark_runnable(&mut self, channel: &ChannelName, lane: LaneKind) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        if !slot.is_marked[lane as usize] && slot.lane(lane).is_runnable() {
            slot.is_marked[lane as usize] = true;
            self.runnable.push(channel.clone(), lane);
        }
    }

    pub(super) fn is_ready(&self, channel: &ChannelName) -> bool {
        self.channels.get(channel).is_some_and(|slot| slot.state == State::Ready)
    }
}
