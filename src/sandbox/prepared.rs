//! A guest with everything done to it that is the same for each of its callbacks.

use std::fmt;

use wasmi::{Engine, Module};
use wit_abi::abi_version::{AbiVersion, World};
use wit_abi::exports::GuestFunc;
use wit_abi::guest::{Export, GuestKind, read_guest_of};

use super::bounds::ModuleSize;
use super::context::CallbackContext;
use super::error::WasmChannelError;
use super::host_calls::{self, HostImports};
use super::instance;
use super::memory::{BYTES_PER_TABLE_ELEMENT, whole_pages};
use super::meter::SliceSize;
use super::runtime::Digest;
use super::scan::{self, MemoryPlan};
use super::state::ChannelHostState;
use crate::capability::limits::ChannelLimits;
use crate::event::callback::{Callback, CallbackKind, CallbackReport};

/// A guest that was read, checked, linked and translated. It can only be run with a context, which has the
/// limits.
pub struct PreparedChannelModule {
    digest: Digest,
    kind: GuestKind,
    abi_version: AbiVersion,
    pub(super) module: Module,
    pub(super) imports: HostImports,
    pub(super) memory: Option<MemoryPlan>,
    pub(super) names: ExportNames,
    pub(super) slice: SliceSize,
    pub(super) size: ModuleSize,
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
    /// `engine` gets the number of bytes of code.
    pub(super) fn new(
        engine: impl FnOnce(u64) -> Engine,
        world: World,
        channel: &str,
        bytes: &[u8],
        digest: Digest,
    ) -> Result<Self, WasmChannelError> {
        let not_loadable =
            |reason: String| WasmChannelError::NotLoadable { channel: channel.to_owned(), reason };
        let guest = read_guest_of(world, bytes, &host_calls::knowledge)
            .map_err(|error| WasmChannelError::unread(channel, &error))?;
        let mut names = ExportNames {
            callbacks: guest.exports.clone(),
            memory: guest.memory.clone(),
            realloc_for_arguments: guest.realloc_for_arguments.clone(),
            realloc_for_results: guest.realloc_for_results.clone(),
            beginnings: guest.initialize.iter().cloned().collect(),
        };
        let scanned = scan::scan(guest.module, |name| names.has(name))
            .map_err(|error| not_loadable(error.to_string()))?;
        if scanned.has_start {
            names.beginnings.insert(0, scan::START_EXPORT.to_owned());
        }
        let invalid = |error: wasmi::Error| WasmChannelError::InvalidModule {
            channel: channel.to_owned(),
            reason: error.to_string(),
        };
        let module = Module::new(&engine(scanned.size.code_bytes), &scanned.bytes).map_err(invalid)?;
        let imports = HostImports::of(&module, &guest).map_err(|error| not_loadable(error.to_string()))?;
        Ok(Self {
            digest,
            kind: guest.kind,
            abi_version: guest.abi_version,
            module,
            imports,
            memory: scanned.memory,
            names,
            slice: SliceSize::new(),
            size: scanned.size,
        })
    }

    /// SHA-256 of the guest's file.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Whether the file is a component or a plain core module.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn kind(&self) -> GuestKind {
        self.kind
    }

    /// The shape of the channel world that the guest was built for.
    #[must_use]
    pub(crate) fn abi_version(&self) -> &AbiVersion {
        &self.abi_version
    }

    /// Whether the guest has this callback. `on-status`, `on-broadcast`, `on-timer` and those of the websocket are optional.
    #[must_use]
    pub(crate) fn exports(&self, callback: CallbackKind) -> bool {
        self.export(callback).is_some()
    }

    /// Bytes that an instance takes from the memory budget before its guest runs: its linear memory, and its tables,
    /// functions and segments where they are many.
    #[must_use]
    pub fn initial_memory_bytes(&self) -> usize {
        let size = &self.size;
        let beside = size
            .instance_bytes()
            .saturating_add(size.table_elements.saturating_mul(BYTES_PER_TABLE_ELEMENT as u64));
        let beside = usize::try_from(beside).unwrap_or(usize::MAX);
        whole_pages(beside).saturating_add(usize::try_from(size.memory_bytes).unwrap_or(usize::MAX))
    }

    /// Whether an instance starts within these limits. `channel` is only for the message.
    ///
    /// # Errors
    /// [`WasmChannelError::NotLoadable`] with what is larger, and both numbers.
    pub fn check_fits(&self, channel: &str, limits: &ChannelLimits) -> Result<(), WasmChannelError> {
        self.size.fits(limits.memory_bytes, limits.table_elements).map_err(|error| {
            WasmChannelError::NotLoadable { channel: channel.to_owned(), reason: error.to_string() }
        })
    }

    /// Runs one callback in an instance of its own, on the calling thread. What goes wrong is in the report, also a bug in
    /// the host.
    ///
    /// The thread needs 2 MiB of stack, as every thread of Rust has unless it is made with less.
    #[must_use]
    pub(crate) fn run(&self, context: CallbackContext, callback: &Callback) -> CallbackReport {
        instance::run(self, context, callback)
    }

    pub(super) fn host_state(&self, context: CallbackContext) -> ChannelHostState {
        let beside_memory = usize::try_from(self.size.instance_bytes()).unwrap_or(usize::MAX);
        ChannelHostState::new(context, self.abi_version, self.slice.clone(), beside_memory)
    }

    pub(super) fn export(&self, callback: CallbackKind) -> Option<&Export> {
        let func = guest_func(callback);
        self.names.callbacks.iter().find(|export| export.func == func)
    }
}

impl fmt::Debug for PreparedChannelModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedChannelModule")
            .field("kind", &self.kind)
            .field("abi_version", &self.abi_version)
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
        CallbackKind::SocketOpen => GuestFunc::OnSocketOpen,
        CallbackKind::SocketText => GuestFunc::OnSocketText,
        CallbackKind::SocketClose => GuestFunc::OnSocketClose,
        CallbackKind::Respond => GuestFunc::OnRespond,
        CallbackKind::Status => GuestFunc::OnStatus,
        CallbackKind::Broadcast => GuestFunc::OnBroadcast,
        CallbackKind::Shutdown => GuestFunc::OnShutdown,
        CallbackKind::Execute => GuestFunc::Execute,
        CallbackKind::Schema => GuestFunc::Schema,
        CallbackKind::Description => GuestFunc::Description,
    }
}
