//! `tinclaw.toml`, and what it becomes together with the command line.
//!
//! | file | job |
//! |---|---|
//! | `file` | the fields of the file |
//! | `parse` | from text to fields, with errors that name the line and the nearest field |
//! | `bounded` | numbers with bounds |
//! | `find` | which file, which state directory |
//! | `edit` | what `tinclaw setup` writes into the file |
//! | `settings` | file and command line together |
//! | `secrets` | where secrets come from |

mod edit;
mod file;
mod find;
mod parse;
mod secrets;
mod settings;

pub use edit::ConfigEdit;
pub use secrets::SecretSources;
pub use settings::{AgentChoice, Settings, control_socket};
