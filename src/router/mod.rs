//! All routing state, and what is decided with it.
//!
//! It is run by one thread at a time, which holds its lock. News come from outside, as events, and from work that it gave
//! away, as completions. What is
//! decided about one channel stands in the parts of [`crate::channel`], which are pure; here is what carries that out.
//! Each file has an `impl Router` with the steps of its subject.
//!
//! | file | subject |
//! |---|---|
//! | `core` | the channels, and what each kind of news leads to |
//! | `shared` | the lock, and who runs the router when |
//! | `dispatch`, `runnable` | who may start now: workers, memory |
//! | `finish` | what follows from a callback's end |
//! | `webhooks`, `responded` | requests and their responses |
//! | `waiting` | requests that wait for a change of the workspace |
//! | `starts` | `on-start`, registration, `on-shutdown` |
//! | `removal` | taking a channel out |
//! | `polls`, `timers` | what happens by the clock |
//! | `frames` | what arrives through websockets |
//! | `replies`, `statuses` | what the agent says |
//! | `storage` | a store that fails and comes back |
//! | `report` | health |
//! | `scheduler`, `deadlines` | the thread that sleeps until the next deadline, and its heap |

mod core;
pub(crate) mod deadlines;
mod dispatch;
mod finish;
mod frames;
mod polls;
mod removal;
mod replies;
mod report;
mod responded;
mod runnable;
pub(crate) mod scheduler;
mod shared;
mod starts;
mod statuses;
mod storage;
mod timers;
mod waiting;
mod webhooks;

pub use self::core::{Router, RouterConfig, RouterParts};
pub use self::shared::SharedRouter;
pub use crate::channel::outbox::RetryPolicy;
