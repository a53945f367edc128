//! The channel ABI: what a sandboxed chat channel imports and exports, how values move in and out of it, and how its
//! binary is read.
//!
//! - [`types`]: the records and enums of the world `near:agent/sandboxed-channel`.
//! - [`guest`]: reads a component or a core module, and says what it needs or why it is refused.
//! - [`flavour`]: the shapes that the world had, and which of them a guest shows.
//! - [`imports`] and [`exports`]: the functions, their core types, lifting and lowering.
//! - [`canonical`]: core values, the trait for a guest's memory and allocator, and what can be wrong with a value.
//!
//! The `.wit` files of every flavour are in `wit/`, with documentation for those who write channels.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod canonical;
pub mod exports;
pub mod flavour;
pub mod guest;
pub mod imports;
pub mod types;
