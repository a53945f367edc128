//! Durable state: in memory or in SQLite, as [`StateLocation`](crate::host::StateLocation) says; for the daemon also in a database that
//! several hosts share. A store of one's own is not possible.
//!
//! Everything that must survive a crash goes through here: messages and their attachments, replies, workspaces, timers,
//! dedupe keys, stored responses, pairing. What a callback did is one `Batch`; batches of many callbacks are
//! committed together in one durable transaction.
// | file | job |
// |---|---|
// | `record` | what is kept, as plain data, and how it is asked for |
// | `change` | what a batch can do to it |
// | `engine` | the trait `Store`, which each engine implements |
// | `error` | what can go wrong in an engine |
// | `rules` | what a change does to a message or a reply, by its state |
// | `retention` | how long completed records are kept: numbers and decisions |
// | `memory`, `memory_pairing`, `memory_trace` | the engine without a disk |
// | `sqlite/` | the engine of the daemon |
// | `mysql/` | the engine that several hosts share |
// | `handle`, `thread` | the one thread that owns an engine, group commit, reopening after a failure |
// | `journal` | batches that are not known to be durable, and are sent again after a failure: pure |
// | `backlog` | how much is under way |
// | `commit_time` | how long durable transactions take |
// | `health` | what other threads can see of it |
// | `lock` | one host per state directory |
// | `trace`, `trace_queries` | what happened to messages and replies, step by step |

mod backlog;
mod change;
pub(crate) mod commit_time;
mod engine;
mod error;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod handle;
mod health;
mod journal;
#[cfg(feature = "sqlite")]
mod lock;
mod memory;
mod memory_pairing;
#[cfg(any(feature = "cli", test))]
mod memory_trace;
#[cfg(feature = "cluster")]
mod mysql;
mod record;
mod retention;
mod rules;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(test)]
pub(crate) mod tests;
mod thread;
mod trace;
mod trace_queries;

pub(crate) use change::{Batch, Change, NewMessage, NewReply, PairingKey};
pub(crate) use engine::Ids;
pub use engine::StoreUsage;
pub use error::{StateError, StoreError};
pub(crate) use handle::StoreHandle;
pub use health::{StoreHealth, StoreState};
pub(crate) use memory::MemoryStore;
#[cfg(feature = "cluster")]
pub(crate) use mysql::{Connector, DatabaseAddress, HeldChannels, MysqlStore, Scope};
#[cfg(feature = "cluster")]
pub(crate) use record::MovedChannel;
/// What else is kept in the database that several hosts share: who has which channel.
#[cfg(feature = "cluster")]
pub(crate) mod database {
    pub(crate) use super::mysql::{
        DatabaseFault, DatabaseSession, JoinedHost, NOW_MS, all, at_one_moment, get, key_of, lock_host,
        number, one, transaction, wait_until_current,
    };
}
pub(crate) use record::{
    ChannelKey, DedupeId, DedupeRecord, Loaded, LoadedChannel, PairedIdentity, PairingLock, PairingRecord,
    PairingRequest, PairingState, PendingMessage, PendingReply, TimerRecord,
};
pub use record::{
    MessageFilter, MessageId, MessageRecord, MessageState, MessageSummary, ReplyFilter, ReplyId, ReplyRecord,
    ReplyState, ReplySummary,
};
pub use retention::Retention;
#[cfg(feature = "sqlite")]
pub use sqlite::Durability;
pub(crate) use thread::{Opener, StoreEvent, StoreThread, StoreThreadConfig};
pub(crate) use trace::{TraceKind, TraceStep, TraceSubject};
// What an engine on disk has to do with.
#[cfg(any(feature = "sqlite", test))]
pub(crate) use {
    change::{MAX_ATTACHMENTS, NumberedBatch},
    engine::{LastIds, Maintenance, Store},
    record::{MAX_ROWS, StoredDedupeKey},
    retention::PruneStats,
};
#[cfg(feature = "sqlite")]
pub(crate) use {
    lock::{HostLock, LockError},
    sqlite::{SqliteOptions, SqliteStore},
};

#[cfg(any(feature = "cli", test))]
pub(crate) use {lock::Holder, trace_queries::TraceQueries};

/// Without a disk there is no directory that another host could use.
#[cfg(not(feature = "sqlite"))]
pub(crate) enum HostLock {}
