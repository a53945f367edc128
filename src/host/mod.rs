//! Builds the parts, starts and stops the threads in order.
//!
//! | file | job |
//! |---|---|
//! | `config` | what an operator decides |
//! | `manager` | channels, router, workers, scheduler and store together |
//! | `access` | what one channel's guest may ask of the host |
//! | `assembly` | from a loaded channel to one that the router can run |
//! | `needed_secrets` | what a channel needs and the host does not have |
//! | `dead_letters` | telling people that their message was given up |
//! | `replies` | what the agent says, on its way to the store |
//! | `stored` | what was durable for channels before they are added |
//! | `operator` | looking into the queues, sending again, dropping |
//! | `harness` | one channel without a host, to look at it and to try single callbacks |
//! | `forwarding` | what a host leaves to its manager |
//! | `builder` | a manager with channels from a directory and an HTTP server |

pub(crate) mod access;
mod assembly;
mod builder;
mod config;
mod dead_letters;
mod error;
mod forwarding;
mod harness;
mod inspect;
mod manager;
mod needed_secrets;
mod operator;
mod replies;
mod stored;

pub use crate::event::arrival::AddChannelError;
pub use crate::router::{RetryPolicy, RouterConfig};
pub use builder::{Host, HostBuilder};
pub use config::{ChannelSettings, ManagerConfig, StateLocation, StoreOpener};
pub use error::{HostError, ReplyError};
pub use harness::ChannelHarness;
pub use inspect::inspect;
pub use manager::{ChannelManager, Health};
