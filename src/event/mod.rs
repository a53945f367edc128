//! The types that cross between threads.

pub mod arrival;
pub mod callback;
pub mod completion;
pub mod health;
pub mod queue;
pub mod response;
pub mod setup;
pub mod upstream;

pub use arrival::{Event, ShutdownPhase, Wakeup};
