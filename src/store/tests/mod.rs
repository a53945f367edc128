//! The store's promises, against each engine, failing disks and processes that are killed.

#[cfg(feature = "sqlite")]
mod commit_rate;
mod contract;
#[cfg(feature = "sqlite")]
mod faults;
pub(crate) mod faulty;
#[cfg(feature = "sqlite")]
mod kill;
mod lock;
#[cfg(feature = "cluster")]
mod mysql;
#[cfg(feature = "sqlite")]
mod place;
pub(crate) mod samples;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod thread;
pub(crate) mod writing;
