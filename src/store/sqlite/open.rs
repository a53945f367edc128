//! Opening a file without ever harming one that is not ours or not whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, MAIN_DB, OpenFlags};
use rustix::fs::OFlags;

use super::fault::{fault, io_fault};
use super::read::ask;
use super::schema;
use crate::model::regular_file;
use crate::store::StoreError;

/// How much of what was kept a loss of power may take. A crash of the process never takes anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing: every commit is forced to the medium.
    #[default]
    Full,
    /// The last moments, never consistency: the medium is forced at checkpoints only.
    Normal,
}

/// How to open a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// What a loss of power may take.
    pub durability: Durability,
    /// How large the database may grow, in bytes, its log (a few MiB) not counted: default no limit. Beyond it the store is
    /// full. A file that is larger already does not grow.
    pub max_bytes: Option<u64>,
    /// How much of the disk is held back in `tinclaw.db-reserve` and given up when the disk is full, so that what is stored
    /// can leave: default 8 MiB, or a sixteenth of a smaller file system.
    pub reserve_bytes: u64,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { durability: Durability::default(), max_bytes: None, reserve_bytes: 8 << 20 }
    }
}

/// Bytes of a page of a new file. A webhook changes a few bytes on each of five pages, and every changed page goes to the log as a whole. The
/// file system writes blocks of 4 KiB: in a trickle of one message a second that makes 9.4 KB a message, 12 with pages of 1 KiB and 17 with 2 KiB;
/// in bursts of 20 it makes 2.0, 2.7 and 3.8 KB (`packaging/disk-writes.sh`).
const PAGE_BYTES: u32 = 512;

/// SQLite's own page cache: small, the system's cache lies behind it.
const CACHE_KIB: i64 = 1024;

/// How long another process may hold a lock before the store counts as locked.
pub(super) const BUSY: Duration = Duration::from_secs(1);

/// How many prepared statements are kept; there are fewer kinds than that.
const STATEMENTS: usize = 64;

/// The log is cut to this size when it is restarted.
const LOG_BYTES: i64 = 8 << 20;

/// A file up to this size is checked as a whole when it is opened. For a larger one that would take minutes on a slow card;
/// there, damage shows when it is met.
const CHECKED_BYTES: u64 = 64 << 20;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Opens `path`, creating it when it does not exist.
pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let failed = |error: rusqlite::Error| fault(path, &error);
    refuse_other_kinds(path)?;
    let bytes = prepare_file(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    conn.busy_timeout(BUSY).map_err(failed)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    let version = schema::version(&conn, path)?;
    if conn.is_readonly(MAIN_DB).map_err(failed)? {
        return Err(StoreError::ReadOnly { path: path.to_owned() });
    }
    configure(&conn, options, version.is_none()).map_err(failed)?;
    write_log_again(&conn, path)?;
    schema::migrate(&mut conn, path, version.unwrap_or(0))?;
    if bytes <= CHECKED_BYTES {
        check(&conn, path)?;
    }
    Ok(conn)
}

/// The write-ahead log that belongs to a database.
pub(super) fn log_path(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// Whatever a link leads to is not the host's to change, and opening or reading a named pipe never ends. SQLite opens each of these
/// files by itself.
fn refuse_other_kinds(path: &Path) -> Result<(), StoreError> {
    for path in ["", "-wal", "-shm", "-journal"].map(|ending| beside(path, ending)) {
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        let detail = match () {
            () if found.is_symlink() => {
                "it is a symbolic link, which is not followed; set state_dir to the directory that it leads to"
            }
            () if !found.is_file() => "it is not a regular file",
            () => continue,
        };
        return Err(StoreError::NotAFile { path, detail });
    }
    Ok(())
}

/// Creates the file, private from its first moment, or looks at what is there; its size.
fn prepare_file(path: &Path) -> Result<u64, StoreError> {
    let failed = |error: io::Error| io_fault(path, &error);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {
            refuse_orphaned_log(path)?;
            sync_directory(path).map_err(failed)?;
            return Ok(0);
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let mut file =
        regular_file::open(OpenOptions::new().read(true), OFlags::NOFOLLOW, path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(mode & 0o700)).map_err(failed)?;
    }
    if metadata.len() == 0 {
        refuse_orphaned_log(path)?;
        log::warn!(
            "{} is there but empty, so the host begins with nothing stored: if it held anything, stop the host and \
             restore it from a backup",
            path.display()
        );
        return Ok(0);
    }
    let mut head = [0; MAGIC.len()];
    if file.read_exact(&mut head).is_err() || head != *MAGIC {
        let detail = "it does not begin like a database".to_owned();
        return Err(StoreError::Damaged { path: path.to_owned(), detail });
    }
    Ok(metadata.len())
}

/// SQLite deletes a log that lies beside an empty database. Here that means that the database was lost, and the log may be
/// the last that is left of it.
fn refuse_orphaned_log(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(log_path(path)) {
        Ok(log) if log.len() > 0 => {
            let detail = "it is empty, but its write-ahead log is not".to_owned();
            Err(StoreError::Damaged { path: path.to_owned(), detail })
        }
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn configure(conn: &Connection, options: &SqliteOptions, new: bool) -> rusqlite::Result<()> {
    if new {
        conn.execute_batch(&format!("PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL;"))?;
    }
    let synchronous = match options.durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    // Checkpoints are made between groups, where their failure is seen and nobody waits for a response.
    conn.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = {synchronous};
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA cache_size = -{CACHE_KIB};
         PRAGMA temp_store = MEMORY;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {LOG_BYTES};"
    ))?;
    if let Some(max_bytes) = options.max_bytes {
        let page = ask(conn, "PRAGMA page_size", [])?.unsigned_abs();
        let pages = (max_bytes / page.max(1)).clamp(1, u64::from(u32::MAX - 1));
        conn.execute_batch(&format!("PRAGMA max_page_count = {pages};"))?;
    }
    Ok(())
}

/// Writes the log that an earlier process or connection left behind once more, byte for byte, and forces it to the medium.
///
/// After a failed sync the system holds pages for clean that never reached the medium. Read back from its cache such a log
/// looks whole; what is appended to it would be lost behind the gap with the next loss of power. Written again, the pages
/// are dirty again, and the sync tells the truth. The transaction keeps every other writer away from the log meanwhile.
fn write_log_again(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let log = log_path(path);
    if fs::metadata(&log).map_or(0, |metadata| metadata.len()) == 0 {
        return Ok(());
    }
    let failed = |error| fault(path, &error);
    conn.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let written = copy_onto_itself(&log).map_err(|error| io_fault(&log, &error));
    conn.execute_batch("ROLLBACK").map_err(failed)?;
    written
}

fn copy_onto_itself(path: &Path) -> io::Result<()> {
    let mut file = regular_file::open(OpenOptions::new().read(true).write(true), OFlags::NOFOLLOW, path)?;
    let mut chunk = vec![0; 64 << 10];
    let mut at = 0;
    loop {
        file.seek(SeekFrom::Start(at))?;
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return file.sync_all();
        }
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&chunk[..read])?;
        at += read as u64;
    }
}

fn check(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: String =
        conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| fault(path, &error))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Damaged { path: path.to_owned(), detail: found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_written_again_is_what_it_was() {
        let path = std::env::temp_dir().join(format!("tinclaw-log-{}", std::process::id()));
        for length in [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 200_000] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 253) as u8).collect();
            fs::write(&path, &bytes).unwrap();
            copy_onto_itself(&path).unwrap();
            assert!(fs::read(&path).unwrap() == bytes, "{length} bytes");
        }
        fs::remove_file(&path).unwrap();
    }
}
