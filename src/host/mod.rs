//! Builds the parts, starts and stops the threads in order.
//!
//! | file | job |
//! |---|---|
//! | `config` | what an operator decides |
//! | `manager` | channels, router, workers, scheduler and store together |
//! | `access` | what one channel's guest may ask of the host |
//! | `assembly` | from a loaded channel to one that the router can run |
//! | `link` | from `capabilities.websocket` to a link that the router can open |
//! | `setting_hosts` | hosts of a capability file that the operator's settings fill in |
//! | `needed_secrets` | what a channel needs and the host does not have |
//! | `dead_letters` | telling people that their message was given up |
//! | `replies` | what the agent says, on its way to the store |
//! | `stored` | what was durable for channels before they are added |
//! | `operator` | looking into the queues, sending again, dropping |
//! | `offline` | what is stored, for commands while no host runs |
//! | `harness` | one channel without a host, to look at it and to try single callbacks |
//! | `forwarding` | what a host leaves to its manager |
//! | `builder` | a manager with channels from a directory and an HTTP server |

pub(crate) mod access;
mod assembly;
pub(crate) mod builder;
pub(crate) mod config;
pub(crate) mod error;
mod forwarding;
mod harness;
mod inspect;
mod load_plan;
pub(crate) mod manager;
mod operator;
mod probe;
#[cfg(feature = "agent-openai")]
mod reminders;
mod replies;
pub(crate) mod setting_hosts;
#[cfg(test)]
mod tests;

pub use crate::event::health::{ChannelHealth, ChannelState};
pub use crate::event::link::{LinkHealth, LinkState};
pub use crate::router::{RetryPolicy, RouterConfig};
pub(crate) use builder::Host;
pub(crate) use config::ManagerConfig;
#[cfg(test)]
pub(crate) use config::StoreOpener;
pub use config::{ChannelSettings, StateLocation};
pub(crate) use error::ReplyError;
pub(crate) use harness::ChannelHarness;
#[cfg(feature = "cli")]
pub(crate) use inspect::inspect;
pub use manager::Health;
#[cfg(feature = "cli")]
pub(crate) use operator::Operator;
#[cfg(feature = "cli")]
pub(crate) use operator::StoredState;
pub(crate) use probe::ServiceVerdict;
#[cfg(feature = "agent-openai")]
pub(crate) use reminders::{Addressee, MAX_OF_PERSON as MAX_REMINDERS_OF_PERSON, Reminder, Reminders};
