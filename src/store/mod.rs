//! Durable state behind one trait: in memory and SQLite.
//!
//! Everything that must survive a crash goes through here: messages and their attachments, replies, workspaces, timers,
//! dedupe keys, stored responses, pairing. What a callback did is one `Batch`; batches of many callbacks are
//! committed together in one durable transaction.
//!
//! | file | job |
//! |---|---|
//! | `record` | what is kept, as plain data, and how it is asked for |
//! | `change` | what a batch can do to it |
//! | `engine` | the trait `Store`, which another engine would implement |
//! | `error` | what can go wrong in an engine |
//! | `rules` | what a change does to a message or a reply, by its state |
//! | `retention` | how long completed records are kept: numbers and decisions |
//! | `memory` | the engine without a disk |
//! | `caller` | which commits on the caller's thread |
//! | `sqlite/` | the engine of the daemon |
//! | `ids` | ids for what is to be stored |
//! | `handle`, `thread` | the one thread that owns an engine, group commit, reopening after a failure |
//! | `journal` | batches that are not known to be durable, and are sent again after a failure: pure |
//! | `backlog` | how much is under way |
//! | `deferred` | batches that nobody waits for |
//! | `health` | what other threads can see of it |
//! | `lock` | one host per state directory |

mod backlog;
mod change;
mod engine;
mod error;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod handle;
mod health;
mod journal;
mod lock;
mod memory;
mod record;
mod retention;
mod rules;
pub(crate) mod sorted;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(test)]
pub(crate) mod tests;
mod thread;

pub(crate) use change::{Batch, Change, Entry, MAX_ATTACHMENTS, NewMessage, NewReply, PairingKey};
pub use engine::StoreUsage;
pub(crate) use engine::{Ids, LastIds, Maintenance, Store};
pub use error::{ReadError, StoreError};
pub use handle::CommitError;
pub(crate) use handle::StoreHandle;
pub use health::{StoreHealth, StoreState};
pub(crate) use lock::HostLock;
pub(crate) use lock::LockError;
pub(crate) use memory::MemoryStore;
pub(crate) use record::{
    ChannelKey, DedupeId, DedupeKey, DedupeRecord, Loaded, LoadedChannel, MAX_ROWS, PairedIdentity,
    PairingLock, PairingRecord, PairingRequest, PairingState, PendingMessage, PendingReply, StoredResponse,
    TimerRecord,
};
pub use record::{
    MessageFilter, MessageId, MessageRecord, MessageState, MessageSummary, ReplyAttachment, ReplyBody,
    ReplyFilter, ReplyId, ReplyKind, ReplyRecord, ReplyState, ReplySummary,
};
pub(crate) use retention::PruneStats;
pub use retention::Retention;
#[cfg(feature = "sqlite")]
pub use sqlite::Durability;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::{SqliteOptions, SqliteStore};
pub(crate) use thread::{Opener, StoreEvent, StoreThread, StoreThreadConfig};
