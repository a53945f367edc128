//! How messages, replies and everything in between are delivered: the promises of the library, through its public API.

#[path = "../harness/mod.rs"]
mod harness;

#[path = "../crash_harness/mod.rs"]
mod crash_harness;

#[path = "../store_support/mod.rs"]
mod store_support;

mod dedupe;
mod lanes;
mod messages;
mod outages;
mod pauses;
mod rates;
mod replies;
mod shutdown;
mod support;
mod timers;
mod workspace;
