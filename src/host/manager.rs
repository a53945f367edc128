//! Channels, router, workers, scheduler and store together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Sender, unbounded};
use wit_abi::types::StatusUpdate;

use super::assembly::{Assembly, paths_of};
#[cfg(feature = "cluster")]
use super::cluster::ClusterSide;
use super::config::{ChannelSettings, ManagerConfig, StateLocation};
use super::error::{HostError, ReplyError};
use super::inspect::NeededSecrets;
use super::load_plan::StoredChannels;
use super::public_probe::PublicProbe;
#[cfg(feature = "agent-openai")]
use super::reminders::{self, Reminders};
use super::replies::DeadLetterText;
use crate::channel::{ChannelName, WasmChannel};
#[cfg(feature = "cluster")]
use crate::cluster::ClusterState;
use crate::egress::OutboundHttp;
use crate::event::Event;
use crate::event::arrival::{AddChannelError, RouterCommand, UpgradeError};
use crate::event::completion::{Completion, Permits};
use crate::event::health::ChannelHealth;
use crate::event::queue::{EventSender, event_queue};
use crate::inbox::{AgentHealth, AgentReport, Mailbox, MessageStream};
use crate::model::clock::time_of;
use crate::model::log_throttle::{LogThrottle, PROGRESS_LINES_A_MINUTE};
use crate::model::oneshot;
use crate::model::vital_thread::spawn_vital;
use crate::net::SharedPublicUrl;
use crate::pairing::PairingService;
use crate::router::{Router, RouterParts, SharedRouter, scheduler};
use crate::sandbox::{StopFlag, WorkerPool, affordable_workers};
use crate::server::WasmChannelRouter;
use crate::store::{
    HostLock, Loaded, MemoryStore, Opener, StoreHandle, StoreHealth, StoreThread, StoreThreadConfig,
};
#[cfg(feature = "sqlite")]
use crate::store::{SqliteOptions, SqliteStore};
use crate::tool::{HostRoom, ToolRegistry, take_stored};

/// Events that may wait for the router; when they do, HTTP requests get 503.
const EVENT_CAPACITY: usize = 1024;

/// Replies that may be on their way to the store at one time.
const REPLIES_UNDER_WAY: usize = 256;

/// How everything is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// Every channel, by name.
    pub channels: Vec<ChannelHealth>,
    /// The store.
    pub store: StoreHealth,
    /// The agent, when it is one that reports its state.
    pub agent: Option<AgentHealth>,
    /// Messages that wait for the agent, those in flight included.
    pub messages_waiting: usize,
    /// Messages that are delivered to the agent and not acknowledged.
    pub messages_in_flight: usize,
    /// When the oldest of them was emitted.
    pub oldest_message_at: Option<SystemTime>,
    /// Requests since the start that no channel took, because of their path or method; the log says which.
    pub unrouted_requests: u64,
}

/// Runs channels: takes them in, delivers their messages to the agent and its replies to them. All calls block for as long as they take
/// and no longer; there is nothing to poll.
///
/// Channels get HTTP requests only through a server, which [`Host`](super::Host) adds.
pub struct ChannelManager {
    pub(super) events: EventSender,
    pub(super) completed: Sender<Completion>,
    pub(super) store: StoreHandle,
    pub(super) mailbox: Mailbox,
    agent: AgentReport,
    pub(super) pairing: Arc<PairingService>,
    /// The channels. Behind a lock, because any thread may add a channel or reply to one; held for a look-up only.
    needed: Arc<Mutex<HashMap<ChannelName, Arc<NeededSecrets>>>>,
    /// Permits for replies that are on their way to the store.
    pub(super) reply_permits: Permits,
    /// As `RouterParts::replies_waiting`.
    pub(super) replies_waiting: Arc<AtomicUsize>,
    pub(super) max_replies: usize,
    /// Lines about replies that are durable: an agent may send any number of them. Held for a look only.
    pub(super) stored_log: Mutex<LogThrottle>,
    /// State of channels that are not added yet.
    pub(super) stored: StoredChannels,
    assembly: Assembly,
    /// Channels that are shown replies while these are written, and how often. Held for a look only.
    partial_replies: Mutex<HashMap<ChannelName, Duration>>,
    /// Channels that are recorded. Held for a look only.
    #[cfg(feature = "cli")]
    pub(super) recorders: Mutex<HashMap<ChannelName, crate::channel::recording::Recorder>>,
    public_probe: PublicProbe,
    /// What it has when it is one of several.
    #[cfg(feature = "cluster")]
    cluster: Option<Arc<ClusterSide>>,
    #[cfg(feature = "agent-openai")]
    reminders: Reminders,
    outbound: OutboundHttp,
    routes: WasmChannelRouter,
    /// Set once, when the shutdown begins: later requests of the library are refused.
    is_closed: AtomicBool,
    /// There until the shutdown takes it out. Behind a lock, so that shutting down twice joins once; held to take it, not while
    /// joining.
    threads: Mutex<Option<ManagerThreads>>,
}

