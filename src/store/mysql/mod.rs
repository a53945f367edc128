//! The engine that several hosts share: MariaDB with Galera, and what speaks the same protocol.
//!
//! Every row belongs to a channel, so hosts that run different channels meet in no row. Each host has a row of its own with the
//! number of its last batch, which every commit of that host locks and writes. That row is the fence: whoever takes a host's
//! channels raises the incarnation in it, and what the host still sends is refused. In a cluster whose nodes certify
//! transactions against each other, of two that write the same row only the first one counts, so the fence holds between nodes, too.
//!
//! | file | job |
//! |---|---|
//! | `address` | `mysql://…`: where the database is and how to speak with it |
//! | `connect` | connections with time-outs, and which of several addresses is used |
//! | `fault` | what the database's errors mean here |
//! | `schema` | tables, versions, migrations by one host at a time |
//! | `member` | the row of a host: its incarnation and its stretch of ids |
//! | `scope` | which channels this host may write |
//! | `session` | one connection after the other: what is tried again, and where |
//! | `engine` | the trait |
//! | `state` | what a group of batches makes of messages and replies: read at once, decided here |
//! | `write` | changes into rows |
//! | `tables` | the columns of the tables that are written to |
//! | `bulk` | many rows with one statement |
//! | `read` | rows into records and lists |
//! | `load` | what the host keeps in memory |
//! | `prune` | forgetting |
//! | `row` | columns as values |

mod address;
mod bulk;
mod connect;
mod engine;
mod fault;
mod load;
mod member;
mod prune;
mod read;
mod row;
mod schema;
mod scope;
mod session;
mod state;
mod tables;
mod write;

pub(crate) use address::DatabaseAddress;
pub(crate) use connect::{Connector, wait_until_current};
pub(crate) use engine::MysqlStore;
pub(crate) use fault::DatabaseFault;
pub(crate) use member::{JoinedHost, lock as lock_host};
pub(crate) use row::{all, get, key_of, number, one};
pub(crate) use schema::NOW_MS;
pub(crate) use scope::{HeldChannels, Scope};
pub(crate) use session::{DatabaseSession, at_one_moment, transaction};
