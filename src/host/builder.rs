//! A manager with channels from a directory and an HTTP server: all of it in five lines.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::agent::{Agent, ServingAgents};
use super::config::ManagerConfig;
#[cfg(feature = "sqlite")]
use super::config::StateLocation;
use super::error::HostError;
use super::load_plan::{BeforeStart, LoadPlan};
use super::manager::ChannelManager;
use super::public_probe::PublicProbe;
use crate::channel::{ChannelName, LoadError, WasmChannel, WasmChannelLoader};
use crate::event::health::{ChannelHealth, ChannelState};
use crate::model::deadline::deadline_after;
use crate::model::value_error::ValueError;
use crate::sandbox::{WasmChannelRuntime, WasmChannelRuntimeConfig};
use crate::server::requests::{OwnPages, RequestHandler, head_check};
use crate::server::{AccessSink, DEFAULT_MAX_BODY_BYTES, WasmChannelRouter};
use crate::server::{HttpServer, ServerError, ServerLimits, ServerStats};
use crate::tool::ToolRegistry;
use crate::webhook::TrustedProxies;

/// How long channels may take to start before connections are accepted all the same.
const START_TIME: Duration = Duration::from_secs(30);
/// How often that, and the end of connections, is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Collects what a [`Host`] is made of.
pub struct HostBuilder {
    manager: ManagerConfig,
    runtime: Option<WasmChannelRuntime>,
    /// Directories of channels, and single guests.
    directories: Vec<PathBuf>,
    channels: Vec<WasmChannel>,
    tools: Option<ToolRegistry>,
    listen: Option<Listen>,
    server: ServerLimits,
    proxies: TrustedProxies,
    max_body_bytes: u64,
    access_log: Option<AccessSink>,
    before_start: Option<BeforeStart>,
    serves_when_started: bool,
    agents: Vec<Arc<dyn Agent>>,
}

/// Where HTTP is served.
enum Listen {
    At(SocketAddr),
    On(TcpListener),
}

/// A running host: channels, their HTTP server, the messages, the replies.
///
/// ```no_run
/// use tinclaw::{AgentResponse, Host};
///
/// let host = Host::builder().listen(([127, 0, 0, 1], 8080).into()).channels_from("channels").start()?;
/// for delivery in host.messages() {
///     let content = format!("you said: {}", delivery.message().content);
///     host.respond(&delivery, AgentResponse::text(content))?;
///     delivery.ack();
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Host {
    pub(super) manager: Arc<ChannelManager>,
    /// Shared with the host's own agents only, until they have ended.
    server: Option<Arc<HttpServer>>,
    tools: Option<ToolRegistry>,
    failed: Arc<[LoadError]>,
    grace: Duration,
    pub(super) agents: ServingAgents,
    /// Whether it is what one of its agents sees: whoever drops that stops nothing.
    is_for_agent: bool,
}

impl Host {
    /// Begins with the defaults: state in memory, secrets from the environment, no HTTP, no channels.
    #[must_use]
    pub fn builder() -> HostBuilder {
        HostBuilder::new(ManagerConfig::default())
    }

    /// The same host, for an agent of its own.
    pub(super) fn for_agent(&self) -> Self {
        Self {
            manager: Arc::clone(&self.manager),
            server: self.server.clone(),
            tools: self.tools.clone(),
            failed: Arc::clone(&self.failed),
            grace: self.grace,
            agents: ServingAgents::default(),
            is_for_agent: true,
        }
    }

