//! Builds the parts, starts and stops the threads in order.
// | file | job |
// |---|---|
// | `agent` | agents that a host runs, and stops with itself |
// | `config` | what an operator decides |
// | `manager` | channels, router, workers, scheduler and store together |
// | `access` | what one channel's guest may ask of the host |
// | `assembly` | from a loaded channel to one that the router can run |
// | `inspect` | what can be said about a channel before it runs, and which secrets it needs and the host does not have |
// | `load_plan` | loading at the start, and what was durable for channels before they are added |
// | `probe` | asks a channel's service a question with the channel's rights, without its guest |
// | `replies` | what the agent says, on its way to the store |
// | `reminders` | texts that are said in a conversation at a later time |
// | `offline` | what is stored, for commands while no host runs |
// | `recordings` | notes what the callbacks of a running channel do, and explains its requests |
// | `operator` | looking into the queues, sending again, dropping |
// | `public_probe` | a path by which the public address is tried |
// | `trace` | one message's whole story |
// | `replay` | runs recorded callbacks again |
// | `harness` | one channel without a host, to look at it and to try single callbacks |
// | `forwarding` | what a host leaves to its manager |
// | `cluster` | one of several hosts: channels that come and go with their leases, requests for those of other hosts |
// | `builder` | a manager with channels from a directory and an HTTP server |
// | `error` | what can go wrong when a host is built or asked for something |

pub(crate) mod access;
pub(crate) mod agent;
mod assembly;
pub(crate) mod builder;
#[cfg(feature = "cluster")]
mod cluster;
pub(crate) mod config;
pub(crate) mod error;
mod forwarding;
#[cfg(feature = "cli")]
mod harness;
mod inspect;
mod load_plan;
pub(crate) mod manager;
#[cfg(feature = "cli")]
mod offline;
mod operator;
#[cfg(feature = "cli")]
mod probe;
mod public_probe;
#[cfg(feature = "cli")]
mod recordings;
#[cfg(feature = "agent-openai")]
mod reminders;
#[cfg(feature = "cli")]
mod replay;
mod replies;
#[cfg(test)]
mod tests;
#[cfg(feature = "cli")]
mod trace;

pub use crate::event::health::{ChannelHealth, ChannelState};
pub use crate::event::link::{LinkHealth, LinkState};
pub use crate::router::{RetryPolicy, RouterConfig};
pub(crate) use builder::Host;
#[cfg(test)]
pub(crate) use config::StoreOpener;
pub use config::{ChannelSettings, StateLocation};
pub(crate) use error::ReplyError;
pub use manager::Health;
pub(crate) use public_probe::PublicProbe;
#[cfg(feature = "agent-openai")]
pub(crate) use reminders::{
    Addressee, MAX_OF_PERSON as MAX_REMINDERS_OF_PERSON, Reminder, ReminderError, Reminders,
};
// What the daemon uses besides.
#[cfg(feature = "cli")]
pub(crate) use {
    config::ManagerConfig,
    harness::{ChannelHarness, inspect},
    offline::{DaemonOperator, StoredState},
    probe::ServiceVerdict,
    recordings::RecordingStart,
    replay::Replayed,
    trace::{MessageTrace, TraceQuery, stories},
};
