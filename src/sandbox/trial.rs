//! One instance that runs nothing: whether a guest's initial state fits is known when it is loaded, not at its first
//! callback.

use std::sync::Arc;
use std::time::Instant;

use super::context::{CallbackContext, ChannelRuntimeInfo, GuestLogRate, StopFlag};
use super::error::WasmChannelError;
use super::instance;
use super::memory::MemoryBudget;
use super::prepared::PreparedChannelModule;
use super::services::{GuestHttpError, GuestServices};
use crate::capability::limits::ChannelLimits;
use crate::channel::workspace::WorkspaceSnapshot;
use crate::egress::{OutboundCall, OutboundRequest, OutboundResponse, ResponseRoom};
use crate::model::deadline::deadline_after;

/// Makes an instance and drops it.
///
/// # Errors
/// [`WasmChannelError::NotLoadable`] with what does not fit.
pub(super) fn instantiate(
    prepared: &PreparedChannelModule,
    channel: &str,
    limits: ChannelLimits,
) -> Result<(), WasmChannelError> {
    let Some(context) = context(channel, limits) else { return Ok(()) };
    match instance::try_out(prepared, context) {
        Ok(()) => Ok(()),
        Err(WasmChannelError::Instantiation { channel, reason }) => {
            let reason = format!("its initial state does not fit: {reason}");
            Err(WasmChannelError::NotLoadable { channel, reason })
        }
        Err(error) => Err(error),
    }
}

/// What an instance that nobody asks for anything is made with.
pub(super) fn context(channel: &str, limits: ChannelLimits) -> Option<CallbackContext> {
    Some(CallbackContext {
        channel: Arc::new(ChannelRuntimeInfo {
            name: channel.into(),
            limits,
            services: Arc::new(Nobody),
            log_rate: GuestLogRate::default(),
        }),
        workspace: WorkspaceSnapshot::empty(),
        deadline: deadline_after(Instant::now(), limits.callback_timeout),
        stop: StopFlag::default(),
        memory: MemoryBudget::unlimited().reserve(0)?,
    })
}

/// Services for an instance in which nothing runs, so nobody asks.
struct Nobody;

const NOBODY: &str = "there is no channel behind this instance";

impl GuestServices for Nobody {
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
