//! The types that cross between threads.

pub(crate) mod arrival;
pub(crate) mod callback;
pub(crate) mod completion;
pub(crate) mod guest_failure;
pub(crate) mod health;
pub(crate) mod link;
pub(crate) mod queue;
pub(crate) mod response;
pub(crate) mod setup;
pub(crate) mod upstream;

pub(crate) use arrival::{Event, ShutdownPhase, Wakeup};
