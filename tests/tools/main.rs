//! Tools in the sandbox: of every ABI version, hostile ones, at their limits, and one calling another.

mod abi_versions;
mod hostile;
mod invoke;
mod limits;
mod support;
mod world;
