//! One callback, from a fresh instance to its report.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use wasmi::{AsContextMut, Func, Instance, Memory, MemoryType, Store, Val};
use wit_abi::canonical::{CoreArgs, CoreValue, GuestAlloc};
use wit_abi::exports;
use wit_abi::guest::Export;

use super::context::CallbackContext;
use super::error::WasmChannelError;
use super::halt::{Circumstances, Halt};
use super::meter::{self, fuel_left};
use super::pool::panic_text;
use super::prepared::PreparedChannelModule;
use super::scan::MemoryPlan;
use super::state::{ChannelHostState, Guest, Handles, wasmi_value};
use super::text;
use super::wasi;
use crate::event::callback::{Callback, CallbackKind, CallbackReport, CallbackValue, Usage};

/// Bytes that are kept of what a guest says of its own failure.
const MAX_GUEST_ERROR_BYTES: usize = 4096;

/// An instance that has run nothing yet. It runs one callback and is gone: no byte of its memory outlives that.
pub struct FreshInstance {
    prepared: Arc<PreparedChannelModule>,
    store: Store<ChannelHostState>,
    /// `None` while a large guest waits for a worker to instantiate it.
    instance: Option<Instance>,
}

impl FreshInstance {
    pub(super) fn new(
        prepared: Arc<PreparedChannelModule>,
        context: CallbackContext,
    ) -> Result<Self, WasmChannelError> {
        let state = ChannelHostState::new(context, *prepared.flavour(), prepared.slice.clone());
        let mut store = Store::new(prepared.module.engine(), state);
        store.limiter(|state| &mut state.limiter);
        let mut fresh = Self { prepared, store, instance: None };
        if !fresh.prepared.is_large() {
            fresh.instantiate()?;
        }
        Ok(fresh)
    }

