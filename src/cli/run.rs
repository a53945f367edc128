//! `tinclaw run`, and its signals: SIGINT (Ctrl-C) and SIGTERM stop it, SIGHUP has it read the configuration again.

use std::io::{ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use log::LevelFilter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::access_log_queue::AccessLog;
use super::admin_api::AdminApi;
use super::args::{Common, RunArgs};
use super::channels::webchat;
use super::config::Settings;
use super::generate::SecretGenerator;
use super::kept_socket::{kept_socket, start_again};
use super::output::{CommandResult, Failure};
use super::setup::RunningAgent;
use super::start_channel::ChannelStarter;
use super::start_checks::NamedChannels;
use super::supervisor::Supervisor;
use super::takeover::{Listening, Successor, TakeoverSocket, check_alone, listen, take_over};
use super::tools::{configured as configured_tools, paths as tool_paths};
use super::{access_log, logging, memory, print, start_checks};
use crate::admin::HostChange;
use crate::agent::Agent;
use crate::host::ManagerConfig;
use crate::model::diagnostic::Severity;
use crate::model::private_directory;
use crate::model::scoped_thread::spawn_scoped;
use crate::package::Staging;
use crate::{
    Host, HostBuilder, HostError, ToolRegistry, WasmChannelLoader, WasmChannelRuntime, WasmToolRuntime,
};

/// Runs a host until a signal stops it.
pub fn run(common: &Common, options: RunArgs) -> CommandResult {
    let kept = kept_socket();
    let settings = Settings::load_for_run(common, options.clone())?;
    let loader = settings.loader()?;
    // What can fail does so before a running host is told to stop, and before a second program on its port changes anything.
    if let Some(problem) = start_checks::problems(common, &settings, loader.runtime()).into_iter().next() {
        return Err(problem);
    }
    logging::start_with(common, settings.log.as_deref(), LevelFilter::Info, &settings.log_output)?;
    let access_log = settings.access_log.as_ref();
    let access_log =
        access_log.map(|target| access_log::start(target, settings.log_output.format, settings.log_limits));
    let access_log = access_log.transpose()?;
    let signal = StopSignal::install()?;
    loader.runtime().stop_preparing_by(Arc::clone(&signal.stops));
    let channels = start_checks::named_channels(&settings)?;
    if channels.is_fallback {
        log::warn!("no channels were found: running the web chat instead");
    }
    if settings.webchat.is_none() && !channels.has_any_webchat {
        log::info!("the web chat does not run, because there are channels; `webchat = true` runs it too");
    }
    let running = RunningAgent::new(&settings)?;
    let agent = running.agent();
    let tools = tools(&settings, loader.runtime())?;
    let takes_over = options.takeover && kept.is_none();
    if takes_over {
        start_checks::check_channels(&settings, loader.runtime())?;
    } else {
        check_alone(&settings.state_dir)?;
    }
    let mut admin = AdminApi::bind(&settings, takes_over || kept.is_some())?;
    let mut listening = match kept {
        Some(listener) => Listening::with_queue(listener),
        None if takes_over => take_over(&settings.state_dir, settings.listen, || signal.is_set())?,
        None => listen(settings.listen)?,
    };
    let predecessor = listening.predecessor.take();
    if !settings.is_state_dir_named {
        private_state_dir(&settings.state_dir);
    }
    let listener = listening.listener.try_clone().map_err(Failure::problem)?;
    let supervisor = Supervisor::from_environment().map(Arc::new);
    let starter = ChannelStarter::new(common, &options, &settings, loader.clone());
    let starter = Arc::new(ChannelStarter {
        supervisor: supervisor.clone(),
        access_log: access_log.clone(),
        model: running.model(),
        ..starter
    });
    admin.bind_again(&settings);
    recover_packages(&settings);
    let host = match start(&settings, &loader, (channels, tools), listening, access_log.clone()) {
        // What was not loaded for that reason is no failure.
        Err(_) if signal.is_set() => return Ok(()),
        host => host?,
    };
    let takeover = TakeoverSocket::open(&settings.state_dir);
    let admin = admin.serve(&settings, &host, Arc::clone(&starter))?;
    greet(&settings, &host, &admin, &*agent);
    let passes_on = takeover.as_ref().map(|socket| TakeoverOffer { socket, listener });
    if let Some(supervisor) = &supervisor {
        supervisor.ready();
    }
    if let Some(predecessor) = predecessor {
        predecessor.end();
    }
    let operated = HostOperation { admin, starter: &starter, supervisor: supervisor.as_deref() };
    let successor = serve(&host, agent, operated, signal, passes_on, &settings.state_dir);
    host.shutdown();
    if let Some(log) = access_log {
        log.flush();
    }
    log::info!("stopped");
    // Its socket is gone before the other host makes its own.
    drop(takeover);
    successor.map_or(Ok(()), |successor| hand_over(successor, &settings.state_dir))
}

/// Waits until the host that takes over serves, and starts this one again when that has ended before.
fn hand_over(successor: Successor, state_dir: &Path) -> CommandResult {
    let Some(listener) = successor.wait_until_it_serves(state_dir) else { return Ok(()) };
    // What this process has still to write is lost with it.
    logging::finish();
    let error = start_again(listener);
    Err(Failure::problem(format!("this host cannot start again in its process: {error}; start it again")))
}

/// The usual state directory is the program's own, and may have been made by a version that let others read it.
fn private_state_dir(path: &Path) {
    match private_directory::tighten(path) {
        Ok(true) => log::info!("{}: others have no right to read it any more", path.display()),
        Ok(false) => {}
        Err(error) => log::warn!("{} can be read by others: {error}", path.display()),
    }
}

/// Finishes installations that were cut short. A directory that cannot be written is loaded as it is.
fn recover_packages(settings: &Settings) {
    for directory in settings.package_directories() {
        if let Err(error) = Staging::recover_directory(&directory, &settings.records()) {
            log::error!("packages in {} are left as they are: {error}", directory.display());
        }
    }
}

/// The tools that the configuration names, when there are any. One that cannot be loaded does not keep the host from
/// running.
fn tools(settings: &Settings, engine: &WasmChannelRuntime) -> Result<Option<ToolRegistry>, Failure> {
    if tool_paths(settings).is_empty() {
        return Ok(None);
    }
    let runtime = WasmToolRuntime::on(engine, settings.tool_runtime()?).map_err(Failure::problem)?;
    let (tools, loaded) = configured_tools(settings, runtime)?;
    loaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    loaded.failed.iter().for_each(|error| log::error!("{error}"));
    for tool in tools.tools() {
        let found = tool.diagnostics().iter().filter(|found| found.severity < Severity::Note);
        found.for_each(|found| log::warn!("tool {}: {found}", tool.name()));
    }
    Ok(Some(tools))
}

fn start(
    settings: &Settings,
    loader: &WasmChannelLoader,
    (channels, tools): (NamedChannels, Option<ToolRegistry>),
    listening: Listening,
    access_log: Option<AccessLog>,
) -> Result<Host, Failure> {
    let config = ManagerConfig { load_check: Some(settings.load_check()), ..settings.manager()? };
    let mut builder = HostBuilder::new(config);
    if let Some(tools) = tools {
        builder = builder.tools(tools);
    }
    builder = builder
        .runtime(loader.runtime().clone())
        .listen_on(listening.listener)
        .server_limits(settings.server.clone())
        .access_log(access_log.map(|log| log.sink()))
        .proxies(settings.proxies.clone());
    if listening.is_taken_over {
        builder = builder.serve_when_started();
    }
    if let Some(bytes) = settings.max_body_bytes {
        builder = builder.max_body_bytes(bytes);
    }
    for path in &channels.paths {
        builder = builder.channels_from(path);
    }
    if channels.has_webchat {
        builder = builder.channel(webchat(loader)?);
    }
    let generator = SecretGenerator::new(settings)?;
    let loaded = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&loaded);
    let host = builder.before_start(move |channel| {
        generator.generate_missing(channel);
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(channel.clone());
    });
    let host = host.start().map_err(|error| match error {
        // Each reason is in the log.
        HostError::NoChannels(_) => start_checks::no_channels("none of the channels could be loaded"),
        error => Failure::problem(error),
    })?;
    let loaded = std::mem::take(&mut *loaded.lock().unwrap_or_else(PoisonError::into_inner));
    for found in settings.inspect_channels(&loaded) {
        match found.severity {
            Severity::Error => log::error!("{found}"),
            _ => log::warn!("{found}"),
        }
    }
    if let Err(error) = settings.records().adopted() {
        log::error!("what was approved is not kept: {error}");
    }
    Ok(host)
}