    /// Where the HTTP server listens; the port is the real one when 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(|server| server.local_addr())
    }

    /// What the HTTP server has counted, if there is one.
    #[must_use]
    pub fn server_stats(&self) -> Option<ServerStats> {
        self.server.as_ref().map(|server| server.stats())
    }

    /// An address at which others reach the HTTP server: that of this machine where it listens on all interfaces.
    #[must_use]
    pub fn reachable_addr(&self) -> Option<SocketAddr> {
        self.local_addr().map(crate::net::reachable::reachable)
    }

    /// Channels that could not be loaded, and why. The others run.
    #[must_use]
    pub fn failed_channels(&self) -> &[LoadError] {
        &self.failed
    }

    /// The tools that its agents may call, when there are any.
    #[must_use]
    pub fn tools(&self) -> Option<&ToolRegistry> {
        self.tools.as_ref()
    }

    /// Does what [`Host::shutdown`] does, except that responses which are still being sent are not waited for. For programs
    /// whose threads share the host: their streams of messages end, and the last of them drops the host.
    pub fn stop(&self) {
        if !self.stop_in_time() {
            log::warn!("an agent is still busy; its messages are redelivered at the next start");
        }
    }

    /// The same; says whether every agent has ended in the time that it may take.
    pub(crate) fn stop_in_time(&self) -> bool {
        self.agents.stop();
        if let Some(server) = &self.server {
            server.stop_accepting();
        }
        if let Some(tools) = &self.tools {
            tools.shutdown();
        }
        #[cfg(feature = "cluster")]
        if let Some(cluster) = self.manager.cluster() {
            cluster.hold();
        }
        self.manager.shutdown(self.grace);
        #[cfg(feature = "cluster")]
        if let Some(cluster) = self.manager.cluster() {
            cluster.leave();
        }
        self.agents.join()
    }

    /// Accepts no further connection, and waits until those that are open have been served, for this long at most. The host itself
    /// goes on.
    pub fn drain(&self, time: Duration) {
        let Some(server) = &self.server else { return };
        server.stop_accepting();
        let until = deadline_after(Instant::now(), time);
        while !server.is_drained() && Instant::now() < until {
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Stops taking requests, lets what runs end, calls every channel's `on-shutdown` and joins all threads. Dropping a
    /// host does the same.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.is_for_agent {
            return;
        }
        self.stop();
        // An agent that has not ended keeps it; the server accepts nothing any more.
        if let Some(server) = self.server.take().and_then(Arc::into_inner) {
            server.shutdown();
        }
    }
}

impl HostBuilder {
    /// Begins with this configuration. What the methods set comes after it.
    #[must_use]
    pub fn new(config: ManagerConfig) -> Self {
        Self {
            manager: config,
            runtime: None,
            directories: Vec::new(),
            channels: Vec::new(),
            tools: None,
            listen: None,
            server: ServerLimits::default(),
            proxies: TrustedProxies::default(),
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            access_log: None,
            before_start: None,
            serves_when_started: false,
            agents: Vec::new(),
        }
    }

    /// Has this agent reply to messages, on a thread of its own, from the start of the host until it stops. May be called several
    /// times.
    ///
    /// ```no_run
    /// use tinclaw::{Host, agent::EchoAgent};
    ///
    /// let host = Host::builder().channels_from("channels").agent(EchoAgent).start()?;
    /// host.wait();
    /// # Ok::<(), tinclaw::HostError>(())
    /// ```
    #[must_use]
    pub fn agent(mut self, agent: impl Agent + 'static) -> Self {
        self.agents.push(Arc::new(agent));
        self
    }

