//! The configuration file and the command line together.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::agent::{ExecSettings, HeaderError, HttpSettings, OpenAiSettings};
use crate::capability::RightsChanged;
use crate::channel::{CapabilityOverrides, ChannelName, DiscoveredChannel, PlannedChannel};
use crate::egress::OutboundHttpSettings;
use crate::host::{ChannelSettings, ManagerConfig, RetryPolicy, RouterConfig, StateLocation};
use crate::inbox::{DeliveryPolicy, QueueLimits};
use crate::model::diagnostic::Diagnostic;
use crate::net::PublicUrl;
use crate::server::ServerLimits;
use crate::store::Retention;
use crate::tool::WasmToolRuntimeConfig;
use crate::webhook::TrustedProxies;
use crate::{
    WasmChannel, WasmChannelLoader, WasmChannelRuntime, WasmChannelRuntimeConfig, bundled_channel_names,
    discover_channels,
};

use super::file::{
    AgentTable, ChannelTable, ConfigFile, Count, Days, Megabytes, Millis, RetentionTable, RetryTable, Secs,
    ServerTable, SystemPrompt,
};
use super::find::{Found, find, home_file, state_dir};
use super::secrets::SecretSources;
use crate::cli::args::{Common, RunArgs};
use crate::cli::output::Failure;

/// Where HTTP is served by default.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The part of the memory budget that is for tools: one of so many.
const TOOL_MEMORY_SHARE: usize = 4;

/// The agent that replies.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentChoice {
    /// Replies with the same text.
    Echo,
    /// A program.
    Exec(ExecSettings),
    /// A server.
    Http(HttpSettings),
    /// A language model.
    OpenAi(OpenAiSettings),
}

/// Everything that a command may need to know.
pub struct Settings {
    /// The configuration file, if one was read.
    pub path: Option<PathBuf>,
    /// The file that `tinclaw setup` writes into.
    pub edited: PathBuf,
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Where state is kept.
    pub state_dir: PathBuf,
    /// Directories of channels and `.wasm` files; none when the default directory is meant.
    pub channels: Vec<PathBuf>,
    /// Directories of tools and `.wasm` files; none when the default directory is meant.
    pub tools: Vec<PathBuf>,
    /// The directory that tools may read.
    tool_files: Option<PathBuf>,
    /// Whether the web chat runs; none: when there are no other channels.
    pub webchat: Option<bool>,
    /// The agent that replies.
    pub agent: AgentChoice,
    /// The log filter, if one is configured.
    pub log: Option<String>,
    /// Where secrets come from.
    pub secrets: SecretSources,
    /// What the HTTP server gives to clients.
    pub server: ServerLimits,
    /// Whose `X-Forwarded-For` is believed.
    pub proxies: TrustedProxies,
    /// The largest request body.
    pub max_body_bytes: Option<u64>,
    /// Everything else; the secrets are not in it yet.
    manager: ManagerConfig,
}

impl Settings {
    /// Reads the configuration for a command that runs no host.
    pub fn load(common: &Common) -> Result<Self, Failure> {
        Self::load_for_run(common, RunArgs::default())
    }

