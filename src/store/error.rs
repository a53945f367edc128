//! What can go wrong in an engine, and what its callers are told of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why an engine could not do what it was asked.
///
/// [`Rejected`](Self::Rejected) is the batch's own fault; everything else means that the store cannot be used at present,
/// see [`is_unavailable`](Self::is_unavailable).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// One batch of the group cannot be kept, now or later. Nothing of the group was committed; without that batch the
    /// others can be.
    #[error(
        "not stored, now or later: {reason}; the store itself works, so what asked for it must ask for less"
    )]
    Rejected {
        /// Its place in the slice that was given.
        batch: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk is full, or the file has reached the size it was allowed.
    #[error("no space left for {path}: free some, or raise the limit of the store's size")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file system or the file cannot be written.
    #[error("{path} is read-only: check its owner, its mode and how its file system is mounted")]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds a lock on the file.
    #[error("{path} is locked by another process: close whatever else has it open")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is no database or parts of it are destroyed. It is left as it is.
    #[error(
        "{path} is damaged ({detail}): restore it from a backup, or move it away to begin with an empty one"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file is a database of another program. It is left as it is.
    #[error("{path} is a database, but not one of tinclaw: move it away or choose another state directory")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer release. It is left as it is.
    #[error("{path} has schema version {found}, this release knows up to {known}: run the newer release")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that is known.
        known: i64,
    },
    /// Reading, writing or syncing failed.
    #[error(
        "{path} cannot be read or written: {detail}; check the disk, its file system and the kernel's log"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The files that were opened are no longer those in the state directory: somebody deleted or replaced them.
    #[error(
        "{path} was {what} while the host ran, so that nothing would be kept: put it back, or restart the host to begin \
         with what is there"
    )]
    Replaced {
        /// The file.
        path: PathBuf,
        /// What happened to it.
        what: &'static str,
    },
    /// The files in the state directory are those that were opened, but another program has written to them.
    #[error(
        "{path} was overwritten or cut off by another program while the host ran, so that what is stored may be lost: stop \
         the host and restore the state directory from a backup, or restart it to begin with what is there"
    )]
    Overwritten {
        /// The file.
        path: PathBuf,
    },
    /// The path of a file names something else, which is left as it is.
    #[error("{path} cannot be used: {detail}")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there.
        detail: &'static str,
    },
    /// The store that was reopened is not the one that was open before: it lacks batches that were reported as durable, or has
    /// some that this host never sent.
    #[error(
        "the store was replaced by another one while the host ran: it ends with batch {found}, but {promised} had been \
         kept and {last} had been sent; put the right one back, or restart the host to begin with what is there"
    )]
    OtherStore {
        /// The last batch that was reported as durable.
        promised: u64,
        /// The last batch that was sent.
        last: u64,
        /// The last batch that the store has.
        found: u64,
    },
    /// The database that several hosts share does not respond, or refuses.
    #[cfg(feature = "cluster")]
    #[error("{database} cannot be used: {detail}; check that it runs, and that this host may use it")]
    Database {
        /// Its address, without a password.
        database: String,
        /// What it said.
        detail: String,
    },
    /// Another host has taken over what this one held, or another process goes by its name: nothing of this one is kept any more.
    #[cfg(feature = "cluster")]
    #[error(
        "{database} takes nothing from this host any more, since another one has taken over its channels or has its name: \
         it has to be restarted"
    )]
    Fenced {
        /// The address of the database.
        database: String,
    },
    /// The thread of the store could not be started.
    #[error(
        "the store's thread could not be started: {detail}; raise the limits on processes and memory of this user or service"
    )]
    Thread {
        /// What the system said.
        detail: String,
    },
    /// The store's thread, or something that it called, has panicked.
    #[error("the store's thread has panicked and restarts; please report this")]
    Panicked,
    /// An earlier failure has closed this store; it has to be reopened.
    #[error(
        "the store was closed after an earlier failure, which the log tells; it is opened again by itself"
    )]
    Broken,
}

impl StoreError {
    /// Whether the store itself is the matter, so that nothing can be kept until it was reopened.
    pub fn is_unavailable(&self) -> bool {
        !matches!(self, Self::Rejected { .. })
    }
}

/// Why something is not stored, or what is stored could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The store cannot be used at present, for all channels alike: its disk is full or away, for instance. The host opens
    /// it again by itself; the reason says what the operator can do meanwhile.
    #[error("the store cannot be used at present: {reason}")]
    Unavailable {
        /// What happened, and what an operator can do.
        reason: Arc<str>,
        /// When to try again; whole seconds, at least one.
        retry_after: Duration,
    },
    /// This change cannot be stored, now or later; the store itself works.
    #[error(
        "not stored, now or later: {reason}; the store itself works, so what asked for it must ask for less"
    )]
    Rejected {
        /// What is wrong with it.
        reason: String,
    },
    /// The store works, but not for this query: what it holds cannot be understood. Nothing was changed.
    #[error("the store could not be read: {reason}")]
    Unreadable {
        /// What happened.
        reason: String,
    },
    /// The host is shutting down. What was stored can be read when it runs again.
    #[error("the store has been stopped: the host is shutting down")]
    Stopped,
}

impl StateError {
    /// Why an engine has not committed a batch.
    pub(super) fn of_commit(error: &StoreError) -> Self {
        match error {
            StoreError::Rejected { reason, .. } => Self::Rejected { reason: reason.clone() },
            other => Self::unavailable(other),
        }
    }

    /// Why an engine has not run a query.
    pub(super) fn of_query(error: &StoreError) -> Self {
        match error {
            StoreError::Rejected { reason, .. } => Self::Unreadable { reason: reason.clone() },
            other => Self::unavailable(other),
        }
    }

    fn unavailable(error: &StoreError) -> Self {
        Self::Unavailable { reason: error.to_string().into(), retry_after: Duration::from_secs(1) }
    }
}
