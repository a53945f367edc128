//! Whether the files that are open are still those that the paths name, and hold what this process wrote.
//!
//! A file that was deleted or replaced stays open and takes commits, and everything is lost when the process ends. One that was
//! overwritten in place keeps its inode; but in WAL mode only a checkpoint writes to the database, so its size and time change with
//! those of this connection alone, or with another program's, which SQLite's counters tell.

use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{fs, fs::Metadata};

use rusqlite::{Connection, OpenFlags};

use super::fault::{fault, io_fault};
use super::load::last_number;
use super::open::log_path;
use super::read::ask;
use crate::store::StoreError;

/// The database and its log, by device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    database: (u64, u64),
    log: Option<(u64, u64)>,
}

impl Identity {
    /// The same when the log is removed with the connection.
    pub(super) fn without_log(self) -> Self {
        Self { log: None, ..self }
    }

    /// Looks again, before the file is reopened. `kept` is the number of the last batch that was kept.
    ///
    /// Another program that closes the file last moves the whole log to the database and removes it. Nothing is lost then, and
    /// the database by itself has that batch.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] when the paths name nothing or something else.
    pub(super) fn check_closed(&self, path: &Path, kept: u64) -> Result<(), StoreError> {
        let found = FilesFound::at(path)?.identity;
        match self.compare(found, path) {
            Err(_) if found.database == self.database && holds(path, kept) => {
                log::info!(
                    "{} was removed by another program that had the database open, after all of it was \
                            moved to the database",
                    log_path(path).display()
                );
                Ok(())
            }
            result => result,
        }
    }

    fn compare(&self, found: Self, path: &Path) -> Result<(), StoreError> {
        let replaced = |path: &Path, what| Err(StoreError::Replaced { path: path.to_owned(), what });
        if found.database != self.database {
            return replaced(path, "replaced");
        }
        match (self.log, found.log) {
            (Some(_), None) => replaced(&log_path(path), "deleted"),
            (Some(log), Some(found)) if log != found => replaced(&log_path(path), "replaced"),
            _ => Ok(()),
        }
    }
}

/// Whether the database has this batch without its log. Nothing is written, and no log is made.
fn holds(path: &Path, kept: u64) -> bool {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        let _ = write!(uri, "%{byte:02x}");
    }
    uri += "?immutable=1";
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let found = Connection::open_with_flags(uri, flags).and_then(|conn| last_number(&conn));
    found.is_ok_and(|number| number >= kept)
}

/// What a look at the two files shows.
struct FilesFound {
    identity: Identity,
    database: LogStamp,
    log_bytes: u64,
}

impl FilesFound {
    fn at(path: &Path) -> Result<Self, StoreError> {
        let found = |path: &Path| match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_fault(path, &error)),
        };
        let Some(database) = found(path)? else {
            return Err(StoreError::Replaced { path: path.to_owned(), what: "deleted" });
        };
        let log = found(&log_path(path))?;
        let id = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        Ok(Self {
            identity: Identity { database: id(&database), log: log.as_ref().map(id) },
            database: LogStamp { bytes: database.len(), changed: (database.mtime(), database.mtime_nsec()) },
            log_bytes: log.map_or(0, |log| log.len()),
        })
    }
}

/// Changes with every write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LogStamp {
    bytes: u64,
    changed: (i64, i64),
}

/// What SQLite's counters show of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    /// Pages in the log.
    in_log: i64,
    /// Those of them that were moved to the database.
    moved: i64,
    /// Changes with each commit of another connection, and with none of this one.
    others: i64,
}

impl Counters {
    fn of(conn: &Connection) -> rusqlite::Result<Self> {
        let others = ask(conn, "PRAGMA data_version", [])?;
        let mut statement = conn.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
        statement.query_row([], |row| Ok(Self { in_log: row.get(1)?, moved: row.get(2)?, others }))
    }

    /// Whether another program has written to the files by way of SQLite since these.
    fn show_another_writer(self, found: Self) -> bool {
        let was_emptied = found.in_log == 0 && self.in_log > 0;
        let was_moved = found.moved > 0 && found.moved != self.moved;
        found.others != self.others || was_emptied || was_moved
    }
}

/// What an open connection knows of its files.
pub(super) struct Watch {
    identity: Identity,
    database: LogStamp,
    log_bytes: u64,
    counters: Counters,
}

impl Watch {
    /// What is there now belongs to this connection.
    pub(super) fn of(conn: &Connection, path: &Path) -> Result<Self, StoreError> {
        let FilesFound { identity, database, log_bytes } = FilesFound::at(path)?;
        let counters = Counters::of(conn).map_err(|error| fault(path, &error))?;
        Ok(Self { identity, database, log_bytes, counters })
    }

    /// The files by name.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Looks whether the files are still what this connection has left.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] and [`StoreError::Overwritten`].
    pub(super) fn check(&mut self, conn: &Connection, path: &Path) -> Result<(), StoreError> {
        let seen = FilesFound::at(path)?;
        self.identity.compare(seen.identity, path)?;
        let changed = match (seen.database == self.database, seen.log_bytes >= self.log_bytes) {
            (true, true) => return Ok(()),
            (false, _) => path.to_owned(),
            (true, false) => log_path(path),
        };
        // A file that cannot be read any more was overwritten as well.
        match Counters::of(conn) {
            Ok(found) if self.counters.show_another_writer(found) => {
                (self.database, self.log_bytes, self.counters) = (seen.database, seen.log_bytes, found);
                Ok(())
            }
            _ => Err(StoreError::Overwritten { path: changed }),
        }
    }

    /// This connection has committed: its log has another size, and is not empty.
    pub(super) fn committed(&mut self, path: &Path) {
        // A log that is gone is seen before the next commit.
        self.log_bytes = fs::symlink_metadata(log_path(path)).map_or(0, |metadata| metadata.len());
        self.counters.in_log = self.counters.in_log.max(1);
    }

    /// This connection has written to the database.
    pub(super) fn moved(&mut self, conn: &Connection, path: &Path) -> Result<(), StoreError> {
        let now = Self::of(conn, path)?;
        self.identity.compare(now.identity, path)?;
        *self = Self { identity: self.identity, ..now };
        Ok(())
    }
}
