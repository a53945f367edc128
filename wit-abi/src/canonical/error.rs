//! What can be wrong with a value that a guest hands over.

use thiserror::Error;

/// A value that breaks the canonical ABI. The callback that it came from must be ended as by a trap; the guest is
/// at fault, or the toolchain that built it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AbiError {
    /// A pointer and a length that reach outside the guest's memory.
    #[error(
        "{what} of {len} bytes at address {address:#x} lies outside the guest's memory of {memory} bytes"
    )]
    OutOfBounds {
        /// What the pointer stands for.
        what: &'static str,
        /// The pointer.
        address: u32,
        /// How many bytes are meant to be there.
        len: u64,
        /// The size of the guest's memory in bytes.
        memory: usize,
    },
    /// A pointer that is not a multiple of the alignment of what it points to.
    #[error("{what} at address {address:#x} is not aligned to {align} bytes")]
    Unaligned {
        /// What the pointer stands for.
        what: &'static str,
        /// The pointer.
        address: u32,
        /// The alignment that it must have, in bytes.
        align: u32,
    },
    /// An enum, option or result whose discriminant stands for no case.
    #[error("{ty} has no case {value}, only {cases} cases")]
    InvalidDiscriminant {
        /// The name of the type.
        ty: &'static str,
        /// What the guest gave.
        value: u32,
        /// How many cases there are; the first is 0.
        cases: u32,
    },
    /// A string that is not UTF-8.
    #[error("a string of {len} bytes at address {address:#x} is not UTF-8 after its first {valid} bytes")]
    InvalidUtf8 {
        /// Where the string is.
        address: u32,
        /// Its length in bytes.
        len: u32,
        /// How many of its bytes are UTF-8.
        valid: usize,
    },
    /// A value that would take more room in the host than the guest's whole memory: strings or lists that overlap.
    #[error(
        "a value needs {needed} more bytes, but only {left} of the guest's {memory} bytes of memory are left to it"
    )]
    Oversized {
        /// The bytes that the next part would take.
        needed: u64,
        /// The bytes that this value may still take.
        left: usize,
        /// The size of the guest's memory in bytes, which is what one value may take.
        memory: usize,
    },
    /// A value for which the host has no room, see [`GuestMemory::with_room`](super::GuestMemory::with_room).
    #[error("the host has no room for {needed} more bytes of a value")]
    NoRoom {
        /// The bytes that the next part would take.
        needed: u64,
    },
    /// A value of the host that is too long for a 32-bit guest.
    #[error("{what} with {count} elements is too long for a 32-bit guest")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length in elements.
        count: usize,
    },
    /// A call with fewer arguments than its signature has, or with others. It does not happen where the types of
    /// imports are checked when they are linked.
    #[error("argument {index} of the call is missing or of another type than {expected}")]
    WrongArgument {
        /// The index of the core argument.
        index: usize,
        /// The type that was expected.
        expected: super::CoreType,
    },
}
