//! Tools in the sandbox: of every flavour, hostile ones, at their limits, and one calling another.

mod flavours;
mod hostile;
mod invoke;
mod limits;
mod support;
mod world;
