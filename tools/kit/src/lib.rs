//! What a tool for tinclaw is written with.
//!
//! A tool is a type that implements [`Tool`] and one line, [`tool!`]. Each call has a fresh instance: nothing in memory outlives
//! it. What must, is in the tool's [`state`], which each person has for themselves.
//!
//! ```
//! use serde::Deserialize;
//! use serde_json::{Value, json};
//! use tinclaw_tool_kit::{Call, Tool, state};
//!
//! struct Counter;
//!
//! #[derive(Deserialize)]
//! struct Params {
//!     by: u64,
//! }
//!
//! impl Tool for Counter {
//!     type Params = Params;
//!
//!     fn description() -> String {
//!         "Counts for each person.".into()
//!     }
//!
//!     fn schema() -> Value {
//!         json!({"type": "object", "properties": {"by": {"type": "integer", "minimum": 1}}, "required": ["by"]})
//!     }
//!
//!     fn call(params: Params, _: &Call) -> Result<String, String> {
//!         let count = state::get::<u64>("count").unwrap_or_default() + params.by;
//!         state::set("count", &count)?;
//!         Ok(count.to_string())
//!     }
//! }
//!
//! tinclaw_tool_kit::tool!(Counter);
//! ```
//!
//! On the machine that develops a tool, `cargo test` runs it against [`fake::FakeHost`].

#[doc(hidden)]
pub mod bindings;
mod call;
#[cfg(not(target_family = "wasm"))]
pub mod fake;
pub mod host;
pub mod http;
pub mod state;
mod tool;

pub use call::Call;
#[doc(hidden)]
pub use tool::Exported;
pub use tool::Tool;