/// What is joined at shutdown, in this order.
struct ManagerThreads {
    router: JoinHandle<()>,
    scheduler: JoinHandle<()>,
    ack_timeouts: JoinHandle<()>,
    store: StoreThread,
    _lock: Option<HostLock>,
}

impl ChannelManager {
    /// Opens the store and starts the threads. There are no channels yet.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn new(config: ManagerConfig) -> Result<Self, HostError> {
        Self::with_tools(config, None)
    }

    /// The same, whose tools run on its workers, in its memory, and with its connections where their settings are the same.
    pub(super) fn with_tools(config: ManagerConfig, tools: Option<&ToolRegistry>) -> Result<Self, HostError> {
        let worker_count = worker_count(config.workers)?;
        // Unbounded, so that whoever completes something never waits for the router while the router waits for them. What can
        // be in it is bounded by the work that is under way.
        let (completed, completions) = unbounded();
        let (events, inbox) = event_queue(EVENT_CAPACITY);
        let lock = lock(&config.state)?;
        let thread_config =
            StoreThreadConfig { retention: config.retention.clone(), ..StoreThreadConfig::default() };
        let news = completed.clone();
        #[cfg(feature = "cluster")]
        let cluster = cluster_side(&config)?;
        #[cfg(feature = "cluster")]
        let shared_store = cluster.as_ref().map(|side| side.state.opener());
        #[cfg(not(feature = "cluster"))]
        let shared_store = None;
        let is_in_memory = matches!(config.state, StateLocation::Memory);
        let opener = match shared_store {
            None if !is_in_memory => Some(opener(config.state.clone())),
            shared => shared,
        };
        let (store, mut loaded) = match opener {
            None => (StoreThread::in_memory(MemoryStore::new(), &config.retention), Loaded::default()),
            Some(opener) => StoreThread::start(opener, thread_config, move |event| {
                let _ = news.send(Completion::Store(event));
            })?,
        };
        let handle = store.handle();
        let (needed, replies_waiting) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let notice = DeadLetterText {
            text: config.dead_letter_text.clone(),
            channels: Arc::clone(&needed),
            // The router counts those whose channels are there.
            replies_waiting: Arc::clone(&replies_waiting),
            max_replies: config.queue.replies,
            ids: handle.ids().clone(),
            completed: completed.clone(),
        };
        let mailbox = Mailbox::new(handle.clone(), config.queue, config.delivery, Box::new(notice));
        mailbox.load_after_restart(std::mem::take(&mut loaded.messages));
        let pairing = Arc::new(PairingService::new(handle.clone(), std::mem::take(&mut loaded.pairing)));
        #[cfg(feature = "agent-openai")]
        let reminders = Reminders::load(handle.clone(), loaded.channels.remove(reminders::KEY));
        let tool_states = take_stored(&mut loaded.channels);
        let stored = StoredChannels::new(loaded.channels);
        let outbound = outbound(&config, tools)?;
        let routes = WasmChannelRouter::new();
        let (scheduler, scheduler_thread) = scheduler::start(events.clone()).map_err(HostError::Thread)?;
        let calls = tools.map_or(0, |tools| tools.runtime().config().workers);
        let workers = WorkerPool::shared(worker_count, calls);
        let handle_of_workers = workers.handle();
        let router = Router::new(
            config.router.clone(),
            RouterParts {
                events: inbox,
                completions,
                completed: completed.clone(),
                scheduler,
                workers,
                store: handle.clone(),
                mailbox: mailbox.clone(),
                stop: StopFlag::default(),
                end_webhook_requests: Box::new({
                    let outbound = outbound.clone();
                    move || outbound.end_webhooks()
                }),
                replies_waiting: replies_waiting.clone(),
            },
        );
        if let Some(tools) = tools {
            tools.runtime().move_to(HostRoom {
                workers: handle_of_workers,
                memory: router.shared_memory(),
                memory_freed: memory_freed(completed.clone()),
            });
            tools.runtime().keep_state_in(handle.clone(), tool_states);
        }
        let router = SharedRouter::new(router);
        let direct: Weak<SharedRouter> = Arc::downgrade(&router);
        events.handle_directly(direct);
        let ack_timeouts = mailbox.watch_ack_timeouts().map_err(HostError::Thread)?;
        let router = spawn_vital("tinclaw-router", move || router.run()).map_err(HostError::Thread)?;
        Ok(Self {
            events: events.clone(),
            completed,
            store: handle,
            mailbox,
            agent: AgentReport::default(),
            pairing: pairing.clone(),
            needed,
            reply_permits: Permits::new(REPLIES_UNDER_WAY),
            replies_waiting,
            max_replies: config.queue.replies,
            stored_log: Mutex::new(LogThrottle::new(PROGRESS_LINES_A_MINUTE, Duration::from_secs(60))),
            stored,
            assembly: Assembly::new(config, outbound.clone(), pairing, routes.clone(), events),
            partial_replies: Mutex::default(),
            #[cfg(feature = "cli")]
            recorders: Mutex::default(),
            public_probe: PublicProbe::new(),
            #[cfg(feature = "cluster")]
            cluster,
            #[cfg(feature = "agent-openai")]
            reminders,
            outbound,
            routes,
            is_closed: AtomicBool::new(false),
            threads: Mutex::new(Some(ManagerThreads {
                router,
                scheduler: scheduler_thread,
                ack_timeouts,
                store,
                _lock: lock,
            })),
        })
    }

    /// Adds a channel. Its `on-start` is run at once, and again and again until it succeeds; [`ChannelManager::health`]
    /// shows its status.
    ///
    /// # Errors
    /// Its capability file asks for something that cannot be, or a channel of this name is there already.
    pub fn add(&self, channel: impl Into<Box<WasmChannel>>) -> Result<(), HostError> {
        let channel = channel.into();
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &self.cluster {
            // It runs when its lease is had.
            cluster.offer(&channel);
            return Ok(());
        }
        self.add_now(channel)
    }

    /// Adds a channel that is this host's.
    pub(super) fn add_now(&self, channel: Box<WasmChannel>) -> Result<(), HostError> {
        let name = channel.name().clone();
        // Before its paths are reserved: those of the other channel are open.
        if self.has(&name) {
            return Err(AddChannelError::Duplicate(name).into());
        }
        let (setup, needed) = self.assembly.setup(&channel)?;
        setup.problems().for_each(|problem| problem.log(name.as_str()));
        #[cfg_attr(not(feature = "cluster"), expect(unused_mut, reason = "something is taken out of it"))]
        let mut stored = self.stored.take(&name.shared(), &self.store)?;
        #[cfg(feature = "cluster")]
        if let Some(moved) = stored.moved.take() {
            self.move_in(&name, *moved);
        }
        let (done, result) = oneshot::channel();
        self.send(Event::Command(RouterCommand::Add(Box::new(setup), Box::new(stored), done)))?;
        result.wait().ok_or(HostError::Closed)??;
        self.remember(&channel, needed);
        Ok(())
    }

    /// Puts another version of a channel that runs in its place, without a gap: its `on-start` is run beside the one that runs,
    /// and when that has succeeded, the next callback is the new version's. Messages, replies, timers, the workspace and requests
    /// that wait stay. Returns when that is done.
    ///
    /// When `on-start` fails, nothing of it is kept and the version that runs goes on; if something has left the host, its own
    /// `on-start` runs once more, so that it has again what it registers at its service.
    ///
    /// # Errors
    /// No channel of this name runs, its capability file asks for something that cannot be, or its `on-start` fails.
    pub fn upgrade(&self, channel: impl Into<Box<WasmChannel>>) -> Result<(), HostError> {
        self.upgrade_with(&channel.into(), None)
    }

    /// The same with other settings of the operator's, which are dropped with a version that cannot start.
    pub(crate) fn upgrade_with(
        &self,
        channel: &WasmChannel,
        settings: Option<ChannelSettings>,
    ) -> Result<(), HostError> {
        let name = channel.name().clone();
        if !self.has(&name) {
            return Err(UpgradeError::NotRunning(name).into());
        }
        let (setup, needed) = self.assembly.setup_beside(channel, settings.clone())?;
        setup.problems().for_each(|problem| problem.log(name.as_str()));
        let (done, result) = oneshot::channel();
        self.send(Event::Command(RouterCommand::Upgrade(Box::new(setup), done)))?;
        let gone = || match self.is_closed.load(Ordering::Relaxed) {
            true => HostError::Closed,
            false => UpgradeError::Removed(name.clone()).into(),
        };
        result.wait().ok_or_else(gone)??;
        if let Some(settings) = settings {
            self.assembly.set_settings(&name, settings);
        }
        self.routes.own_only(&name, &paths_of(&self.assembly.as_operated(channel)));
        self.remember(channel, needed);
        Ok(())
    }

    /// Notes what is asked about a channel that has been added or replaced.
    fn remember(&self, channel: &WasmChannel, needed: NeededSecrets) {
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &self.cluster {
            cluster.offer(channel);
        }
        let (name, needed) = (channel.name(), Arc::new(needed));
        log_missing_secrets(name, &needed);
        match self.assembly.partial_reply_interval(channel) {
            Some(interval) => self.partial_replies().insert(name.clone(), interval),
            None => self.partial_replies().remove(name),
        };
        self.needed().insert(name.clone(), needed);
    }

    /// Changes what the operator decides about a channel. It holds from when the channel is added, so one that runs is
    /// [removed](Self::remove) and added again.
    pub fn set_channel_settings(&self, channel: &ChannelName, settings: ChannelSettings) {
        self.assembly.set_settings(channel, settings);
    }

    /// Takes a channel out at once: its paths respond with 404, its polls and timers stop, and its guest, its workspace and its
    /// access to secrets leave the memory. False when there is none of this name.
    ///
    /// `on-shutdown` is not called. What runs is ended within milliseconds (one that waits for a response: when that is
    /// there), and nothing of it is kept. Messages and replies that wait stay in the store, are listed, and count against
    /// no limit of replies; they go on when the channel is added again, as do its workspace and its timers.
    ///
    /// # Errors
    /// The host has shut down.
    pub fn remove(&self, channel: &ChannelName) -> Result<bool, HostError> {
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &self.cluster {
            cluster.withdraw(channel);
        }
        self.remove_now(channel)
    }

    /// Takes a channel out, which this host may run again.
    pub(super) fn remove_now(&self, channel: &ChannelName) -> Result<bool, HostError> {
        self.routes.remove(channel);
        let (done, result) = oneshot::channel();
        self.send(Event::Command(RouterCommand::Remove(channel.clone(), done)))?;
        let was_there = result.wait().ok_or(HostError::Closed)?;
        // A start that ended meanwhile has opened paths.
        self.routes.remove(channel);
        self.needed().remove(channel);
        self.partial_replies().remove(channel);
        // What was read at the start is not how things are now.
        self.stored.forget();
        Ok(was_there)
    }

    /// By what a request to the public address is recognised that reaches this host.
    #[cfg(any(feature = "agent-http", feature = "agent-openai"))]
    pub(crate) fn outbound(&self) -> &OutboundHttp {
        &self.outbound
    }

    pub(crate) fn public_probe(&self) -> &PublicProbe {
        &self.public_probe
    }

    /// All channels that are known at the start have been added: the state of others is no longer kept in memory.
    pub(super) fn forget_unclaimed(&self) {
        self.stored.forget();
    }

    /// The messages of all channels. Every stream of a manager reads the same messages: each goes to one reader.
    #[must_use]
    pub fn messages(&self) -> MessageStream {
        MessageStream::new(self.mailbox.clone())
    }

    /// Where the agent reports its state, for [`ChannelManager::health`].
    #[must_use]
    pub fn agent_report(&self) -> &AgentReport {
        &self.agent
    }

    /// Tells a channel what the agent is doing. `metadata_json` should be that of the message that is being worked on:
    /// it names the conversation. `thinking` is repeated every 4 s until `done`, a reply with the same metadata, or 5
    /// minutes. A status is not kept: it may be dropped when the channel is busy or not there.
    ///
    /// # Errors
    /// The host has shut down.
    pub fn status(&self, channel: &ChannelName, update: StatusUpdate) -> Result<(), HostError> {
        self.status_of(channel, Arc::new(update))
    }

    /// The same with a status that its sender watches: nobody holds it any more once it was handled or dropped.
    pub(crate) fn status_of(
        &self,
        channel: &ChannelName,
        update: Arc<StatusUpdate>,
    ) -> Result<(), HostError> {
        self.send(Event::Command(RouterCommand::Status(channel.clone(), update)))
    }

    /// How often this channel is shown a reply that is still being written; nothing when it gets replies only whole.
    #[cfg(feature = "agent-openai")]
    pub(crate) fn partial_reply_interval(&self, channel: &ChannelName) -> Option<Duration> {
        self.partial_replies().get(channel).copied()
    }

    /// What is to be said later.
    #[cfg(feature = "agent-openai")]
    pub(crate) fn reminders(&self) -> &Reminders {
        &self.reminders
    }

    /// How everything is.
    ///
    /// # Errors
    /// The host has shut down.
    pub fn health(&self) -> Result<Health, HostError> {
        let (reply, channels) = oneshot::channel();
        self.send(Event::Command(RouterCommand::Health(reply)))?;
        let mut channels = channels.wait().ok_or(HostError::Closed)?;
        for channel in &mut channels {
            let needed = self.needed().get(&channel.name).cloned();
            let missing = needed.map(|needed| needed.missing()).unwrap_or_default();
            let (names, diagnostics): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
            channel.missing_secrets = names;
            channel.problems.splice(0..0, diagnostics);
        }
        Ok(Health {
            channels,
            store: self.store.health(),
            messages_waiting: self.mailbox.waiting(),
            messages_in_flight: self.mailbox.in_flight(),
            oldest_message_at: self.mailbox.oldest_ms().map(time_of),
            agent: self.agent.health(),
            unrouted_requests: self.routes.unrouted_requests(),
        })
    }

    /// This host's address as providers call it.
    pub(crate) fn public_url(&self) -> &SharedPublicUrl {
        self.assembly.public_url()
    }

    /// The paths of the channels, for an HTTP server.
    #[must_use]
    pub fn routes(&self) -> &WasmChannelRouter {
        &self.routes
    }

    /// Who may talk to the agent.
    #[must_use]
    pub fn pairing(&self) -> &Arc<PairingService> {
        &self.pairing
    }

    /// Stops taking work, lets running callbacks end within `grace`, calls every channel's `on-shutdown`, stores what is
    /// to be stored, and joins all threads. A second call does nothing.
    pub fn shutdown(&self, grace: Duration) {
        self.is_closed.store(true, Ordering::Relaxed);
        let Some(threads) = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let _ = self.events.send(Event::Command(RouterCommand::Shutdown { grace }));
        // A long poll may wait for most of a minute, and there is nothing in it that would be lost. Replies go on.
        self.outbound.end_polls();
        join(threads.router);
        self.outbound.shutdown();
        self.mailbox.close();
        #[cfg(feature = "agent-openai")]
        self.reminders.close();
        join(threads.scheduler);
        join(threads.ack_timeouts);
        threads.store.stop();
    }

    /// What this host has when it is one of several.
    #[cfg(feature = "cluster")]
    pub(super) fn cluster(&self) -> Option<&Arc<ClusterSide>> {
        self.cluster.as_ref()
    }

    /// Why a reply to a channel that is not here is not taken.
    pub(super) fn no_channel(&self, channel: &str) -> ReplyError {
        #[cfg(feature = "cluster")]
        if self.cluster.is_some() {
            return ReplyError::Elsewhere;
        }
        ReplyError::UnknownChannel(channel.to_owned())
    }

    pub(super) fn has(&self, channel: &ChannelName) -> bool {
        self.needed().contains_key(channel)
    }

    /// Whether there is no channel.
    pub(super) fn is_empty(&self) -> bool {
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &self.cluster {
            return cluster.offers_nothing();
        }
        self.needed().is_empty()
    }

    fn partial_replies(&self) -> MutexGuard<'_, HashMap<ChannelName, Duration>> {
        self.partial_replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn needed(&self) -> MutexGuard<'_, HashMap<ChannelName, Arc<NeededSecrets>>> {
        self.needed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send(&self, event: Event) -> Result<(), HostError> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(HostError::Closed);
        }
        self.events.send(event).map_err(|_| HostError::Closed)
    }
}

