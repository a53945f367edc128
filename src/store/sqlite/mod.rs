//! The engine of the daemon: one SQLite file, `tinclaw.db`.
//!
//! | file | job |
//! |---|---|
//! | `schema` | tables, versions, migrations |
//! | `fault` | what SQLite's errors mean here |
//! | `open` | opening a file without ever harming one that is not ours or not whole |
//! | `identity` | whether the files are still those that were opened, and hold what was written |
//! | `engine` | the trait, and what happens to the connection when something fails |
//! | `write` | changes into rows |
//! | `read` | rows into records and lists |
//! | `trace` | what happened to messages and replies |
//! | `load` | everything that the host keeps in memory |
//! | `reserve` | room that is given up when the disk is full |
//! | `maintenance` | pruning, checkpoints, vacuum, probe, sizes |

mod engine;
mod fault;
mod identity;
mod load;
mod maintenance;
mod open;
mod read;
mod reserve;
mod schema;
#[cfg(any(feature = "cli", test))]
mod trace;
mod write;

pub use engine::SqliteStore;
pub use open::{Durability, SqliteOptions};
