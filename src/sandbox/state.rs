//! What an instance's store carries, and the guest as host functions see it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmi::{AsContextMut, Func, Memory, StoreContextMut, Val};
use wit_abi::abi_version::AbiVersion;
use wit_abi::canonical::{AbiError, CoreValue, GuestAlloc};

use super::context::{CallbackContext, ChannelRuntimeInfo};
use super::error::Halt;
use super::memory::InstanceLimiter;
use super::meter::{self, Meter, Metered, SliceSize};
use super::record::Record;
use super::wasi::WasiState;
use crate::channel::workspace::WorkspaceView;
use crate::egress::RequestPurpose;
use crate::model::deadline::deadline_after;

/// Fuel for a call of a host function, whatever it does.
const HOST_CALL_FUEL: u64 = 300;
/// Bytes that a host function moves for one unit of fuel. Checking text, copying it twice and allocating room for it
/// takes about as long as that many interpreted instructions.
const BYTES_PER_FUEL: u64 = 8;
/// How often a host call that waits looks at the stop flag.
const STOP_CHECK: Duration = Duration::from_millis(20);

/// What the host keeps for one instance while its callback runs: how much fuel and memory it has, a snapshot of the
/// channel's workspace, and a record of what the callback did. It is the data of the instance's wasmi store, and is gone
/// with it; what the callback did is in its report.
pub struct ChannelHostState {
    pub(super) meter: Meter,
    pub(super) limiter: InstanceLimiter,
    pub(super) channel: Arc<ChannelRuntimeInfo>,
    pub(super) abi_version: AbiVersion,
    pub(super) workspace: WorkspaceView,
    pub(super) record: Record,
    pub(super) wasi: WasiState,
    pub(super) http_calls: u32,
    /// Bytes of the bodies of these requests.
    pub(super) sent_bytes: u64,
    pub(super) tool_calls: u32,
    /// What the callback that runs is for.
    pub(super) purpose: RequestPurpose,
    handles: Handles,
    /// While the guest allocates for the host or cleans up behind it, it must not call the host
    /// (`may_leave` in the specification). This also bounds how deep host and guest can nest.
    may_leave: bool,
}

/// What host functions need of the instance.
#[derive(Clone, Copy, Default)]
pub(super) struct Handles {
    pub(super) memory: Option<Memory>,
    /// The guest's allocator for the results of imports.
    pub(super) realloc: Option<Func>,
}

impl Metered for ChannelHostState {
    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }
}

impl ChannelHostState {
    /// `beside_memory` is what the instance takes of the host beside its memory and its tables.
    pub(super) fn new(
        context: CallbackContext,
        abi_version: AbiVersion,
        size: SliceSize,
        beside_memory: usize,
    ) -> Self {
        let CallbackContext { channel, workspace, deadline, stop, memory } = context;
        let limits = channel.limits;
        Self {
            meter: Meter::new(limits.fuel, deadline, stop, size),
            limiter: InstanceLimiter::new(limits.memory_bytes, limits.table_elements, beside_memory, memory),
            abi_version,
            workspace: WorkspaceView::new(workspace),
            record: Record::new(Arc::clone(&channel.name), limits, channel.log_rate.clone()),
            wasi: WasiState::default(),
            channel,
            http_calls: 0,
            sent_bytes: 0,
            tool_calls: 0,
            purpose: RequestPurpose::default(),
            handles: Handles::default(),
            may_leave: true,
        }
    }

    /// A host call has ended: what it copied out of the guest is freed, unless it is kept.
    pub(super) fn count_what_is_kept(&mut self) {
        self.limiter.keep_copied(self.record.kept_bytes() + self.workspace.written_bytes());
    }

    #[cfg(test)]
    pub(super) fn handles(&self) -> Handles {
        self.handles
    }

    pub(super) fn set_handles(&mut self, handles: Handles) {
        self.handles = handles;
    }
}

/// An instance while the host works on it: its memory, its allocator, its store's data.
pub(super) struct Guest<'a> {
    ctx: StoreContextMut<'a, ChannelHostState>,
    handles: Handles,
}

impl<'a> Guest<'a> {
    pub(super) fn new(ctx: StoreContextMut<'a, ChannelHostState>) -> Self {
        let handles = ctx.data().handles;
        Self { ctx, handles }
    }

    /// The same guest with its allocator for the arguments of exports, which may be another one.
    pub(super) fn with_realloc(mut self, realloc: Option<Func>) -> Self {
        self.handles.realloc = realloc;
        self
    }

    /// The guest calls a host function: checks that it may, and charges it.
    pub(super) fn enter(&mut self, name: &str) -> Result<(), Halt> {
        if !self.state().may_leave {
            return Err(Halt::Abi(format!(
                "it called `{name}` while it allocated for the host or cleaned up"
            )));
        }
        meter::charge(&mut self.ctx, HOST_CALL_FUEL)
    }

    pub(super) fn state(&mut self) -> &mut ChannelHostState {
        self.ctx.data_mut()
    }

