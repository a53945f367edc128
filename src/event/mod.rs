//! The types that cross between threads.

pub(crate) mod arrival;
pub mod callback;
pub(crate) mod completion;
pub mod health;
pub(crate) mod queue;
pub(crate) mod response;
pub(crate) mod setup;
pub(crate) mod upstream;

pub(crate) use arrival::{Event, ShutdownPhase, Wakeup};
