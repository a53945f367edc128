//! Outside world to `Event`: HTTP server, webhook authentication, scheduler.

pub mod webhook;
