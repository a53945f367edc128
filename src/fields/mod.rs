//! Reading what people and programs write as JSON: the fields of an object, each with its type. No I/O.
//!
//! Capability files are read with it, and whatever else an embedder reads in the same way: [`Fields`] has one method for
//! each type, which gives the field, or none when the field is not there. What is wrong is noted, the first of it only,
//! and told when the whole object was read.
//!
//! ```
//! use serde_json::json;
//! use tinclaw::fields::{Fields, strictly};
//!
//! struct Seat {
//!     row: String,
//!     number: u32,
//! }
//!
//! fn seat(fields: &mut Fields) -> Option<Seat> {
//!     Some(Seat { row: fields.text("row")?, number: fields.u32("number").unwrap_or(1) })
//! }
//!
//! let wrong = strictly(json!({"row": "c", "nummer": 4}), seat).err().unwrap();
//! assert_eq!(wrong.to_string(), "unknown field `nummer`; did you mean `number`?");
//! ```
//!
//! A reader that gives up with `?` says by it that the field must be there. One that goes on instead, with
//! [`Fields::needed_text`] or [`Fields::missing`], can tell a field that is missing from one that is misspelt.

mod nearest;
mod read;
#[cfg(test)]
mod tests;
mod wrong;

pub use nearest::nearest;
pub use read::{Fields, json, loosely, strictly, with_comments};
pub use wrong::{Expected, Found, Problem, Step, Wrong};
