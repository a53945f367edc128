//! The channel ABI.
#![forbid(unsafe_code)]

pub mod types;
