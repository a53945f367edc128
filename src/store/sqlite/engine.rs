//! The trait, and what happens to the connection when something fails.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};

use super::fault::{fault, rejection};
use super::identity::{Identity, Watch};
use super::maintenance::{self, Effort};
use super::open::{Durability, SqliteOptions, open};
use super::reserve::Reserve;
use super::write::{Numbers, Writer};
use super::{load, read};
use crate::net::channel_response::ChannelResponse;
use crate::store::{
    ChannelKey, DedupeId, Loaded, LoadedChannel, Maintenance, MessageFilter, MessageId, MessageRecord,
    MessageSummary, NumberedBatch, Opener, PruneStats, ReplyFilter, ReplyId, ReplyRecord, ReplySummary,
    Retention, Store, StoreError, StoreUsage,
};

/// A store in one SQLite file.
///
/// The file is created with mode 0600 and kept in WAL mode; beside it lie `-wal` and `-shm` files while it is open. Another
/// process may read it (a backup, a look with the `sqlite3` shell).
pub struct SqliteStore {
    conn: Connection,
    path: PathBuf,
    numbers: Option<Numbers>,
    durability: Durability,
    watch: Watch,
    /// The number of the last batch that was kept.
    kept: u64,
    /// Where the end of the connection says what the next opening must find; none for a file that is opened once.
    next: Option<Next>,
    reserve: Reserve,
    /// The disk is full, or the database as large as it may be: what is stored should leave.
    low: bool,
    /// About how much transactions have written since the log was measured.
    unmeasured_bytes: u64,
    /// How often a file was forced to the medium.
    syncs: u64,
    /// Something has failed: this connection writes nothing any more.
    broken: bool,
}

/// The log is measured between groups when about so much was written since the last time. SQLite compiles the two pragmas for
/// that each time, and a log that is a fiftieth longer does no harm.
const MEASURED_BYTES: u64 = 64 << 10;
/// What a transaction writes beside what its batches say: pages that are changed in a few bytes only.
const TRANSACTION_BYTES: u64 = 8 << 10;

/// What the next opening must find; none before the first. Each opening and each end of a connection stores it; one connection is open
/// at a time, so the lock is for the type alone.
type Next = Arc<Mutex<Option<Left>>>;

/// What a connection leaves.
#[derive(Clone)]
struct Left {
    identity: Identity,
    /// The number of the last batch that was kept.
    kept: u64,
    /// The file that another program has overwritten: it is opened no more.
    overwritten: Option<PathBuf>,
}

