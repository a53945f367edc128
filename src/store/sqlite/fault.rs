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

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    type Meaning = fn(&StoreError) -> bool;

    fn sqlite(code: i32) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn codes_of_sqlite_have_their_meaning() {
        let cases: [(i32, Meaning); 10] = [
            (ffi::SQLITE_FULL, |error| matches!(error, StoreError::Full { .. })),
            (ffi::SQLITE_READONLY, |error| matches!(error, StoreError::ReadOnly { .. })),
            (ffi::SQLITE_READONLY_DBMOVED, |error| matches!(error, StoreError::ReadOnly { .. })),
            (ffi::SQLITE_BUSY, |error| matches!(error, StoreError::Locked { .. })),
            (ffi::SQLITE_LOCKED, |error| matches!(error, StoreError::Locked { .. })),
            (ffi::SQLITE_CORRUPT, |error| matches!(error, StoreError::Damaged { .. })),
            (ffi::SQLITE_NOTADB, |error| matches!(error, StoreError::Damaged { .. })),
            (ffi::SQLITE_IOERR_FSYNC, |error| matches!(error, StoreError::Io { .. })),
            (ffi::SQLITE_IOERR_WRITE, |error| matches!(error, StoreError::Io { .. })),
            (ffi::SQLITE_CANTOPEN, |error| matches!(error, StoreError::Io { .. })),
        ];
        for (code, expected) in cases {
            let found = fault(Path::new("x.db"), &sqlite(code));
            assert!(expected(&found), "{code}: {found:?}");
            assert!(found.to_string().contains("x.db"), "{found}");
            assert_eq!(rejection(&sqlite(code)), None, "{code} is no batch's fault");
        }
    }

    #[test]
    fn a_batch_is_at_fault_for_what_it_holds_only() {
        for code in [ffi::SQLITE_CONSTRAINT_NOTNULL, ffi::SQLITE_CONSTRAINT_DATATYPE, ffi::SQLITE_TOOBIG] {
            assert!(rejection(&sqlite(code)).is_some(), "{code}");
        }
    }

    #[test]
    fn errors_of_the_file_system_have_their_meaning() {
        let cases: [(io::ErrorKind, Meaning); 5] = [
            (io::ErrorKind::StorageFull, |error| matches!(error, StoreError::Full { .. })),
            (io::ErrorKind::QuotaExceeded, |error| matches!(error, StoreError::Full { .. })),
            (io::ErrorKind::ReadOnlyFilesystem, |error| matches!(error, StoreError::ReadOnly { .. })),
            (io::ErrorKind::PermissionDenied, |error| matches!(error, StoreError::ReadOnly { .. })),
            (io::ErrorKind::NotFound, |error| matches!(error, StoreError::Io { .. })),
        ];
        for (kind, expected) in cases {
            let found = io_fault(Path::new("x.db"), &io::Error::from(kind));
            assert!(expected(&found), "{kind}: {found:?}");
        }
    }
}
