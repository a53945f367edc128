//! One channel put together as a host would, to look at it and to try single callbacks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use wit_abi::types::ChannelConfig;

use super::assembly::{AssembledChannel, Assembly};
use super::config::ManagerConfig;
use super::error::HostError;
use crate::channel::workspace::{LimitNames, PathError, Workspace, WorkspaceLimits, workspace_path};
use crate::channel::{ChannelLimits, Registration, WasmChannel};
use crate::egress::OutboundHttp;
use crate::event::callback::{Callback, CallbackKind, CallbackReport};
use crate::event::queue::event_queue;
use crate::event::setup::ChannelSetup;
use crate::model::deadline::deadline_after;
use crate::model::diagnostic::Diagnostic;
use crate::pairing::PairingService;
use crate::sandbox::{
    CallbackContext, ChannelRuntimeInfo, GuestServices, MemoryBudget, StopFlag, WasmChannelError,
};
use crate::server::{ChannelAccess, WasmChannelRouter};
use crate::store::{MemoryStore, PairingState, StoreThread};
use crate::webhook::WebhookRequest;

/// A channel with its rights, limits and secrets, outside of a host. Callbacks are run on the calling thread, one at a
/// time; what they write to the workspace is there for the next one. Nothing is kept, messages go nowhere, but requests
/// to other servers are really made.
pub struct ChannelHarness {
    setup: ChannelSetup,
    workspace: Workspace,
    /// Keeps pairings in memory; stopped with the harness.
    store: Option<StoreThread>,
    /// What others may ask of it.
    inbound: Arc<ChannelAccess>,
}

impl ChannelHarness {
    /// Puts a channel together. [`ManagerConfig::state`] is not looked at: everything stays in memory.
    ///
    /// # Errors
    /// What would keep a host from running the channel.
    pub fn new(channel: &WasmChannel, config: ManagerConfig) -> Result<Self, HostError> {
        let store = StoreThread::in_memory(MemoryStore::default(), &config.retention);
        let pairing = Arc::new(PairingService::new(store.handle(), PairingState::default()));
        let outbound = OutboundHttp::new(&config.outbound)?;
        // No router takes events; without one, no websocket is opened.
        let (events, _) = event_queue(1);
        let assembly = Assembly::new(config, outbound, pairing, WasmChannelRouter::new(), events);
        let AssembledChannel { mut setup, needed, inbound, .. } = assembly.parts(channel)?;
        setup.diagnostics.extend(needed.missing().into_iter().map(|(_, diagnostic)| diagnostic));
        let workspace = Workspace::new(workspace_limits(&setup.limits));
        Ok(Self { setup, workspace, store: Some(store), inbound })
    }

    /// What the guest may do.
    pub(super) fn services(&self) -> &dyn GuestServices {
        &*self.setup.runtime.services
    }

