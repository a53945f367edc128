//! What `on-start` returned, held against what the capability file allows.

use std::time::Duration;

use wit_abi::types::{ChannelConfig, HttpEndpointConfig, PollConfig};

use super::capabilities::ChannelCapabilities;
use super::name::ChannelName;

/// Paths that belong to the host, with everything below them.
pub const RESERVED_PATHS: &[&str] = &["/admin", "/healthz", "/livez", "/metrics", "/readyz", "/status"];
/// The longest path that a channel may register, in bytes.
pub const MAX_PATH_BYTES: usize = 256;
/// Endpoints of one channel that are looked at; the rest is ignored with a warning.
pub const MAX_ENDPOINTS: usize = 64;
/// The most characters of a channel's display name that are kept.
pub const MAX_DISPLAY_NAME_CHARS: usize = 80;
/// The host's floor for the time between two polls, when its configuration does not set another.
pub const DEFAULT_POLL_FLOOR: Duration = Duration::from_secs(30);

/// A path that a channel serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredEndpoint {
    /// The path, matched exactly.
    pub path: String,
    /// The methods, in upper case, each once.
    pub methods: Vec<String>,
    /// Whether the guest wants requests to be authenticated.
    pub require_secret: bool,
}

/// How a channel is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollSchedule {
    /// The time from one poll to the next.
    pub interval: Duration,
}

/// What a channel has registered, within what it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// What people call the channel: one line, at most [`MAX_DISPLAY_NAME_CHARS`].
    pub display_name: String,
    /// The paths that it serves; no path twice.
    pub endpoints: Vec<RegisteredEndpoint>,
    /// How it is polled, if it is.
    pub poll: Option<PollSchedule>,
    /// What the guest asked for and did not get, one line each.
    pub warnings: Vec<String>,
}

/// Decides what a channel gets of what its `on-start` returned.
///
/// Nothing that a guest returns is an error: what it may not have is left out and told in
/// [`Registration::warnings`]. `poll_floor` is the host's floor ([`DEFAULT_POLL_FLOOR`]).
pub fn resolve_registration(
    channel: &ChannelName,
    config: &ChannelConfig,
    capabilities: &ChannelCapabilities,
    poll_floor: Duration,
) -> Registration {
    let mut warnings = Vec::new();
    let endpoints = resolve_endpoints(&config.http_endpoints, capabilities, &mut warnings);
    let poll = config.poll.and_then(|poll| resolve_poll(poll, capabilities, poll_floor, &mut warnings));
    Registration { display_name: display_name(channel, &config.display_name), endpoints, poll, warnings }
}

fn resolve_endpoints(
    asked: &[HttpEndpointConfig],
    capabilities: &ChannelCapabilities,
    warnings: &mut Vec<String>,
) -> Vec<RegisteredEndpoint> {
    let mut endpoints: Vec<RegisteredEndpoint> = Vec::new();
    for endpoint in asked.iter().take(MAX_ENDPOINTS) {
        let path = shortened(&endpoint.path);
        if let Some(problem) = path_problem(&endpoint.path) {
            warnings.push(format!("the path {path:?} is not served: accepted is {}", problem.accepted()));
        } else if !capabilities.is_path_allowed(&endpoint.path) {
            warnings.push(format!("the path {path:?} is not served: it is not in `allowed_paths`"));
        } else if endpoints.iter().any(|known| known.path == endpoint.path) {
            warnings.push(format!("the path {path:?} is registered twice: the first one counts"));
        } else {
            let methods = methods_of(endpoint, capabilities, warnings);
            let require_secret = endpoint.require_secret;
            endpoints.push(RegisteredEndpoint { path: endpoint.path.clone(), methods, require_secret });
        }
    }
    if asked.len() > MAX_ENDPOINTS {
        warnings
            .push(format!("{} endpoints are registered: only the first {MAX_ENDPOINTS} count", asked.len()));
    }
    endpoints
}

/// Methods of HTTP that a channel can serve: those that carry a request to a resource (RFC 9110, section 9.3, and
/// RFC 5789). `CONNECT` and `TRACE` are for the server itself.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
/// Methods of one endpoint that are looked at.
const MAX_METHODS: usize = 16;

