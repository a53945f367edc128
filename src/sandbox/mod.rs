//! wasmi: engine, prepared modules, instances, fuel, deadline, pool, host imports, WASI.

mod bounds;
mod branches;
mod context;
mod error;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod halt;
mod host_calls;
mod imports;
mod instance;
pub(crate) mod limits;
mod memory;
mod memory_pool;
mod meter;
mod prepared;
mod record;
mod runtime;
mod scan;
mod services;
mod state;
mod suitable;
mod text;
mod tool_chain;
mod trial;
mod wasi;
mod worker_pool;

pub use context::{CallbackContext, ChannelRuntimeInfo, GuestLogRate, StopFlag};
pub use error::WasmChannelError;
pub use memory::{MemoryBudget, MemoryReservation};
pub use prepared::PreparedChannelModule;
pub use runtime::{DEFAULT_MAX_GUEST_BYTES, WasmChannelRuntime, WasmChannelRuntimeConfig};
pub use services::{GuestHttpError, GuestServices};
pub use state::ChannelHostState;
pub use tool_chain::KNOWN_TOOL_CHAINS;
pub use worker_pool::{Job, PoolError, WorkerPool};