    /// Reads the configuration for `tinclaw run`.
    pub fn load_for_run(common: &Common, run: RunArgs) -> Result<Self, Failure> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let mut found = find(common.config.as_deref(), variable)?;
        let file = std::mem::take(&mut found.file);
        let named = common.state_dir.clone().or_else(|| Some(found.beside(file.state_dir.clone()?)));
        let edited = found.path.clone().or_else(|| home_file(variable));
        let state_dir = state_dir(named, variable)?;
        let settings = resolve(found, file, state_dir, common, run)?;
        Ok(Self { edited: edited.unwrap_or_else(|| PathBuf::from("tinclaw.toml")), ..settings })
    }

    /// What the operator decides about a channel.
    pub fn channel(&self, name: &ChannelName) -> ChannelSettings {
        self.manager.channels.get(name).cloned().unwrap_or_default()
    }

    /// This host's address as providers call it.
    pub fn public_url(&self) -> Option<&PublicUrl> {
        self.manager.public_url.as_ref()
    }

    /// Other accounts of guests: their names, and the names of their guests' files.
    pub fn accounts(&self) -> BTreeMap<ChannelName, ChannelName> {
        self.manager.accounts()
    }

    /// The channels that lie in the configured directories, whatever is wrong with others there.
    pub fn installed(&self) -> Vec<DiscoveredChannel> {
        let found =
            self.channel_paths().into_iter().filter_map(|path| WasmChannelLoader::discover(&path).ok());
        found.flat_map(|found| found.channels).collect()
    }

    /// The channel of this name as it would be loaded: one that is installed, another account of a guest, or else one that
    /// comes with the program.
    pub fn planned(&self, name: &ChannelName) -> Option<PlannedChannel> {
        let mut installed = self.installed();
        if let Some(guest) = self.accounts().get(name) {
            return PlannedChannel::account(name, guest, &installed);
        }
        match installed.iter().position(|found| found.name == *name) {
            Some(place) => Some(PlannedChannel::found(installed.swap_remove(place))),
            None => PlannedChannel::account(name, name, &[]),
        }
    }

    /// The directory that channels are installed into: the first configured one, else the default one.
    pub fn install_dir(&self) -> PathBuf {
        self.channels.iter().find(|path| path.is_dir()).cloned().unwrap_or_else(crate::default_channels_dir)
    }

    /// The configuration of a manager, with secrets.
    pub fn manager(&self) -> Result<ManagerConfig, Failure> {
        Ok(ManagerConfig {
            secrets: self.secrets.store()?,
            env_variables_of_files: self.secrets.takes_any_variable(),
            ..self.manager.clone()
        })
    }

    /// Where the state is, and what of it is kept. No secret is read for it.
    pub fn stored_state(&self) -> (StateLocation, Retention) {
        (self.manager.state.clone(), self.manager.retention.clone())
    }

    /// The same without a state directory, for commands that only look at channels.
    pub fn manager_in_memory(&self) -> Result<ManagerConfig, Failure> {
        Ok(ManagerConfig { state: StateLocation::Memory, ..self.manager()? })
    }

    /// The configuration of a runtime of tools, with secrets.
    pub fn tool_runtime(&self) -> Result<WasmToolRuntimeConfig, Failure> {
        let ManagerConfig { secrets, env_variables_of_files, outbound, limit_caps, router, .. } =
            self.manager()?;
        Ok(WasmToolRuntimeConfig {
            limit_caps,
            memory_budget: router.memory_budget / TOOL_MEMORY_SHARE,
            outbound,
            secrets,
            env_variables_of_files,
            files: self.tool_files.clone(),
            ..WasmToolRuntimeConfig::default()
        })
    }

    /// The public address from now on.
    pub fn set_public_url(&mut self, url: Option<PublicUrl>) {
        self.manager.public_url = url;
    }

    /// A loader of channels as this configuration wants them, with a runtime that there is already.
    pub fn loader_on(&self, runtime: &WasmChannelRuntime) -> WasmChannelLoader {
        WasmChannelLoader::new(runtime.clone()).with_settings(self.manager.load_settings())
    }

    /// A loader of channels as this configuration wants them.
    pub fn loader(&self) -> Result<WasmChannelLoader, Failure> {
        let runtime =
            WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).map_err(Failure::problem)?;
        Ok(self.loader_on(&runtime))
    }

    /// What is probably not meant about the settings of channels. Channels that lie in the configured directories count,
    /// also when they are not among `channels`.
    pub fn inspect_channels(&self, channels: &[WasmChannel]) -> Vec<Diagnostic> {
        let directories = self.channel_paths().into_iter().filter_map(|path| discover_channels(&path).ok());
        let found = directories.flat_map(|found| found.channels).map(|channel| channel.name);
        let bundled = bundled_channel_names().into_iter().filter_map(|name| ChannelName::new(name).ok());
        let others: Vec<ChannelName> = found.chain(bundled).collect();
        self.manager.inspect_channel_settings(channels, &others)
    }

    /// Where channels are looked for: what was named, else the default directory when it is there.
    pub fn channel_paths(&self) -> Vec<PathBuf> {
        if !self.channels.is_empty() {
            return self.channels.clone();
        }
        Some(crate::default_channels_dir()).filter(|dir| dir.is_dir()).into_iter().collect()
    }
}

