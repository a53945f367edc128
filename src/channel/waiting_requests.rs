//! Requests that a guest lets wait until its workspace changes: which wait, and for how long. Pure decisions.
//!
//! A guest responds with the header [`WAIT_HEADER`] and the response that is to be sent when nothing happens. The host runs
//! it again with the same request when the channel's workspace has changed, and when the time is up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use wit_abi::types::IncomingHttpRequest;

use crate::event::arrival::RequestIdentity;
use crate::event::response::ResponseSender;
use crate::model::deadline::deadline_after;
use crate::net::channel_response::ChannelResponse;

/// The response header with which a guest asks to be called again: how long the request may wait in all, in whole seconds,
/// 60 at most. It is not sent.
pub const WAIT_HEADER: &str = "tinclaw-wait";
/// The request header that tells a guest how many whole seconds a request has waited. Nobody else can send it.
pub const WAITED_HEADER: &str = "tinclaw-waited";
/// How long a request may wait at most.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
/// How many requests of a channel may wait; one more gets the guest's response at once.
pub const MAX_WAITING: usize = 64;

/// Takes the wait that a guest asks for out of its response.
pub fn take_wait(response: &mut ChannelResponse) -> Option<Duration> {
    let place = response.headers.iter().position(|(name, _)| name.eq_ignore_ascii_case(WAIT_HEADER))?;
    let (_, value) = response.headers.remove(place);
    let seconds = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

/// A request that waits.
#[derive(Debug)]
pub struct WaitingRequest {
    /// The request as it came.
    pub request: Arc<IncomingHttpRequest>,
    /// By what a duplicate of it is recognised.
    pub identities: Vec<RequestIdentity>,
    /// Where the response goes.
    pub responder: ResponseSender,
    /// When it began to wait for the first time.
    pub since: Instant,
    /// When the guest is run again although nothing has changed.
    pub until: Instant,
}

impl WaitingRequest {
    /// The request as the guest gets it now.
    pub fn again(&self, now: Instant) -> Arc<IncomingHttpRequest> {
        let mut request = (*self.request).clone();
        let mut headers: Map<String, Value> = serde_json::from_str(&request.headers_json).unwrap_or_default();
        let waited = now.saturating_duration_since(self.since).as_secs();
        headers.insert(WAITED_HEADER.to_owned(), Value::String(waited.to_string()));
        request.headers_json = Value::Object(headers).to_string();
        Arc::new(request)
    }
}

/// The requests of one channel that wait.
#[derive(Debug, Default)]
pub struct WaitingRequests(Vec<WaitingRequest>);

impl WaitingRequests {
    /// When a request that asks for this wait is to be looked at again; nothing when the response must be sent now, because it
    /// has waited long enough or too many wait.
    pub fn until(&self, since: Instant, wait: Duration, now: Instant) -> Option<Instant> {
        let until = deadline_after(since, wait.min(MAX_WAIT));
        (until > now && self.0.len() < MAX_WAITING).then_some(until)
    }

    /// Adds a request.
    pub fn add(&mut self, request: WaitingRequest) {
        self.0.push(request);
    }

    /// Takes all: the workspace has changed, or the channel ends.
    pub fn take_all(&mut self) -> Vec<WaitingRequest> {
        std::mem::take(&mut self.0)
    }

    /// Takes those whose clients have left: nobody waits for their responses.
    pub fn take_abandoned(&mut self) -> Vec<WaitingRequest> {
        self.0.extract_if(.., |request| request.responder.is_abandoned()).collect()
    }

    /// Takes those whose time is up.
    pub fn take_due(&mut self, now: Instant) -> Vec<WaitingRequest> {
        self.0.extract_if(.., |request| request.until <= now).collect()
    }

    /// When the next one's time is up.
    pub fn next_due(&self) -> Option<Instant> {
        self.0.iter().map(|request| request.until).min()
    }

    /// How many wait for somebody.
    pub fn len(&self) -> usize {
        self.0.iter().filter(|request| !request.responder.is_abandoned()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(headers: &[(&str, &str)]) -> ChannelResponse {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        ChannelResponse { headers, ..ChannelResponse::empty_ok() }
    }

    fn request(since: Instant, until: Instant) -> WaitingRequest {
        let request = IncomingHttpRequest {
            method: "GET".into(),
            path: "/".into(),
            headers_json: r#"{"a":"b"}"#.into(),
            query_json: "{}".into(),
            body: Vec::new(),
            secret_validated: false,
        };
        let responder = ResponseSender::new(|_| {});
        WaitingRequest { request: Arc::new(request), identities: Vec::new(), responder, since, until }
    }

    #[test]
    fn the_wait_is_taken_out_of_the_response() {
        let rows: [(&[_], _, &[_]); _] = [
            (&[("tinclaw-wait", "25"), ("a", "b")], Some(25), &[("a", "b")]),
            (&[("Tinclaw-Wait", " 7 ")], Some(7), &[]),
            (&[("tinclaw-wait", "60")], Some(60), &[]),
            (&[("tinclaw-wait", "61")], Some(60), &[]),
            (&[("tinclaw-wait", "soon")], None, &[]),
            (&[("a", "tinclaw-wait")], None, &[("a", "tinclaw-wait")]),
            (&[], None, &[]),
        ];
        for (headers, expected, left) in rows {
            let mut waits = response(headers);
            assert_eq!(take_wait(&mut waits), expected.map(Duration::from_secs), "{headers:?}");
            assert_eq!(waits, response(left), "{headers:?}");
        }
    }

    #[test]
    fn a_request_waits_as_long_as_it_asks_for_and_a_minute_in_all() {
        let (waiting, now) = (WaitingRequests::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(waiting.until(now, second * 25, now), Some(now + second * 25));
        assert_eq!(waiting.until(now, second * 25, now + second * 24), Some(now + second * 25));
        assert_eq!(waiting.until(now, second * 25, now + second * 25), None);
        assert_eq!(waiting.until(now, second * 61, now), Some(now + MAX_WAIT));
        assert_eq!(waiting.until(now, Duration::ZERO, now), None);
    }

    #[test]
    fn as_many_requests_wait_as_the_limit_and_no_more() {
        let (mut waiting, now) = (WaitingRequests::default(), Instant::now());
        for _ in 0..MAX_WAITING {
            assert!(waiting.until(now, MAX_WAIT, now).is_some());
            waiting.add(request(now, now + MAX_WAIT));
        }
        assert_eq!(waiting.until(now, MAX_WAIT, now), None);
        assert_eq!(waiting.take_all().len(), MAX_WAITING);
        assert!(waiting.until(now, MAX_WAIT, now).is_some());
    }

    #[test]
    fn expired_requests_are_taken() {
        let (mut waiting, now) = (WaitingRequests::default(), Instant::now());
        for seconds in [3, 1, 2] {
            waiting.add(request(now, now + Duration::from_secs(seconds)));
        }
        assert_eq!(waiting.next_due(), Some(now + Duration::from_secs(1)));
        assert_eq!(waiting.take_due(now + Duration::from_secs(2)).len(), 2);
        assert_eq!((waiting.len(), waiting.next_due()), (1, Some(now + Duration::from_secs(3))));
    }

    #[test]
    fn the_waiting_time_is_passed_to_the_guest_in_a_header() {
        let now = Instant::now();
        let again = request(now, now).again(now + Duration::from_millis(2_900));
        assert_eq!(again.headers_json, r#"{"a":"b","tinclaw-waited":"2"}"#);
    }
}
