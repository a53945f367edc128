//! The router's state: its channels, and which of them gets which news.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use serde::Deserialize;
use serde::de::Deserializer;

use super::dispatch::{Floors, RunningCallback, Work};
use super::hosted::HostedChannel;
use super::responded::RespondedQueue;
use super::runnable::Runnable;
use super::shared::SharedRouter;
use super::storage::{RouterView, Storage};
use crate::channel::ChannelName;
use crate::channel::lane::LaneKind;
use crate::channel::machine::{Action, Channel, ChannelCommand, MachineSettings, Turn};
use crate::channel::outbox::RetryPolicy;
use crate::event::arrival::{AddChannelError, LinkArrival, RouterCommand, UpgradeError, Webhook};
use crate::event::callback::CallbackReport;
use crate::event::completion::{Completion, Ticket};
use crate::event::health::ChannelHealth;
use crate::event::queue::EventReceiver;
use crate::event::response::WebhookRefusal;
use crate::event::setup::ChannelSetup;
use crate::event::{Event, ShutdownPhase, Wakeup};
use crate::inbox::Mailbox;
use crate::model::clock::Moment;
use crate::model::{bounded, oneshot};
use crate::router::scheduler::SchedulerHandle;
use crate::sandbox::{MemoryBudget, StopFlag, WorkerPool, default_memory_budget};
use crate::store::{LoadedChannel, PendingReply, ReplyId, StoreHandle};

/// What an operator can set about the router.
/// Deserialises from fields at the top of `tinclaw.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouterConfig {
    /// Guest memory that all running callbacks may have together, in bytes. Default a quarter of what the process may use (the
    /// machine's memory, the limit of its control group, its limit on address space), between 8 and 256 MiB.
    #[serde(rename = "memory_budget_mb", deserialize_with = "memory_budget")]
    pub memory_budget: usize,
    /// How replies are retried.
    pub retry: RetryPolicy,
    /// How long a webhook may wait for its turn before it gets 503. Default 20 s.
    #[serde(rename = "queue_timeout_secs", deserialize_with = "bounded::secs::<_, 1, 300>")]
    pub queue_timeout: Duration,
    /// How long webhooks that run may take when the host stops: 1 s. Their providers send them again.
    #[serde(skip)]
    pub webhook_grace: Duration,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            memory_budget: default_memory_budget(),
            retry: RetryPolicy::default(),
            queue_timeout: Duration::from_secs(20),
            webhook_grace: Duration::from_secs(1),
        }
    }
}

