//! How messages, replies and everything in between are delivered: the promises of the library, through its public API.

#[path = "../harness/mod.rs"]
mod harness;

#[path = "../crash_harness/mod.rs"]
mod crash_harness;

mod dedupe;
mod lanes;
mod messages;
mod pauses;
mod rates;
mod replies;
mod shutdown;
mod support;
mod timers;
mod workspace;