impl Drop for ChannelManager {
    fn drop(&mut self) {
        self.shutdown(Duration::from_secs(5));
    }
}

fn join(thread: JoinHandle<()>) {
    let name = thread.thread().name().unwrap_or("a thread").to_owned();
    if thread.join().is_err() {
        log::error!("{name} has panicked; please report this");
    }
}

/// What the host has beside its channels when it is one of several.
#[cfg(feature = "cluster")]
fn cluster_side(config: &ManagerConfig) -> Result<Option<Arc<ClusterSide>>, HostError> {
    let Some(cluster) = &config.cluster else { return Ok(None) };
    let state = ClusterState::new(cluster, &*config.secrets).map_err(HostError::Cluster)?;
    Ok(Some(Arc::new(ClusterSide::new(state))))
}

/// As many workers as the configuration says, or as the limit on address space has room for.
fn worker_count(configured: usize) -> Result<usize, HostError> {
    let count = affordable_workers(configured).map_err(|error| HostError::AddressSpace(Box::new(error)))?;
    if count < configured {
        log::warn!(
            "the limit on address space (`ulimit -v`, `LimitAS=`) has room for {count} workers and not for {configured}"
        );
    }
    Ok(count)
}

/// Outbound HTTP of the host: that of its tools, where both are set alike.
fn outbound(config: &ManagerConfig, tools: Option<&ToolRegistry>) -> Result<OutboundHttp, HostError> {
    let of_tools = tools.map(ToolRegistry::runtime);
    match of_tools.filter(|tools| tools.config().outbound == config.outbound) {
        Some(tools) => Ok(tools.outbound().clone()),
        None => Ok(OutboundHttp::new(&config.outbound)?),
    }
}

