//! Connections with time-outs, and which of several addresses is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Error, OptsBuilder, SslOpts};

use super::address::{DatabaseAddress, Node, Tls};
use super::fault::{DatabaseFault, describe};
use crate::secrets::Secret;

/// How long a node may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// How long a node may say nothing, or take nothing, in the middle of an exchange. Nodes that form a new cluster without one that has
/// gone need five seconds or so.
const IO_TIME: Duration = Duration::from_secs(15);
/// Prepared statements that are kept.
const STATEMENTS: usize = 128;
/// What every session has: no text is cut silently, times are not local ones, and a lock is not waited for longer than a webhook waits.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', \
                       innodb_lock_wait_timeout = 3, autocommit = 1";

/// Connects to the database, to the node that served last.
#[derive(Clone)]
pub(crate) struct Connector {
    address: Arc<DatabaseAddress>,
    password: Option<Arc<Secret>>,
    /// The place of the node that is tried first: whoever has connected stores its node's, whoever found that bad the next one's. It
    /// decides nothing but the order, so threads may race.
    preferred: Arc<AtomicUsize>,
}

/// A connection, and what its node is.
pub(crate) struct Connection {
    pub(crate) conn: Conn,
    /// The largest value that the node takes.
    pub(super) max_value_bytes: usize,
    /// The node certifies transactions with others, and may be behind them.
    pub(crate) is_replicated: bool,
}

impl Connector {
    /// Nothing is connected yet.
    pub(crate) fn new(address: DatabaseAddress, password: Option<Secret>) -> Self {
        Self { address: Arc::new(address), password: password.map(Arc::new), preferred: Arc::default() }
    }

    /// Where it connects to.
    pub(crate) fn address(&self) -> &DatabaseAddress {
        &self.address
    }

    /// Connects to the first node that serves. What this host has committed elsewhere before is there when this returns.
    pub(super) fn connect(&self) -> Result<Connection, DatabaseFault> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last = None;
        for turn in 0..self.address.nodes.len() {
            let place = (first + turn) % self.address.nodes.len();
            let node = &self.address.nodes[place];
            match self.connect_to(node) {
                Ok(connection) => {
                    if turn > 0 {
                        log::warn!("the database is used at {node} now");
                    }
                    self.preferred.store(place, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) => {
                    log::debug!("{node} does not serve: {}", describe(&error));
                    // The first one is the one that an operator has to look at.
                    last = last.or(Some(error));
                }
            }
        }
        Err(DatabaseFault::Sql(last.unwrap_or_else(|| std::io::Error::other("no address is known").into())))
    }

    /// The next connection goes to another node, where there is one.
    pub(super) fn avoid_present(&self) {
        let next = (self.preferred.load(Ordering::Relaxed) + 1) % self.address.nodes.len();
        self.preferred.store(next, Ordering::Relaxed);
    }

    fn connect_to(&self, node: &Node) -> Result<Connection, Error> {
        let mut conn = Conn::new(self.options(node))?;
        conn.query_drop(SESSION)?;
        let is_replicated = is_on(&mut conn, "wsrep_on")?;
        if is_replicated {
            wait_until_current(&mut conn)?;
        }
        let max_value_bytes = conn.query_first("SELECT @@max_allowed_packet")?.unwrap_or(1 << 20);
        Ok(Connection { conn, max_value_bytes, is_replicated })
    }

    fn options(&self, node: &Node) -> OptsBuilder {
        let tls = match &self.address.tls {
            Tls::Off => None,
            Tls::Required => Some(SslOpts::default()),
            Tls::Authority(file) => Some(SslOpts::default().with_root_cert_path(Some(file.clone()))),
        };
        OptsBuilder::new()
            .ip_or_hostname(Some(node.host.clone()))
            .tcp_port(node.port)
            .prefer_socket(false)
            .user(Some(self.address.user.clone()))
            .pass(self.password.as_ref().map(|password| password.expose().to_owned()))
            .db_name(Some(self.address.database.clone()))
            .tcp_connect_timeout(Some(CONNECT_TIME))
            .read_timeout(Some(IO_TIME))
            .write_timeout(Some(IO_TIME))
            .tcp_keepalive_time_ms(Some(30_000))
            .tcp_nodelay(true)
            .stmt_cache_size(STATEMENTS)
            .ssl_opts(tls)
    }
}

/// Waits until the node has everything that was committed anywhere before now. Fails on one that is not in the primary component.
pub(crate) fn wait_until_current(conn: &mut Conn) -> Result<(), Error> {
    conn.query_drop("SET SESSION wsrep_sync_wait = 1")?;
    // The beginning of a transaction waits, as every read does.
    conn.query_drop("START TRANSACTION")?;
    conn.query_drop("COMMIT")?;
    conn.query_drop("SET SESSION wsrep_sync_wait = 0")
}

/// Whether a variable is there and on.
fn is_on(conn: &mut Conn, variable: &str) -> Result<bool, Error> {
    let found: Option<(String, String)> = conn.query_first(format!("SHOW VARIABLES LIKE '{variable}'"))?;
    Ok(found.is_some_and(|(_, value)| value == "ON"))
}
