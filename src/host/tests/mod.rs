//! Whole hosts: delivery, limits, crashes and disks that fail.

#[cfg(feature = "sqlite")]
mod crash;
#[cfg(feature = "sqlite")]
mod crash_consistency;
#[cfg(feature = "sqlite")]
mod delivery;
#[cfg(feature = "sqlite")]
mod full_disk;
#[cfg(feature = "cli")]
mod limits;
#[cfg(feature = "sqlite")]
#[allow(dead_code, reason = "the benches use all of it")]
#[path = "../../../benches/load/mod.rs"]
mod load;
#[cfg(feature = "sqlite")]
mod soak;
#[cfg(feature = "sqlite")]
mod store_faults;
