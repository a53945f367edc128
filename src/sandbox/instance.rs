//! One callback, from its instance to its report. And one instance that runs nothing: whether a guest's initial state fits is
//! known when it is loaded, not at its first callback.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use wasmi::{AsContextMut, Func, Instance, Val};
use wit_abi::canonical::{CoreArgs, CoreValue, GuestMemory};
use wit_abi::exports;
use wit_abi::guest::Export;
use wit_abi::types::AgentResponse;

use super::context::{
    CallbackContext, ChannelRuntimeInfo, GuestHttpError, GuestLogRate, GuestServices, StopFlag,
};
use super::error::{CallbackFacts, Halt, WasmChannelError};
use super::memory::{GrowthRefusal, MemoryBudget};
use super::memory_pool::GuestStore;
use super::meter::{self, fuel_left};
use super::prepared::PreparedChannelModule;
use super::state::{ChannelHostState, Guest, Handles, wasmi_value};
use super::worker_pool::panic_text;
use super::{text, wasi, wechat};
use crate::capability::limits::ChannelLimits;
use crate::channel::workspace::WorkspaceSnapshot;
use crate::egress::{OutboundCall, OutboundRequest, OutboundResponse, RequestPurpose, ResponseRoom};
use crate::event::callback::{Callback, CallbackKind, CallbackReport, CallbackValue, Usage};
use crate::event::guest_failure::GuestFailure;
use crate::model::deadline::deadline_after;

/// Bytes that are kept of what a guest says of its own failure.
const MAX_GUEST_ERROR_BYTES: usize = 4096;

/// Runs one callback in an instance of its own, on the calling thread.
pub(super) fn run(
    prepared: &PreparedChannelModule,
    context: CallbackContext,
    callback: &Callback,
) -> CallbackReport {
    let kind = callback.kind();
    let mut call = CallbackRun::new(prepared, context);
    let outcome = catch_unwind(AssertUnwindSafe(|| call.run(callback))).unwrap_or_else(|panic| {
        let reason = format!("a panic: {}", panic_text(panic.as_ref()));
        Err(WasmChannelError::HostFailure { channel: call.channel(), callback: kind, reason })
    });
    if let Err(error @ WasmChannelError::HostFailure { .. }) = &outcome {
        log::error!("{error}; this is a bug in the host");
    }
    call.report(kind, outcome)
}

/// Makes an instance in which nothing runs, and drops it.
///
/// # Errors
/// Its initial state does not fit.
pub(super) fn try_out(
    prepared: &PreparedChannelModule,
    context: CallbackContext,
) -> Result<(), WasmChannelError> {
    CallbackRun::new(prepared, context).instantiate(CallbackKind::Start).map(drop)
}

/// What a callback's requests serve.
const fn purpose_of(kind: CallbackKind) -> RequestPurpose {
    match kind {
        CallbackKind::Respond | CallbackKind::Broadcast => RequestPurpose::Reply,
        CallbackKind::Status => RequestPurpose::Status,
        CallbackKind::Poll => RequestPurpose::Poll,
        CallbackKind::HttpRequest => RequestPurpose::Webhook,
        _ => RequestPurpose::Other,
    }
}

/// A callback while it runs. Its instance lives in the store and goes with it: no byte of a guest's memory outlives a
/// callback.
struct CallbackRun<'a> {
    prepared: &'a PreparedChannelModule,
    store: GuestStore<ChannelHostState>,
}

impl<'a> CallbackRun<'a> {
    fn new(prepared: &'a PreparedChannelModule, context: CallbackContext) -> Self {
        let mut store = GuestStore::new(prepared.module.engine(), prepared.host_state(context));
        store.limiter(|state| &mut state.limiter);
        Self { prepared, store }
    }

    fn run(&mut self, callback: &Callback) -> Result<CallbackValue, WasmChannelError> {
        if self.prepared.export(callback.kind()).is_none() {
            return self.missing_export(callback.kind());
        }
        let instance = self.instantiate(callback.kind())?;
        self.run_in(instance, callback)
    }

