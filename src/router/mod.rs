//! The one thread that owns all routing state.
//!
//! It never does I/O and never waits for anything but its two queues: events from outside, and completions of work that
//! it gave away. What it decides is spread over files by subject; each has an `impl Router` with the steps of its
//! subject, and the decisions that need no state are pure types of their own.
//!
//! | file | subject |
//! |---|---|
//! | `core` | the router's state and its loop |
//! | `slot` | what is known of one channel |
//! | `job`, `lane` | work for a channel, in order |
//! | `dispatch`, `runnable` | who may start now: workers, memory |
//! | `finish` | what follows from a callback's end |
//! | `changes` | a callback's effects as a batch for the store |
//! | `webhooks`, `answered` | requests and their answers |
//! | `seen` | requests that came before |
//! | `starts` | `on-start`, registration, `on-shutdown` |
//! | `polls`, `timers` | what happens by the clock |
//! | `replies`, `statuses` | what the agent says |
//! | `storage` | a store that fails and comes back |
//! | `breaker`, `backoff` | pauses and waits |
//! | `credentials` | services that refuse a channel's credentials |
//! | `report` | health |
//! | `scheduler`, `deadlines` | the thread that sleeps until the next deadline, and its heap |

mod answered;
mod backoff;
mod breaker;
mod changes;
mod core;
mod credentials;
pub(crate) mod deadlines;
mod dispatch;
mod finish;
mod job;
mod lane;
mod polls;
mod replies;
mod report;
mod runnable;
pub(crate) mod scheduler;
mod seen;
mod slot;
mod starts;
mod statuses;
mod storage;
mod timers;
mod webhooks;

pub use self::core::{Router, RouterConfig, RouterParts};
pub use replies::RetryPolicy;