    /// Changes some of [`ManagerConfig`].
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut ManagerConfig)) -> Self {
        change(&mut self.manager);
        self
    }

    /// Keeps state in this directory instead of in memory.
    #[cfg(feature = "sqlite")]
    #[must_use]
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Self {
        let durability = crate::store::Durability::Full;
        self.manager.state = StateLocation::Directory { path: path.into(), durability };
        self
    }

    /// Prepares channels with this runtime, which may share its engine with others.
    #[must_use]
    pub fn runtime(mut self, runtime: WasmChannelRuntime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Runs every channel of this directory, or the one channel whose `.wasm` it is. May be called several times.
    #[must_use]
    pub fn channels_from(mut self, path: impl AsRef<Path>) -> Self {
        self.directories.push(path.as_ref().to_owned());
        self
    }

    /// Calls `hook` with each channel that was loaded, before its `on-start` runs. Channels are loaded beside each other, and
    /// so are the calls.
    #[must_use]
    pub fn before_start(mut self, hook: impl Fn(&WasmChannel) + Send + Sync + 'static) -> Self {
        self.before_start = Some(Box::new(hook));
        self
    }

    /// Runs this channel.
    #[must_use]
    pub fn channel(mut self, channel: WasmChannel) -> Self {
        self.channels.push(channel);
        self
    }

    /// Has these tools for agents to call. Calls that run are ended with the host.
    #[must_use]
    pub fn tools(mut self, tools: ToolRegistry) -> Self {
        self.tools = Some(tools);
        self
    }

    /// Serves HTTP at this address; port 0 takes a free one.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(Listen::At(address));
        self
    }

    /// Serves HTTP on this listener, such as one that was bound before channels were prepared.
    #[must_use]
    pub fn listen_on(mut self, listener: TcpListener) -> Self {
        self.listen = Some(Listen::On(listener));
        self
    }

    /// What the HTTP server gives one client and all of them.
    #[must_use]
    pub fn server_limits(mut self, limits: ServerLimits) -> Self {
        self.server = limits;
        self
    }

    /// Accepts connections only when every channel has started, or has failed to, or 30 s have passed; those that arrive before wait in
    /// the listener's queue. For a listener that another host has had, whose clients know no pause.
    #[must_use]
    pub fn serve_when_started(mut self) -> Self {
        self.serves_when_started = true;
        self
    }

    /// Whose `X-Forwarded-For` is believed: addresses and networks, as `10.0.0.1`, `10.0.0.0/8` or `2001:db8::/32`. Default:
    /// nobody's.
    ///
    /// # Errors
    /// The first entry that is not one, has bits behind its prefix, or covers every address.
    pub fn trusted_proxies<S: AsRef<str>>(self, proxies: &[S]) -> Result<Self, ValueError> {
        Ok(self.proxies(TrustedProxies::parse(proxies)?))
    }

    /// The same, of proxies that are read already.
    pub(crate) fn proxies(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Notes each request there.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn access_log(mut self, log: Option<AccessSink>) -> Self {
        self.access_log = log;
        self
    }

    /// The largest request body in bytes, for channels that do not say less. Default 1 MiB.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: u64) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Starts everything, and returns when all channels are there. HTTP is served from the beginning: requests to a channel that
    /// is still being loaded get 503 with `Retry-After`. Channels that cannot be loaded are in [`Host::failed_channels`] while others run, and an error
    /// when none is left; channels whose `on-start` fails are tried again.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn start(self) -> Result<Host, HostError> {
        let runtime = match self.runtime {
            Some(runtime) => runtime,
            None => WasmChannelRuntime::new(WasmChannelRuntimeConfig::default())?,
        };
        // Before any channel starts: a second program on this port must not run `on-start`, which registers webhooks again.
        let listener = self.listen.map(Listen::bind).transpose()?;
        let loader = WasmChannelLoader::new(runtime).with_settings(self.manager.load_settings());
        let mut plan = LoadPlan::default();
        for path in &self.directories {
            plan.discover(path)?;
        }
        for (host, base) in &self.manager.outbound.http_rewrite {
            let base = crate::net::without_credentials(base);
            log::warn!("requests to {host} go to {base} instead (http_rewrite)");
        }
        let manager = Arc::new(ChannelManager::with_tools(self.manager, self.tools.as_ref())?);
        #[cfg(feature = "cluster")]
        if let Some(cluster) = manager.cluster() {
            manager.routes().set_forwarder(cluster.clone());
        }
        plan.claim_paths(&self.channels, &loader, manager.routes());
        // Before guests are prepared, which may take long: a provider that gets a 503 retries.
        let access_log = self.access_log;
        let serve =
            |listener| serve(&manager, listener, self.server, self.proxies, self.max_body_bytes, access_log);
        let (server, failed);
        if self.serves_when_started {
            failed = plan.load(self.channels, &loader, &manager, self.before_start);
            wait_until_started(&manager);
            server = listener.map(serve).transpose()?;
        } else {
            server = listener.map(serve).transpose()?;
            failed = plan.load(self.channels, &loader, &manager, self.before_start);
        }
        // A host that was to run channels and has none would wait for ever.
        if manager.is_empty() && !failed.is_empty() {
            return Err(HostError::NoChannels(failed));
        }
        manager.forget_unclaimed();
        #[cfg(feature = "cluster")]
        if let Some(cluster) = manager.cluster() {
            cluster.start(&manager, server.as_ref().map(HttpServer::local_addr))?;
        }
        if let Some(server) = &server {
            warn_of_open_channels(&manager, server.local_addr());
        }
        let host = Host {
            manager,
            server: server.map(Arc::new),
            tools: self.tools,
            failed: failed.into(),
            grace: Duration::from_secs(10),
            agents: ServingAgents::default(),
            is_for_agent: false,
        };
        self.agents.into_iter().try_for_each(|agent| host.serve_with(agent))?;
        Ok(host)
    }
}

impl Listen {
    fn bind(self) -> Result<TcpListener, HostError> {
        match self {
            Self::On(listener) => Ok(listener),
            Self::At(address) => {
                TcpListener::bind(address).map_err(|source| ServerError::Listen { address, source }.into())
            }
        }
    }
}

