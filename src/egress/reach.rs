//! Whether a server can be reached the way guests' requests go: the same resolver, the same checks of addresses, the same proxy and
//! rewrites. For an operator; no guest can cause such a request.

use std::time::{Duration, Instant, SystemTime};

use super::client::Exchange;
use super::error::OutboundError;
use super::method::Method;
use super::outbound::OutboundHttp;
use super::request::RequestPurpose;
use super::target::OutboundTarget;
use crate::model::deadline::deadline_after;

/// How long a server may take.
const REACH_TIME: Duration = Duration::from_secs(10);

/// The longest response that is read, in bytes.
const MAX_BODY_BYTES: u64 = 64 * 1024;

/// The name under which lookups are counted, where those of guests have their channel.
const CLIENT: &str = "doctor";

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Where the request went, such as `connects to 192.0.2.1:443`.
    pub route: String,
    /// The status.
    pub status: u16,
    /// What the server says the time is.
    pub date: Option<SystemTime>,
    /// The body.
    pub body: Vec<u8>,
}

impl OutboundHttp {
    /// Sends a GET request without credentials.
    ///
    /// # Errors
    /// Why there is no response; [`OutboundError::Resolve`] when the name is not found.
    pub fn reach(&self, url: &str) -> Result<Reached, OutboundError> {
        let target = OutboundTarget::parse(url)?;
        let deadline = deadline_after(Instant::now(), REACH_TIME);
        let route = self.route(CLIENT, &target, None, RequestPurpose::Other, deadline)?;
        let mut path_and_query = target.path_with(str::to_owned);
        if let Some(query) = target.query_with(str::to_owned) {
            path_and_query = format!("{path_and_query}?{query}");
        }
        let url = route.url(&path_and_query);
        let exchange = Exchange {
            method: Method::Get,
            url: &url,
            headers: &[],
            body: None,
            dial: &[],
            deadline,
            connect_timeout: None,
            max_body: MAX_BODY_BYTES,
        };
        let opened = self.open(&route, target.host(), RequestPurpose::Other, exchange);
        let found = opened.and_then(|opened| opened.read_whole(&mut |_| true));
        // A page that is too long is a response all the same.
        let (status, headers, body) = match found {
            Ok(response) => (response.status, response.headers, response.body),
            Err(OutboundError::ResponseTooLarge { .. }) => (200, Vec::new(), Vec::new()),
            Err(error) => return Err(error),
        };
        let date = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("date"));
        let date =
            date.and_then(|(_, value)| httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok());
        Ok(Reached { route: route.to_string(), status, date, body })
    }
}
