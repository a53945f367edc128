//! The channel ABI: what a sandboxed chat channel imports and exports, how values move in and out of it, and how its
//! binary is read.
//!
//! - [`types`]: the records and enums of the world `near:agent/sandboxed-channel`.
//! - [`guest`]: reads a component or a core module, and says what it needs or why it is refused.
//! - [`abi_version`]: the shapes that the world had, and which of them a guest shows.
//! - [`imports`] and [`exports`]: the functions, their core types, lifting and lowering.
//! - [`canonical`]: core values, the trait for a guest's memory and allocator, and what can be wrong with a value.
//!
//! The `.wit` files of every ABI version are in `wit/`, with documentation for those who write channels. Nothing here runs
//! a guest: the crate turns bytes into values and back, and leaves the engine to its user.
//!
//! # Example
//!
//! A guest is read, and refused when it does not fit. What it is called with is lowered into its memory; what it calls
//! the host with is lifted out of it.
//!
//! ```
//! use wit_abi::canonical::{AbiError, CoreValue, GuestAlloc};
//! use wit_abi::exports::{self, GuestFunc};
//! use wit_abi::guest::{ImportKnowledge, read_guest};
//! use wit_abi::imports::{HostCall, HostFunc};
//!
//! # let bytes = wat::parse_str(r#"(module
//! #     (import "near:agent/channel-host@0.3.1" "log" (func (param i32 i32 i32)))
//! #     (memory (export "memory") 1)
//! #     (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
//! #     (func (export "near:agent/channel@0.3.1#on-start") (param i32 i32) (result i32) unreachable)
//! #     (func (export "near:agent/channel@0.3.1#on-http-request")
//! #         (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
//! #     (func (export "near:agent/channel@0.3.1#on-poll"))
//! #     (func (export "near:agent/channel@0.3.1#on-respond")
//! #         (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
//! #     (func (export "near:agent/channel@0.3.1#on-shutdown")))"#)?;
//! // `bytes` is a component or a core module; this host has no WASI.
//! let guest = read_guest(&bytes, &|_| ImportKnowledge::Unknown)?;
//! assert_eq!(guest.abi_version.version.suffix(), "@0.3.1");
//! assert_eq!(guest.export(GuestFunc::OnPoll).unwrap().name, "near:agent/channel@0.3.1#on-poll");
//! assert_eq!(HostFunc::Log.core_type(&guest.abi_version).to_string(), "(i32, i32, i32)");
//!
//! // A guest's memory and its allocator; a real one calls `cabi_realloc` of an instance.
//! struct Memory(Vec<u8>, u32);
//!
//! impl GuestAlloc for Memory {
//!     type Error = AbiError;
//!
//!     fn memory(&mut self) -> &mut [u8] {
//!         &mut self.0
//!     }
//!
//!     fn realloc(&mut self, align: u32, size: u32) -> Result<u32, AbiError> {
//!         let address = self.1.next_multiple_of(align);
//!         self.1 = address + size;
//!         Ok(address)
//!     }
//! }
//!
//! let mut memory = Memory(vec![0; 1024], 16);
//! let args = exports::lower_on_start(r#"{"name":"web"}"#, &mut memory)?;
//! assert_eq!(args[..], [CoreValue::I32(16), CoreValue::I32(14)]);
//!
//! // The guest logs, at level 2, the text that it was started with.
//! let args = [CoreValue::I32(2), args[0], args[1]];
//! let HostCall::Log { level, message } = HostCall::lift(HostFunc::Log, &guest.abi_version, &args, &memory.0)? else {
//!     unreachable!()
//! };
//! assert_eq!((level, message.as_str()), (wit_abi::types::LogLevel::Info, r#"{"name":"web"}"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is checked
//!
//! Every pointer, length, alignment, discriminant and UTF-8 sequence that comes from a guest, and every address that
//! its allocator returns. A value never takes more room in the host than the guest's memory has. Of a binary:
//! everything but function bodies, which the engine validates, with bounds on size and nesting.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod abi_version;
pub mod canonical;
pub mod exports;
pub mod guest;
pub mod imports;
pub mod types;
