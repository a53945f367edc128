//! The types that cross between threads.

pub mod callback;
