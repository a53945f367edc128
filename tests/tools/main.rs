//! Tools in the sandbox: of every ABI version, hostile ones, at their limits, one calling another, and those that come with
//! the program.

mod abi_versions;
mod hostile;
mod invoke;
mod limits;
mod own;
mod support;
mod world;
