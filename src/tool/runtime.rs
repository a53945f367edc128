//! What tools are prepared with and run on: an engine, threads, memory, outbound requests, secrets.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use wit_abi::abi_version::World;
use wit_abi::types::ToolRequest;

use super::call_workers::{CallRoom, HostRoom};
use super::error::{ToolError, ToolFailure};
use super::files::ToolFiles;
use super::prepared::{PreparedTool, ToolParts};
use super::rights::{NoRights, ToolRights};
use super::schema::ParameterSchema;
use super::settings::{ToolSettings, merged};
use super::state::ToolStates;
use crate::capability::limits::{ChannelLimits, LimitCaps};
use crate::capability::{CapabilityError, ToolCapabilities};
use crate::channel::workspace::WorkspaceSnapshot;
use crate::egress::setting_hosts::{self, FilledHosts};
use crate::egress::{ChannelHttp, ChannelHttpSettings, OutboundHttp, OutboundHttpSettings};
use crate::event::callback::{Callback, CallbackKind, CallbackReport, CallbackValue};
use crate::model::deadline::deadline_after;
use crate::model::diagnostic::Diagnostic;
use crate::model::name::ChannelName;
use crate::model::rate_limit::RateLimit;
use crate::sandbox::{
    CallbackContext, ChannelRuntimeInfo, GuestLogRate, GuestServices, PREPARE_TIMEOUT, PreparedChannelModule,
    StopFlag, WasmChannelError, WasmChannelRuntime, WasmChannelRuntimeConfig,
};
use crate::secrets::{AllowedNames, ChainSecrets, EnvSecrets, SecretStore};
use crate::store::{ChannelKey, LoadedChannel, StoreHandle};

/// The settings of a [`WasmToolRuntime`].
#[derive(Clone)]
#[non_exhaustive]
pub struct WasmToolRuntimeConfig {
    /// What no tool gets more of, whatever its file asks for.
    pub limit_caps: LimitCaps,
    /// Calls that run at the same time, each on a thread that exists only while it is needed: in a host, one of its workers,
    /// which has as many more. As many again wait, twice over; more are refused. Default 8.
    pub workers: usize,
    /// Bytes of guest memory that all running calls may have together: in a host, at most so much of its own budget.
    /// Default 64 MiB.
    pub memory_budget: usize,
    /// Outbound requests. A host with the same settings shares its connections. Default straight to public addresses only.
    pub outbound: OutboundHttpSettings,
    /// Where secrets come from. Default the environment.
    pub secrets: Arc<dyn SecretStore>,
    /// Whether the environment variable that a capability file names (`auth.env_var`) holds one of its secrets. Default
    /// false: a file could name any variable of the process and send it to its own hosts.
    pub env_variables_of_files: bool,
    /// The directory that `workspace-read` reads, as far as `workspace.allowed_prefixes` of a tool's file allow. Default none:
    /// tools read nothing.
    pub files: Option<PathBuf>,
    /// What the operator decides about single tools.
    pub(crate) settings: BTreeMap<ChannelName, ToolSettings>,
}

impl Default for WasmToolRuntimeConfig {
    fn default() -> Self {
        Self {
            limit_caps: LimitCaps::default(),
            workers: 8,
            memory_budget: 64 * 1024 * 1024,
            outbound: OutboundHttpSettings::default(),
            secrets: Arc::new(EnvSecrets::new()),
            env_variables_of_files: false,
            files: None,
            settings: BTreeMap::new(),
        }
    }
}

/// Prepares tools, and has what they run on. Cloning shares everything.
#[derive(Clone)]
pub struct WasmToolRuntime(Arc<Inner>);

struct Inner {
    guests: WasmChannelRuntime,
    room: CallRoom,
    outbound: OutboundHttp,
    states: ToolStates,
    config: WasmToolRuntimeConfig,
}

