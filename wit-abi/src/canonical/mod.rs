//! The canonical ABI over a guest memory.
//!
//! Values move as `CanonicalABI.md` of the component model says, for a 32-bit memory and UTF-8 strings: parameters
//! are flattened to core values, results that need more than one core value go through memory, strings and lists
//! are a pointer and a length. Everything that comes from a guest is checked, see [`AbiError`].
//!
//! One lifted value never takes more room in the host than the guest's memory has: every string and list is charged
//! to a budget of that size before it is copied, so overlapping lists cannot make the host allocate without bounds.

mod core_types;
mod error;
mod layout;
mod lift;
mod lower;
mod model;
mod records;

pub use self::core_types::{CoreArgs, CoreFuncType, CoreType, CoreValue, MAX_CORE_ARGS};
pub use self::error::AbiError;
pub use self::lift::GuestMemory;
pub use self::lower::GuestAlloc;

pub(crate) use self::lift::{Arguments, lift_from_memory};
pub(crate) use self::lower::{ArgumentList, check_area, lower_to_memory};
pub(crate) use self::model::{Func, Type};
pub(crate) use self::records::{STATUS_UPDATE_5, TOOL_RESPONSE_WITH_RESULT, Value, WithoutAttachments};

#[cfg(test)]
mod calls;
#[cfg(test)]
mod proofs;
#[cfg(test)]
pub(crate) mod properties;
