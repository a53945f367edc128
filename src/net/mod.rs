//! Network addresses: ranges of them, without I/O.

pub mod address_range;