impl WasmToolRuntime {
    /// A runtime with an engine of its own.
    ///
    /// # Errors
    /// [`ToolError::Settings`]: this build of wasmi cannot run guests safely, or a setting cannot be used.
    pub fn new(config: WasmToolRuntimeConfig) -> Result<Self, ToolError> {
        let guests = WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).map_err(unusable)?;
        Self::on(&guests, config)
    }

    /// A runtime on the engine of channels.
    ///
    /// # Errors
    /// [`ToolError::Settings`]: a setting cannot be used.
    pub fn on(channels: &WasmChannelRuntime, config: WasmToolRuntimeConfig) -> Result<Self, ToolError> {
        let outbound = OutboundHttp::new(&config.outbound).map_err(unusable)?;
        if let Some(files) = config.files.as_deref().filter(|path| !path.is_dir()) {
            let reason = format!("{}, which tools shall read, is no directory", files.display());
            return Err(ToolError::Settings { reason });
        }
        Ok(Self(Arc::new(Inner {
            guests: channels.clone(),
            room: CallRoom::new(config.workers, config.memory_budget),
            outbound,
            states: ToolStates::default(),
            config,
        })))
    }

    /// The settings that this runtime was made with.
    #[must_use]
    pub fn config(&self) -> &WasmToolRuntimeConfig {
        &self.0.config
    }

    pub(super) fn room(&self) -> &CallRoom {
        &self.0.room
    }

    /// From now on calls run on this host's threads and in its memory.
    pub(crate) fn move_to(&self, host: HostRoom) {
        self.0.room.move_to(host);
    }

    /// From now on what tools keep is in this store, which has had so much of it.
    pub(crate) fn keep_state_in(&self, store: StoreHandle, stored: Vec<(ChannelKey, LoadedChannel)>) {
        self.0.states.move_to(store, stored);
    }

    pub(super) fn states(&self) -> &ToolStates {
        &self.0.states
    }

    /// What requests are made with.
    pub(crate) fn outbound(&self) -> &OutboundHttp {
        &self.0.outbound
    }

    /// Ends the requests that are under way, for the end of the host.
    pub(crate) fn shutdown(&self) {
        self.0.outbound.shutdown();
    }

    /// Prepares a tool from the bytes of its two files; without a capability file it has no rights. Its `schema` and its
    /// `description` are asked for, under the limits of a call and without any rights.
    ///
    /// # Errors
    /// The guest is no tool for this host, its schema cannot be used, or its capability file is wrong.
    pub fn prepare(
        &self,
        name: &str,
        wasm: &[u8],
        capabilities: Option<&[u8]>,
    ) -> Result<PreparedTool, ToolError> {
        let name = ChannelName::new(name)
            .map_err(|error| ToolError::NotLoadable { tool: name.to_owned(), reason: error.to_string() })?;
        let settings = self.config().settings.get(&name).cloned().unwrap_or_default();
        let (file, overrides) = (format!("{name}.capabilities.json"), settings.overrides());
        let capabilities = match capabilities {
            Some(bytes) => ToolCapabilities::parse_over(&file, &name, bytes, &overrides),
            None if overrides.is_empty() => Ok(ToolCapabilities::default()),
            None => ToolCapabilities::parse_over(&file, &name, b"{}", &overrides),
        };
        let capabilities = capabilities.map_err(|source| self.capability_error(&name, wasm, source))?;
        let (limits, lowered) =
            ChannelLimits::resolve_sections(&(&capabilities).into(), &self.config().limit_caps);
        let of_calls = limits.for_tool_call(u64::MAX);
        let module = self
            .0
            .guests
            .prepare_within(PREPARE_TIMEOUT, World::Tool, name.as_str(), wasm, &of_calls)
            .map_err(|error| ToolError::unprepared(name.as_str(), error))?;
        let log_rate = GuestLogRate::of_tool();
        let info = Arc::new(ChannelRuntimeInfo {
            name: name.shared(),
            limits: of_calls,
            services: Arc::new(NoRights),
            log_rate: log_rate.clone(),
        });
        let schema = self.ask(&module, &info, &Callback::Schema, limits.tool_schema_bytes)?;
        let schema = ParameterSchema::parse(&schema)
            .map_err(|error| ToolError::Schema { tool: name.to_string(), reason: error.to_string() })?;
        let description = self.ask(&module, &info, &Callback::Description, limits.tool_schema_bytes)?;
        let mut diagnostics = capabilities.inspect();
        diagnostics.extend(lowered.iter().map(|limit| Diagnostic::note("clamped-limit", limit.to_string())));
        diagnostics.extend(self.missing_secrets(&capabilities));
        diagnostics.extend(overrides.diagnostics());
        let hosts = setting_hosts::fill(capabilities.http.as_ref(), None, &settings.config);
        diagnostics.extend(hosts.problems.iter().cloned());
        let rights = self.rights(&name, &capabilities, limits, hosts)?;
        let settings = merged(&capabilities, &settings.config);
        Ok(PreparedTool::new(ToolParts {
            name,
            module,
            capabilities,
            limits,
            rights,
            log_rate,
            settings,
            schema,
            description,
            diagnostics,
        }))
    }

    /// Why a tool is refused whose capability file is. A channel has a file of its own kind: that it is no tool says more.
    fn capability_error(&self, name: &ChannelName, wasm: &[u8], source: CapabilityError) -> ToolError {
        let limits = ChannelLimits::default();
        match self.0.guests.prepare_guest(World::Tool, name.as_str(), wasm, &limits) {
            Err(error @ WasmChannelError::NotLoadable { .. }) => ToolError::unprepared(name.as_str(), error),
            _ => ToolError::Capabilities { tool: name.to_string(), source: source.into() },
        }
    }

    /// What the guest says of itself.
    fn ask(
        &self,
        module: &PreparedChannelModule,
        info: &Arc<ChannelRuntimeInfo>,
        question: &Callback,
        limit: usize,
    ) -> Result<String, ToolError> {
        let (name, function) = (info.name.to_string(), question.kind().name());
        let deadline = deadline_after(Instant::now(), info.limits.callback_timeout);
        let files = WorkspaceSnapshot::empty();
        let report = self.run(module, info, question, files, deadline, StopFlag::default());
        let text = match report.result {
            Ok(CallbackValue::Text(text)) => text,
            Ok(_) => String::new(),
            Err(error) => return Err(ToolError::ended(&name, function, error)),
        };
        if text.len() > limit {
            let failure =
                ToolFailure::ResultTooLarge { bytes: text.len(), limit, field: "tool.max_schema_bytes" };
            return Err(ToolError::Ended { tool: name, function, failure });
        }
        Ok(text)
    }

    fn rights(
        &self,
        name: &ChannelName,
        capabilities: &ToolCapabilities,
        limits: ChannelLimits,
        hosts: FilledHosts,
    ) -> Result<ToolRights, ToolError> {
        let secrets = self.secrets_of(capabilities);
        let allowed = capabilities.secrets.as_ref().map(|secrets| secrets.allowed_names.clone());
        let allowed_secrets = AllowedNames::new(allowed.unwrap_or_default());
        let required = capabilities.setup.iter().flat_map(|setup| &setup.required_secrets);
        let required = required.filter(|secret| !secret.optional);
        let settings = ChannelHttpSettings {
            caller: format!("tool {name}"),
            capability: hosts.http,
            limits,
            allowed_secrets: allowed_secrets.clone(),
            secrets: secrets.clone(),
            given_to_guest: Vec::new(),
            inbound_secrets: Vec::new(),
            login_secrets: Vec::new(),
            operator_hosts: hosts.named,
            required_secrets: required.map(|secret| secret.name.clone()).collect(),
        };
        let http = ChannelHttp::new(self.0.outbound.clone(), settings).map_err(|source| {
            ToolError::NotLoadable { tool: name.to_string(), reason: source.to_string() }
        })?;
        let rate = RateLimit::new(limits.tool_invokes_per_minute, limits.tool_invokes_per_hour);
        Ok(ToolRights {
            http,
            secrets,
            allowed_secrets,
            files: self.config().files.as_deref().map(ToolFiles::new),
            invoke_rate: Mutex::new(rate),
        })
    }

    /// The secrets of the host, and the environment variable that the file names for one of them, where the operator lets it.
    fn secrets_of(&self, capabilities: &ToolCapabilities) -> Arc<dyn SecretStore> {
        let host = self.config().secrets.clone();
        let auth = capabilities.auth.as_ref().filter(|_| self.config().env_variables_of_files);
        let named = auth.and_then(|auth| Some((auth.secret_name.as_deref()?, auth.env_var.as_deref()?)));
        match named.map(|(secret, variable)| EnvSecrets::new().map(secret, variable)) {
            Some(Ok(variable)) => Arc::new(ChainSecrets::new(vec![host, Arc::new(variable)])),
            _ => host,
        }
    }

    fn missing_secrets(&self, capabilities: &ToolCapabilities) -> Vec<Diagnostic> {
        let secrets = self.secrets_of(capabilities);
        let required = capabilities.setup.iter().flat_map(|setup| &setup.required_secrets);
        let is_missing = |name: &str| !matches!(secrets.get(name), Ok(Some(_)));
        let missing = required.filter(|secret| !secret.optional && is_missing(&secret.name));
        missing
            .map(|secret| {
                let text = format!("secret {} is not stored", secret.name);
                Diagnostic::warning("missing-secret", text)
                    .help(format!("`tinclaw secrets set {}` stores it", secret.name))
            })
            .collect()
    }

    /// Runs one call in an instance of its own, on the calling thread.
    pub(super) fn run(
        &self,
        module: &PreparedChannelModule,
        info: &Arc<ChannelRuntimeInfo>,
        callback: &Callback,
        workspace: WorkspaceSnapshot,
        deadline: Instant,
        stop: StopFlag,
    ) -> CallbackReport {
        let wanted = module.initial_memory_bytes();
        let budget = self.0.room.memory();
        let Some(memory) = budget.reserve(wanted) else {
            let error = WasmChannelError::HostMemoryExhausted {
                channel: info.name.to_string(),
                callback: callback.kind(),
                wanted,
                budget: budget.limit(),
            };
            return CallbackReport::failed(callback.kind(), error);
        };
        let context = CallbackContext { channel: Arc::clone(info), workspace, deadline, stop, memory };
        module.run(context, callback)
    }

    /// What a tool runs with for one call.
    pub(super) fn info_for(
        tool: &PreparedTool,
        services: Arc<dyn GuestServices>,
        fuel: u64,
    ) -> Arc<ChannelRuntimeInfo> {
        Arc::new(ChannelRuntimeInfo {
            name: tool.shared_name(),
            limits: tool.limits().for_tool_call(fuel),
            services,
            log_rate: tool.log_rate().clone(),
        })
    }
}

/// What a tool is called with, as its guest gets it.
pub(super) fn execute(params: String, context: Option<String>) -> Callback {
    Callback::Execute(Arc::new(ToolRequest { params, context }))
}

/// The name of the function that calls go to.
pub(super) const EXECUTE: &str = CallbackKind::Execute.name();

fn unusable(error: impl fmt::Display) -> ToolError {
    ToolError::Settings { reason: error.to_string() }
}

impl fmt::Debug for WasmToolRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmToolRuntime").field("workers", &self.config().workers).finish_non_exhaustive()
    }
}