/// From MiB to bytes.
fn memory_budget<'de, D: Deserializer<'de>>(field: D) -> Result<usize, D::Error> {
    Ok(usize::try_from(bounded::megabytes::<_, 1, 65_536>(field)?).unwrap_or(usize::MAX))
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
    /// Ends the outbound requests of webhooks at shutdown; waits for nothing.
    pub end_webhook_requests: Box<dyn Fn() + Send>,
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
    /// Ends running webhooks at shutdown, before everything else.
    pub(super) stop_webhooks: StopFlag,
    pub(super) end_webhook_requests: Box<dyn Fn() + Send>,
    pub(super) config: RouterConfig,
    pub(super) budget: MemoryBudget,
    /// In the order of their names, so that what is reported is too.
    pub(super) channels: BTreeMap<ChannelName, HostedChannel>,
    /// What the channels' turns lead to; empty between two of them.
    actions: Vec<Action>,
    /// Every callback that runs, also those of channels that were removed since.
    pub(super) running: HashMap<Ticket, RunningCallback>,
    /// Callbacks of `running`, by lane: one is added when a callback is handed to a worker, and taken away with its report.
    pub(super) running_in: [usize; LaneKind::COUNT],
    pub(super) last_ticket: u64,
    pub(super) floors: Floors,
    /// Lanes that may have something to start.
    pub(super) runnable: Runnable<ChannelName>,
    /// As [`RouterParts::replies_waiting`].
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
            stop_webhooks: StopFlag::default(),
            end_webhook_requests: parts.end_webhook_requests,
            budget,
            config,
            channels: BTreeMap::new(),
            actions: Vec::new(),
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

    /// The router's thread was woken: by completions, or by an event that it took from its queue.
    pub(super) fn news(&mut self, event: Option<Event>) {
        self.complete_queued();
        if let Some(event) = event {
            self.handle(event);
            self.events.handled();
        }
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
            Event::Link(arrival) => {
                let LinkArrival { channel, news } = *arrival;
                self.turn(&channel, |channel, turn| channel.link_news(news, turn));
            }
            Event::Due(wakeup) => self.due(wakeup),
            Event::Command(command) => self.command(command),
        }
    }

    fn webhook_arrived(&mut self, webhook: Webhook) {
        let channel = webhook.channel.clone();
        // Taken by the channel, if it is there.
        let mut webhook = Some(webhook);
        self.turn(&channel, |channel, turn| {
            if let Some(webhook) = webhook.take() {
                channel.request(webhook, turn);
            }
        });
        if let Some(webhook) = webhook {
            let is_stopping = self.stopping.is_some();
            webhook.responder.refuse(if is_stopping {
                WebhookRefusal::Stopping
            } else {
                WebhookRefusal::NotFound
            });
        }
    }

    fn due(&mut self, wakeup: Wakeup) {
        match wakeup {
            Wakeup::Channel(channel, due) => self.turn(&channel, |channel, turn| channel.due(due, turn)),
            Wakeup::ClockAhead => self.command_all(|| ChannelCommand::ClockAhead),
            Wakeup::QueueTimeout => self.refuse_overdue(),
            Wakeup::WebhookGraceOver => self.webhook_grace_is_over(),
            Wakeup::GraceOver(phase) => self.grace_is_over(phase),
        }
    }

    fn command(&mut self, command: RouterCommand) {
        match command {
            RouterCommand::Add(setup, stored, done) => {
                // The caller may have stopped waiting; add the channel anyway.
                done.send(self.add_channel(*setup, *stored));
            }
            RouterCommand::Upgrade(setup, done) => self.try_version(*setup, done),
            RouterCommand::Remove(channel, done) => done.send(self.remove_channel(&channel)),
            #[cfg(feature = "cli")]
            RouterCommand::RunWith(channel, runner, done) => {
                let hosted = self.channels.get_mut(&channel);
                done.send(hosted.map(|hosted| hosted.runner = runner).is_some());
            }
            #[cfg(feature = "cli")]
            RouterCommand::Services(channel, reply) => {
                let hosted = self.channels.get(&channel);
                reply.send(hosted.map(|hosted| Arc::clone(&hosted.version.runtime.services)));
            }
            RouterCommand::Status(channel, update) => {
                self.command_to(&channel, ChannelCommand::Status(update))
            }
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
            Completion::DuplicatesWait => {}
            Completion::MemoryFreed => self.runnable.memory_was_freed(),
            Completion::ReplyStored(reply, _permit) => self.reply_stored(*reply),
            Completion::Stored(channel, stored) => {
                self.turn(&channel, |channel, turn| channel.stored(stored, turn));
            }
            Completion::Store(news) => self.store_news(news),
        }
    }

    /// Gives a channel its turn, and carries out what follows. Does nothing when it is gone.
    pub(super) fn turn(&mut self, name: &ChannelName, step: impl FnOnce(&mut Channel, &mut Turn<'_>)) {
        let Some(hosted) = self.channels.get_mut(name) else { return };
        // Taken, so that a turn within what follows has a buffer of its own.
        let mut actions = std::mem::take(&mut self.actions);
        let view = RouterView { storage: &self.storage, mailbox: &self.mailbox };
        step(&mut hosted.channel, &mut Turn::new(Moment::now(), &view, &mut actions));
        for action in actions.drain(..) {
            self.carry_out(name, action);
        }
        self.actions = actions;
    }

    pub(super) fn command_to(&mut self, name: &ChannelName, command: ChannelCommand) {
        self.turn(name, |channel, turn| channel.command(command, turn));
    }

    /// Tells every channel the same.
    pub(super) fn command_all(&mut self, command: impl Fn() -> ChannelCommand) {
        let names: Vec<_> = self.channels.keys().cloned().collect();
        for name in names {
            self.command_to(&name, command());
        }
    }

    /// A callback has ended, or could not even begin.
    pub(super) fn callback_ended(&mut self, ticket: Ticket, report: CallbackReport) {
        let Some(running) = self.running.remove(&ticket) else { return };
        self.running_in[running.lane as usize] -= 1;
        self.runnable.memory_was_freed();
        self.turn(&running.channel, |channel, turn| channel.finished(ticket, report, turn));
    }

    fn add_channel(&mut self, setup: ChannelSetup, stored: LoadedChannel) -> Result<(), AddChannelError> {
        let name = setup.name.clone();
        if self.stopping.is_some() {
            return Err(AddChannelError::Stopping(name));
        }
        if self.channels.contains_key(&name) {
            return Err(AddChannelError::Duplicate(name));
        }
        let settings = MachineSettings::new(&setup, self.config.retry, self.storage.ids().clone());
        let channel = Channel::new(settings, stored, Moment::now());
        // Only those that somebody can deliver count against the limit of all.
        self.replies_waiting.fetch_add(channel.replies(), Ordering::Relaxed);
        self.channels.insert(name.clone(), HostedChannel::new(setup, channel));
        self.command_to(&name, ChannelCommand::Start);
        Ok(())
    }

    /// Tries another version of a channel that runs.
    fn try_version(&mut self, setup: ChannelSetup, done: oneshot::Sender<Result<(), UpgradeError>>) {
        let name = setup.name.clone();
        let is_stopping = self.stopping.is_some();
        let settings = MachineSettings::new(&setup, self.config.retry, self.storage.ids().clone());
        match self.channels.get_mut(&name) {
            _ if is_stopping => done.send(Err(UpgradeError::Stopping(name))),
            None => done.send(Err(UpgradeError::NotRunning(name))),
            Some(hosted) if hosted.trial.is_some() => done.send(Err(UpgradeError::UnderWay(name))),
            Some(hosted) => {
                hosted.trial = Some((setup.into(), done));
                self.command_to(&name, ChannelCommand::Try(Box::new(settings)));
            }
        }
    }

    /// Takes a channel out at once; false when there is none of this name.
    fn remove_channel(&mut self, name: &ChannelName) -> bool {
        self.command_to(name, ChannelCommand::Remove);
        let Some(hosted) = self.channels.remove(name) else { return false };
        hosted.stop.stop();
        hosted.close_link();
        self.scheduler.cancel_channel(name.clone());
        log::info!(target: name.as_str(), "channel {name} is removed");
        true
    }

    /// A reply is durable, and counted as one that waits.
    fn reply_stored(&mut self, reply: PendingReply) {
        match self.channels.get(&*reply.channel).map(|hosted| hosted.channel.name().clone()) {
            Some(name) => self.command_to(&name, ChannelCommand::Deliver(reply)),
            // Counted, and read from the store, when its channel is added.
            None => self.replies_are_gone(1),
        }
    }

    fn drop_reply(&mut self, id: ReplyId) {
        let owner = self.channels.iter().find(|(_, hosted)| hosted.channel.has_reply(id));
        if let Some(name) = owner.map(|(name, _)| name.clone()) {
            self.command_to(&name, ChannelCommand::DropReply(id));
        }
    }

    pub(super) fn replies_are_gone(&self, count: usize) {
        self.replies_waiting.fetch_sub(count, Ordering::Relaxed);
    }

    /// The health of every channel, by name.
    fn health(&self) -> Vec<ChannelHealth> {
        self.channels.values().map(HostedChannel::health).collect()
    }

    /// Requests that waited too long for their turn, in any channel.
    fn refuse_overdue(&mut self) {
        let timeout = self.config.queue_timeout;
        let names: Vec<_> = self.channels.keys().cloned().collect();
        let mut next = None;
        for name in names {
            self.turn(&name, |channel, turn| {
                next = next.into_iter().chain(channel.refuse_overdue(timeout, turn)).min();
            });
        }
        self.watch_queues(next);
    }
}