    fn run_in(&mut self, instance: Instance, callback: &Callback) -> Result<CallbackValue, WasmChannelError> {
        let kind = callback.kind();
        let Some(export) = self.prepared.export(kind) else { return self.missing_export(kind) };
        self.store.data_mut().purpose = purpose_of(kind);
        let outcome = self.begin(instance).and_then(|()| self.call(instance, export, callback));
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(message)) => {
                let services = &self.store.data().channel.services;
                let message = services.without_given_secrets(&message, MAX_GUEST_ERROR_BYTES);
                let message = text::short_line(&message, MAX_GUEST_ERROR_BYTES);
                Err(WasmChannelError::GuestError { channel: self.channel(), callback: kind, message })
            }
            Err(halt) => Err(self.explain(kind, halt)),
        }
    }

    fn missing_export(&self, kind: CallbackKind) -> Result<CallbackValue, WasmChannelError> {
        match kind {
            CallbackKind::Status
            | CallbackKind::Broadcast
            | CallbackKind::Timer
            | CallbackKind::SocketOpen
            | CallbackKind::SocketText
            | CallbackKind::SocketClose => Ok(CallbackValue::NotExported),
            _ => Err(WasmChannelError::MissingExport {
                channel: self.channel(),
                export: kind.name().to_owned(),
            }),
        }
    }

    /// Makes the instance. wasmi does that in one go, so the clock is looked at before and after; what it may take in
    /// between is bounded by [`ModuleSize`](super::bounds::ModuleSize), and paid for like everything else.
    fn instantiate(&mut self, kind: CallbackKind) -> Result<Instance, WasmChannelError> {
        self.pay_for_instance().map_err(|halt| self.explain(kind, halt))?;
        let instance =
            link(&mut self.store, self.prepared).map_err(|error| self.does_not_fit(kind, &error))?;
        let names = &self.prepared.names;
        let handles = Handles {
            memory: instance.get_memory(&self.store, &names.memory),
            realloc: instance.get_func(&self.store, &names.realloc_for_results),
        };
        self.store.data_mut().set_handles(handles);
        let checked = self.store.data().meter.check(Instant::now());
        checked.map_err(|halt| self.explain(kind, halt))?;
        Ok(instance)
    }

    fn pay_for_instance(&mut self) -> Result<(), Halt> {
        self.store.data().meter.check(Instant::now())?;
        meter::charge(&mut self.store, self.prepared.size.instance_fuel())
    }

    fn does_not_fit(&self, callback: CallbackKind, error: &wasmi::Error) -> WasmChannelError {
        let channel = self.channel();
        match self.store.data().limiter.refusal() {
            // The guest is within its limits, and others have what it needs.
            Some(GrowthRefusal::OverBudget { wanted, budget }) => {
                WasmChannelError::HostMemoryExhausted { channel, callback, wanted, budget }
            }
            Some(refusal) => {
                WasmChannelError::Instantiation { channel, reason: format!("{error}: {refusal}") }
            }
            None => WasmChannelError::Instantiation { channel, reason: error.to_string() },
        }
    }

    /// Calls the start function and `_initialize`, in slices as everything else.
    fn begin(&mut self, instance: Instance) -> Result<(), Halt> {
        for name in &self.prepared.names.beginnings {
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
        let abi_version = *self.prepared.abi_version();
        let guest = &mut Guest::new(self.store.as_context_mut()).with_realloc(realloc);
        let args = match callback {
            Callback::Start { config_json } => exports::lower_on_start(config_json, guest)?,
            Callback::HttpRequest(request) => exports::lower_on_http_request(request, guest)?,
            Callback::Poll
            | Callback::Shutdown
            | Callback::SocketOpen
            | Callback::Schema
            | Callback::Description => CoreArgs::new(),
            Callback::Execute(request) => exports::lower_execute(request, guest)?,
            Callback::Timer { name, payload } => exports::lower_on_timer(name, payload, guest)?,
            Callback::SocketText(text) => exports::lower_on_socket_text(text, guest)?,
            Callback::SocketClose { code, reason } => exports::lower_on_socket_close(*code, reason, guest)?,
            Callback::Respond(response) => {
                let response = handed_over(response, guest)?;
                exports::lower_on_respond(&response, &abi_version, guest)?
            }
            Callback::Status(update) => return exports::lower_on_status(update, &abi_version, guest),
            Callback::Broadcast { user_id, response } => {
                let response = handed_over(response, guest)?;
                exports::lower_on_broadcast(user_id, &response, &abi_version, guest)?
            }
        };
        Ok(Some(args))
    }

    fn lift(&mut self, kind: CallbackKind, pointer: u32) -> Result<Result<CallbackValue, String>, Halt> {
        let mut guest = Guest::new(self.store.as_context_mut());
        let (memory, state) = guest.memory_and_state();
        let mut returned = 0;
        let mut room = |bytes| {
            let fits = state.limiter.copy_result(returned, bytes);
            returned += bytes;
            fits
        };
        let memory = GuestMemory::with_room(memory, &mut room);
        let value = match kind {
            CallbackKind::Start => exports::lift_on_start(pointer, memory)?.map(CallbackValue::Started),
            CallbackKind::HttpRequest => {
                let response = exports::lift_on_http_request(pointer, memory)?;
                Ok(CallbackValue::Http(response.try_into().map_err(Halt::Response)?))
            }
            CallbackKind::Respond => exports::lift_on_respond(pointer, memory)?.map(|()| CallbackValue::Done),
            CallbackKind::Broadcast => {
                exports::lift_on_broadcast(pointer, memory)?.map(|()| CallbackValue::Done)
            }
            CallbackKind::Execute => Ok(CallbackValue::Executed(exports::lift_execute(pointer, memory)?)),
            CallbackKind::Schema | CallbackKind::Description => {
                Ok(CallbackValue::Text(exports::lift_text(pointer, memory)?))
            }
            CallbackKind::Poll
            | CallbackKind::Timer
            | CallbackKind::SocketOpen
            | CallbackKind::SocketText
            | CallbackKind::SocketClose
            | CallbackKind::Status
            | CallbackKind::Shutdown => Ok(CallbackValue::Done),
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
        halt.explain(&CallbackFacts {
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
        let ChannelHostState { meter, limiter, record, workspace, http_calls, sent_bytes, .. } =
            self.store.into_data();
        let usage = Usage {
            fuel: meter.spent(left),
            peak_memory: limiter.peak(),
            elapsed: meter.elapsed(),
            http_calls,
            sent_bytes,
        };
        let (effects, logs) = match &result {
            Ok(_) => record.commit(workspace.into_changes()),
            Err(error) => record.abandon(failure_of(error), workspace),
        };
        let memory = Some(limiter.into_reservation(result.is_ok() || !effects.workspace.is_empty()));
        CallbackReport { kind, result, effects, usage, logs, memory }
    }
}

/// What the guest says about a reply that it did not deliver.
fn failure_of(error: &WasmChannelError) -> Option<(GuestFailure, &str)> {
    match error {
        WasmChannelError::GuestError {
            callback: CallbackKind::Respond | CallbackKind::Broadcast,
            message,
            ..
        } => Some((GuestFailure::read(message)?, message)),
        _ => None,
    }
}

fn link(
    store: &mut GuestStore<ChannelHostState>,
    prepared: &PreparedChannelModule,
) -> Result<Instance, wasmi::Error> {
    let limit = store.data().channel.limits.memory_bytes;
    let memory = prepared.memory.map(|plan| store.make_memory(plan, limit)).transpose()?;
    let externs = prepared.imports.externs(&mut *store, memory);
    Instance::new(&mut *store, &prepared.module, &externs)
}

#[cfg(test)]
#[path = "reuse_tests.rs"]
mod reuse_tests;

/// Makes an instance and drops it.
///
/// # Errors
/// [`WasmChannelError::NotLoadable`] with what does not fit.
pub(super) fn check_instantiation(
    prepared: &PreparedChannelModule,
    channel: &str,
    limits: ChannelLimits,
) -> Result<(), WasmChannelError> {
    let Some(context) = idle_context(channel, limits) else { return Ok(()) };
    match try_out(prepared, context) {
        Ok(()) => Ok(()),
        Err(WasmChannelError::Instantiation { channel, reason }) => {
            let reason = format!("its initial state does not fit: {reason}");
            Err(WasmChannelError::NotLoadable { channel, reason })
        }
        Err(error) => Err(error),
    }
}

/// A reply as the guest gets it.
fn handed_over<'r>(
    response: &'r AgentResponse,
    guest: &mut Guest<'_>,
) -> Result<Cow<'r, AgentResponse>, Halt> {
    if response.attachments.is_empty() || !guest.state().channel.services.seals_attachments() {
        return Ok(Cow::Borrowed(response));
    }
    let bytes: usize = response.attachments.iter().map(|file| file.data.len()).sum();
    if !guest.state().limiter.copy(bytes as u64) {
        return Err(Halt::Trap("the host has no memory left to encrypt the files of the reply".to_owned()));
    }
    let sealed = wechat::sealed(response);
    sealed.map(Cow::Owned).ok_or_else(|| Halt::Host("the system has no randomness".to_owned()))
}

/// What an instance that nobody asks for anything is made with.
pub(super) fn idle_context(channel: &str, limits: ChannelLimits) -> Option<CallbackContext> {
    Some(CallbackContext {
        channel: Arc::new(ChannelRuntimeInfo {
            name: channel.into(),
            limits,
            services: Arc::new(NoServices),
            log_rate: GuestLogRate::default(),
        }),
        workspace: WorkspaceSnapshot::empty(),
        deadline: deadline_after(Instant::now(), limits.callback_timeout),
        stop: StopFlag::default(),
        memory: MemoryBudget::unlimited().reserve(0)?,
    })
}

/// Services for an instance in which nothing runs, so nobody asks.
struct NoServices;

const NOBODY: &str = "there is no channel behind this instance";

impl GuestServices for NoServices {
    fn http_request(
        &self,
        _: OutboundRequest,
        _: OutboundCall,
        _: ResponseRoom<'_>,
    ) -> Result<OutboundResponse, GuestHttpError> {
        Err(NOBODY.to_owned().into())
    }

    fn secret_exists(&self, _: &str) -> bool {
        false
    }

    fn now_millis(&self) -> u64 {
        0
    }
}
