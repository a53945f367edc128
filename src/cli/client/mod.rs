//! Asks the running host through its admin API, or opens its store when none runs.
//!
//! | file | job |
//! |---|---|
//! | `place` | where a host is looked for |
//! | `http` | one request and its response |

mod http;
mod place;

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use http::{HttpResponse, ResponseWait, exchange};
use serde_json::Value;

use super::config::Settings;
use super::output::Failure;
use crate::HostError;
use crate::admin::{ApiCall, execute_on_store};
use crate::host::StoredState;
use crate::model::human_duration::HumanDuration;
pub use place::{HostAddress, PlacesLooked};

/// How long the host may take to respond.
const HOST_TIME: Duration = Duration::from_secs(30);
/// Has the token for an admin API that asks for one.
const TOKEN_VARIABLE: &str = "TINCLAW_ADMIN_TOKEN";
/// The socket of hosts before there was the admin API.
const OLD_SOCKET: &str = "control.sock";

/// What came of asking the running host.
pub enum HostResponse {
    /// It runs and responds with this.
    Running(Value),
    /// No host runs at these places.
    NotRunning(PlacesLooked),
}

/// Asks the running host only.
pub fn ask_running(settings: &Settings, call: &ApiCall) -> Result<HostResponse, Failure> {
    ask_running_within(settings, call, HOST_TIME)
}

/// The same with another limit on the time that the host may take.
pub fn ask_running_within(
    settings: &Settings,
    call: &ApiCall,
    time: Duration,
) -> Result<HostResponse, Failure> {
    let mut looked = PlacesLooked::default();
    for place in place::places(settings) {
        let token = token(settings, &place)?;
        let wait = ResponseWait { time, is_silent: || say_silent(&place, time) };
        match exchange(&place, token.as_deref(), call, wait) {
            Ok(response) => return read(&place, token.is_some(), response).map(HostResponse::Running),
            Err(error) if is_nobody(&error) => looked.add(place, &error),
            Err(error) => return Err(unreachable(&place, &error)),
        }
    }
    refuse_older_host(settings)?;
    match settings.host {
        // Whoever names a host means that one.
        Some(_) => Err(Failure::problem(format!("no host is running there: {looked}"))),
        None => Ok(HostResponse::NotRunning(looked)),
    }
}

/// Whoever waits sees what for.
fn say_silent(place: &HostAddress, time: Duration) {
    if time >= HOST_TIME {
        errln!(
            "the host at {place} does not respond yet; it has {} in all (Ctrl-C ends this)",
            HumanDuration(time)
        );
    }
}

/// Asks the running host; when none runs, opens the store for this one request.
pub fn ask(settings: &Settings, call: &ApiCall) -> Result<Value, Failure> {
    let looked = match ask_running(settings, call)? {
        HostResponse::Running(value) => return Ok(value),
        HostResponse::NotRunning(looked) => looked,
    };
    if !settings.state_dir.join("tinclaw.db").exists() {
        let directory = settings.state_dir.display();
        return Err(Failure::problem(format!(
            "no host is running, and there is no state in {directory}; `tinclaw run` starts one ({looked}; --state-dir or --host \
             names another)"
        )));
    }
    let (state, retention) = settings.stored_state();
    let state = StoredState::open(state, retention).map_err(|error| match error {
        HostError::Lock(error) => {
            Failure::problem(format!("the host does not respond ({looked}), and has the state: {error}"))
        }
        other => Failure::problem(other),
    })?;
    execute_on_store(&state, call).map_err(Failure::problem)
}

/// Says that no host runs, and where it was looked for.
pub fn not_running(looked: &PlacesLooked) -> Failure {
    Failure::problem(format!(
        "no host is running; `tinclaw run` starts one ({looked}; --state-dir or --host names another)"
    ))
}

