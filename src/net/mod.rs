//! Network addresses.

pub mod address_range;
pub(crate) mod reachable;
