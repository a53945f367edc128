//! The router: which channel gets which news, who may run, and what is done with what follows.
//!
//! It is run by one thread at a time, which holds its lock. News come from outside, as events, and from work that it gave
//! away, as completions. What follows from them is decided by each channel's state machine ([`crate::channel::machine`]); the
//! router gives a channel its turn, and carries out the actions that it gets.
//!
//! | file | subject |
//! |---|---|
//! | `state` | the channels, and who gets which news |
//! | `hosted` | a channel with its ways to the world |
//! | `carry_out` | the actions of a channel |
//! | `log_lines` | what is said in the log |
//! | `dispatch`, `runnable` | who may start now: workers, memory |
//! | `storage` | the store: batches on their way, failure and recovery |
//! | `responded` | requests that were responded to, for duplicates of them |
//! | `shared` | the lock, and who runs the router when |
//! | `scheduler`, `deadlines` | the thread that sleeps until the next deadline, and its heap |
//! | `shutdown` | the end |

mod carry_out;
pub(crate) mod deadlines;
mod dispatch;
mod hosted;
mod log_lines;
mod responded;
mod runnable;
pub(crate) mod scheduler;
mod shared;
mod shutdown;
mod state;
mod storage;

pub use self::shared::SharedRouter;
pub use self::state::{Router, RouterConfig, RouterParts};
pub use crate::channel::outbox::RetryPolicy;
