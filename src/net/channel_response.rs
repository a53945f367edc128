//! The response of a channel to a request, as it is sent and as it is kept for duplicates: read once out of what the guest
//! returned.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use wit_abi::types::OutgoingHttpResponse;

use super::header_field::is_name;

/// How long the JSON of a response's headers may be. Read, it takes up to ten times as much.
pub const MAX_HEADERS_BYTES: usize = 64 * 1024;

/// A response that can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelResponse {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// Header names and values in their order, one for each line.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl ChannelResponse {
    /// What a duplicate gets when no response was kept.
    pub fn empty_ok() -> Self {
        Self { status: 200, headers: Vec::new(), body: Vec::new() }
    }

    /// Bytes of its headers and its body.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

impl TryFrom<OutgoingHttpResponse> for ChannelResponse {
    type Error = UnusableResponse;

    fn try_from(response: OutgoingHttpResponse) -> Result<Self, UnusableResponse> {
        let headers = headers_of(&response)?;
        Ok(Self { status: response.status, headers, body: response.body })
    }
}

/// What a response has that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableResponse {
    /// The status is none of HTTP.
    #[error("status {0}, which is none")]
    Status(u16),
    /// The headers are longer than [`MAX_HEADERS_BYTES`].
    #[error("{0} bytes of headers, more than {MAX_HEADERS_BYTES}")]
    TooManyHeaders(usize),
    /// The headers are not what `headers-json` is to be.
    #[error("headers that are no JSON object of strings: {0}")]
    Headers(String),
}

/// The headers of a response that can be sent, in their order. A name may have a list of values, or be there several times:
/// each value is a line of its own. Cookies that were joined with commas are taken apart, because no client does that
/// (RFC 6265 section 3).
fn headers_of(response: &OutgoingHttpResponse) -> Result<Vec<(String, String)>, UnusableResponse> {
    let OutgoingHttpResponse { status, headers_json, .. } = response;
    if !(200..=599).contains(status) {
        return Err(UnusableResponse::Status(*status));
    }
    if headers_json.len() > MAX_HEADERS_BYTES {
        return Err(UnusableResponse::TooManyHeaders(headers_json.len()));
    }
    if headers_json.trim().is_empty() {
        return Ok(Vec::new());
    }
    let Headers(headers) =
        serde_json::from_str(headers_json).map_err(|error| UnusableResponse::Headers(error.to_string()))?;
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
        let name = text.split_once('=').map(|(name, _)| name.trim_start_matches([' ', '\t']));
        name.is_some_and(is_name)
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

    fn guest(status: u16, headers_json: &str) -> Result<ChannelResponse, UnusableResponse> {
        let body = b"body".to_vec();
        ChannelResponse::try_from(OutgoingHttpResponse { status, headers_json: headers_json.into(), body })
    }

    #[test]
    fn a_response_of_a_guest_is_passed_on_unchanged() {
        let response = guest(202, r#"{"content-type":"text/plain"}"#).unwrap();
        assert_eq!((response.status, response.body.as_slice()), (202, b"body".as_slice()));
        assert_eq!(response.headers, [("content-type".to_owned(), "text/plain".to_owned())]);
        assert_eq!(response.bytes(), 4 + 12 + 10);
    }

    #[test]
    fn invalid_responses_are_refused() {
        for (status, headers) in [
            (200, "[]"),
            (200, r#"{"a":1}"#),
            (200, r#"{"a":["b",1]}"#),
            (200, r#"{"a":null}"#),
            (200, "{"),
            (200, "null"),
            (0, "{}"),
            (199, "{}"),
            (600, "{}"),
        ] {
            assert!(guest(status, headers).is_err(), "{status} {headers}");
        }
        assert!(guest(200, "{}").is_ok() && guest(599, "{}").is_ok());
    }

    /// Several cookies used to leave as one line, of which a client reads the first cookie only.
    #[test]
    fn several_cookies_are_several_lines() {
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
            let response = guest(200, json).unwrap();
            let values: Vec<&str> = response.headers.iter().map(|(_, value)| value.as_str()).collect();
            assert_eq!(values, expected, "{json}");
        }
        let list = guest(200, r#"{"x-list":"a=1, b=2"}"#).unwrap();
        assert_eq!(list.headers.len(), 1, "other lists stay as they are");
    }

    /// 16 MiB of empty headers took 300 MB while they were read.
    #[test]
    fn headers_may_have_as_many_bytes_as_the_limit_and_not_one_more() {
        let headers = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        assert!(guest(200, &headers(MAX_HEADERS_BYTES)).is_ok());
        let more = guest(200, &headers(MAX_HEADERS_BYTES + 1));
        assert_eq!(more, Err(UnusableResponse::TooManyHeaders(MAX_HEADERS_BYTES + 1)));
    }

    #[test]
    fn no_headers_at_all_are_none() {
        assert_eq!(guest(204, "").unwrap().headers, []);
    }
}