    /// Units of fuel that the call may still spend.
    pub(super) fn fuel_left(&mut self) -> u64 {
        let left = meter::fuel_left(&self.ctx);
        let meter = &self.state().meter;
        meter.limit().saturating_sub(meter.spent(left))
    }

    /// Charges fuel that was spent for the guest elsewhere.
    pub(super) fn charge_fuel(&mut self, units: u64) -> Result<(), Halt> {
        meter::charge(&mut self.ctx, units)
    }

    /// Charges fuel for `bytes` bytes that the host moves.
    pub(super) fn charge_bytes(&mut self, bytes: usize) -> Result<(), Halt> {
        meter::charge(&mut self.ctx, bytes as u64 / BYTES_PER_FUEL)
    }

    /// The guest's memory and the store's data, both at once.
    pub(super) fn memory_and_state(&mut self) -> (&mut [u8], &mut ChannelHostState) {
        match self.handles.memory {
            Some(memory) => memory.data_and_store_mut(&mut self.ctx),
            None => (&mut [], self.ctx.data_mut()),
        }
    }

    /// The `len` bytes at `address`.
    pub(super) fn bytes(&mut self, what: &'static str, address: u32, len: u32) -> Result<&mut [u8], Halt> {
        let memory = self.memory();
        let size = memory.len();
        let end = u64::from(address) + u64::from(len);
        if end > size as u64 {
            let (len, memory) = (len.into(), size);
            return Err(AbiError::OutOfBounds { what, address, len, memory }.into());
        }
        Ok(&mut memory[address as usize..end as usize])
    }

    /// Calls a function of the guest that must not call the host.
    pub(super) fn call_inward(
        &mut self,
        func: Func,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<(), Halt> {
        self.state().may_leave = false;
        let outcome = meter::call(&mut self.ctx, func, params, results);
        self.state().may_leave = true;
        outcome
    }

    /// Does something that blocks: its time is not the guest's speed, and afterwards the deadline may have passed.
    pub(super) fn blocking<R>(&mut self, work: impl FnOnce(&mut ChannelHostState) -> R) -> Result<R, Halt> {
        let started = Instant::now();
        let result = work(self.state());
        let ended = Instant::now();
        let meter = &mut self.state().meter;
        meter.was_blocked(ended - started);
        meter.check(ended)?;
        Ok(result)
    }

    /// Waits until `wake`, but not beyond the deadline or the stop flag.
    pub(super) fn sleep_until(&mut self, wake: Instant) -> Result<(), Halt> {
        loop {
            let now = Instant::now();
            self.state().meter.check(now)?;
            if now >= wake {
                return Ok(());
            }
            let until = wake.min(self.state().meter.deadline()).min(deadline_after(now, STOP_CHECK));
            self.blocking(|_| std::thread::sleep(until - now))?;
        }
    }
}

impl GuestAlloc for Guest<'_> {
    type Error = Halt;

    fn memory(&mut self) -> &mut [u8] {
        self.memory_and_state().0
    }

    fn realloc(&mut self, align: u32, size: u32) -> Result<u32, Halt> {
        let Some(realloc) = self.handles.realloc else {
            return Err(Halt::Abi("it has no `cabi_realloc` to take what the host hands over".to_owned()));
        };
        self.charge_bytes(size as usize)?;
        let params = [0, 0, align, size].map(|value| Val::I32(value.cast_signed()));
        let mut results = [Val::I32(0)];
        self.call_inward(realloc, &params, &mut results)?;
        match results {
            [Val::I32(pointer)] => Ok(pointer.cast_unsigned()),
            _ => Err(Halt::Host("`cabi_realloc` returned no i32, although its type was checked".to_owned())),
        }
    }
}

impl From<AbiError> for Halt {
    fn from(error: AbiError) -> Self {
        Self::Abi(error.to_string())
    }
}

/// A wasmi value as the ABI crate knows it. Floats and references do not occur in the types of given imports.
pub(super) fn core_value(value: &Val) -> Result<CoreValue, Halt> {
    match value {
        Val::I32(value) => Ok(CoreValue::I32(value.cast_unsigned())),
        Val::I64(value) => Ok(CoreValue::I64(value.cast_unsigned())),
        _ => Err(Halt::Host("an import was linked with a type that was not checked".to_owned())),
    }
}

/// The other way round.
pub(super) fn wasmi_value(value: CoreValue) -> Val {
    match value {
        CoreValue::I32(value) => Val::I32(value.cast_signed()),
        CoreValue::I64(value) => Val::I64(value.cast_signed()),
    }
}

/// Looks like a store to wasmi.
impl wasmi::AsContext for Guest<'_> {
    type Data = ChannelHostState;

    fn as_context(&self) -> wasmi::StoreContext<'_, ChannelHostState> {
        self.ctx.as_context()
    }
}

impl AsContextMut for Guest<'_> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, ChannelHostState> {
        self.ctx.as_context_mut()
    }
}
