//! wasmi: engine, prepared modules, instances, fuel, deadline, pool, host imports, WASI.

mod config;
mod context;
mod error;
mod halt;
pub mod limits;
mod memory;
mod meter;
mod pool;
mod scan;
mod services;

pub use config::{DEFAULT_MAX_GUEST_BYTES, WasmChannelRuntimeConfig};
pub use context::{CallbackContext, ChannelRuntimeInfo, StopFlag};
pub use error::WasmChannelError;
pub use limits::CallbackLimits;
pub use memory::{MemoryBudget, MemoryReservation};
pub use pool::{Job, PoolError, WorkerPool};
pub use services::{GuestHttpAnswer, GuestHttpRequest, GuestServices};