fn resolve(
    found: Found,
    mut file: ConfigFile,
    state_dir: PathBuf,
    common: &Common,
    run: RunArgs,
) -> Result<Settings, Failure> {
    let place =
        found.path.as_deref().map_or_else(|| "tinclaw.toml".to_owned(), |path| path.display().to_string());
    let wrong = |error: SettingError| Failure::usage(format!("{place}: {error}"));
    let beside = |path: PathBuf| found.beside(path);
    let mut secrets = file.secrets;
    secrets.directory = secrets.directory.map(beside);
    secrets.file = secrets.file.map(beside);
    secrets.key_file = secrets.key_file.map(beside);
    if let Some(SystemPrompt::File { file: path }) = &mut file.agent.system_prompt {
        *path = beside(std::mem::take(path));
    }
    let agent = match (&run.agent, &file.agent.kind) {
        (Some(kind), _) => {
            agent_choice(kind, &file.agent).map_err(|error| Failure::usage(format!("--agent: {error}")))?
        }
        (None, Some(kind)) => agent_choice(kind, &file.agent)
            .map_err(|error| Failure::usage(format!("{place}: agent: {error}")))?,
        (None, None) => AgentChoice::Echo,
    };
    let from_file = || file.channels.unwrap_or_default().into_iter().map(beside).collect();
    let channels = if run.channels.is_empty() { from_file() } else { run.channels };
    let tools = file.tools.unwrap_or_default().into_iter().map(beside).collect();
    let tool_files = file.tool_files.map(beside);
    let proxies = file.trusted_proxies;
    let defaults = ManagerConfig::default();
    let durability = file.durability.unwrap_or_default();
    let manager = ManagerConfig {
        state: StateLocation::Directory { path: state_dir.clone(), durability },
        outbound: OutboundHttpSettings {
            allow_private_hosts: file.allow_private_hosts,
            http_rewrite: file.http_rewrite,
            proxy: file.proxy,
            root_certificates_pem: None,
        },
        public_url: run.public_url.or(file.public_url),
        channels: channel_settings(file.channel).map_err(&wrong)?,
        limit_caps: file.limits,
        min_poll_interval: file.min_poll_interval_ms.map_or(defaults.min_poll_interval, Millis::get),
        workers: file.workers.map_or(defaults.workers, Count::get),
        router: RouterConfig {
            memory_budget: file.memory_budget_mb.map_or(defaults.router.memory_budget, |mb| {
                usize::try_from(mb.get_bytes()).unwrap_or(usize::MAX)
            }),
            retry: retry(&file.retry, defaults.router.retry),
            queue_timeout: file.queue_timeout_secs.map_or(defaults.router.queue_timeout, Secs::get),
        },
        queue: QueueLimits {
            messages: file.queue.messages.map_or(defaults.queue.messages, Count::get),
            bytes: file.queue.megabytes.map_or(defaults.queue.bytes, Megabytes::get_bytes),
        },
        delivery: DeliveryPolicy {
            ack_timeout: file.ack_timeout_secs.map_or(defaults.delivery.ack_timeout, Secs::get),
            in_order: file.in_order.unwrap_or(defaults.delivery.in_order),
            max_attempts: file.agent.max_attempts.map_or(defaults.delivery.max_attempts, |count| {
                u32::try_from(count.get()).unwrap_or(u32::MAX)
            }),
        },
        dead_letter_text: match &file.agent.dead_letter_text {
            Some(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            None => defaults.dead_letter_text.clone(),
        },
        retention: retention(&file.retention, defaults.retention.clone()),
        max_replies: file.queue.replies.map_or(defaults.max_replies, Count::get),
        ..defaults
    };
    Ok(Settings {
        listen: run.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
        channels,
        tools,
        tool_files,
        webchat: if run.webchat { Some(true) } else { file.webchat },
        agent,
        log: common.log.clone().or(file.log),
        secrets: SecretSources::new(secrets, &state_dir)?,
        server: server(&file.server, &proxies),
        proxies,
        max_body_bytes: file.max_body_bytes.map(|bytes| bytes.get() as u64),
        manager,
        path: found.path,
        edited: PathBuf::new(),
        state_dir,
    })
}

/// A setting that is well formed and cannot be used.
#[derive(Debug, thiserror::Error)]
enum SettingError {
    #[error("{0:?} is no agent: expected echo, exec:COMMAND, http:URL or openai:URL")]
    NoAgent(String),
    #[error("{text:?} is no URL: {source}")]
    NoUrl { text: String, source: url::ParseError },
    #[error("{0:?} is no http:// or https:// URL")]
    NoHttpUrl(String),
    #[error("temperature {0} is out of range; give 0 to 10")]
    Temperature(f64),
    #[error("system_prompt: {}: {source}", path.display())]
    SystemPrompt { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("[channel.{channel}]: {source}")]
    Rights { channel: ChannelName, source: RightsChanged },
}

/// Reads `echo`, `exec:COMMAND`, `http:URL` or `openai:URL`, and takes the settings that belong to it.
fn agent_choice(text: &str, table: &AgentTable) -> Result<AgentChoice, SettingError> {
    let mut choice = agent_kind(text)?;
    let (concurrency, timeout) = (table.concurrency.map(Count::get), table.timeout_secs.map(Secs::get));
    match &mut choice {
        AgentChoice::Echo => {}
        AgentChoice::Exec(settings) => {
            settings.concurrency = concurrency.unwrap_or(settings.concurrency);
            settings.timeout = timeout.unwrap_or(settings.timeout);
            settings.env.clone_from(&table.env);
        }
        AgentChoice::Http(settings) => {
            settings.concurrency = concurrency.unwrap_or(settings.concurrency);
            settings.timeout = timeout.unwrap_or(settings.timeout);
            settings.headers = table.headers.clone().into_iter().collect();
            settings.auth_secret.clone_from(&table.auth_secret);
            if let Some(header) = &table.auth_header {
                settings.auth_header.clone_from(header);
            }
            settings.check()?;
        }
        AgentChoice::OpenAi(settings) => {
            settings.concurrency = concurrency.unwrap_or(settings.concurrency);
            settings.timeout = timeout.unwrap_or(settings.timeout);
            openai_settings(settings, table)?;
        }
    }
    Ok(choice)
}

/// What only an `openai` agent has.
fn openai_settings(settings: &mut OpenAiSettings, table: &AgentTable) -> Result<(), SettingError> {
    if let Some(temperature) = table.temperature
        && !(0.0..=10.0).contains(&temperature)
    {
        return Err(SettingError::Temperature(temperature));
    }
    settings.model.clone_from(&table.model);
    settings.temperature = table.temperature;
    settings.max_tokens = table.max_tokens.map(|limit| u32::try_from(limit.get()).unwrap_or(u32::MAX));
    settings.api_key.clone_from(&table.api_key);
    settings.stream = table.stream.unwrap_or(settings.stream);
    settings.images = table.images.unwrap_or(settings.images);
    settings.tools.clone_from(&table.tools);
    settings.history_messages = table.history.messages.map_or(settings.history_messages, Count::get);
    settings.history_tokens = table.history.tokens.map_or(settings.history_tokens, Count::get);
    if let Some(command) = &table.reset_command {
        command.trim().clone_into(&mut settings.reset_command);
    }
    settings.system_prompt = match &table.system_prompt {
        None => String::new(),
        Some(SystemPrompt::Text(text)) => text.clone(),
        Some(SystemPrompt::File { file }) => std::fs::read_to_string(file)
            .map_err(|source| SettingError::SystemPrompt { path: file.clone(), source })?,
    };
    Ok(())
}

/// Reads `echo`, `exec:COMMAND`, `http:URL` or `openai:URL`.
fn agent_kind(text: &str) -> Result<AgentChoice, SettingError> {
    if text == "echo" {
        return Ok(AgentChoice::Echo);
    }
    match text.split_once(':') {
        Some(("exec", command)) if !command.trim().is_empty() => {
            Ok(AgentChoice::Exec(ExecSettings::new(command.trim())))
        }
        // `http://host` alone can only be meant as `http:http://host`.
        Some(("http" | "https", rest)) if rest.starts_with("//") => {
            Ok(AgentChoice::Http(HttpSettings::new(agent_url(text)?.as_str())))
        }
        Some(("http", url)) => Ok(AgentChoice::Http(HttpSettings::new(agent_url(url)?.as_str()))),
        Some(("openai", url)) => Ok(AgentChoice::OpenAi(OpenAiSettings::new(agent_url(url)?.as_str()))),
        _ => Err(SettingError::NoAgent(text.to_owned())),
    }
}

fn agent_url(text: &str) -> Result<url::Url, SettingError> {
    let parsed =
        url::Url::parse(text).map_err(|source| SettingError::NoUrl { text: text.to_owned(), source })?;
    if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
        return Err(SettingError::NoHttpUrl(text.to_owned()));
    }
    Ok(parsed)
}

