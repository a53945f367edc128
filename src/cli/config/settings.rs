//! The configuration file and the command line together.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::agent::{AgentChoice, agent_named};
use super::file::{AccessLogSetting, ConfigFile};
use super::find::{FoundConfig, find, home_file, state_dir};
use super::layers::{ConfigValue, place_of};
use super::secrets::SecretSources;
use crate::admin::AdminAddress;
use crate::capability::RightsChanged;
use crate::channel::{ChannelName, DiscoveredChannel, LoadCheck, LoadSettings, PlannedChannel};
use crate::cli::access_log::AccessLogTarget;
use crate::cli::args::{Common, HOST_VARIABLE, RunArgs};
use crate::cli::client::HostAddress;
use crate::cli::logging::{FileLimits, LogFile, LogOutput};
use crate::cli::output::Failure;
use crate::egress::OutboundHttpSettings;
use crate::host::{ChannelSettings, ManagerConfig, StateLocation};
use crate::model::diagnostic::Diagnostic;
use crate::net::PublicUrl;
use crate::package::{PackagePolicy, Records, Trust};
use crate::server::ServerLimits;
use crate::store::Retention;
use crate::tool::{ToolSettings, WasmToolRuntimeConfig};
use crate::webhook::TrustedProxies;
use crate::{
    WasmChannel, WasmChannelLoader, WasmChannelRuntime, WasmChannelRuntimeConfig, bundled_channel_names,
    discover_channels,
};

/// Where HTTP is served by default.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The part of the memory budget that is for tools: one of so many.
const TOOL_MEMORY_SHARE: usize = 4;