/// Says on standard output what runs and where. Programs may read it: the line `listening on URL` is there, and
/// everything is written before an agent gets the first message.
fn greet(settings: &Settings, host: &Host, admin: &AdminApi, agent: &dyn Agent) {
    let Some(address) = host.reachable_addr() else { return };
    let health = host.health().map(|health| health.channels).unwrap_or_default();
    let names: Vec<&str> = health.iter().map(|channel| channel.name.as_str()).collect();
    let mut text = format!("tinclaw {}\n", env!("CARGO_PKG_VERSION"));
    if let Some(path) = &settings.path {
        text += &format!("  config    {}\n", path.display());
    }
    text += &format!("  state     {}\n", settings.state_dir.display());
    text += &format!("  channels  {}\n", if names.is_empty() { "none".to_owned() } else { names.join(", ") });
    let tools = host.tools().map(ToolRegistry::tools).unwrap_or_default();
    if !tools.is_empty() {
        let names: Vec<&str> = tools.iter().map(|tool| tool.name()).collect();
        text += &format!("  tools     {}\n", names.join(", "));
    }
    text += &format!("  agent     {}\n", agent.describe());
    if let Some(address) = admin.address() {
        text += &format!("  admin     {address}\n");
    }
    text += &format!("listening on http://{address}\n");
    if names.contains(&"webchat") {
        text += &format!("\nopen http://{}/chat\n", address);
    }
    // A standard output that is closed, or that nobody reads, is no reason not to serve; nor is it an error at the end.
    print::for_a_second(text);
}

