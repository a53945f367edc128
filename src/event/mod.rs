//! The types that cross between threads.

pub mod answer;
pub mod arrival;
pub mod callback;
pub mod completion;
pub mod health;
pub mod setup;

pub use arrival::{Event, Wakeup};

/// Now, in Unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
