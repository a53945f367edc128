//! From what a channel or the host responds to the bytes of an HTTP response: pure.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use wit_abi::types::OutgoingHttpResponse;

use crate::channel::ChannelName;
use crate::event::response::{WebhookRefusal, WebhookResponse};

use super::Response;
use super::reply::is_token_byte;

/// The HTTP response to a webhook. A guest's response that cannot be sent is a 500, and is logged.
pub fn response_for(channel: Option<&ChannelName>, response: WebhookResponse) -> Response {
    match response {
        WebhookResponse::Refused(refusal) => refusal_response(&refusal),
        WebhookResponse::Guest(response) => guest_response(response).unwrap_or_else(|problem| {
            let target = channel.map_or("tinclaw", ChannelName::as_str);
            let subject = channel.map_or("the host".to_owned(), |channel| format!("channel {channel}"));
            log::warn!(target: target, "{subject} responded to a request with {problem}");
            refusal_response(&WebhookRefusal::CallbackFailed)
        }),
    }
}

pub(super) fn refusal_response(refusal: &WebhookRefusal) -> Response {
    let mut response = Response::error(refusal.status(), refusal.code());
    if let WebhookRefusal::MethodNotAllowed { allow } = refusal {
        response.headers.push(("Allow".to_owned(), allow.join(", ")));
    }
    if let Some(wait) = refusal.retry_after() {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers.push(("Retry-After".to_owned(), seconds.max(1).to_string()));
    }
    response
}

fn guest_response(response: OutgoingHttpResponse) -> Result<Response, UnusableResponse> {
    let headers = headers_of(&response)?;
    Ok(Response { status: response.status, headers, body: response.body })
}

/// What a response has that cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum UnusableResponse {
    /// The status is none of HTTP.
    #[error("status {0}, which is none")]
    Status(u16),
    /// The headers are not what `headers-json` is to be.
    #[error("headers that are no JSON object of strings: {0}")]
    Headers(serde_json::Error),
}

/// The headers of a response that can be sent, in their order. A name may have a list of values, or be there several times:
/// each value is a line of its own. Cookies that were joined with commas are taken apart, because no client does that
/// (RFC 6265 section 3).
///
/// # Errors
/// The status or the headers cannot be sent.
pub fn headers_of(response: &OutgoingHttpResponse) -> Result<Vec<(String, String)>, UnusableResponse> {
    let OutgoingHttpResponse { status, headers_json, .. } = response;
    if !(200..=599).contains(status) {
        return Err(UnusableResponse::Status(*status));
    }
    if headers_json.trim().is_empty() {
        return Ok(Vec::new());
    }
    let Headers(headers) = serde_json::from_str(headers_json).map_err(UnusableResponse::Headers)?;
    Ok(headers
        .into_iter()
        .flat_map(|(name, values)| {
            let is_cookie = name.eq_ignore_ascii_case("set-cookie");
            let values = match values {
                Values::One(value) if is_cookie => cookies(&value).into_iter().map(str::to_owned).collect(),
                Values::One(value) => vec![value],
                Values::Several(values) => values,
            };
            values.into_iter().map(move |value| (name.clone(), value))
        })
        .collect())
}

/// The same headers as a guest would write them.
pub fn headers_json(headers: &[(String, String)]) -> String {
    let mut object = serde_json::Map::new();
    for (name, value) in headers {
        let value = || Value::String(value.clone());
        match object.get_mut(name) {
            Some(Value::Array(values)) => values.push(value()),
            Some(first) => *first = Value::Array(vec![first.take(), value()]),
            None => {
                object.insert(name.clone(), value());
            }
        }
    }
    Value::Object(object).to_string()
}

