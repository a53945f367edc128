//! What `on-start` returned, held against what the capability file allows.

use std::time::Duration;

use wit_abi::types::{ChannelConfig, HttpEndpointConfig, PollConfig};

use crate::capability::ChannelCapabilities;
use crate::model::human_duration::HumanDuration;
use crate::model::name::ChannelName;

/// Paths that belong to the host, with everything below them.
pub(crate) const RESERVED_PATHS: &[&str] =
    &["/admin", "/healthz", "/livez", "/metrics", "/readyz", "/status"];
/// The longest path that a channel may register, in bytes.
pub(crate) const MAX_PATH_BYTES: usize = 256;
/// Endpoints of one channel that are looked at; the rest is ignored with a warning.
pub(crate) const MAX_ENDPOINTS: usize = 64;
/// The most characters of a channel's display name that are kept.
pub(crate) const MAX_DISPLAY_NAME_CHARS: usize = 80;
/// The host's minimum for the time between two polls, when its configuration does not set another.
pub(crate) const DEFAULT_MIN_POLL_INTERVAL: Duration = Duration::from_secs(30);

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
    /// What people call the channel: one line, at most 80 characters.
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
/// Nothing that a guest returns is an error: what it may not have is left out and reported in
/// [`Registration::warnings`]. `min_poll_interval` is the host's lower bound ([`DEFAULT_MIN_POLL_INTERVAL`]).
pub(crate) fn resolve_registration(
    channel: &ChannelName,
    config: &ChannelConfig,
    capabilities: &ChannelCapabilities,
    min_poll_interval: Duration,
) -> Registration {
    let mut warnings = Vec::new();
    let endpoints = resolve_endpoints(&config.http_endpoints, capabilities, &mut warnings);
    let poll =
        config.poll.and_then(|poll| resolve_poll(poll, capabilities, min_poll_interval, &mut warnings));
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
    host_minimum: Duration,
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
    let minimum = section.min_poll_interval().max(host_minimum);
    if interval < minimum {
        let (asked, minimum) = (HumanDuration(interval), HumanDuration(minimum));
        warnings.push(format!(
            "it polls every {minimum}, not every {asked}: `min_poll_interval_ms` is the least"
        ));
    }
    Some(PollSchedule { interval: interval.max(minimum) })
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::document::{Comments, read};

    fn capabilities(channel: Value) -> ChannelCapabilities {
        read(json!({ "channel": channel }), Comments::Refused).unwrap()
    }

    fn endpoint(path: &str, methods: &[&str]) -> HttpEndpointConfig {
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        HttpEndpointConfig { path: path.into(), methods, require_secret: true }
    }

    fn resolve(config: &ChannelConfig, capabilities: &ChannelCapabilities) -> Registration {
        resolve_registration(
            &ChannelName::new("test").unwrap(),
            config,
            capabilities,
            DEFAULT_MIN_POLL_INTERVAL,
        )
    }

    fn serve(endpoints: Vec<HttpEndpointConfig>, channel: Value) -> Registration {
        let config = ChannelConfig { http_endpoints: endpoints, ..Default::default() };
        resolve(&config, &capabilities(channel))
    }

    #[test]
    fn paths_are_taken_or_refused() {
        let longest = format!("/{}", "a".repeat(MAX_PATH_BYTES - 1));
        let past = format!("/{}", "a".repeat(MAX_PATH_BYTES));
        let table: &[(&str, &str, Option<PathProblem>)] = &[
            ("usual", "/webhook/telegram", None),
            ("root", "/", None),
            ("slash at the end", "/chat/", None),
            ("dots inside a segment", "/a..b/.well-known", None),
            ("longest", &longest, None),
            ("one past the longest", &past, Some(PathProblem::TooLong)),
            ("empty", "", Some(PathProblem::NotAbsolute)),
            ("relative", "webhook", Some(PathProblem::NotAbsolute)),
            ("URL", "https://example.org/", Some(PathProblem::NotAbsolute)),
            ("other host", "//example.org/a", Some(PathProblem::Segment)),
            ("parent", "/a/../b", Some(PathProblem::Segment)),
            ("parent at the end", "/a/..", Some(PathProblem::Segment)),
            ("same directory", "/./a", Some(PathProblem::Segment)),
            ("empty segment", "/a//b", Some(PathProblem::Segment)),
            ("only slashes", "//", Some(PathProblem::Segment)),
            ("query", "/a?b=c", Some(PathProblem::Character)),
            ("fragment", "/a#b", Some(PathProblem::Character)),
            ("encoded", "/a%2fb", Some(PathProblem::Character)),
            ("backslash", "/a\\b", Some(PathProblem::Character)),
            ("space", "/a b", Some(PathProblem::Character)),
            ("NUL", "/a\0", Some(PathProblem::Character)),
            ("line break", "/a\r\nX: y", Some(PathProblem::Character)),
            ("not ASCII", "/ä", Some(PathProblem::Character)),
            ("wildcard is an ordinary character", "/a/*", None),
            ("metrics", "/metrics", Some(PathProblem::Reserved)),
            ("below status", "/status/x", Some(PathProblem::Reserved)),
            ("reserved with a slash", "/healthz/", Some(PathProblem::Reserved)),
            ("reserved in other letters", "/Metrics", Some(PathProblem::Reserved)),
            ("begins like a reserved one", "/metrics2", None),
        ];
        for (case, path, expected) in table {
            assert_eq!(path_problem(path), *expected, "{case}");
        }
    }

    #[test]
    fn only_allowed_paths_are_served_and_each_once() {
        let asked = ["/a", "/b", "/a", "/a/", "/A", "/metrics", "/c?x"].map(|path| endpoint(path, &[]));
        let registration = serve(asked.to_vec(), json!({"allowed_paths": ["/a", "/c"]}));
        let paths: Vec<_> = registration.endpoints.iter().map(|e| e.path.as_str()).collect();
        assert_eq!(paths, ["/a"]);
        assert!(registration.endpoints[0].require_secret);
        assert_eq!(registration.warnings.len(), 6, "{:?}", registration.warnings);
    }

    #[test]
    fn a_channel_without_capabilities_serves_nothing() {
        let config = ChannelConfig {
            http_endpoints: vec![endpoint("/a", &["GET"])],
            poll: Some(PollConfig { interval_ms: 60_000, enabled: true }),
            ..Default::default()
        };
        let registration = resolve(&config, &ChannelCapabilities::default());
        assert_eq!((registration.endpoints.len(), registration.poll), (0, None));
        assert_eq!(registration.warnings.len(), 2);
    }

    #[test]
    fn methods_are_those_declared_or_those_of_the_file_or_post() {
        type Row = (&'static str, &'static [&'static str], Value, &'static [&'static str], usize);
        let table: &[Row] = &[
            ("declared", &["GET", "POST"], json!({}), &["GET", "POST"], 0),
            ("declared beats the file", &["GET"], json!({"webhook": {"methods": ["POST"]}}), &["GET"], 0),
            ("none declared", &[], json!({}), &["POST"], 0),
            (
                "none declared, the file's",
                &[],
                json!({"webhook": {"methods": ["GET", "POST"]}}),
                &["GET", "POST"],
                0,
            ),
            ("none declared, none in the file", &[], json!({"webhook": {"methods": []}}), &["POST"], 0),
            ("lower case", &["post"], json!({}), &["POST"], 0),
            ("twice", &["GET", "get", "GET"], json!({}), &["GET"], 0),
            ("not one of HTTP's", &["GET", "G ET", "TRACE", "CONNECT", ""], json!({}), &["GET"], 4),
            ("only bad ones: none, and not POST", &["TRACE"], json!({}), &[], 1),
        ];
        for (case, declared, channel, expected, warnings) in table {
            let mut channel = channel.clone();
            channel["allowed_paths"] = json!(["/a"]);
            let registration = serve(vec![endpoint("/a", declared)], channel);
            assert_eq!(registration.endpoints[0].methods, *expected, "{case}");
            assert_eq!(registration.warnings.len(), *warnings, "{case}: {:?}", registration.warnings);
        }
    }

    #[test]
    fn a_guest_that_returns_very_much_costs_little() {
        let endpoints: Vec<_> = (0..MAX_ENDPOINTS + 1000).map(|n| endpoint(&format!("/{n}"), &[])).collect();
        let registration = serve(endpoints, json!({"allowed_paths": ["/1"]}));
        assert_eq!(registration.endpoints.len(), 1);
        assert_eq!(registration.warnings.len(), MAX_ENDPOINTS, "one a refused endpoint, one for the rest");
        let long = serve(vec![endpoint(&"x".repeat(1_000_000), &[])], json!({}));
        assert!(long.warnings[0].len() < 1000);
    }

    #[test]
    fn polls_are_no_faster_than_the_higher_floor() {
        let secs = Duration::from_secs;
        type Row = (&'static str, u32, Value, Duration, Option<Duration>, usize);
        let table: &[Row] = &[
            ("slower than the minimum", 60_000, json!({"allow_polling": true}), secs(30), Some(secs(60)), 0),
            ("at the minimum", 30_000, json!({"allow_polling": true}), secs(30), Some(secs(30)), 0),
            ("one below the minimum", 29_999, json!({"allow_polling": true}), secs(30), Some(secs(30)), 1),
            ("nothing", 0, json!({"allow_polling": true}), secs(30), Some(secs(30)), 1),
            (
                "the file's minimum is higher",
                30_000,
                json!({"allow_polling": true, "min_poll_interval_ms": 45_000}),
                secs(30),
                Some(secs(45)),
                1,
            ),
            (
                "the file's minimum is lower",
                1_000,
                json!({"allow_polling": true, "min_poll_interval_ms": 1}),
                secs(30),
                Some(secs(30)),
                1,
            ),
            (
                "both minimums are lower",
                100,
                json!({"allow_polling": true, "min_poll_interval_ms": 50}),
                Duration::from_millis(10),
                Some(Duration::from_millis(100)),
                0,
            ),
            ("the file says nothing", 100, json!({"allow_polling": true}), secs(1), Some(secs(30)), 1),
            ("not allowed", 60_000, json!({}), secs(30), None, 1),
        ];
        for (case, interval_ms, channel, minimum, expected, warnings) in table {
            let poll = Some(PollConfig { interval_ms: *interval_ms, enabled: true });
            let config = ChannelConfig { poll, ..Default::default() };
            let name = ChannelName::new("test").unwrap();
            let registration = resolve_registration(&name, &config, &capabilities(channel.clone()), *minimum);
            assert_eq!(registration.poll.map(|poll| poll.interval), *expected, "{case}");
            assert_eq!(registration.warnings.len(), *warnings, "{case}: {:?}", registration.warnings);
        }
    }

    #[test]
    fn polling_that_is_not_enabled_needs_no_right() {
        let config =
            ChannelConfig { poll: Some(PollConfig { interval_ms: 1, enabled: false }), ..Default::default() };
        let registration = resolve(&config, &ChannelCapabilities::default());
        assert_eq!((registration.poll, registration.warnings), (None, vec![]));
    }

    #[test]
    fn the_display_name_is_one_short_line() {
        let long = "x".repeat(1000);
        let table = [
            ("Telegram", "Telegram"),
            ("", "test"),
            (" \n ", "test"),
            (" My\u{1b}[31m bot\n", "My[31m bot"),
            (long.as_str(), &long[..MAX_DISPLAY_NAME_CHARS]),
        ];
        for (asked, expected) in table {
            let config = ChannelConfig { display_name: asked.into(), ..Default::default() };
            assert_eq!(resolve(&config, &ChannelCapabilities::default()).display_name, expected);
        }
    }
}
