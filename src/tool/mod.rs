//! Tools: what an agent may call, in the same sandbox as channels.
//!
//! A tool is a guest of the world `near:agent/sandboxed-tool`: it is called with JSON and returns text. Each call has a fresh
//! instance on the engine, in the memory budget, the fuel slices and the outbound requests that channels have.

#[cfg(feature = "cli")]
mod bundled;
mod call;
mod call_workers;
mod error;
mod files;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
#[cfg(feature = "cli")]
mod install;
mod prepared;
mod registry;
mod rights;
mod runtime;
mod schema;
mod settings;
mod state;

#[cfg(feature = "cli")]
pub(crate) use bundled::bundled_tool_names;
pub use call::{ToolCall, ToolReport};
pub(crate) use call_workers::HostRoom;
pub use error::{ToolError, ToolFailure};
#[cfg(feature = "cli")]
pub(crate) use install::{default_tools_dir, install_bundled_tool, install_tool, remove_tool};
pub use prepared::PreparedTool;
#[cfg(feature = "cli")]
pub(crate) use registry::LoadedTools;
pub use registry::ToolRegistry;
pub use runtime::{WasmToolRuntime, WasmToolRuntimeConfig};
#[cfg(feature = "agent-openai")]
pub(crate) use schema::ParameterSchema;
#[cfg(feature = "cli")]
pub(crate) use settings::ToolSettings;
pub(crate) use state::take_stored;