impl SqliteStore {
    /// Opens a file, or creates it.
    ///
    /// # Errors
    /// A file that is damaged, of another program, or of a newer release is refused and left as it is; also
    /// [`StoreError::ReadOnly`], [`StoreError::Full`], [`StoreError::Locked`] and [`StoreError::Io`].
    #[cfg(test)]
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        Self::open_with(path, &SqliteOptions { durability, ..SqliteOptions::default() })
    }

    /// Opens a file, or creates it, with all options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, options: &SqliteOptions) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let conn = open(&path, options)?;
        let watch = Watch::of(&conn, &path)?;
        let kept = load::last_number(&conn).map_err(|error| fault(&path, &error))?;
        let reserve = Reserve::beside(&path, options.reserve_bytes);
        let durability = options.durability;
        let mut store = Self {
            conn,
            path,
            numbers: None,
            durability,
            watch,
            kept,
            next: None,
            reserve,
            low: false,
            unmeasured_bytes: 0,
            syncs: 0,
            broken: false,
        };
        store.low = !store.reserve.take();
        Ok(store)
    }

    /// Opens a file that was opened before, if it is still the same.
    fn open_again(path: &Path, options: &SqliteOptions, before: Left) -> Result<Self, StoreError> {
        if let Some(path) = before.overwritten {
            return Err(StoreError::Overwritten { path });
        }
        before.identity.check_closed(path, before.kept)?;
        let mut store = Self::open_with(path, options)?;
        store.watch.check(&store.conn, path)?;
        Ok(store)
    }

    /// Opens a file again and again, for [`StoreThread::start`](crate::store::StoreThread::start). It must be the same file
    /// each time: another one, or none, holds less than what was promised.
    pub fn opener(path: impl Into<PathBuf>, options: SqliteOptions) -> Opener {
        let path = path.into();
        let next = Next::default();
        Box::new(move || {
            let before = next.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut store = match before {
                Some(before) => Self::open_again(&path, &options, before)?,
                None => Self::open_with(&path, &options)?,
            };
            let left = Left { identity: store.watch.identity(), kept: store.kept, overwritten: None };
            *next.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
            store.next = Some(Arc::clone(&next));
            Ok(Box::new(store))
        })
    }

    /// Runs `work` in a transaction that is durable when this returns.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T, WriteError>,
    ) -> Result<T, StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        self.check_files()?;
        let result = self.transact(work);
        if result.is_err() {
            // What was numbered may have been rolled back.
            self.numbers = None;
        }
        result.map_err(|error| match error {
            WriteError::Rejected { batch, reason } => StoreError::Rejected { batch, reason },
            WriteError::Sqlite(error) => self.failed(&error),
        })
    }

    /// Whether the files are still those that were opened.
    fn check_files(&mut self) -> Result<(), StoreError> {
        let result = self.watch.check(&self.conn, &self.path);
        if let Err(error) = &result {
            self.leave_files_alone();
            self.change_next(|left| {
                if let StoreError::Overwritten { path } = error {
                    left.overwritten = Some(path.clone());
                }
            });
        }
        result
    }

    fn change_next(&self, change: impl FnOnce(&mut Left)) {
        let Some(next) = &self.next else { return };
        if let Some(left) = next.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            change(left);
        }
    }

    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let transaction = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let numbers = Numbers::current(&transaction, self.numbers.take())?;
        let mut writer = Writer::new(&transaction, numbers);
        let result = match work(&mut writer) {
            Ok(result) => result,
            Err(error) => {
                drop(writer);
                // A full disk and the like have ended the transaction already; then the first error is the one to tell.
                if matches!(error, WriteError::Rejected { .. }) {
                    transaction.rollback()?;
                }
                return Err(error);
            }
        };
        self.numbers = Some(writer.into_numbers());
        transaction.commit()?;
        self.unmeasured_bytes += TRANSACTION_BYTES;
        self.watch.committed(&self.path);
        self.syncs += u64::from(self.durability == Durability::Full);
        Ok(result)
    }

    pub(super) fn read<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        work(&self.conn).map_err(|error| self.failed(&error))
    }

    /// Ends the use of this connection: not even closing it may write a checkpoint any more.
    fn failed(&mut self, error: &rusqlite::Error) -> StoreError {
        let fault = fault(&self.path, error);
        if matches!(fault, StoreError::Full { .. }) {
            // The next opening finds the room.
            self.reserve.give_up();
        }
        self.leave_files_alone();
        fault
    }

    fn leave_files_alone(&mut self) {
        self.broken = true;
        let quiet = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        if let Err(error) = quiet {
            log::warn!("{}: a checkpoint at closing cannot be prevented: {error}", self.path.display());
        }
    }

    /// Whether there is room for what is new. It counts as such only when there is twice as much as it takes to run out, so
    /// that the host does not waver.
    fn look_for_room(&mut self) -> Result<(), StoreError> {
        let free = self.read(maintenance::pages_left)?;
        let enough = if self.low { 2 * maintenance::FEW_PAGES } else { maintenance::FEW_PAGES };
        self.low = free < enough || !self.reserve.take();
        Ok(())
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        let (kept, broken) = (self.kept, self.broken);
        self.change_next(|left| {
            left.kept = kept;
            if !broken {
                // Closing a sound connection removes the log.
                left.identity = left.identity.without_log();
            }
        });
    }
}

