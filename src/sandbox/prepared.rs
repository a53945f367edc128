//! A guest with everything done to it that is the same for each of its callbacks.

use std::fmt;
use std::sync::Arc;

use wasmi::{Engine, Module};
use wit_abi::exports::GuestFunc;
use wit_abi::flavour::Flavour;
use wit_abi::guest::{Export, GuestKind, read_guest};

use super::context::CallbackContext;
use super::error::WasmChannelError;
use super::imports::{self, HostImports};
use super::instance::FreshInstance;
use super::limits::CallbackLimits;
use super::meter::SliceSize;
use super::runtime::Digest;
use super::scan::{self, InitialLimits, MemoryPlan};
use crate::event::callback::CallbackKind;

/// A guest that was read, checked, linked and translated. It can only be run with a [`CallbackContext`], which has the
/// limits.
pub struct PreparedChannelModule {
    digest: Digest,
    kind: GuestKind,
    flavour: Flavour,
    pub(super) module: Module,
    pub(super) imports: HostImports,
    pub(super) memory: Option<MemoryPlan>,
    pub(super) names: ExportNames,
    pub(super) slice: SliceSize,
    functions: u32,
}

/// Under which names the module exports what the host uses.
pub(super) struct ExportNames {
    pub(super) callbacks: Vec<Export>,
    pub(super) memory: String,
    pub(super) realloc_for_arguments: String,
    pub(super) realloc_for_results: String,
    /// What is called first in every instance, in this order.
    pub(super) beginnings: Vec<String>,
}

impl ExportNames {
    fn has(&self, name: &str) -> bool {
        let fixed = [&self.memory, &self.realloc_for_arguments, &self.realloc_for_results];
        fixed.into_iter().chain(&self.beginnings).any(|known| known == name)
            || self
                .callbacks
                .iter()
                .any(|export| export.name == name || export.post_return.as_deref() == Some(name))
    }
}

impl PreparedChannelModule {
    pub(super) fn new(
        engine: &Engine,
        limits: &CallbackLimits,
        channel: &str,
        bytes: &[u8],
        digest: Digest,
    ) -> Result<Self, WasmChannelError> {
        let not_loadable =
            |reason: String| WasmChannelError::NotLoadable { channel: channel.to_owned(), reason };
        let guest =
            read_guest(bytes, &imports::knowledge).map_err(|error| not_loadable(error.to_string()))?;
        let mut names = ExportNames {
            callbacks: guest.exports.clone(),
            memory: guest.memory.clone(),
            realloc_for_arguments: guest.realloc_for_arguments.clone(),
            realloc_for_results: guest.realloc_for_results.clone(),
            beginnings: guest.initialize.iter().cloned().collect(),
        };
        let initial =
            InitialLimits { memory_bytes: limits.memory_bytes, table_elements: limits.table_elements };
        let scanned = scan::scan(guest.module, initial, |name| names.has(name))
            .map_err(|error| not_loadable(error.to_string()))?;
        if scanned.has_start {
            names.beginnings.insert(0, scan::START_EXPORT.to_owned());
        }
        let invalid = |error: wasmi::Error| WasmChannelError::InvalidModule {
            channel: channel.to_owned(),
            reason: error.to_string(),
        };
        let module = Module::new(engine, &scanned.bytes).map_err(invalid)?;
        let imports = HostImports::of(&module, &guest).map_err(not_loadable)?;
        Ok(Self {
            digest,
            kind: guest.kind,
            flavour: guest.flavour,
            module,
            imports,
            memory: scanned.memory,
            names,
            slice: SliceSize::new(),
            functions: scanned.functions,
        })
    }

    /// SHA-256 of the guest's file.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Whether the file is a component or a plain core module.
    #[must_use]
    pub fn kind(&self) -> GuestKind {
        self.kind
    }

    /// The shape of the channel world that the guest was built for.
    #[must_use]
    pub fn flavour(&self) -> &Flavour {
        &self.flavour
    }

    /// Whether the guest has this callback. `on-status`, `on-broadcast` and `on-timer` are optional.
    #[must_use]
    pub fn exports(&self, callback: CallbackKind) -> bool {
        self.export(callback).is_some()
    }

    /// Bytes of linear memory that an instance starts with.
    #[must_use]
    pub fn initial_memory_bytes(&self) -> usize {
        self.memory.map_or(0, MemoryPlan::initial_bytes)
    }

    /// Makes an instance in which nothing has run yet. Cheap enough for the router's thread: what is large, is left for
    /// the worker.
    ///
    /// # Errors
    /// The guest's initial state does not fit: too little memory, or a data segment that lies outside of it.
    pub fn instantiate(
        self: &Arc<Self>,
        context: CallbackContext,
    ) -> Result<FreshInstance, WasmChannelError> {
        FreshInstance::new(Arc::clone(self), context)
    }

    pub(super) fn export(&self, callback: CallbackKind) -> Option<&Export> {
        let func = guest_func(callback);
        self.names.callbacks.iter().find(|export| export.func == func)
    }

    /// Instantiating clears the memory and visits every function. From here on it takes the better part of a
    /// millisecond, which the router's thread has no time for.
    pub(super) fn is_large(&self) -> bool {
        const LARGE_MEMORY: usize = 4 * 1024 * 1024;
        const MANY_FUNCTIONS: u32 = 10_000;
        self.initial_memory_bytes() > LARGE_MEMORY || self.functions > MANY_FUNCTIONS
    }
}

impl fmt::Debug for PreparedChannelModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedChannelModule")
            .field("kind", &self.kind)
            .field("flavour", &self.flavour)
            .field("initial_memory_bytes", &self.initial_memory_bytes())
            .finish_non_exhaustive()
    }
}

fn guest_func(callback: CallbackKind) -> GuestFunc {
    match callback {
        CallbackKind::Start => GuestFunc::OnStart,
        CallbackKind::HttpRequest => GuestFunc::OnHttpRequest,
        CallbackKind::Poll => GuestFunc::OnPoll,
        CallbackKind::Timer => GuestFunc::OnTimer,
        CallbackKind::Respond => GuestFunc::OnRespond,
        CallbackKind::Status => GuestFunc::OnStatus,
        CallbackKind::Broadcast => GuestFunc::OnBroadcast,
        CallbackKind::Shutdown => GuestFunc::OnShutdown,
    }
}
