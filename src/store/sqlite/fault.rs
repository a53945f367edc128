//! What SQLite's errors mean here.

use std::io;
use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;

/// An error that makes the store unusable.
pub(super) fn fault(path: &Path, error: &Error) -> StoreError {
    let path = path.to_owned();
    let Some(code) = error.sqlite_error_code() else {
        // A column does not hold what the schema says: somebody else has written there, or the page is destroyed.
        return StoreError::Damaged { path, detail: error.to_string() };
    };
    match code {
        ErrorCode::DiskFull => StoreError::Full { path },
        ErrorCode::ReadOnly => StoreError::ReadOnly { path },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Locked { path },
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            StoreError::Damaged { path, detail: describe(error) }
        }
        _ => StoreError::Io { path, detail: describe(error) },
    }
}

/// What is wrong with the batch whose change met `error`, when it is the batch's own fault.
pub(super) fn rejection(error: &Error) -> Option<String> {
    match error.sqlite_error_code()? {
        ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch => Some(describe(error)),
        _ => None,
    }
}

/// An error of the file system, outside of SQLite.
pub(super) fn io_fault(path: &Path, error: &io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::Full { path }
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => StoreError::ReadOnly { path },
        _ => StoreError::Io { path, detail: error.to_string() },
    }
}

fn describe(error: &Error) -> String {
    match error {
        Error::SqliteFailure(failure, message) => {
            let code = failure.extended_code;
            match message {
                Some(message) => format!("{message}; SQLite code {code}"),
                None => format!("{failure}; SQLite code {code}"),
            }
        }
        other => other.to_string(),
    }
}
