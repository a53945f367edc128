//! Durable state behind one trait: in memory and SQLite.
//!
//! Everything that must survive a crash goes through here: messages and their attachments, replies, workspaces, timers,
//! poll times, seen ids, stored answers, pairing. What a callback did is one [`Batch`]; batches of many callbacks are
//! committed together in one durable transaction.
//!
//! | file | job |
//! |---|---|
//! | `record` | what is kept, as plain data, and how it is asked for |
//! | `change` | what a batch can do to it |
//! | `engine` | the trait [`Store`], which another engine would implement |
//! | `error` | what can go wrong in an engine |
//! | `retention` | how long completed records are kept: numbers and decisions |
//! | `memory` | the engine without a disk |
//! | `caller` | which commits on the caller's thread |
//! | `sqlite/` | the engine of the daemon |
//! | `handle`, `thread` | the one thread that owns an engine, group commit, reopening after a failure |
//! | `deferred` | batches that nobody waits for |
//! | `health` | what other threads can see of it |
//! | `lock` | one host per state directory |

mod caller;
mod change;
mod deferred;
mod engine;
mod error;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod handle;
mod health;

mod lock;
mod memory;
mod read_error;
mod record;
mod retention;
pub(crate) mod sorted;
#[cfg(feature = "sqlite")]
mod sqlite;
mod thread;

pub use change::{Batch, Change, NewAttachment, NewMessage, NewReply, PairingKey, Receipt};
pub use change::{MAX_ATTACHMENTS, MAX_BATCH_BYTES};
pub use engine::{Moment, Store, StoreUsage};
pub use error::StoreError;
pub use handle::{CommitError, Generation, StoreHandle};
pub use health::{StoreHealth, StoreState};
pub use lock::{HostLock, LockError};
pub use memory::MemoryStore;
pub use read_error::ReadError;
pub use record::{
    AttachmentMeta, AttachmentRecord, ChannelKey, DedupeKey, Loaded, LoadedChannel, MAX_ROWS, MessageBody,
    MessageFilter, MessageId, MessageRecord, MessageState, MessageSummary, PairedIdentity, PairingLock,
    PairingRecord, PairingRequest, PairingState, PendingMessage, PendingReply, ReplyAttachment, ReplyBody,
    ReplyFilter, ReplyId, ReplyKind, ReplyRecord, ReplyState, ReplySummary, SeenId, SeenRecord,
    StoredResponse, TimerRecord,
};
pub use retention::{PruneStats, Retention};
#[cfg(feature = "sqlite")]
pub use sqlite::{Durability, SqliteOptions, SqliteStore};
pub use thread::{Opener, StoreEvent, StoreThread, StoreThreadConfig};
