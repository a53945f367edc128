//! wasmi: engine, prepared modules, instances, fuel, deadline, pool, host imports, WASI.

mod bounds;
mod branches;
pub(crate) mod context;
mod error;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod host_call_error;
mod host_calls;
mod instance;
mod machine;
mod memory;
mod memory_pool;
mod meter;
mod preparation;
mod prepared;
mod record;
mod runtime;
mod scan;
mod state;
mod suitable;
#[cfg(test)]
mod tests;
mod text;
mod tool_chain;
mod wasi;
pub(crate) mod wechat;
mod worker_pool;

pub(crate) use context::{
    CallbackContext, CallbackRunner, ChannelRuntimeInfo, GuestHttpError, GuestLogRate, GuestServices,
    InvokedTool, StopFlag, ToolBudget,
};
pub use error::WasmChannelError;
pub(crate) use host_call_error::HostCallError;
pub(crate) use machine::{affordable_workers, default_memory_budget};
pub(crate) use memory::{MemoryBudget, MemoryReservation};
pub(crate) use preparation::PREPARE_TIMEOUT;
pub use prepared::PreparedChannelModule;
pub(crate) use record::log_level;
pub(crate) use runtime::DEFAULT_MAX_GUEST_BYTES;
pub use runtime::{WasmChannelRuntime, WasmChannelRuntimeConfig};
pub use state::ChannelHostState;
pub(crate) use tool_chain::library_advice;
pub(crate) use worker_pool::{PoolError, STACK_BYTES as GUEST_STACK_BYTES, Task, WorkerHandle, WorkerPool};