fn channel_settings(
    tables: BTreeMap<ChannelName, ChannelTable>,
) -> Result<BTreeMap<ChannelName, ChannelSettings>, SettingError> {
    let mut settings = BTreeMap::new();
    for (name, table) in tables {
        let ChannelTable { guest, config, owner_id, bot_username, capabilities, extend_rights } = table;
        let overrides = CapabilityOverrides { capabilities, extend_rights };
        overrides.check().map_err(|source| SettingError::Rights { channel: name.clone(), source })?;
        settings.insert(name, ChannelSettings { guest, config, owner_id, bot_username, overrides });
    }
    Ok(settings)
}

fn retry(table: &RetryTable, default: RetryPolicy) -> RetryPolicy {
    RetryPolicy {
        initial_backoff: table.initial_backoff_secs.map_or(default.initial_backoff, Secs::get),
        max_backoff: table.max_backoff_secs.map_or(default.max_backoff, Secs::get),
        max_elapsed: table.max_elapsed_secs.map_or(default.max_elapsed, Secs::get),
        max_traps: table.max_traps.map_or(default.max_traps, |traps| traps.get() as u32),
        max_blocking: table.max_blocking_secs.map_or(default.max_blocking, Secs::get),
    }
}

fn retention(table: &RetentionTable, default: Retention) -> Retention {
    Retention {
        completed: table.completed_days.map_or(default.completed, Days::get),
        dead: table.dead_days.map_or(default.dead, Days::get),
        max_completed: table.max_completed.unwrap_or(default.max_completed),
        max_completed_bytes: table.max_completed_mb.map_or(default.max_completed_bytes, Megabytes::get_bytes),
        max_dedupe_keys: table.max_dedupe_keys.unwrap_or(default.max_dedupe_keys),
        history: table.history_days.map_or(default.history, Days::get),
    }
}

