//! The access log: one entry for each request, whoever responded to it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::head::Head;
use crate::webhook::TrustedProxies;

/// The longest method, target or header field that is kept, in bytes.
const MAX_FIELD_BYTES: usize = 1024;

/// One request and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessEntry {
    /// Whose request it was, behind trusted proxies.
    pub client: IpAddr,
    /// When its head was complete; for what was no request: when it was refused.
    pub at: SystemTime,
    /// What was asked for; nothing for what was no request.
    pub asked: Option<LoggedRequest>,
    /// The status of the response.
    pub status: u16,
    /// Bytes of the response's body.
    pub bytes: u64,
    /// From the end of the request's head to the response.
    pub took: Duration,
}

impl AccessEntry {
    /// What is noted of a response.
    pub(super) fn new(
        peer: IpAddr,
        proxies: &TrustedProxies,
        asked: Option<LoggedRequest>,
        sent: Sent,
    ) -> Self {
        let forwarded_for = asked.iter().flat_map(|asked| &asked.forwarded_for).map(String::as_str);
        Self {
            client: proxies.client(peer, forwarded_for.collect::<Vec<_>>().into_iter()),
            at: asked.as_ref().map_or_else(SystemTime::now, |asked| asked.at),
            took: asked.as_ref().map_or(Duration::ZERO, |asked| asked.since.elapsed()),
            asked,
            status: sent.status,
            bytes: sent.bytes,
        }
    }
}

/// What a request asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoggedRequest {
    /// `GET`, for instance.
    pub method: String,
    /// Path and query. Values of the query are `-`: some services send secrets there.
    pub target: String,
    /// The header field `Referer`.
    pub referer: Option<String>,
    /// The header field `User-Agent`.
    pub user_agent: Option<String>,
    forwarded_for: Vec<String>,
    since: Instant,
    at: SystemTime,
}

impl LoggedRequest {
    /// What is kept of a request's head.
    pub(super) fn of(head: &Head<'_>) -> Self {
        let values = |name: &str| {
            let name = name.to_owned();
            let fields = head.fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(&name));
            fields.map(|(_, value)| cut(&String::from_utf8_lossy(value)))
        };
        Self {
            method: cut(head.method),
            target: cut(&without_values(&head.target)),
            referer: values("referer").next().map(|referer| without_values(&referer)),
            user_agent: values("user-agent").next(),
            forwarded_for: values("x-forwarded-for").collect(),
            since: Instant::now(),
            at: SystemTime::now(),
        }
    }
}

fn cut(text: &str) -> String {
    crate::model::prefix::prefix(text, MAX_FIELD_BYTES).to_owned()
}

/// A target or URL whose query has names and no values.
fn without_values(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let names = query.split('&').map(|part| match part.split_once('=') {
        Some((name, _)) => format!("{name}=-"),
        None => "-".to_owned(),
    });
    format!("{path}?{}", names.collect::<Vec<_>>().join("&"))
}

/// What takes entries. It is called on the threads that serve, so it must not wait.
pub(crate) type AccessSink = Arc<dyn Fn(AccessEntry) + Send + Sync>;

/// What went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    status: u16,
    bytes: u64,
}

impl Sent {
    /// Reads the beginning of a response as the server prints it.
    pub fn of(response: &[u8]) -> Self {
        let status = response.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let head = response.windows(4).position(|end| end == b"\r\n\r\n").map_or(response.len(), |at| at + 4);
        Self { status: status.unwrap_or(0), bytes: (response.len() - head) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Response;

    /// Meta sends its verify token in the query, and a log is read by more people than a secret.
    #[test]
    fn a_query_is_kept_without_its_values() {
        for (target, expected) in [
            ("/a", "/a"),
            ("/a?", "/a?-"),
            ("/a?hub.verify_token=hunter2&hub.mode=", "/a?hub.verify_token=-&hub.mode=-"),
            ("/a?hunter2", "/a?-"),
            ("/a?b=c=d?e", "/a?b=-"),
        ] {
            assert_eq!(without_values(target), expected);
        }
    }

    #[test]
    fn status_and_length_are_read_from_the_response() {
        let response = Response::json(404, "{\"a\":1}");
        let printed = super::super::reply::print(&response, false, SystemTime::UNIX_EPOCH);
        assert_eq!(Sent::of(&printed), Sent { status: 404, bytes: 7 });
        let printed = super::super::reply::print(&response, true, SystemTime::UNIX_EPOCH);
        assert_eq!(Sent::of(&printed), Sent { status: 404, bytes: 0 });
        assert_eq!(Sent::of(b""), Sent { status: 0, bytes: 0 });
    }
}
