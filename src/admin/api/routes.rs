//! The table of resources, and how a request finds its own.

use ApiHandler::{Host, Stored};

use super::call::PREFIX;
use super::error::ApiError;
use super::request::{ApiRequest, decoded, read_query};
use super::rows::ROW_PARAMETERS;
use super::{ApiCall, ApiResult, channels, messages, pairing, recordings, replies, trace};
use crate::admin::AdminState;
use crate::host::DaemonOperator;

/// What does the work of a resource.
#[derive(Clone, Copy)]
pub(crate) enum ApiHandler {
    /// It needs nothing but what is stored.
    Stored(fn(&dyn DaemonOperator, &ApiRequest) -> ApiResult),
    /// It needs the running host.
    Host(fn(&AdminState, &ApiRequest) -> ApiResult),
}

/// A resource: its method, its path under `/api/v1`, in which a part in braces stands for any text, the parameters that its query may
/// have, and its handler.
type ApiRoute = (&'static str, &'static str, &'static [&'static str], ApiHandler);

/// Every resource. `POST` changes something, `GET` does not.
const ROUTES: &[ApiRoute] = &[
    ("GET", "/health", &[], Host(channels::health)),
    ("GET", "/history", &[], Host(channels::history)),
    ("GET", "/public-probe", &[], Host(channels::public_probe)),
    ("GET", "/log", channels::LOG_PARAMETERS, Host(channels::log_tail)),
    ("POST", "/channels/{name}/start", &[], Host(channels::start)),
    ("GET", "/channels/{name}/recording", &[], Host(recordings::show)),
    ("POST", "/channels/{name}/recording", &["callbacks", "seconds"], Host(recordings::start)),
    ("POST", "/channels/{name}/recording/stop", &[], Host(recordings::stop)),
    ("POST", "/change", &[], Host(channels::change)),
    #[cfg(feature = "cluster")]
    ("GET", "/hosts", &[], Host(super::hosts::list)),
    #[cfg(feature = "cluster")]
    ("POST", "/drain", &[], Host(super::hosts::drain)),
    ("GET", "/tools", &[], Host(channels::tools)),
    ("GET", "/reminders", &[], Host(channels::reminders)),
    ("GET", "/messages", ROW_PARAMETERS, Stored(messages::list)),
    ("GET", "/messages/{id}", &[], Stored(messages::show)),
    ("POST", "/messages/{id}/redeliver", &[], Stored(messages::redeliver)),
    ("POST", "/messages/{id}/drop", &[], Stored(messages::drop)),
    ("GET", "/replies", ROW_PARAMETERS, Stored(replies::list)),
    ("GET", "/replies/{id}", &[], Stored(replies::show)),
    ("POST", "/replies/{id}/retry", &[], Stored(replies::retry)),
    ("POST", "/replies/{id}/drop", &[], Stored(replies::drop)),
    ("GET", "/channels/{name}/egress", &["method", "url"], Host(recordings::explain)),
    ("GET", "/trace/{id}", &["kind"], Stored(trace::show)),
    ("GET", "/pairing", &[], Stored(pairing::list)),
    ("POST", "/pairing/approve", &[], Stored(pairing::approve)),
    ("POST", "/pairing/revoke", &[], Stored(pairing::revoke)),
];

/// Whether some resource has this method and this path.
///
/// # Errors
/// None has; which methods the path has, when it has others.
pub(crate) fn check(method: &str, path: &str) -> Result<(), ApiError> {
    route(method, path).map(drop).ok_or_else(|| no_route(method, path))
}

/// Why there is no route.
fn no_route(method: &str, path: &str) -> ApiError {
    let (method, path) = (method.to_owned(), path.to_owned());
    let allowed: Vec<&str> =
        ["GET", "POST"].into_iter().filter(|other| route(other, &path).is_some()).collect();
    match allowed.is_empty() {
        true => ApiError::NoResource { method, path },
        false => ApiError::Method { method, path, allowed: allowed.join(", ").replace("GET", "GET, HEAD") },
    }
}

/// The handler for a request, and the request as it reads it.
///
/// # Errors
/// No resource has this method and path, or the target is not UTF-8.
pub(crate) fn find(
    method: &str,
    path: &str,
    query: &str,
    body: Vec<u8>,
) -> Result<(ApiHandler, ApiRequest), ApiError> {
    let Some((handler, parameters, places)) = route(method, path) else { return Err(no_route(method, path)) };
    let places = places.into_iter().map(decoded).collect::<Result<_, _>>()?;
    let request = ApiRequest { places, query: read_query(query)?, body };
    request.only_parameters(parameters)?;
    Ok((handler, request))
}

