//! Asks the running host, or opens its store when none runs.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::HostError;
use crate::host::StoredState;
use serde_json::Value;

use super::execute::execute_on_store;
use super::request::ControlRequest;
use super::wire::{MAX_RESPONSE_BYTES, Wire};
use crate::cli::config::{Settings, control_socket};
use crate::cli::output::Failure;

/// How long the host may take to respond.
const HOST_TIME: Duration = Duration::from_secs(30);

/// What came of asking the running host.
pub enum HostResponse {
    /// It runs and responds with this.
    Running(Value),
    /// No host runs.
    NotRunning,
}

/// What the running host did, or why it did not.
type HostResult = Result<Value, Refused>;

/// The words of the running host, when it did not do what it was asked.
struct Refused(String);

/// Asks the running host only.
pub fn ask_running(settings: &Settings, request: &ControlRequest) -> Result<HostResponse, Failure> {
    let path = control_socket(&settings.state_dir);
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(HostResponse::NotRunning);
        }
        Err(error) => return Err(unreachable(&path, &error)),
    };
    let response = exchange(stream, request).map_err(|error| unreachable(&path, &error))?;
    match response {
        Ok(value) => Ok(HostResponse::Running(value)),
        Err(Refused(reason)) => Err(Failure::problem(reason)),
    }
}

/// Asks the running host; when none runs, opens the store for this one request.
pub fn ask(settings: &Settings, request: ControlRequest) -> Result<Value, Failure> {
    if let HostResponse::Running(value) = ask_running(settings, &request)? {
        return Ok(value);
    }
    if !settings.state_dir.join("tinclaw.db").exists() {
        let directory = settings.state_dir.display();
        return Err(Failure::problem(format!(
            "no host is running, and there is no state in {directory}; is this the right --state-dir?"
        )));
    }
    let (state, retention) = settings.stored_state();
    let state = StoredState::open(state, retention).map_err(|error| match error {
        HostError::Lock(error) => {
            Failure::problem(format!("the host does not respond on its control socket: {error}"))
        }
        other => Failure::problem(other),
    })?;
    execute_on_store(&state, request).map_err(Failure::problem)
}

fn unreachable(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => "run this as the user that the host runs as",
        _ => "look at the log of the host",
    };
    Failure::problem(format!("the host cannot be asked at {path}: {error}; {hint}"))
}

fn exchange(stream: UnixStream, request: &ControlRequest) -> io::Result<HostResult> {
    let mut wire = Wire::new(stream, None, HOST_TIME)?;
    wire.write_line(&serde_json::to_string(request)?)?;
    let line = wire.read_line(MAX_RESPONSE_BYTES)?;
    let mut response: Value = serde_json::from_str(&line)?;
    match response.get("error").and_then(Value::as_str) {
        Some(error) => Ok(Err(Refused(error.to_owned()))),
        None => Ok(Ok(response["ok"].take())),
    }
}
