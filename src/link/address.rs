//! Where the connections of a link go.

use std::time::Instant;

use serde::Deserialize;
use url::Url;

use crate::egress::{ChannelHttp, OutboundCall, OutboundRequest, RequestPurpose};

/// Where a link connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Always the same `wss://` URL, but for a session that is resumed elsewhere.
    Fixed(String),
    /// A `wss://` URL that is fetched for each connection, with a POST to this `https://` URL (Slack's
    /// `apps.connections.open`). Its credential is one of `http.credentials`.
    Asked(String),
}

/// Why there is no address, and whether the service refused the credentials.
type NoAddress = (String, bool);

impl Address {
    /// The host of the URL.
    pub fn host(&self) -> &str {
        let (Self::Fixed(url) | Self::Asked(url)) = self;
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().unwrap_or(rest)
    }

    /// The URL of the next connection. `resume` is where the protocol wants to resume its session; when the channel's
    /// allow-list does not have that place, the session is resumed at the usual one.
    pub(super) fn url(
        &self,
        http: &ChannelHttp,
        resume: Option<String>,
        deadline: Instant,
    ) -> Result<String, NoAddress> {
        match self {
            Self::Fixed(url) => {
                Ok(resume.filter(|url| http.permits_websocket(url)).unwrap_or_else(|| url.clone()))
            }
            Self::Asked(url) => ask(url, http, deadline),
        }
    }
}

#[derive(Deserialize)]
struct Opened {
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

/// The service's response has an address and little more; no callback's memory budget counts it.
const MAX_OPENED_BYTES: u64 = 64 * 1024;

fn ask(url: &str, http: &ChannelHttp, deadline: Instant) -> Result<String, NoAddress> {
    let request = OutboundRequest {
        method: "POST".to_owned(),
        url: url.to_owned(),
        headers_json: r#"{"content-type":"application/x-www-form-urlencoded"}"#.to_owned(),
        body: None,
        timeout: None,
    };
    let call = OutboundCall { deadline, calls_before: 0, purpose: RequestPurpose::Other };
    let mut held = 0;
    let mut room = |more| {
        held += more;
        held <= MAX_OPENED_BYTES
    };
    let response =
        http.request(request, call, &mut room).map_err(|error| (error.to_string(), false))?.response;
    let opened = serde_json::from_slice::<Opened>(&response.body).ok();
    read_response(response.status, opened)
}

fn read_response(status: u16, opened: Option<Opened>) -> Result<String, NoAddress> {
    match opened {
        Some(Opened { ok: true, url: Some(url), .. }) if Url::parse(&url).is_ok() => Ok(url),
        Some(Opened { error: Some(error), .. }) => {
            let error: String = error.chars().filter(|char| !char.is_control()).take(100).collect();
            Err((format!("the service gives no address for the websocket: {error}"), true))
        }
        _ => Err((
            format!("the service gives no address for the websocket (status {status})"),
            matches!(status, 401 | 403),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_for_people() {
        for (url, host) in [
            ("wss://gateway.discord.gg/?v=10", "gateway.discord.gg"),
            ("wss://h.example:444", "h.example:444"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(Address::Fixed(url.to_owned()).host(), host);
        }
    }

    #[test]
    fn an_address_is_taken_from_a_good_response_only() {
        for (status, body, expected) in [
            (
                200,
                r#"{"ok":true,"url":"wss://wss.slack.com/link/?ticket=1"}"#,
                Ok("wss://wss.slack.com/link/?ticket=1"),
            ),
            (200, r#"{"ok":false,"error":"invalid_auth"}"#, Err(("invalid_auth", true))),
            (200, r#"{"ok":true}"#, Err(("status 200", false))),
            (401, "no", Err(("status 401", true))),
            (503, "", Err(("status 503", false))),
        ] {
            let got = read_response(status, serde_json::from_str(body).ok());
            match (&got, expected) {
                (Ok(url), Ok(expected)) => assert_eq!(url, expected),
                (Err((reason, refused)), Err((part, expected))) => {
                    assert!(reason.contains(part) && *refused == expected, "{body}: {reason}");
                }
                _ => panic!("{body}: {got:?}"),
            }
        }
    }
}
