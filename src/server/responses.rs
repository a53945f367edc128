//! From what a channel or the host responds to the bytes of an HTTP response: pure.

use std::sync::Arc;

use super::Response;
use crate::event::response::{WebhookRefusal, WebhookResponse};
use crate::net::channel_response::ChannelResponse;

/// The HTTP response to a webhook.
pub fn response_for(response: WebhookResponse) -> Response {
    match response {
        WebhookResponse::Refused(refusal) => refusal_response(&refusal),
        WebhookResponse::Channel(response) => channel_response(response),
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

/// What a channel said. Nobody else has it any more when no duplicate waits for it and no store in memory keeps it.
fn channel_response(response: Arc<ChannelResponse>) -> Response {
    let ChannelResponse { status, headers, body } = Arc::unwrap_or_clone(response);
    Response { status, headers, body }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_refusal_has_a_json_body_and_says_when_to_come_back() {
        let refused = |refusal| response_for(WebhookResponse::Refused(refusal));
        let response = refused(WebhookRefusal::MethodNotAllowed { allow: vec!["GET".into(), "POST".into()] });
        assert!(response.headers.contains(&("Allow".into(), "GET, POST".into())));
        let response = refused(WebhookRefusal::TooManyRequests { retry_after: Duration::from_millis(1500) });
        assert!(response.headers.contains(&("Retry-After".into(), "2".into())));
        assert_eq!(refused(WebhookRefusal::NotFound).body, br#"{"error":"not_found"}"#);
        assert!(refused(WebhookRefusal::Busy).headers.contains(&("Retry-After".into(), "1".into())));
    }
}
