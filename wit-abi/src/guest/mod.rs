//! Reading guest binaries: what is inside, whether it fits, and which ABI version it is of.
//!
//! A guest is a component or a plain core module. A component is taken apart only as far as the main core module in
//! it: the encoders that make components give the main module's imports and exports fixed names, and the other core
//! modules in it (shim, fixup, preview 1 adapter) only route those same imports. So a host that knows the world
//! links the main module directly.
//!
//! Function bodies are not validated here: the engine that runs them does that.

mod component;
mod depth;
mod error;
mod features;
mod module;
mod names;
mod read;
mod shape;

pub use self::component::check_nesting;
pub use self::error::GuestError;
pub use self::read::{
    Export, Guest, GuestKind, Import, ImportKnowledge, ImportName, MAX_GUEST_SIZE, read_guest, read_guest_of,
};

#[cfg(test)]
pub(crate) mod tests;
