//! Outside world to `Event`: HTTP server, webhook authentication, scheduler.

pub mod server;
pub mod webhook;