    /// Runs the callback. What goes wrong is in the report, also a bug in the host.
    ///
    /// The calling thread needs 2 MiB of stack, as every thread of Rust has unless it is made with less.
    #[must_use]
    pub fn run(mut self, callback: &Callback) -> CallbackReport {
        self.store.data_mut().meter.start();
        let kind = callback.kind();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.try_run(callback))).unwrap_or_else(|panic| {
            let reason = format!("a panic: {}", panic_text(panic.as_ref()));
            Err(WasmChannelError::HostFailure { channel: self.channel(), callback: kind, reason })
        });
        if let Err(error @ WasmChannelError::HostFailure { .. }) = &outcome {
            log::error!("{error}");
        }
        self.report(kind, outcome)
    }

    /// What the host keeps for this instance.
    #[must_use]
    pub fn host_state(&self) -> &ChannelHostState {
        self.store.data()
    }

    /// Runs a callback and keeps the instance for the next one, which the host never does: this is the floor that a
    /// fresh instance is measured against.
    #[doc(hidden)]
    pub fn run_and_keep(
        &mut self,
        callback: &Callback,
        context: CallbackContext,
    ) -> Result<CallbackValue, WasmChannelError> {
        let state = ChannelHostState::new(context, *self.prepared.flavour(), self.prepared.slice.clone());
        let before = std::mem::replace(self.store.data_mut(), state);
        self.store.data_mut().keep_handles(&before);
        self.try_run(callback)
    }

    fn try_run(&mut self, callback: &Callback) -> Result<CallbackValue, WasmChannelError> {
        let kind = callback.kind();
        let prepared = Arc::clone(&self.prepared);
        let Some(export) = prepared.export(kind) else { return self.lacks(kind) };
        let instance = self.instantiate()?;
        let outcome = self.begin(instance).and_then(|()| self.call(instance, export, callback));
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(message)) => {
                let message = text::short_line(&message, MAX_GUEST_ERROR_BYTES);
                Err(WasmChannelError::GuestError { channel: self.channel(), callback: kind, message })
            }
            Err(halt) => Err(self.explain(kind, halt)),
        }
    }

    fn lacks(&self, kind: CallbackKind) -> Result<CallbackValue, WasmChannelError> {
        match kind {
            CallbackKind::Status | CallbackKind::Broadcast | CallbackKind::Timer => {
                Ok(CallbackValue::NotExported)
            }
            _ => Err(WasmChannelError::MissingExport {
                channel: self.channel(),
                export: kind.name().to_owned(),
            }),
        }
    }

    pub(super) fn instantiate(&mut self) -> Result<Instance, WasmChannelError> {
        if let Some(instance) = self.instance {
            return Ok(instance);
        }
        let prepared = &self.prepared;
        let instance = link(&mut self.store, prepared).map_err(|error| {
            let data = self.store.data();
            let (channel, reason) = (data.channel.name.to_string(), error.to_string());
            match data.limiter.refusal() {
                Some(refusal) => {
                    WasmChannelError::Instantiation { channel, reason: format!("{reason}: {refusal}") }
                }
                None => WasmChannelError::Instantiation { channel, reason },
            }
        })?;
        let names = &prepared.names;
        let handles = Handles {
            memory: instance.get_memory(&self.store, &names.memory),
            realloc: instance.get_func(&self.store, &names.realloc_for_results),
        };
        self.store.data_mut().set_handles(handles);
        self.instance = Some(instance);
        Ok(instance)
    }

    /// Calls the start function and `_initialize`, in slices as everything else.
    fn begin(&mut self, instance: Instance) -> Result<(), Halt> {
        let prepared = Arc::clone(&self.prepared);
        for name in &prepared.names.beginnings {
            let func = self.func(instance, name)?;
            meter::call(&mut self.store, func, &[], &mut [])?;
        }
        Ok(())
    }

    /// Calls the export; the inner error is the guest's own.
    fn call(
        &mut self,
        instance: Instance,
        export: &Export,
        callback: &Callback,
    ) -> Result<Result<CallbackValue, String>, Halt> {
        let Some(args) = self.lower(instance, callback)? else { return Ok(Ok(CallbackValue::NotExported)) };
        let params = args.iter().map(|value| wasmi_value(*value)).collect::<Vec<_>>();
        let func = self.func(instance, &export.name)?;
        if !export.func.returns_pointer() {
            meter::call(&mut self.store, func, &params, &mut [])?;
            return Ok(Ok(CallbackValue::Done));
        }
        let mut results = [Val::I32(0)];
        meter::call(&mut self.store, func, &params, &mut results)?;
        let pointer = match &results {
            [Val::I32(pointer)] => pointer.cast_unsigned(),
            _ => {
                return Err(Halt::Host(format!(
                    "`{}` returned no i32, although its type was checked",
                    export.name
                )));
            }
        };
        let value = self.lift(callback.kind(), pointer)?;
        if let Some(post_return) = &export.post_return {
            let func = self.func(instance, post_return)?;
            let params = [wasmi_value(CoreValue::I32(pointer))];
            Guest::new(self.store.as_context_mut()).call_inward(func, &params, &mut [])?;
        }
        Ok(value)
    }

    /// Hands the callback's payload over; none when the guest does not know this status.
    fn lower(&mut self, instance: Instance, callback: &Callback) -> Result<Option<CoreArgs>, Halt> {
        let realloc = instance.get_func(&self.store, &self.prepared.names.realloc_for_arguments);
        let flavour = *self.prepared.flavour();
        let guest = &mut Guest::new(self.store.as_context_mut()).with_realloc(realloc);
        let args = match callback {
            Callback::Start { config_json } => exports::lower_on_start(config_json, guest)?,
            Callback::HttpRequest(request) => exports::lower_on_http_request(request, guest)?,
            Callback::Poll | Callback::Shutdown => CoreArgs::new(),
            Callback::Timer { name, payload } => exports::lower_on_timer(name, payload, guest)?,
            Callback::Respond(response) => exports::lower_on_respond(response, &flavour, guest)?,
            Callback::Status(update) => return exports::lower_on_status(update, &flavour, guest),
            Callback::Broadcast { user_id, response } => {
                exports::lower_on_broadcast(user_id, response, &flavour, guest)?
            }
        };
        Ok(Some(args))
    }

    fn lift(&mut self, kind: CallbackKind, pointer: u32) -> Result<Result<CallbackValue, String>, Halt> {
        let mut guest = Guest::new(self.store.as_context_mut());
        let memory = guest.memory();
        let value = match kind {
            CallbackKind::Start => exports::lift_on_start(pointer, memory)?.map(CallbackValue::Started),
            CallbackKind::HttpRequest => {
                Ok(CallbackValue::Http(exports::lift_on_http_request(pointer, memory)?))
            }
            CallbackKind::Respond => exports::lift_on_respond(pointer, memory)?.map(|()| CallbackValue::Done),
            CallbackKind::Broadcast => {
                exports::lift_on_broadcast(pointer, memory)?.map(|()| CallbackValue::Done)
            }
            CallbackKind::Poll | CallbackKind::Timer | CallbackKind::Status | CallbackKind::Shutdown => {
                Ok(CallbackValue::Done)
            }
        };
        Ok(value)
    }

    fn func(&self, instance: Instance, name: &str) -> Result<Func, Halt> {
        let missing = || Halt::Host(format!("the export `{name}` is gone, although it was there at load"));
        instance.get_func(&self.store, name).ok_or_else(missing)
    }

    fn channel(&self) -> String {
        self.store.data().channel.name.to_string()
    }

    fn explain(&self, callback: CallbackKind, halt: Halt) -> WasmChannelError {
        let data = self.store.data();
        halt.explain(&Circumstances {
            channel: &data.channel.name,
            callback,
            fuel_limit: data.meter.limit(),
            elapsed: data.meter.elapsed(),
            refusal: data.limiter.refusal(),
        })
    }

    fn report(
        mut self,
        kind: CallbackKind,
        result: Result<CallbackValue, WasmChannelError>,
    ) -> CallbackReport {
        let left = fuel_left(&self.store);
        wasi::flush(self.store.data_mut());
        let ChannelHostState { meter, limiter, record, workspace, http_calls, .. } = self.store.into_data();
        let usage = Usage {
            fuel: meter.spent(left),
            peak_memory: limiter.peak(),
            elapsed: meter.elapsed(),
            http_calls,
        };
        let (effects, logs) = match &result {
            Ok(_) => record.commit(workspace.into_changes()),
            Err(_) => record.abandon(),
        };
        CallbackReport { kind, result, effects, usage, logs }
    }
}

fn link(
    store: &mut Store<ChannelHostState>,
    prepared: &PreparedChannelModule,
) -> Result<Instance, wasmi::Error> {
    let memory = prepared.memory.map(|plan| make_memory(store, plan)).transpose()?;
    let externs = prepared.imports.externs(store, memory);
    Instance::new(store, &prepared.module, &externs)
}

fn make_memory(store: &mut Store<ChannelHostState>, plan: MemoryPlan) -> Result<Memory, wasmi::Error> {
    let memory = Memory::new(&mut *store, MemoryType::new(plan.first, plan.maximum))?;
    memory.grow(&mut *store, u64::from(plan.initial - plan.first))?;
    Ok(memory)
}

impl fmt::Debug for FreshInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreshInstance")
            .field("channel", &self.store.data().channel.name)
            .finish_non_exhaustive()
    }
}