/// Why a transaction was not kept.
pub(super) enum WriteError {
    /// One batch is at fault.
    Rejected {
        /// Its place.
        batch: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The store is.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Store for SqliteStore {
    fn commit(&mut self, entries: &[NumberedBatch]) -> Result<(), StoreError> {
        for (index, entry) in entries.iter().enumerate() {
            entry.batch.check(index)?;
        }
        self.write(|writer| {
            for (index, entry) in entries.iter().enumerate() {
                writer.batch(&entry.batch).map_err(|error| match rejection(&error) {
                    Some(reason) => WriteError::Rejected { batch: index, reason },
                    None => WriteError::Sqlite(error),
                })?;
            }
            match entries.last() {
                Some(last) => Ok(writer.put_number(last.number)?),
                None => Ok(()),
            }
        })?;
        self.unmeasured_bytes += entries.iter().map(|entry| entry.batch.bytes()).sum::<u64>();
        self.kept = entries.last().map_or(self.kept, |last| last.number);
        Ok(())
    }

    fn last_number(&mut self) -> Result<u64, StoreError> {
        self.read(load::last_number)
    }

    fn load_channel(&mut self, channel: &ChannelKey, now_ms: u64) -> Result<LoadedChannel, StoreError> {
        self.read(|conn| load::load_channel(conn, channel, now_ms))
    }

    fn load(&mut self, now_ms: u64) -> Result<Loaded, StoreError> {
        self.read(|conn| load::load(conn, now_ms))
    }

    fn message(&mut self, id: MessageId) -> Result<Option<MessageRecord>, StoreError> {
        self.read(|conn| read::message(conn, id))
    }

    fn messages(&mut self, filter: &MessageFilter) -> Result<Vec<MessageSummary>, StoreError> {
        self.read(|conn| read::messages(conn, filter))
    }

    fn attachment(&mut self, id: MessageId, index: usize) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.read(|conn| read::attachment(conn, id, index))
    }

    fn reply(&mut self, id: ReplyId) -> Result<Option<ReplyRecord>, StoreError> {
        self.read(|conn| read::reply(conn, id))
    }

    fn replies(&mut self, filter: &ReplyFilter) -> Result<Vec<ReplySummary>, StoreError> {
        self.read(|conn| read::replies(conn, filter))
    }

    fn stored_response(&mut self, id: DedupeId) -> Result<Option<Arc<ChannelResponse>>, StoreError> {
        self.read(|conn| read::stored_response(conn, id))
    }

    fn transcript(&mut self, conversation: &str) -> Result<Option<String>, StoreError> {
        self.read(|conn| read::transcript(conn, conversation))
    }

    fn prune(&mut self, retention: &Retention, now_ms: u64) -> Result<PruneStats, StoreError> {
        let forget = self.read(|conn| maintenance::choose_all(conn, retention, now_ms))?;
        let stats = forget.count();
        if !stats.is_empty() {
            self.write(|writer| Ok(writer.forget(&forget, now_ms)?))?;
            // Records lie on pages all over the file.
            self.unmeasured_bytes = MEASURED_BYTES;
        }
        Ok(stats)
    }

    fn maintain(&mut self, moment: Maintenance) -> Result<(), StoreError> {
        if moment == Maintenance::Idle && !self.broken {
            // Room in a directory that is gone tells nothing about the disk.
            self.check_files()?;
        }
        if moment == Maintenance::BetweenGroups && !self.low && self.unmeasured_bytes < MEASURED_BYTES {
            return Ok(());
        }
        self.unmeasured_bytes = 0;
        let log = super::open::log_path(&self.path);
        let effort = Effort { low: self.low, reserve_bytes: self.reserve.bytes() };
        let syncs = self.read(|conn| maintenance::maintain(conn, &log, moment, effort))?;
        self.syncs += syncs;
        if syncs > 0 || moment == Maintenance::Idle {
            let moved = self.watch.moved(&self.conn, &self.path);
            moved.inspect_err(|_| self.leave_files_alone())?;
        }
        if moment == Maintenance::Idle { self.look_for_room() } else { Ok(()) }
    }

    fn is_low(&self) -> bool {
        self.low
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.look_for_room()?;
        let small = self.low;
        self.write(|writer| Ok(writer.put_probe(small)?))?;
        self.write(|writer| Ok(writer.remove_probe()?))
    }

    fn usage(&mut self) -> Result<StoreUsage, StoreError> {
        let log = super::open::log_path(&self.path);
        let syncs = self.syncs;
        self.read(|conn| Ok(StoreUsage { syncs, ..maintenance::usage(conn, &log)? }))
    }
}