/// Does what is asked, when no host runs and the store is all there is.
///
/// # Errors
/// As the handler has it, or it needs a running host.
pub(crate) fn execute_on_store(operator: &dyn DaemonOperator, call: &ApiCall) -> ApiResult {
    let (handler, mut request) = find(call.method, &call.path, &call.query, Vec::new())?;
    request.set_body(call.body.as_ref());
    match handler {
        Stored(handler) => handler(operator, &request),
        Host(_) => Err(ApiError::NotRunning),
    }
}

/// The route with its parameters, and what stands at its places in braces, encoded as it was sent. `HEAD` is handled as `GET` is.
fn route<'a>(method: &str, path: &'a str) -> Option<(ApiHandler, &'static [&'static str], Vec<&'a str>)> {
    let path = path.strip_prefix(PREFIX)?;
    let method = if method == "HEAD" { "GET" } else { method };
    let of_method = ROUTES.iter().filter(|(known, ..)| *known == method);
    let mut matches = of_method.filter_map(|(_, pattern, parameters, handler)| {
        Some((*handler, *parameters, places(pattern, path)?))
    });
    matches.next()
}

/// What stands in a path at the places of the pattern that are in braces; none when the path is another.
fn places<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    if pattern.split('/').count() != path.split('/').count() {
        return None;
    }
    let mut places = Vec::new();
    for (expected, found) in pattern.split('/').zip(path.split('/')) {
        match expected.starts_with('{') {
            true if !found.is_empty() => places.push(found),
            false if expected == found => {}
            _ => return None,
        }
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_its_resource_and_what_stands_in_it() {
        for (method, path, expected) in [
            ("GET", "/api/v1/messages", Some(vec![])),
            ("HEAD", "/api/v1/messages", Some(vec![])),
            ("GET", "/api/v1/messages/7", Some(vec!["7"])),
            ("POST", "/api/v1/messages/7/drop", Some(vec!["7"])),
            ("POST", "/api/v1/channels/a%2Fb/start", Some(vec!["a%2Fb"])),
            ("DELETE", "/api/v1/messages/7", None),
            ("GET", "/api/v1/messages/7/drop", None),
            ("GET", "/api/v1/messages/", None),
            ("GET", "/api/v1/messages/7/", None),
            ("GET", "/api/v2/messages", None),
            ("GET", "/messages", None),
            ("GET", "/api/v1", None),
        ] {
            assert_eq!(route(method, path).map(|(_, _, places)| places), expected, "{method} {path}");
        }
        let (_, request) = find("GET", "/api/v1/channels/a%2Fb/egress", "url=1", vec![])
            .unwrap_or_else(|_| panic!("it is known"));
        assert_eq!((request.place(0), request.parameter("url")), ("a/b", Some("1")));
        assert!(find("GET", "/api/v1/messages/%ff", "", vec![]).is_err());
    }

    /// Some resources refused a parameter that they do not have, and others left it out silently; of two equal ones the first counted.
    #[test]
    fn every_resource_refuses_parameters_that_it_does_not_have_or_has_twice() {
        for (method, pattern, parameters, _) in ROUTES {
            let path = format!("{PREFIX}{}", pattern.replace("{name}", "a").replace("{id}", "1"));
            let status = |query: &str| find(method, &path, query, vec![]).err().map(|error| error.status());
            assert_eq!(status(""), None, "{method} {pattern}");
            assert_eq!(status("zzz=1"), Some((400, "invalid")), "{method} {pattern}");
            for name in *parameters {
                assert_eq!(status(&format!("{name}=1")), None, "{method} {pattern}");
                let twice = status(&format!("{name}=1&{name}=1"));
                assert_eq!(twice, Some((400, "invalid")), "{method} {pattern} {name}");
            }
        }
    }

    /// It was 404, as if there were no such path.
    #[test]
    fn a_wrong_method_is_told_with_the_right_ones() {
        let of = |method: &str, path: &str| match check(method, path) {
            Err(error) => (error.status().0, error.allowed().map(str::to_owned)),
            Ok(()) => (200, None),
        };
        assert_eq!(of("DELETE", "/api/v1/messages/7"), (405, Some("GET, HEAD".to_owned())));
        assert_eq!(of("GET", "/api/v1/messages/7/drop"), (405, Some("POST".to_owned())));
        assert_eq!(of("PUT", "/api/v1/channels/a/recording"), (405, Some("GET, HEAD, POST".to_owned())));
        assert_eq!(of("GET", "/api/v1/nothing"), (404, None));
    }

    #[test]
    fn no_two_resources_have_the_same_method_and_path() {
        let mut seen = std::collections::BTreeSet::new();
        for (method, pattern, ..) in ROUTES {
            assert!(seen.insert((method, pattern)), "{method} {pattern}");
            assert!(matches!(*method, "GET" | "POST"), "{method} {pattern}");
        }
    }
}
