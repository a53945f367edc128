//! How messages, replies and everything in between are delivered.

mod dedupe;
mod lanes;
mod messages;
mod outages;
mod pauses;
mod rates;
mod removal;
mod replies;
mod shutdown;
mod support;
mod timers;
mod upgrades;
mod workspace;