/// The token, for a host that may ask for one.
fn token(settings: &Settings, place: &HostAddress) -> Result<Option<String>, Failure> {
    if matches!(place, HostAddress::Unix(_)) {
        return Ok(None);
    }
    if let Some(token) = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()) {
        return sendable(TOKEN_VARIABLE, &token).map(Some);
    }
    let Some(name) = &settings.admin_token else { return Ok(None) };
    let secret = settings.secrets.store()?.get(name).map_err(Failure::problem)?;
    secret.map(|secret| sendable(name, secret.expose())).transpose()
}

/// The token without the line break of the file that it came from. What a header cannot have would be another header.
fn sendable(name: &str, token: &str) -> Result<String, Failure> {
    let token = token.trim();
    match token.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        true => Ok(token.to_owned()),
        false => Err(Failure::problem(format!(
            "the admin token in {name} has line breaks or other characters that no header can have"
        ))),
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

fn unreachable(place: &HostAddress, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => {
            "run this as the user that the host runs as, for the system service with `sudo -u tinclaw tinclaw …`"
        }
        _ => "look at the log of the host",
    };
    Failure::problem(format!("the host cannot be asked at {place}: {error}; {hint}"))
}

/// A host that has the socket of older versions does not have the admin API.
fn refuse_older_host(settings: &Settings) -> Result<(), Failure> {
    let path = settings.state_dir.join(OLD_SOCKET);
    match settings.host.is_none() && UnixStream::connect(&path).is_ok() {
        false => Ok(()),
        true => Err(Failure::problem(format!(
            "an older tinclaw runs at {}, which this version cannot ask: restart it with this version, or use the older one",
            path.display()
        ))),
    }
}

/// What the host returned, or its words when it did not do what it was asked.
fn read(place: &HostAddress, has_token: bool, response: HttpResponse) -> Result<Value, Failure> {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if response.status == 200 {
        return Ok(body);
    }
    let ours = env!("CARGO_PKG_VERSION");
    match (body["error"].as_str(), response.version, body["message"].as_str()) {
        (Some("no_resource"), version, _) if version.as_deref() != Some(ours) => {
            let theirs = version.map_or("something else".to_owned(), |version| format!("tinclaw {version}"));
            Err(Failure::problem(format!(
                "{place} is {theirs} and this is tinclaw {ours}: restart the host with this version, or use that of the host"
            )))
        }
        (Some("token"), _, _) if has_token => Err(Failure::problem(format!(
            "{place} refuses the admin token that it was given: put the right one into {TOKEN_VARIABLE}"
        ))),
        (Some("token"), _, _) => {
            Err(Failure::problem(format!("{place} wants its admin token: put it into {TOKEN_VARIABLE}")))
        }
        (_, _, Some(message)) => Err(Failure::problem(message)),
        (Some(code), _, None) => Err(Failure::problem(format!("{place} responded with {code}; try again"))),
        (None, _, None) => {
            Err(Failure::problem(format!("{place} responded with status {}", response.status)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token with a line break was sent as it was, and what followed it as a header of its own.
    #[test]
    fn a_token_is_one_line_or_is_not_sent() {
        for (text, sent) in [
            ("0123456789abcdef", Some("0123456789abcdef")),
            ("0123456789abcdef\r\n", Some("0123456789abcdef")),
            ("0123\r\nHost: evil", None),
            ("0123 4567", Some("0123 4567")),
            ("\u{fc}", None),
        ] {
            assert_eq!(sendable("NAME", text).ok().as_deref(), sent, "{text:?}");
        }
    }

    #[test]
    fn a_token_that_is_refused_is_another_error_than_none() {
        let place = HostAddress::Tcp("h:1".to_owned());
        let response = || HttpResponse {
            status: 401,
            version: None,
            body: br#"{"error":"token","message":"m"}"#.to_vec(),
        };
        for (has_token, part) in [(true, "refuses the admin token"), (false, "wants its admin token")] {
            let failure = read(&place, has_token, response()).expect_err("it is refused");
            assert!(failure.to_string().contains(part), "{failure}");
        }
    }
}