/// Everything that a command may need to know.
pub struct Settings {
    /// The configuration file, if one was read.
    pub path: Option<PathBuf>,
    /// The file that `tinclaw setup` writes into.
    pub edited: PathBuf,
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Where the admin API is served besides the socket in the state directory.
    pub admin: Option<AdminAddress>,
    /// The secret that is the token of the admin API.
    pub admin_token: Option<String>,
    /// The host that commands ask, when one is named.
    pub host: Option<HostAddress>,
    /// Where state is kept.
    pub state_dir: PathBuf,
    /// Whether the state directory was named, and is not the default one.
    pub is_state_dir_named: bool,
    /// Directories of channels and `.wasm` files; none when the default directory is meant.
    pub channels: Vec<PathBuf>,
    /// Where that is set, as the beginning of an error.
    pub channels_place: String,
    /// Directories of tools and `.wasm` files; none when the default directory is meant.
    pub tools: Vec<PathBuf>,
    /// What is set about single tools.
    pub tool_settings: BTreeMap<ChannelName, ToolSettings>,
    /// The directory that tools may read.
    tool_files: Option<PathBuf>,
    /// Whether the web chat runs; none: when there are no other channels.
    pub webchat: Option<bool>,
    /// The agent that replies.
    pub agent: AgentChoice,
    /// The log filter, if one is configured.
    pub log: Option<String>,
    /// Where the log goes.
    pub log_output: LogOutput,
    /// What log files may take.
    pub log_limits: FileLimits,
    /// Where each request is noted, if it is.
    pub access_log: Option<AccessLogTarget>,
    /// Where secrets come from.
    pub secrets: SecretSources,
    /// What the HTTP server gives to clients.
    pub server: ServerLimits,
    /// Whose `X-Forwarded-For` is believed.
    pub proxies: TrustedProxies,
    /// The largest request body.
    pub max_body_bytes: Option<u64>,
    /// Whose signatures of channels are good, and whether one is needed.
    pub trust: Trust,
    /// The file with what the environment sets, as a document.
    pub document: Value,
    /// Every value that is set, with its source.
    pub values: Vec<ConfigValue>,
    /// Whether the file has not even a comment.
    pub is_blank: bool,
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
        let is_state_dir_named = named.is_some();
        let state_dir = state_dir(named, variable)?;
        let settings = resolve(found, file, state_dir, common, run)?;
        let edited = edited.unwrap_or_else(|| PathBuf::from("tinclaw.toml"));
        Ok(Self { edited, is_state_dir_named, ..settings })
    }

    /// Where a field is set, as the beginning of an error.
    pub fn place_of(&self, field: &str) -> String {
        place_of(&self.values, self.path.as_deref(), field)
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
            settings: self.tool_settings.clone(),
            ..WasmToolRuntimeConfig::default()
        })
    }

    /// The public address from now on.
    pub fn set_public_url(&mut self, url: Option<PublicUrl>) {
        self.manager.public_url = url;
    }

    /// What was decided about channels.
    pub fn records(&self) -> Records {
        Records::in_state_dir(&self.state_dir)
    }

    /// What is asked before a channel is loaded into a host that starts.
    pub fn load_check(&self) -> Arc<dyn LoadCheck> {
        Arc::new(self.policy())
    }

    /// The same of a host that runs.
    pub fn running_load_check(&self) -> Arc<dyn LoadCheck> {
        Arc::new(self.policy().without_adopting())
    }

    /// Whether a channel that runs would be loaded again. Nothing is kept.
    pub fn restart_check(&self) -> Arc<dyn LoadCheck> {
        Arc::new(self.policy().without_adopting().only_looking())
    }

    fn policy(&self) -> PackagePolicy {
        PackagePolicy::new(self.records(), self.trust.clone())
    }

    /// How requests of the host itself are made.
    pub fn outbound(&self) -> &OutboundHttpSettings {
        &self.manager.outbound
    }

    /// The directories into which packages may have been put.
    pub fn package_directories(&self) -> Vec<PathBuf> {
        let directory =
            |path: PathBuf| if path.is_dir() { Some(path) } else { path.parent().map(Path::to_owned) };
        let mut directories: Vec<PathBuf> = self.channel_paths().into_iter().filter_map(directory).collect();
        directories.push(self.install_dir());
        directories.sort();
        directories.dedup();
        directories
    }

    /// A loader of channels for a host that runs, which loads what was approved.
    pub fn checked_loader_on(&self, runtime: &WasmChannelRuntime) -> WasmChannelLoader {
        self.loader_with(runtime, self.running_load_check())
    }

    /// A loader that loads what a host would that starts. Nothing is kept.
    pub fn looking_loader_on(&self, runtime: &WasmChannelRuntime) -> WasmChannelLoader {
        self.loader_with(runtime, Arc::new(self.policy().only_looking()))
    }

    fn loader_with(&self, runtime: &WasmChannelRuntime, check: Arc<dyn LoadCheck>) -> WasmChannelLoader {
        let settings = LoadSettings { check: Some(check), ..self.manager.load_settings() };
        WasmChannelLoader::new(runtime.clone()).with_settings(settings)
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

/// Where the host that is to be asked was named.
fn host_source(common: &Common) -> &'static str {
    let variable = std::env::var(HOST_VARIABLE).ok();
    if variable.is_some() && variable == common.host { HOST_VARIABLE } else { "--host" }
}

