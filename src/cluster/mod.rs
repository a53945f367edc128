//! More than one host on one database: who has which channel, and how a webhook finds its way there.
//!
//! No consensus, no replication, no gossip: the database decides. `docs/cluster.md` has the picture.
//!
//! | file | job |
//! |---|---|
//! | `config` | what an operator says about this host and the others |
//! | `lease` | who may write to a channel: a state machine without a clock and without a database; `table` is tested against it |
//! | `search` | a search through all states of it, in a test |
//! | `placement` | which host is to have which channel |
//! | `table` | the leases in the database |
//! | `keeper` | the thread that keeps this host's leases |
//! | `signature` | how hosts know each other's requests |
//! | `forward` | webhooks of channels that another host has |

mod config;
mod forward;
mod keeper;
#[cfg(test)]
mod lease;
mod placement;
#[cfg(test)]
mod search;
mod signature;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use config::{ClusterConfig, ClusterState};
pub(crate) use forward::{ForwardError, ForwardedReply, Forwarder, Request};
pub(crate) use keeper::{KeeperSettings, LeaseThread, Runner, TIME_TO_LIVE};
pub(crate) use placement::HostNumber;
pub(crate) use signature::{Forwarded, HEADER as FORWARDED_HEADER, verify};
pub(crate) use table::{ClusterView, LeaseTable, Offer};
