//! `tinclaw run`, and the signals that stop it: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use log::LevelFilter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::args::{Common, RunArgs};
use super::channels::webchat;
use super::config::{Settings, control_socket};
use super::control::ControlServer;
use super::generate::SecretGenerator;
use super::output::{Failure, Outcome};
use super::setup::agent;
use super::start_channel::ChannelStarter;
use super::tools::{configured as configured_tools, paths as tool_paths};
use super::{logging, memory};
use crate::agent::Agent;
use crate::model::diagnostic::Severity;
use crate::{Host, HostError, ToolRegistry, WasmChannelLoader, WasmChannelRuntime, WasmToolRuntime};

/// Runs a host until a signal stops it.
pub fn run(common: &Common, options: RunArgs) -> Outcome {
    let settings = Settings::load_for_run(common, options.clone())?;
    logging::start(common, settings.log.as_deref(), LevelFilter::Info)?;
    let signal = StopSignal::install()?;
    let channels = find_channels(&settings)?;
    // Bound first: a second program on this port must not change anything before it finds the port taken.
    let listener = bind(settings.listen)?;
    let loader = settings.loader()?;
    let starter = ChannelStarter::new(common, &options, &settings, loader.clone());
    let host = start(&settings, &loader, channels, listener)?;
    let control = ControlServer::open(&control_socket(&settings.state_dir));
    let agent = agent(&settings)?;
    greet(&settings, &host, &*agent);
    serve(&host, &*agent, control.map(|control| (control, &starter)), signal);
    log::info!("stopped");
    Ok(())
}

/// What a host is to run.
struct Channels {
    paths: Vec<PathBuf>,
    has_webchat: bool,
}

/// The channels that the configuration names, and the web chat when it is wanted.
fn find_channels(settings: &Settings) -> Result<Channels, Failure> {
    let paths = settings.channel_paths();
    let mut is_empty = settings.accounts().is_empty();
    for path in &paths {
        let found = WasmChannelLoader::discover(path).map_err(Failure::problem)?;
        is_empty &= found.channels.is_empty() && found.refused.is_empty();
    }
    if settings.webchat.is_none() && is_empty && !paths.is_empty() {
        log::warn!("no channels were found: running the web chat instead");
    }
    let has_webchat = settings.webchat.unwrap_or(is_empty);
    if is_empty && !has_webchat {
        return Err(no_channels("there are no channels"));
    }
    Ok(Channels { paths, has_webchat })
}

fn no_channels(why: &str) -> Failure {
    Failure::problem(format!(
        "{why}; `tinclaw check PATH` reports why a channel cannot be loaded, and --webchat runs the web chat"
    ))
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

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        let port = address.port().checked_add(1).unwrap_or_default();
        Failure::problem(format!(
            "cannot listen on {address}: {error}; choose another address with --listen, such as --listen 127.0.0.1:{port}"
        ))
    })
}

fn start(
    settings: &Settings,
    loader: &WasmChannelLoader,
    channels: Channels,
    listener: TcpListener,
) -> Result<Host, Failure> {
    let mut builder = Host::builder();
    if let Some(tools) = tools(settings, loader.runtime())? {
        builder = builder.tools(tools);
    }
    builder = builder
        .manager(settings.manager()?)
        .runtime(loader.runtime().clone())
        .listen_on(listener)
        .server_limits(settings.server.clone())
        .trusted_proxies(settings.proxies.clone());
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
        HostError::NoChannels(_) => no_channels("none of the channels could be loaded"),
        error => Failure::problem(error),
    })?;
    let loaded = std::mem::take(&mut *loaded.lock().unwrap_or_else(PoisonError::into_inner));
    settings.inspect_channels(&loaded).iter().for_each(|found| log::warn!("{found}"));
    Ok(host)
}

/// Says on standard output what runs and where. Programs may read it: the line `listening on URL` is there, and
/// everything is written before an agent gets the first message.
fn greet(settings: &Settings, host: &Host, agent: &dyn Agent) {
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
    text += &format!("listening on http://{address}\n");
    if names.contains(&"webchat") {
        text += &format!("\nopen http://{}/chat\n", address);
    }
    let mut out = std::io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Serves until the signal comes, then stops everything in order. An agent that does not end in time is left behind: its
/// messages are redelivered at the next start.
fn serve(
    host: &Host,
    agent: &dyn Agent,
    control: Option<(ControlServer, &ChannelStarter)>,
    signal: StopSignal,
) {
    thread::scope(|scope| {
        let (done, ended) = bounded::<()>(1);
        scope.spawn(move || {
            agent.serve(host);
            drop(done);
        });
        let control = control.and_then(|(control, starter)| control.serve(scope, host.manager(), starter));
        signal.wait(memory::RELEASE_EVERY, memory::release);
        log::info!("stopping; a second signal exits at once");
        agent.stop();
        if let Some(control) = control {
            control.stop();
        }
        host.stop();
        if let Err(crossbeam_channel::RecvTimeoutError::Timeout) = ended.recv_timeout(agent.stop_timeout()) {
            log::warn!("the agent is still busy; its messages are redelivered at the next start");
            std::process::exit(0);
        }
    });
}

/// The exit code when a second signal ends the program at once: 128 and the number of SIGINT, as shells have it.
const EXIT_AT_ONCE: i32 = 130;

/// Waits for the signal to stop.
pub struct StopSignal(UnixStream);

impl StopSignal {
    /// From now on the first signal is waited for here, and a second one ends the program at once.
    pub fn install() -> Result<Self, Failure> {
        let failed = |error| Failure::problem(format!("signals cannot be waited for: {error}"));
        let (receiver, sender) = UnixStream::pair().map_err(failed)?;
        let has_come = Arc::new(AtomicBool::new(false));
        // A terminal that closes sends SIGHUP; by default it would end the program without `on-shutdown`.
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // The order matters: the first signal finds the flag unset, and sets it afterwards.
            signal_hook::flag::register_conditional_shutdown(signal, EXIT_AT_ONCE, has_come.clone())
                .and_then(|_| signal_hook::flag::register(signal, has_come.clone()))
                .and_then(|_| signal_hook::low_level::pipe::register(signal, sender.try_clone()?))
                .map_err(failed)?;
        }
        Ok(Self(receiver))
    }

    /// Blocks until a signal comes, and calls `meanwhile` after a second and then every so often.
    pub fn wait(mut self, every: Duration, meanwhile: impl Fn()) {
        let mut pause = Duration::from_secs(1);
        loop {
            // A pause of a second or more can always be set.
            let _ = self.0.set_read_timeout(Some(pause));
            match self.0.read(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    meanwhile();
                    pause = every;
                }
                Ok(_) | Err(_) => return,
            }
        }
    }
}