/// Waits until no channel runs its first `on-start`, for a while.
fn wait_until_started(manager: &ChannelManager) {
    let until = deadline_after(Instant::now(), START_TIME);
    let is_starting = |channel: &ChannelHealth| {
        let has_failed = channel.problems.iter().any(|problem| problem.code == "last-failure");
        channel.state == ChannelState::Starting && !has_failed
    };
    while Instant::now() < until
        && manager.health().is_ok_and(|health| health.channels.iter().any(is_starting))
    {
        thread::sleep(LOOK_EVERY);
    }
}

fn serve(
    manager: &ChannelManager,
    listener: TcpListener,
    limits: ServerLimits,
    proxies: TrustedProxies,
    max_body_bytes: u64,
    access_log: Option<AccessSink>,
) -> Result<HttpServer, HostError> {
    let access_log = access_log.map(|log| (log, proxies.clone()));
    let routes = manager.routes().clone();
    let pages = own_pages(routes.clone(), manager.public_probe().clone());
    let check = head_check(routes.clone(), pages.clone(), max_body_bytes);
    let public_url = manager.public_url().clone();
    let mut handler = RequestHandler::new(routes, manager.events.clone(), proxies, public_url, pages);
    let handle = Box::new(move |request| handler.handle(request));
    Ok(HttpServer::start_with_log(listener.into(), limits, check, handle, access_log)?)
}

/// Channels that anybody may call are meant for this machine; beyond it, somebody should know.
fn warn_of_open_channels(manager: &ChannelManager, address: SocketAddr) {
    for channel in open_channels(manager, address) {
        log::warn!(
            target: channel.as_str(),
            "channel {channel} has no authentication, and this host listens on {address}: whoever reaches that address \
             can talk to it; listen on 127.0.0.1, or declare an authentication scheme in its capability file"
        );
    }
}

/// The channels without authentication that can be reached from other machines.
fn open_channels(manager: &ChannelManager, address: SocketAddr) -> Vec<ChannelName> {
    match address.ip().to_canonical().is_loopback() {
        true => Vec::new(),
        false => manager.routes().unauthenticated_channels(),
    }
}

fn own_pages(routes: WasmChannelRouter, probe: PublicProbe) -> OwnPages {
    Arc::new(move |method, path| crate::admin::page(method, path, &routes, &probe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::fixtures;
    use crate::test_support::temp_dir::TempDir;

    /// A directory with two files that are no guests.
    fn broken_channels() -> TempDir {
        let directory = TempDir::new();
        directory.write("broken.wasm", "no guest");
        directory.write("broken_too.wasm", "");
        directory
    }

    /// The host started without a single channel, and its stream of messages waited for ever.
    #[test]
    fn a_host_none_of_whose_channels_can_be_loaded_does_not_start() {
        let channels = broken_channels();
        let error = Host::builder().channels_from(channels.path()).start().err().expect("it does not start");
        assert!(matches!(&error, HostError::NoChannels(failed) if failed.len() == 2), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("no channel could be loaded: ") && text.contains("broken_too"), "{text}");
        let error = Host::builder().channels_from(channels.join("nodir")).start().err();
        assert!(matches!(error, Some(HostError::Channels(_))), "{error:?}");
    }

    #[test]
    fn a_host_runs_the_channels_that_can_be_loaded_and_lists_the_others() {
        let channels = broken_channels();
        channels.write("echo.wasm", fixtures::guest("echo"));
        let host = Host::builder().channels_from(channels.path()).start().expect("it starts");
        assert_eq!(host.failed_channels().len(), 2);
        assert_eq!(host.health().unwrap().channels.len(), 1);
    }

    // Nobody was told that unknown senders could write to a channel as soon as the host listened on more than loopback.
    #[test]
    fn a_channel_without_authentication_is_named_when_others_can_reach_it() {
        let runtime = fixtures::runtime();
        let host = fixtures::host(&["echo_token", "echo_webhook_secret"], &[])
            .channel(fixtures::channel(&runtime, "everything"))
            .channel(fixtures::channel(&runtime, "echo"))
            .start()
            .expect("it starts");
        for (address, expected) in [
            ("127.0.0.1:80", &[][..]),
            ("[::1]:80", &[]),
            ("[::ffff:127.0.0.1]:80", &[]),
            ("0.0.0.0:80", &["everything"]),
            ("[::]:80", &["everything"]),
            ("192.168.1.2:80", &["everything"]),
        ] {
            let found = open_channels(host.manager(), address.parse().expect("an address"));
            assert_eq!(found.iter().map(ChannelName::as_str).collect::<Vec<_>>(), expected, "{address}");
        }
    }

    #[test]
    fn a_host_without_channels_takes_them_later() {
        assert!(Host::builder().start().is_ok());
    }
}
