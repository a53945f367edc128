//! One connection after the other: what is tried again, and where.
//!
//! A connection is nothing that holds state: when one fails, the next is made, to another node where there is one, and the same is done
//! again. Whoever writes sees to it that twice is like once.

use std::thread;
use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;

use super::connect::{Connection, Connector};
use super::fault::{DatabaseFault, Remedy, describe, fault, remedy};
use crate::model::deadline::deadline_after;
use crate::store::StoreError;

/// How long a transaction is retried before the database counts as unreachable. The response to a webhook waits for it.
const PATIENCE: Duration = Duration::from_secs(4);
/// The pause before the same is tried again.
const PAUSE: Duration = Duration::from_millis(5);

/// A way to the database that makes connections as it needs them.
pub(crate) struct DatabaseSession {
    connector: Connector,
    /// None after a failure, until the next try.
    connection: Option<Connection>,
}

impl DatabaseSession {
    /// Nothing is connected yet.
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector, connection: None }
    }

    /// Does something until it succeeds, or fails for a reason that another try does not change, or time is over.
    pub(crate) fn run<T>(
        &mut self,
        mut work: impl FnMut(&mut Connection) -> Result<T, DatabaseFault>,
    ) -> Result<T, StoreError> {
        let until = deadline_after(Instant::now(), PATIENCE);
        loop {
            let trouble = match self.connected().and_then(&mut work) {
                Ok(done) => return Ok(done),
                Err(trouble) => trouble,
            };
            if self.recover(&trouble) == Remedy::None || Instant::now() >= until {
                return Err(fault(self.connector.address(), trouble));
            }
            thread::sleep(PAUSE);
        }
    }

    fn connected(&mut self) -> Result<&mut Connection, DatabaseFault> {
        if self.connection.is_none() {
            self.connection = Some(self.connector.connect()?);
        }
        let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        self.connection.as_mut().ok_or_else(|| DatabaseFault::Sql(gone().into()))
    }

    /// Brings the connection into a state from which the next try can begin, and says whether one may help.
    fn recover(&mut self, trouble: &DatabaseFault) -> Remedy {
        let remedy = match trouble {
            DatabaseFault::Sql(error) => remedy(error),
            _ => Remedy::None,
        };
        let is_sound = remedy != Remedy::Elsewhere
            && self.connection.as_mut().is_some_and(|it| it.conn.query_drop("ROLLBACK").is_ok());
        if !is_sound && self.connection.take().is_some() {
            if let DatabaseFault::Sql(error) = trouble {
                log::warn!("the connection to the database is reopened: {}", describe(error));
            }
            self.connector.avoid_present();
        }
        remedy
    }
}

/// Runs `work` in a transaction. After an error the transaction is to be rolled back.
pub(crate) fn transaction<T>(
    conn: &mut Conn,
    work: impl FnOnce(&mut Conn) -> Result<T, DatabaseFault>,
) -> Result<T, DatabaseFault> {
    // Reads see what is committed now, not what was when the transaction began: the row of the host is locked first.
    conn.query_drop("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")?;
    conn.query_drop("START TRANSACTION")?;
    let done = work(conn)?;
    conn.query_drop("COMMIT")?;
    Ok(done)
}

/// Reads in one transaction, so that all of it is of one moment.
pub(crate) fn at_one_moment<T>(
    conn: &mut Conn,
    work: impl FnOnce(&mut Conn) -> Result<T, DatabaseFault>,
) -> Result<T, DatabaseFault> {
    conn.query_drop("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
    conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")?;
    let done = work(conn)?;
    conn.query_drop("COMMIT")?;
    Ok(done)
}