/// A JSON object as it was written: equal names are kept.
struct Headers(Vec<(String, Values)>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum Values {
    One(String),
    Several(Vec<String>),
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Headers;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Headers(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// The cookies of a joined value. A comma ends a cookie only where `name=` follows it: the one in a date does not.
fn cookies(joined: &str) -> Vec<&str> {
    let begins_cookie = |text: &str| {
        let name = text.trim_start_matches([' ', '\t']).split('=').next().unwrap_or_default();
        text.contains('=') && !name.is_empty() && name.bytes().all(is_token_byte)
    };
    let mut cookies = Vec::new();
    let mut start = 0;
    for (comma, _) in joined.match_indices(',') {
        if begins_cookie(&joined[comma + 1..]) {
            cookies.push(joined[start..comma].trim());
            start = comma + 1;
        }
    }
    cookies.push(joined[start..].trim());
    cookies
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn guest(status: u16, headers_json: &str) -> Response {
        let response =
            OutgoingHttpResponse { status, headers_json: headers_json.into(), body: b"body".to_vec() };
        response_for(None, WebhookResponse::Guest(response))
    }

    #[test]
    fn what_the_guest_said_leaves_as_it_is() {
        let response = guest(202, r#"{"content-type":"text/plain"}"#);
        assert_eq!((response.status, response.body.as_slice()), (202, b"body".as_slice()));
        assert_eq!(response.headers, [("content-type".to_owned(), "text/plain".to_owned())]);
    }

    #[test]
    fn what_cannot_be_sent_is_a_500_without_internals() {
        for (status, headers) in [
            (200, "[]"),
            (200, r#"{"a":1}"#),
            (200, r#"{"a":["b",1]}"#),
            (200, r#"{"a":null}"#),
            (200, "{"),
            (200, "null"),
            (0, "{}"),
            (100, "{}"),
            (600, "{}"),
        ] {
            let response = guest(status, headers);
            assert_eq!(response.status, 500, "{status} {headers}");
            assert_eq!(response.body, br#"{"error":"callback_failed"}"#);
        }
    }

    /// Several cookies used to leave as one line, of which a client reads the first cookie only.
    #[test]
    fn several_cookies_leave_as_several_lines() {
        let rows = [
            (r#"{"set-cookie":["a=1","b=2, c"]}"#, vec!["a=1", "b=2, c"]),
            (r#"{"set-cookie":"a=1","set-cookie":"b=2"}"#, vec!["a=1", "b=2"]),
            (r#"{"set-cookie":"a=1; Path=/, b=2; Secure,c=3"}"#, vec!["a=1; Path=/", "b=2; Secure", "c=3"]),
            (
                r#"{"set-cookie":"a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT, b=2"}"#,
                vec!["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"],
            ),
            (r#"{"set-cookie":"a=1"}"#, vec!["a=1"]),
        ];
        for (json, expected) in rows {
            let response = guest(200, json);
            let values: Vec<&str> = response.headers.iter().map(|(_, value)| value.as_str()).collect();
            assert_eq!(values, expected, "{json}");
            let again = guest(200, &headers_json(&response.headers));
            assert_eq!(again.headers, response.headers, "{json}");
        }
        assert_eq!(guest(200, r#"{"x-list":"a=1, b=2"}"#).headers.len(), 1, "other lists stay as they are");
    }

    #[test]
    fn no_headers_at_all_are_none() {
        assert_eq!(guest(204, "").status, 204);
    }

    #[test]
    fn every_refusal_has_a_json_body_and_says_when_to_come_back() {
        let refused = |refusal| response_for(None, WebhookResponse::Refused(refusal));
        let response = refused(WebhookRefusal::MethodNotAllowed { allow: vec!["GET".into(), "POST".into()] });
        assert!(response.headers.contains(&("Allow".into(), "GET, POST".into())));
        let response = refused(WebhookRefusal::TooManyRequests { retry_after: Duration::from_millis(1500) });
        assert!(response.headers.contains(&("Retry-After".into(), "2".into())));
        assert_eq!(refused(WebhookRefusal::NotFound).body, br#"{"error":"not_found"}"#);
        assert!(refused(WebhookRefusal::Busy).headers.contains(&("Retry-After".into(), "1".into())));
    }
}
