//! From an answer to the bytes of an HTTP response: pure.

use std::collections::BTreeMap;

use wit_abi::types::OutgoingHttpResponse;

use crate::channel::ChannelName;
use crate::event::answer::{HttpAnswer, Refusal};

use super::Response;

/// The response for an answer. What a guest said that cannot be sent is a 500, and is logged.
pub fn response_for(channel: Option<&ChannelName>, answer: HttpAnswer) -> Response {
    match answer {
        HttpAnswer::Refused(refusal) => refusal_response(&refusal),
        HttpAnswer::Guest(response) => guest_response(response).unwrap_or_else(|problem| {
            let target = channel.map_or("tinclaw", ChannelName::as_str);
            log::warn!(target: target, "answered a request with {problem}");
            refusal_response(&Refusal::CallbackFailed)
        }),
    }
}

fn refusal_response(refusal: &Refusal) -> Response {
    let mut response = Response::error(refusal.status(), refusal.code());
    if let Refusal::MethodNotAllowed { allow } = refusal {
        response.headers.push(("Allow".to_owned(), allow.join(", ")));
    }
    if let Some(wait) = refusal.retry_after() {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers.push(("Retry-After".to_owned(), seconds.max(1).to_string()));
    }
    response
}

fn guest_response(response: OutgoingHttpResponse) -> Result<Response, String> {
    let headers = headers_of(&response)?;
    Ok(Response { status: response.status, headers: headers.into_iter().collect(), body: response.body })
}

/// The headers of an answer that can be sent.
///
/// # Errors
/// What is wrong with the status or the headers, in words.
pub fn headers_of(response: &OutgoingHttpResponse) -> Result<BTreeMap<String, String>, String> {
    let OutgoingHttpResponse { status, headers_json, .. } = response;
    if !(200..=599).contains(status) {
        return Err(format!("status {status}, which is none"));
    }
    if headers_json.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    serde_json::from_str(headers_json)
        .map_err(|error| format!("headers that are no JSON object of strings: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn guest(status: u16, headers_json: &str) -> Response {
        let response =
            OutgoingHttpResponse { status, headers_json: headers_json.into(), body: b"body".to_vec() };
        response_for(None, HttpAnswer::Guest(response))
    }

    #[test]
    fn what_the_guest_said_leaves_as_it_is() {
        let response = guest(202, r#"{"content-type":"text/plain"}"#);
        assert_eq!((response.status, response.body.as_slice()), (202, b"body".as_slice()));
        assert_eq!(response.headers, [("content-type".to_owned(), "text/plain".to_owned())]);
    }

    #[test]
    fn what_cannot_be_sent_is_a_500_without_internals() {
        for (status, headers) in
            [(200, "[]"), (200, r#"{"a":1}"#), (200, "{"), (200, "null"), (0, "{}"), (100, "{}"), (600, "{}")]
        {
            let response = guest(status, headers);
            assert_eq!(response.status, 500, "{status} {headers}");
            assert_eq!(response.body, br#"{"error":"callback_failed"}"#);
        }
    }

    #[test]
    fn no_headers_at_all_are_none() {
        assert_eq!(guest(204, "").status, 204);
    }

    #[test]
    fn every_refusal_has_a_json_body_and_says_when_to_come_back() {
        let refused = |refusal| response_for(None, HttpAnswer::Refused(refusal));
        let response = refused(Refusal::MethodNotAllowed { allow: vec!["GET".into(), "POST".into()] });
        assert!(response.headers.contains(&("Allow".into(), "GET, POST".into())));
        let response = refused(Refusal::TooManyRequests { retry_after: Duration::from_millis(1500) });
        assert!(response.headers.contains(&("Retry-After".into(), "2".into())));
        assert_eq!(refused(Refusal::NotFound).body, br#"{"error":"not_found"}"#);
        assert!(refused(Refusal::Busy).headers.contains(&("Retry-After".into(), "1".into())));
    }
}