    /// What was found about the channel: missing secrets, closed paths, limits that were clamped. It can run all the
    /// same.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.setup.diagnostics
    }

    /// What would become of a request of the guest, check by check.
    pub(crate) fn explain_request(&self, method: &str, url: &str) -> Vec<crate::egress::ExplainedStep> {
        self.services().explain_request(method, url)
    }

    /// Whether a request to the channel is authentic, and why.
    pub(crate) fn explain_webhook(&self, request: &WebhookRequest<'_>) -> crate::webhook::Explanation {
        let secrets = self.inbound.cache.current(&*self.inbound.secrets);
        crate::webhook::explain(&self.inbound.plan, request, &|name| secrets.get(name))
    }

    /// The text that `on-start` gets. It may hold secrets that the channel is given on purpose.
    ///
    /// # Errors
    /// [`WasmChannelError::StartConfig`].
    pub fn start_config(&self) -> Result<Arc<str>, WasmChannelError> {
        (self.setup.start_config)().map_err(|error| WasmChannelError::StartConfig {
            channel: self.setup.name.to_string(),
            reason: format!("the secrets cannot be read: {error}"),
        })
    }

    /// What follows from what `on-start` returned: paths, polling, and what was refused.
    #[must_use]
    pub fn register(&self, config: &ChannelConfig) -> Registration {
        (self.setup.register)(config)
    }

    /// Puts a file into the workspace.
    ///
    /// # Errors
    /// The path is none of a workspace.
    pub fn put_file(&mut self, path: &str, content: &str) -> Result<(), PathError> {
        let path = workspace_path(path)?;
        let files = self.workspace.snapshot();
        let others = files.files().map(|(path, content)| (path.clone(), content.clone()));
        let all: Vec<_> = others.chain([(path, content.into())]).collect();
        self.workspace = Workspace::load(workspace_limits(&self.setup.limits), all);
        Ok(())
    }

    /// Puts files into the workspace in place of those that were there.
    ///
    /// # Errors
    /// A path is none of a workspace.
    pub(crate) fn set_files(&mut self, files: &BTreeMap<String, String>) -> Result<(), PathError> {
        let files = files.iter().map(|(path, content)| Ok((workspace_path(path)?, content.as_str().into())));
        let files = files.collect::<Result<Vec<(_, Arc<str>)>, PathError>>()?;
        self.workspace = Workspace::load(workspace_limits(&self.setup.limits), files);
        Ok(())
    }

    /// Runs one callback with other services than those of the channel.
    pub(crate) fn run_with(
        &mut self,
        callback: &Callback,
        services: Arc<dyn GuestServices>,
    ) -> (CallbackReport, Vec<(String, Arc<str>)>) {
        let own = Arc::clone(&self.setup.runtime);
        self.setup.runtime = Arc::new(ChannelRuntimeInfo {
            name: Arc::clone(&own.name),
            limits: own.limits,
            services,
            log_rate: own.log_rate.clone(),
        });
        let result = self.run(callback);
        self.setup.runtime = own;
        result
    }

    /// Runs one callback and gives its report, with the files that it wrote. What goes wrong is in the report.
    pub fn run(&mut self, callback: &Callback) -> (CallbackReport, Vec<(String, Arc<str>)>) {
        let report = self.report(callback);
        let written = match &report.result {
            // Nothing runs beside it, so no other write can be in conflict.
            Ok(_) => self.workspace.apply_over(&report.effects.workspace),
            Err(_) => Vec::new(),
        };
        (report, written.into_iter().map(|(path, content)| (path.to_string(), content)).collect())
    }

    fn report(&self, callback: &Callback) -> CallbackReport {
        let budget = MemoryBudget::unlimited();
        let Some(memory) = budget.reserve(self.setup.module.initial_memory_bytes()) else {
            return failed(callback.kind(), self.setup.name.as_str());
        };
        let context = CallbackContext {
            channel: self.setup.runtime.clone(),
            workspace: self.workspace.snapshot(),
            deadline: deadline_after(Instant::now(), self.setup.limits.callback_timeout),
            stop: StopFlag::default(),
            memory,
        };
        self.setup.module.run(context, callback)
    }
}

impl Drop for ChannelHarness {
    fn drop(&mut self) {
        if let Some(store) = self.store.take() {
            store.stop();
        }
    }
}

impl std::fmt::Debug for ChannelHarness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelHarness").field("setup", &self.setup).finish_non_exhaustive()
    }
}

/// Everything that is found about a channel with this configuration, the most severe first: its files, its guest, its
/// secrets, its paths and its limits. Nothing of the guest is run.
///
/// # Errors
/// What would keep a host from running the channel.
pub fn inspect(channel: &WasmChannel, config: &ManagerConfig) -> Result<Vec<Diagnostic>, HostError> {
    let harness = ChannelHarness::new(channel, config.clone())?;
    let mut found = harness.diagnostics().to_vec();
    found.sort_by_key(|diagnostic| diagnostic.severity);
    Ok(found)
}

fn workspace_limits(limits: &ChannelLimits) -> WorkspaceLimits {
    WorkspaceLimits {
        file_bytes: limits.workspace_file_bytes,
        total_bytes: usize::try_from(limits.workspace_bytes).unwrap_or(usize::MAX),
        files: limits.workspace_files,
        names: LimitNames::OF_CHANNELS,
    }
}

/// An unlimited budget has room for whatever a prepared module starts with, so this is a bug if it happens.
fn failed(kind: CallbackKind, channel: &str) -> CallbackReport {
    let reason = "there is no room for its memory".to_owned();
    let channel = channel.to_owned();
    CallbackReport::failed(kind, WasmChannelError::Instantiation { channel, reason })
}
