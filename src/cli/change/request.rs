//! Asking the running host for a change.

use serde_json::Value;

use crate::admin::{ApiCall, HostChange};
use crate::cli::client::{HostResponse, ask_running};
use crate::cli::config::Settings;
use crate::cli::output::Failure;

/// Asks the running host for a change. None when no host runs.
///
/// # Errors
/// The host cannot do it, and why.
pub fn ask_host(settings: &Settings, change: &HostChange) -> Result<Option<Value>, Failure> {
    // An enum of texts is always JSON.
    let body = serde_json::to_value(change).unwrap_or_default();
    match ask_running(settings, &ApiCall::post(&["change"]).body(body))? {
        HostResponse::Running(value) => Ok(Some(value)),
        HostResponse::NotRunning(_) => Ok(None),
    }
}