/// Tells the router that a tool call has ended.
fn memory_freed(completed: Sender<Completion>) -> Arc<dyn Fn() + Send + Sync> {
    Arc::new(move || {
        // The router is gone only when the process ends.
        let _ = completed.send(Completion::MemoryFreed);
    })
}

/// Keeps other hosts away from a state directory.
pub(super) fn lock(state: &StateLocation) -> Result<Option<HostLock>, HostError> {
    match state {
        #[cfg(test)]
        StateLocation::Custom(_) => Ok(None),
        StateLocation::Memory => Ok(None),
        #[cfg(feature = "sqlite")]
        StateLocation::Directory { path, .. } => Ok(Some(HostLock::acquire(path)?)),
    }
}

pub(super) fn opener(state: StateLocation) -> Opener {
    match state {
        StateLocation::Memory => {
            // A memory store that failed would have lost everything, but it does not fail.
            Box::new(|| Ok(Box::new(MemoryStore::default())))
        }
        #[cfg(feature = "sqlite")]
        StateLocation::Directory { path, durability } => {
            let options = SqliteOptions { durability, ..SqliteOptions::default() };
            SqliteStore::opener(path.join("tinclaw.db"), options)
        }
        #[cfg(test)]
        StateLocation::Custom(opener) => Box::new(move || opener.open()),
    }
}

/// Logs which secrets of a channel are missing, on a thread of its own: a source of secrets may be slow, and no other channel
/// waits for it. Without a thread nothing is logged; `health` says the same.
fn log_missing_secrets(channel: &ChannelName, needed: &Arc<NeededSecrets>) {
    let (channel, needed) = (channel.clone(), needed.clone());
    let check = move || {
        for (_, problem) in needed.missing() {
            problem.log(channel.as_str());
        }
    };
    if let Err(error) = thread::Builder::new().name("tinclaw-secrets".to_owned()).spawn(check) {
        log::warn!("the secrets of a new channel were not checked: no thread can be started: {error}");
    }
}