fn resolve(
    found: FoundConfig,
    file: ConfigFile,
    state_dir: PathBuf,
    common: &Common,
    run: RunArgs,
) -> Result<Settings, Failure> {
    check_rights(&file).map_err(|error| {
        let place = found.place_of(&error.field());
        Failure::usage(format!("{place}{error}"))
    })?;
    let beside = |path: PathBuf| found.beside(path);
    let mut secrets = file.secrets;
    secrets.directory = secrets.directory.map(beside);
    secrets.file = secrets.file.map(beside);
    secrets.key_file = secrets.key_file.map(beside);
    let named = run.agent.as_deref().map(agent_named).transpose();
    let named = named.map_err(|error| Failure::usage(format!("--agent: {error}")))?;
    let agent = file.agent.agent(named, beside);
    let agent = agent.map_err(|error| {
        let place = found.place_of(error.field());
        Failure::usage(format!("{place}agent: {error}"))
    })?;
    let from_file = || file.channels.unwrap_or_default().into_iter().map(beside).collect();
    let channels_place = match run.channels.is_empty() {
        true => found.place_of("channels"),
        false => "--channels: ".to_owned(),
    };
    let channels = if run.channels.is_empty() { from_file() } else { run.channels };
    let tools = file.tools.unwrap_or_default().into_iter().map(beside).collect();
    let tool_files = file.tool_files.map(beside);
    let log_limits = FileLimits {
        bytes: run.log_file_max_mb.map_or(file.log_limits.bytes, |megabytes| u64::from(megabytes) << 20),
        files: run.log_files.unwrap_or(file.log_limits.files),
    };
    let named = run.log_file.map(|path| LogFile { path, limits: log_limits, setting: "--log-file" });
    let in_file =
        file.log_file.map(|path| LogFile { path: beside(path), limits: log_limits, setting: "log_file" });
    let log_output =
        LogOutput { format: run.log_format.or(file.log_format).unwrap_or_default(), file: named.or(in_file) };
    let access_log = match file.access_log {
        None | Some(AccessLogSetting::Switch(false)) => None,
        Some(AccessLogSetting::Switch(true)) => Some(AccessLogTarget::Stdout),
        Some(AccessLogSetting::File(path)) => Some(AccessLogTarget::File(beside(path))),
    };
    let proxies = file.trusted_proxies;
    let mut server = file.server;
    server.trusted_proxies.extend_from_slice(proxies.ranges());
    let admin_place = match &run.admin {
        Some(_) => "--".to_owned(),
        None => found.place_of("admin"),
    };
    let admin = match run.admin.or(file.admin) {
        Some(AdminAddress::Unix(path)) => Some(AdminAddress::Unix(found.beside(path))),
        other => other,
    };
    if let Some(address) = admin.as_ref().filter(|admin| !admin.is_local() && file.admin_token.is_none()) {
        return Err(Failure::usage(format!("{admin_place}{}", SettingError::OpenAdmin(address.clone()))));
    }
    let host = common.host.as_deref().map(HostAddress::parse).transpose();
    let durability = file.durability.unwrap_or_default();
    let manager = ManagerConfig {
        state: StateLocation::Directory { path: state_dir.clone(), durability },
        public_url: run.public_url.or(file.manager.public_url),
        #[cfg(feature = "cluster")]
        cluster: super::cluster::resolve(file.store, file.cluster)
            .map_err(|error| Failure::usage(format!("{}{error}", found.place_of("store"))))?,
        ..file.manager
    };
    Ok(Settings {
        admin,
        admin_token: file.admin_token,
        host: host.map_err(|error| Failure::usage(format!("{}: {error}", host_source(common))))?,
        is_state_dir_named: false,
        listen: run.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
        channels,
        channels_place,
        tools,
        tool_settings: file.tool,
        tool_files,
        webchat: if run.webchat { Some(true) } else { file.webchat },
        agent,
        log: common.log.clone().or(file.log),
        log_output,
        log_limits,
        access_log,
        secrets: SecretSources::new(secrets, &state_dir)?,
        server,
        proxies,
        max_body_bytes: file.max_body_bytes,
        trust: file.trust,
        manager,
        document: found.document,
        values: found.values,
        is_blank: found.is_blank,
        path: found.path,
        edited: PathBuf::new(),
        state_dir,
    })
}

/// A setting that is well formed and cannot be used.
#[derive(Debug, thiserror::Error)]
enum SettingError {
    #[error(
        "admin: {0} can be reached from other machines; name the secret with its token: admin_token = \"NAME\""
    )]
    OpenAdmin(AdminAddress),
    #[error("[{table}]: {source}")]
    Rights { table: String, source: RightsChanged },
}

impl SettingError {
    /// The field that it is about.
    fn field(&self) -> String {
        match self {
            Self::OpenAdmin(_) => "admin".to_owned(),
            Self::Rights { table, .. } => format!("{table}.capabilities"),
        }
    }
}