/// Serves until the signal comes, then stops everything in order. An agent that does not end in time is left behind: its
/// messages are redelivered at the next start.
fn serve(
    host: &Host,
    agent: Arc<dyn Agent>,
    operated: HostOperation<'_>,
    signal: StopSignal,
    passes_on: Option<TakeoverOffer<'_>>,
    state_dir: &Path,
) -> Option<Successor> {
    let HostOperation { admin, starter, supervisor } = operated;
    let stops = signal.stops();
    let takeover = passes_on.as_ref().map(|passed| passed.socket);
    thread::scope(|scope| {
        let waits = passes_on.and_then(|TakeoverOffer { socket, listener }| {
            let stops = stops.clone();
            // Without a successor the listening socket is closed when this ends: whoever connects later must not wait in its queue for
            // the end of the process, and get no response.
            let wait = move || {
                let successor = socket.wait(listener, || stops.is_set());
                if successor.is_some() {
                    stops.set();
                }
                successor
            };
            let waits = spawn_scoped(scope, "tinclaw-takeover", wait);
            waits.map_err(|error| log::warn!("no other host can take over from this one: {error}")).ok()
        });
        if let Err(error) = host.serve_with(agent) {
            log::error!("the host stops, because its agent cannot run: {error}");
            stops.set();
        }
        let (end_watch, watch_ends) = bounded::<()>(0);
        if let Some(supervisor) = supervisor {
            let watch = move || supervisor.watch(host.manager(), &watch_ends);
            if let Err(error) = spawn_scoped(scope, "tinclaw-supervised", watch) {
                log::warn!(
                    "the supervisor gets no watchdog notifications, because their thread cannot be started: {error}"
                );
            }
        }
        let apply_approved = move || starter.apply_approved(host.manager());
        if let Err(error) = spawn_scoped(scope, "tinclaw-approved", apply_approved) {
            log::warn!("approved changes are applied at the next start: {error}");
        }
        let reload = || {
            // On a thread of its own, so that a signal to stop is heard meanwhile.
            let change = move || {
                if let Err(error) = starter.change(host.manager(), &HostChange::Reload) {
                    log::error!("the configuration stays as it was: {error}");
                }
            };
            if let Err(error) = spawn_scoped(scope, "tinclaw-reload", change) {
                log::error!("the configuration stays as it was: {error}");
            }
        };
        signal.wait(memory::RELEASE_EVERY, memory::release, reload);
        drop(end_watch);
        if let Some(supervisor) = supervisor {
            supervisor.stopping();
        }
        log::info!("stopping; a second signal exits at once");
        if let Some(socket) = takeover {
            socket.wake();
        }
        let successor = waits.and_then(|thread| thread.join().ok().flatten());
        if successor.is_some() {
            host.drain(DRAIN_TIME);
        }
        drop(admin);
        if !host.stop_in_time() {
            log::warn!("the agent is still busy; its messages are redelivered at the next start");
            // The thread of the agent would be waited for below. The store is closed.
            match successor.map_or(Ok(()), |successor| hand_over(successor, state_dir)) {
                Ok(()) => {
                    logging::finish();
                    std::process::exit(0);
                }
                Err(failure) => {
                    log::error!("{failure}");
                    logging::finish();
                    std::process::exit(1);
                }
            }
        }
        successor
    })
}

