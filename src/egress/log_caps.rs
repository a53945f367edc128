//! Which log targets must not be turned up all the way.

use log::LevelFilter;

/// Targets of the `log` crate with the most detailed level that shows no secret. `ureq` and its protocol crate write URLs,
/// headers and bodies at `trace`, and `tungstenite` requests and frames; at `debug` they leave them out.
pub const LOG_CAPS: &[(&str, LevelFilter)] =
    &[("tungstenite", LevelFilter::Debug), ("ureq", LevelFilter::Debug), ("ureq_proto", LevelFilter::Debug)];