/// Refuses changes of rights that are not said to be meant.
fn check_rights(file: &ConfigFile) -> Result<(), SettingError> {
    let refused = |table: String| move |source| SettingError::Rights { table, source };
    for (name, settings) in &file.manager.channels {
        settings.overrides().check().map_err(refused(format!("channel.{name}")))?;
    }
    for (name, settings) in &file.tool {
        settings.overrides().check_for("tool").map_err(refused(format!("tool.{name}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_goes_before_the_file() {
        let file =
            super::super::parse::parse("listen = \"127.0.0.1:1\"\npublic_url = \"https://a.example/\"\n")
                .unwrap();
        let found = FoundConfig { path: Some("conf/tinclaw.toml".into()), ..FoundConfig::default() };
        let run = RunArgs { listen: Some(([127, 0, 0, 1], 2).into()), ..RunArgs::default() };
        let settings = resolve(found, file, "state".into(), &Common::default(), run).ok().unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.manager.public_url.as_ref().map(PublicUrl::as_str), Some("https://a.example"));
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let settings = |text: &str| {
            let found = FoundConfig::default();
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
        assert_eq!(said.router.retry, left.router.retry);
        assert_eq!(said.router.memory_budget, left.router.memory_budget);
        assert_eq!(said.router.queue_timeout, left.router.queue_timeout);
        assert_eq!(said.limit_caps, left.limit_caps);
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let file =
            super::super::parse::parse("channels = [\"here\", \"/there\"]\n[secrets]\nfile = \"s\"").unwrap();
        let found = FoundConfig { path: Some("conf/tinclaw.toml".into()), ..FoundConfig::default() };
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
            (
                "[limits]\nmemory = 3",
                "line 2: limits.memory: there is no such limit; did you mean `memory_mb`?",
            ),
            ("\n[limits]\nmemory_mb = 0", "line 3: limits.memory_mb: 0 is out of range; give 1 to 4095"),
            ("trusted_proxies = [\"proxy\"]", "line 1: trusted_proxies"),
            ("[channel.\"a b\"]\nowner_id = 1", "line 1: channel"),
            (
                "[agent]\nkind = \"openai:http://a/\"\ntemperature = 11",
                "line 3: agent.temperature: 11 is out of range; give 0 to 10",
            ),
            (
                "[agent]\nkind = \"openai:http://a/\"\nsystem_prompt = { file = \"/no/such\" }",
                "agent: system_prompt: /no/such: No such file",
            ),
            ("agent = \"parrot\"", "agent: \"parrot\" is no agent"),
            // A key that was pasted in place of its name was quoted in the log.
            (
                "[agent]\nkind = \"openai:http://a/\"\napi_key = \"sk-LIVEKEY 1\"",
                "line 3: agent.api_key: this is no name of a secret; store the value with",
            ),
            ("admin_token = \"Bearer LIVEKEY\"", "line 1: admin_token: this is no name of a secret"),
            ("state_dir = \"\"", "line 1: state_dir: \"\" is no path"),
            ("channels = [\"a\", \"\"]", "line 1: channels[1]: \"\" is no path"),
            ("[secrets]\nkey_file = \"\"", "line 2: secrets.key_file: \"\" is no path"),
            ("agent = \"http:ftp://u:LIVEKEY@h\"", "agent: \"ftp://(not shown)@h\" is no http"),
            (
                "[agent]\nkind = \"http://a/\"\nheaders = { authorization = \"LIVEKEY\\nb: c\" }",
                "line 3: agent.headers: the value of the header \"authorization\" cannot be sent",
            ),
            ("admin = \"9191\"", "line 1: admin: \"9191\" is not an address with a port"),
            ("admin = \"0.0.0.0:9191\"", "admin: http://0.0.0.0:9191 can be reached from other machines"),
            (
                "[agent]\nkind = \"http://a/\"\nheaders = { \"a b\" = \"a\" }",
                "line 3: agent.headers: \"a b\" is not a header name",
            ),
            (
                "[agent]\nkind = \"http://a/\"\nheaders = { Host = \"a\" }",
                "line 3: agent.headers: the header \"Host\" is the host's to set",
            ),
        ] {
            let found = FoundConfig::default();
            let resolved = super::super::parse::parse(text).map_err(Failure::usage).and_then(|file| {
                resolve(found, file, "state".into(), &Common::default(), RunArgs::default())
            });
            match resolved {
                Err(Failure::Usage(error)) => {
                    assert!(error.contains(part) && !error.contains("LIVEKEY"), "{text}: {error}");
                }
                _ => panic!("{text} was accepted"),
            }
        }
    }
}
