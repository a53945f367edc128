//! Whether the files that are open are still those that the paths name.
//!
//! A file that was deleted or replaced stays open and takes commits, and everything is lost when the process ends.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::fault::io_fault;
use super::open::log_path;
use crate::store::StoreError;

/// The database and its log, by device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    database: (u64, u64),
    log: Option<(u64, u64)>,
}

impl Identity {
    /// What the paths name now.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let found = |path: &Path| match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_fault(path, &error)),
        };
        match found(path)? {
            Some(database) => Ok(Self { database, log: found(&log_path(path))? }),
            None => Err(StoreError::Replaced { path: path.to_owned(), what: "deleted" }),
        }
    }

    /// The same when the log is removed with the connection.
    pub(super) fn without_log(self) -> Self {
        Self { log: None, ..self }
    }

    /// Looks again.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] when the paths name nothing or something else.
    pub(super) fn check(&self, path: &Path) -> Result<(), StoreError> {
        let found = Self::of(path)?;
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