fn server(table: &ServerTable, proxies: &TrustedProxies) -> ServerLimits {
    let default = ServerLimits::default();
    ServerLimits {
        connections: table.connections.map_or(default.connections, Count::get),
        connections_per_address: table
            .connections_per_address
            .map_or(default.connections_per_address, Count::get),
        trusted_proxies: default.trusted_proxies.iter().chain(proxies.ranges()).copied().collect(),
        header_timeout: table.header_timeout_secs.map_or(default.header_timeout, Secs::get),
        max_header_bytes: table.max_header_bytes.map_or(default.max_header_bytes, Count::get),
        max_headers: table.max_headers.map_or(default.max_headers, Count::get),
        body_timeout: table.body_timeout_secs.map_or(default.body_timeout, Secs::get),
        body_memory: table.body_memory_mb.map_or(default.body_memory, Megabytes::get_bytes),
        dispatch_timeout: table.dispatch_timeout_secs.map_or(default.dispatch_timeout, Secs::get),
        response_timeout: table.response_timeout_secs.map_or(default.response_timeout, Secs::get),
        max_response_bytes: table.max_response_bytes.unwrap_or(default.max_response_bytes),
        response_memory: table.response_memory_mb.map_or(default.response_memory, Megabytes::get_bytes),
        write_timeout: table.write_timeout_secs.map_or(default.write_timeout, Secs::get),
        keep_alive: table.keep_alive_secs.map_or(default.keep_alive, Secs::get),
        shutdown_timeout: default.shutdown_timeout,
    }
}

