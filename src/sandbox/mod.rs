//! wasmi: engine, prepared modules, instances, fuel, deadline, pool, host imports, WASI.

mod bounds;
mod branches;
mod config;
mod context;
mod error;
mod halt;
mod host_calls;
mod imports;
mod instance;
pub(crate) mod limits;
mod memory;
mod meter;
mod pool;
mod prepared;
mod record;
mod runtime;
mod scan;
mod services;
mod state;
mod stretches;
mod suitable;
mod text;
mod tool_chain;
mod trial;
mod wasi;

pub use config::{DEFAULT_MAX_GUEST_BYTES, WasmChannelRuntimeConfig};
pub use context::{CallbackContext, ChannelRuntimeInfo, GuestLogRate, StopFlag};
pub use error::WasmChannelError;
pub use memory::{MemoryBudget, MemoryReservation};
pub use pool::{Job, PoolError, WorkerPool};
pub use prepared::PreparedChannelModule;
pub use runtime::WasmChannelRuntime;
pub use services::{GuestHttpError, GuestServices};
pub use state::ChannelHostState;
pub use tool_chain::KNOWN_TOOL_CHAINS;
