//! `tinclaw.toml`, and what it becomes together with the command line.
//!
//! | file | job |
//! |---|---|
//! | `agent` | which agent replies, and the settings of its kind |
//! | `file` | the fields of the file |
//! | `parse` | from text to fields, with errors that name the line and the nearest field |
//! | `layers` | defaults, file, environment and command line, and which of them a value is from |
//! | `find` | which file, which state directory |
//! | `edit` | what `tinclaw setup` writes into the file |
//! | `settings` | file and command line together |
//! | `secrets` | where secrets come from |
//! | `cluster` | the database that several hosts share, and what each of them says of itself |

mod agent;
#[cfg(feature = "cluster")]
mod cluster;
mod edit;
mod file;
mod find;
mod layers;
mod parse;
mod secrets;
mod settings;

pub use agent::AgentChoice;
pub use edit::ConfigEdit;
pub use find::home_file;
pub use layers::{ConfigValue, ValueSource, changed, is_at_or_below, leaves_of, unused_variables};
pub use parse::documented_defaults;
pub use secrets::SecretSources;
pub use settings::Settings;