/// Where the control socket of a state directory is.
pub fn control_socket(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn agents_are_told_apart() {
        let url = |text: &str| Ok(AgentChoice::Http(HttpSettings::new(text)));
        let openai = |text: &str| Ok(AgentChoice::OpenAi(OpenAiSettings::new(text)));
        let rows: [(&str, Result<AgentChoice, &str>); 12] = [
            ("echo", Ok(AgentChoice::Echo)),
            (
                "exec:python3 agent.py --fast",
                Ok(AgentChoice::Exec(ExecSettings::new("python3 agent.py --fast"))),
            ),
            ("exec:", Err("is no agent")),
            ("http:http://127.0.0.1:9/a", url("http://127.0.0.1:9/a")),
            ("http:https://agent.example/a", url("https://agent.example/a")),
            ("http://127.0.0.1:9/a", url("http://127.0.0.1:9/a")),
            ("http:ftp://a/", Err("is no http")),
            ("http:", Err("is no URL")),
            ("openai:http://127.0.0.1:11434/v1", openai("http://127.0.0.1:11434/v1")),
            ("openai:https://a.example/v1/chat/completions", openai("https://a.example/v1")),
            ("openai:llama", Err("is no URL")),
            ("parrot", Err("expected echo, exec:COMMAND, http:URL or openai:URL")),
        ];
        for (text, expected) in rows {
            match (agent_kind(text), expected) {
                (Ok(choice), Ok(expected)) => assert_eq!(choice, expected, "{text}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let file =
            super::super::parse::parse("listen = \"127.0.0.1:1\"\npublic_url = \"https://a.example/\"\n")
                .unwrap();
        let found = Found { file: ConfigFile::default(), path: Some("conf/tinclaw.toml".into()) };
        let run = RunArgs { listen: Some(([127, 0, 0, 1], 2).into()), ..RunArgs::default() };
        let settings = resolve(found, file, "state".into(), &Common::default(), run).ok().unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.manager.public_url.as_ref().map(PublicUrl::as_str), Some("https://a.example"));
    }

    #[test]
    fn an_agent_gets_the_settings_of_its_table() {
        let agent = |text: &str| {
            let found = Found { file: ConfigFile::default(), path: None };
            let file = super::super::parse::parse(text).unwrap();
            let settings = resolve(found, file, "state".into(), &Common::default(), RunArgs::default());
            settings.ok().unwrap().agent
        };
        let text = "[agent]\nkind = \"exec:a\"\nconcurrency = 2\ntimeout_secs = 3\nenv = [\"KEY\"]";
        let expected = ExecSettings {
            concurrency: 2,
            timeout: Duration::from_secs(3),
            env: vec!["KEY".to_owned()],
            ..ExecSettings::new("a")
        };
        assert_eq!(agent(text), AgentChoice::Exec(expected));
        let text = "[agent]\nkind = \"http://a/\"\nheaders = { x-team = \"a\" }\nauth_secret = \"k\"\n\
                    auth_header = \"x-key\"";
        let expected = HttpSettings {
            headers: vec![("x-team".to_owned(), "a".to_owned())],
            auth_secret: Some("k".to_owned()),
            auth_header: "x-key".to_owned(),
            ..HttpSettings::new("http://a/")
        };
        assert_eq!(agent(text), AgentChoice::Http(expected));
        let text = "[agent]\nkind = \"openai:http://a/v1\"\nmodel = \"m\"\nsystem_prompt = \"p\"\ntemperature = 1\n\
                    max_tokens = 9\napi_key = \"k\"\nstream = false\nimages = true\ntools = [\"t\"]\n\
                    history = { messages = 5, tokens = 100 }\nreset_command = \"\"\ntimeout_secs = 7";
        let expected = OpenAiSettings {
            model: Some("m".to_owned()),
            system_prompt: "p".to_owned(),
            temperature: Some(1.0),
            max_tokens: Some(9),
            api_key: Some("k".to_owned()),
            stream: false,
            images: true,
            tools: Some(vec!["t".to_owned()]),
            history_messages: 5,
            history_tokens: 100,
            reset_command: String::new(),
            timeout: Duration::from_secs(7),
            ..OpenAiSettings::new("http://a/v1")
        };
        assert_eq!(agent(text), AgentChoice::OpenAi(expected));
        let misspelt = super::super::parse::parse("[agent]\nkid = \"echo\"").unwrap_err().to_string();
        assert!(misspelt.contains("did you mean `kind`"), "{misspelt}");
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let settings = |text: &str| {
            let found = Found { file: ConfigFile::default(), path: None };
            let file = super::super::parse::parse(text).unwrap();
            resolve(found, file, "state".into(), &Common::default(), RunArgs::default()).ok().unwrap()
        };
        let (said, left) = (settings(include_str!("../../../docs/tinclaw.toml")), settings(""));
        assert_eq!((said.listen, &said.agent), (left.listen, &left.agent));
        assert_eq!(&said.server, &left.server);
        assert_eq!(said.max_body_bytes, Some(crate::server::DEFAULT_MAX_BODY_BYTES));
        let (said, left) = (said.manager, left.manager);
        assert_eq!(format!("{:?}", said.state), format!("{:?}", left.state));
        assert_eq!((said.retention, said.queue), (left.retention, left.queue));
        assert_eq!((said.min_poll_interval, said.workers), (left.min_poll_interval, left.workers));
        assert_eq!((said.delivery, &said.dead_letter_text), (left.delivery, &left.dead_letter_text));
        assert_eq!(said.max_replies, left.max_replies);
        assert_eq!(said.router.retry, left.router.retry);
        assert_eq!(said.router.memory_budget, left.router.memory_budget);
        assert_eq!(said.router.queue_timeout, left.router.queue_timeout);
        assert_eq!(said.limit_caps, left.limit_caps);
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let file =
            super::super::parse::parse("channels = [\"here\", \"/there\"]\n[secrets]\nfile = \"s\"").unwrap();
        let found = Found { file: ConfigFile::default(), path: Some("conf/tinclaw.toml".into()) };
        let settings =
            resolve(found, file, "state".into(), &Common::default(), RunArgs::default()).ok().unwrap();
        assert_eq!(settings.channels, [PathBuf::from("conf/here"), PathBuf::from("/there")]);
        assert_eq!(settings.secrets.file, PathBuf::from("conf/s"));
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        for (text, part) in [
            (
                "[channel.a.capabilities.http]\nallowlist = []",
                "[channel.a]: capabilities.http.allowlist needs `extend_rights = true`",
            ),
            ("[limits]\nmemory = 3", "line 1: limits: there is no limit `memory`"),
            ("\n[limits]\nmemory_mb = 0", "line 2: limits: `channel.memory_mb` cannot be 0: give 1 to 4095"),
            ("trusted_proxies = [\"proxy\"]", "line 1: trusted_proxies"),
            ("[channel.\"a b\"]\nowner_id = 1", "line 1: channel"),
            (
                "[agent]\nkind = \"openai:http://a/\"\ntemperature = 11",
                "agent: temperature 11 is out of range; give 0 to 10",
            ),
            (
                "[agent]\nkind = \"openai:http://a/\"\nsystem_prompt = { file = \"/no/such\" }",
                "agent: system_prompt: /no/such: No such file",
            ),
            ("agent = \"parrot\"", "agent: \"parrot\" is no agent"),
            ("[agent]\nkind = \"http://a/\"\nheaders = { \"a b\" = \"a\" }", "\"a b\" is not a header name"),
        ] {
            let found = Found { file: ConfigFile::default(), path: None };
            let resolved = super::super::parse::parse(text).map_err(Failure::usage).and_then(|file| {
                resolve(found, file, "state".into(), &Common::default(), RunArgs::default())
            });
            match resolved {
                Err(Failure::Usage(error)) => assert!(error.contains(part), "{text}: {error}"),
                _ => panic!("{text} was accepted"),
            }
        }
    }
}