/// The methods that `on-start` named, else those of `channel.webhook.methods`, else `POST` alone.
fn methods_of(
    endpoint: &HttpEndpointConfig,
    capabilities: &ChannelCapabilities,
    warnings: &mut Vec<String>,
) -> Vec<String> {
    let asked = match (&endpoint.methods, capabilities.webhook()) {
        (asked, _) if !asked.is_empty() => asked,
        (_, Some(webhook)) if !webhook.methods.is_empty() => &webhook.methods,
        _ => return vec!["POST".to_owned()],
    };
    let mut methods: Vec<String> = Vec::new();
    for name in asked.iter().take(MAX_METHODS) {
        let method = name.to_ascii_uppercase();
        if !METHODS.contains(&method.as_str()) {
            let text = format!("the method {:?} of {} is not served", shortened(name), endpoint.path);
            warnings.push(format!("{text}: accepted are {}", METHODS.join(", ")));
        } else if !methods.contains(&method) {
            methods.push(method);
        }
    }
    methods
}

fn resolve_poll(
    asked: PollConfig,
    capabilities: &ChannelCapabilities,
    host_floor: Duration,
    warnings: &mut Vec<String>,
) -> Option<PollSchedule> {
    if !asked.enabled {
        return None;
    }
    let Some(section) = capabilities.channel.as_ref().filter(|section| section.allow_polling) else {
        warnings.push("polling is not started: the capability file does not say `allow_polling`".to_owned());
        return None;
    };
    let interval = Duration::from_millis(asked.interval_ms.into());
    let floor = section.min_poll_interval().max(host_floor);
    if interval < floor {
        let (asked, floor) = (interval.as_millis(), floor.as_millis());
        warnings.push(format!("polling every {asked} ms is asked for: it is done every {floor} ms"));
    }
    Some(PollSchedule { interval: interval.max(floor) })
}

fn display_name(channel: &ChannelName, asked: &str) -> String {
    let line: String = asked.chars().filter(|c| !c.is_control()).take(MAX_DISPLAY_NAME_CHARS).collect();
    match line.trim() {
        "" => channel.to_string(),
        name => name.to_owned(),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_PATH_BYTES).collect()
}

/// Why a path cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathProblem {
    /// Not an absolute path.
    NotAbsolute,
    /// Longer than [`MAX_PATH_BYTES`].
    TooLong,
    /// A character that could be written in more than one way, or that does not belong to a path.
    Character,
    /// A `.` or `..` segment, or an empty one.
    Segment,
    /// One of [`RESERVED_PATHS`].
    Reserved,
}

impl PathProblem {
    /// What would be accepted.
    pub(crate) fn accepted(self) -> &'static str {
        match self {
            Self::NotAbsolute => "a path that begins with `/`",
            Self::TooLong => "a path of at most 256 bytes",
            Self::Character => "a path of letters, digits and -._~!$&'()*+,;=:@/ without a query",
            Self::Segment => "a path without empty, `.` and `..` segments",
            Self::Reserved => {
                "a path that the host does not use itself (/admin, /healthz, /livez, /metrics, /readyz, /status)"
            }
        }
    }
}

/// Why a path cannot be served; nothing when it can.
///
/// A path is matched byte by byte, so it must have one spelling only: no percent-encoding, no empty or dot segments.
/// The characters are those that RFC 3986, section 3.3, allows in a segment.
pub(crate) fn path_problem(path: &str) -> Option<PathProblem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/".contains(c);
    let Some(rest) = path.strip_prefix('/') else { return Some(PathProblem::NotAbsolute) };
    let mut segments = rest.strip_suffix('/').unwrap_or(rest).split('/');
    if path.len() > MAX_PATH_BYTES {
        Some(PathProblem::TooLong)
    } else if !path.chars().all(plain) {
        Some(PathProblem::Character)
    } else if !rest.is_empty() && segments.any(|segment| matches!(segment, "" | "." | "..")) {
        Some(PathProblem::Segment)
    } else if is_reserved(path) {
        Some(PathProblem::Reserved)
    } else {
        None
    }
}

fn is_reserved(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    RESERVED_PATHS
        .iter()
        .any(|own| lower.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}
