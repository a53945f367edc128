//! wasmi: engine, prepared modules, instances, fuel, deadline, pool, host imports, WASI.

mod budget;
mod config;
mod context;
mod error;
pub mod limits;
mod services;

pub use budget::{MemoryBudget, MemoryReservation};
pub use config::{DEFAULT_MAX_GUEST_BYTES, WasmChannelRuntimeConfig};
pub use context::{CallbackContext, ChannelRuntimeInfo, StopFlag};
pub use error::WasmChannelError;
pub use limits::CallbackLimits;
pub use services::{GuestHttpAnswer, GuestHttpRequest, GuestServices};
