//! What the database's errors mean here.

use mysql::Error;

use super::address::DatabaseAddress;
use crate::store::StoreError;

/// Why a transaction was not kept, or a query has no response.
#[derive(Debug)]
pub(crate) enum DatabaseFault {
    /// One batch is at fault.
    Rejected {
        /// Its place.
        batch: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Another host, or a later process of this name, has taken what this one held.
    Fenced,
    /// The tables were made by a release that this one does not work with any more.
    Newer {
        /// Their version.
        found: u64,
        /// The newest one that is known.
        known: u64,
    },
    /// The tables do not hold what they should.
    Unreadable(String),
    /// The database, or the way to it.
    Sql(Error),
}

impl From<Error> for DatabaseFault {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

/// What to do about an error of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The transaction was rolled back because of another one: the same again.
    Again,
    /// This node does not serve, or the connection is gone, and what became of the transaction is not known: another node, and the
    /// same again, which finds out.
    Elsewhere,
    /// Nothing that helps by itself.
    None,
}

/// A deadlock, or a transaction that the other nodes did not certify.
const DEADLOCK: u16 = 1213;
/// A lock was not had in time. Only the statement was rolled back.
const LOCK_WAIT: u16 = 1205;
/// The row has changed since it was read.
const CHANGED: u16 = 1020;
/// The node is not in the primary component.
const NOT_READY: u16 = 1047;
/// What else a node says that stops or must not be written to: shutting down, error at the commit, connection or query killed, a read-only
/// node, too many connections.
const GOING: [u16; 9] = [1053, 1180, 1927, 1317, 1290, 1836, 1040, 1079, 1203];
/// The disk or a table is full.
const FULL: [u16; 3] = [1021, 1114, 1041];

pub(super) fn remedy(error: &Error) -> Remedy {
    match error {
        Error::MySqlError(told) => match told.code {
            DEADLOCK | LOCK_WAIT | CHANGED => Remedy::Again,
            NOT_READY => Remedy::Elsewhere,
            code if GOING.contains(&code) => Remedy::Elsewhere,
            _ => Remedy::None,
        },
        Error::IoError(_) | Error::CodecError(_) | Error::DriverError(_) | Error::TlsError(_) => {
            Remedy::Elsewhere
        }
        _ => Remedy::None,
    }
}

/// What the host is told.
pub(super) fn fault(address: &DatabaseAddress, trouble: DatabaseFault) -> StoreError {
    match trouble {
        DatabaseFault::Rejected { batch, reason } => StoreError::Rejected { batch, reason },
        DatabaseFault::Fenced => StoreError::Fenced { database: address.to_string() },
        DatabaseFault::Newer { found, known } => {
            let path = address.to_string().into();
            StoreError::Newer { path, found: found.cast_signed(), known: known.cast_signed() }
        }
        DatabaseFault::Unreadable(detail) => StoreError::Damaged { path: address.to_string().into(), detail },
        DatabaseFault::Sql(Error::MySqlError(told)) if FULL.contains(&told.code) => {
            StoreError::Full { path: address.to_string().into() }
        }
        DatabaseFault::Sql(error) => {
            StoreError::Database { database: address.to_string(), detail: describe(&error) }
        }
    }
}

/// An error in one line. Values that did not convert are not in it: they are what users wrote.
pub(super) fn describe(error: &Error) -> String {
    match error {
        Error::MySqlError(told) => format!("{} (error {})", told.message, told.code),
        Error::FromValueError(_) | Error::FromRowError(_) => {
            "a column does not hold what it should".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use mysql::MySqlError;

    use super::*;

    fn told(code: u16) -> Error {
        let (state, message) = ("HY000".to_owned(), "told so".to_owned());
        Error::MySqlError(MySqlError { state, message, code })
    }

    #[test]
    fn database_errors_are_classified() {
        for (code, expected) in [
            (1213, Remedy::Again),
            (1205, Remedy::Again),
            (1020, Remedy::Again),
            (1047, Remedy::Elsewhere),
            (1053, Remedy::Elsewhere),
            (1290, Remedy::Elsewhere),
            (1062, Remedy::None),
            (1045, Remedy::None),
        ] {
            assert_eq!(remedy(&told(code)), expected, "{code}");
        }
        assert_eq!(remedy(&std::io::Error::other("gone").into()), Remedy::Elsewhere);
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let address = DatabaseAddress::parse("mysql://u@h/d").unwrap();
        assert!(matches!(fault(&address, DatabaseFault::Sql(told(1021))), StoreError::Full { .. }));
        let other = fault(&address, DatabaseFault::Sql(told(1045))).to_string();
        assert!(other.contains("mysql://u@h:3306/d") && other.contains("told so"), "{other}");
    }
}