/// How the host is operated while it runs.
struct HostOperation<'a> {
    admin: AdminApi,
    starter: &'a ChannelStarter,
    supervisor: Option<&'a Supervisor>,
}

/// What another host may take over.
struct TakeoverOffer<'a> {
    socket: &'a TakeoverSocket,
    listener: TcpListener,
}

/// How long connections may take to be served when another host takes the socket over.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// The exit code when a second signal ends the program at once: 128 and the number of SIGINT, as shells have it.
const EXIT_AT_ONCE: i32 = 130;

/// Makes the host stop as a signal does.
#[derive(Clone)]
struct StopHandle {
    /// The flag of [`StopSignal`].
    is_set: Arc<AtomicBool>,
    wakes: Arc<UnixStream>,
}

impl StopHandle {
    fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        // A full pipe wakes as well.
        let _ = (&*self.wakes).write(b"x");
    }

    fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }
}

/// Waits for signals.
pub struct StopSignal {
    wakes: UnixStream,
    sender: UnixStream,
    /// Set by a signal or by [`StopHandle::set`], never cleared.
    stops: Arc<AtomicBool>,
    /// Set by a signal, cleared by [`StopSignal::wait`] before it reads the configuration, so a signal meanwhile makes it read once more.
    reloads: Arc<AtomicBool>,
}

impl StopSignal {
    /// From now on the first signal to stop is waited for here, and a second one ends the program at once.
    pub fn install() -> Result<Self, Failure> {
        let failed = |error| Failure::problem(format!("signals cannot be waited for: {error}"));
        let (wakes, sender) = UnixStream::pair().map_err(failed)?;
        let (stops, reloads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        // A terminal that closes sends SIGHUP; by default it would end the program without `on-shutdown`.
        let at_terminal = std::io::stdin().is_terminal();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let registered = if signal == SIGHUP && !at_terminal {
                signal_hook::flag::register(signal, reloads.clone())
            } else {
                // The order matters: the first signal finds the flag unset, and sets it afterwards.
                signal_hook::flag::register_conditional_shutdown(signal, EXIT_AT_ONCE, stops.clone())
                    .and_then(|_| signal_hook::flag::register(signal, stops.clone()))
            };
            registered
                .and_then(|_| signal_hook::low_level::pipe::register(signal, sender.try_clone()?))
                .map_err(failed)?;
        }
        Ok(Self { wakes, sender, stops, reloads })
    }

    /// Whether a signal to stop has come.
    fn is_set(&self) -> bool {
        self.stops.load(Ordering::Acquire)
    }

    /// What stops the host from another thread.
    fn stops(&self) -> StopHandle {
        // Without another descriptor for the pipe the flag is seen at the next look.
        let wakes = self.sender.try_clone().or_else(|_| UnixStream::pair().map(|(one, _)| one));
        let wakes = wakes.expect("a process that has no descriptor left cannot have started a host");
        StopHandle { is_set: self.stops.clone(), wakes: Arc::new(wakes) }
    }

    /// Blocks until a signal to stop comes. Calls `meanwhile` after a second and then every so often, and `reload` when the
    /// configuration is to be reloaded.
    pub fn wait(mut self, every: Duration, meanwhile: impl Fn(), reload: impl Fn()) {
        let mut pause = Duration::from_secs(1);
        loop {
            // A pause of a second or more can always be set.
            let _ = self.wakes.set_read_timeout(Some(pause));
            match self.wakes.read(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    meanwhile();
                    pause = every;
                }
                Ok(1..) => {}
                Ok(_) | Err(_) => return,
            }
            if self.stops.load(Ordering::Acquire) {
                return;
            }
            if self.reloads.swap(false, Ordering::AcqRel) {
                reload();
            }
        }
    }
}
