//! The sandbox through its public surface: what guests may do, and what happens to those that do more.

mod limits;
mod support;
