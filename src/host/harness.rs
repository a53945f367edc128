//! One channel put together as a host would, to look at it and to try single callbacks.

use std::sync::Arc;
use std::time::Instant;

use wit_abi::types::ChannelConfig;

use crate::channel::workspace::{PathError, Workspace, WorkspaceLimits, workspace_path};
use crate::channel::{ChannelLimits, Registration, WasmChannel};
use crate::egress::OutboundHttp;
use crate::event::callback::{Callback, CallbackKind, CallbackReport};
use crate::event::queue::event_queue;
use crate::event::setup::ChannelSetup;
use crate::model::deadline::deadline_after;
use crate::model::diagnostic::Diagnostic;
use crate::pairing::PairingService;
use crate::sandbox::{CallbackContext, GuestServices, MemoryBudget, StopFlag, WasmChannelError};
use crate::server::WasmChannelRouter;
use crate::store::{MemoryStore, PairingState, StoreThread};

use super::assembly::Assembly;
use super::config::ManagerConfig;
use super::error::HostError;

/// A channel with its rights, limits and secrets, outside of a host. Callbacks are run on the calling thread, one at a
/// time; what they write to the workspace is there for the next one. Nothing is kept, messages go nowhere, but requests
/// to other servers are really made.
pub struct ChannelHarness {
    setup: ChannelSetup,
    workspace: Workspace,
    /// Keeps pairings in memory; stopped with the trial.
    store: Option<StoreThread>,
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
        let (mut setup, needed) = assembly.setup(channel)?;
        setup.diagnostics.extend(needed.missing().into_iter().map(|(_, diagnostic)| diagnostic));
        let workspace = Workspace::new(workspace_limits(&setup.limits));
        Ok(Self { setup, workspace, store: Some(store) })
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

fn workspace_limits(limits: &ChannelLimits) -> WorkspaceLimits {
    WorkspaceLimits {
        file_bytes: limits.workspace_file_bytes,
        total_bytes: usize::try_from(limits.workspace_bytes).unwrap_or(usize::MAX),
        files: limits.workspace_files,
    }
}

/// An unlimited budget has room for whatever a prepared module starts with, so this is a bug if it happens.
fn failed(kind: CallbackKind, channel: &str) -> CallbackReport {
    let reason = "there is no room for its memory".to_owned();
    let channel = channel.to_owned();
    CallbackReport::failed(kind, WasmChannelError::Instantiation { channel, reason })
}
