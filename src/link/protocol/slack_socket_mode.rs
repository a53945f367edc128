//! Slack's Socket Mode: envelopes, each of which is acknowledged by a frame with its id.
//!
//! Frames are those of Slack's developer documentation, "Using Socket Mode". The address of a connection is asked for with
//! `apps.connections.open` before it is opened.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{CLOSE_UNRESPONSIVE, HELLO_TIMEOUT, LinkStep, Login, Protocol, Receipt, connection_lost};
use crate::model::deadline::deadline_after;

/// A link to Slack in Socket Mode.
#[derive(Debug, Default)]
pub struct SlackSocketMode {
    hello_by: Option<Instant>,
    is_ready: bool,
    /// Envelopes that are acknowledged by the next connection: as many as frames may be in flight to the guest, at most.
    unacknowledged: Vec<String>,
}

#[derive(Deserialize)]
struct SlackEnvelope {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    envelope_id: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

impl Protocol for SlackSocketMode {
    fn opened(&mut self, _: Login, now: Instant) -> Vec<LinkStep> {
        self.is_ready = false;
        self.hello_by = Some(deadline_after(now, HELLO_TIMEOUT));
        Vec::new()
    }

    fn received(&mut self, frame: &str, _: Instant, _: f64) -> Vec<LinkStep> {
        let Ok(envelope) = serde_json::from_str::<SlackEnvelope>(frame) else {
            return vec![lost("Slack sent a frame that is not an envelope", None)];
        };
        match (envelope.kind.as_str(), envelope.envelope_id) {
            ("hello", _) => {
                (self.hello_by, self.is_ready) = (None, true);
                let missed = std::mem::take(&mut self.unacknowledged);
                [LinkStep::Ready].into_iter().chain(missed.into_iter().map(acknowledgement)).collect()
            }
            ("disconnect", _) => vec![disconnect(envelope.reason.as_deref())],
            (_, Some(id)) => {
                vec![LinkStep::Deliver { frame: frame.to_owned(), receipt: Receipt::Envelope(id) }]
            }
            // A kind of frame without an id is nobody's to acknowledge.
            (_, None) => Vec::new(),
        }
    }

    fn due(&mut self, now: Instant) -> Vec<LinkStep> {
        match self.hello_by {
            Some(by) if by <= now => vec![lost("Slack said no hello", None)],
            _ => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.hello_by
    }

    fn acknowledged(&mut self, receipt: Receipt) -> Vec<LinkStep> {
        match receipt {
            // On a later connection too: Slack takes the acknowledgement on any of the app's connections, and sends the
            // envelope again when it gets none.
            Receipt::Envelope(id) if self.is_ready => vec![acknowledgement(id)],
            Receipt::Envelope(id) => {
                self.unacknowledged.push(id);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn closed(&mut self, code: Option<u16>, reason: &str) -> LinkStep {
        (self.hello_by, self.is_ready) = (None, false);
        connection_lost(code, reason)
    }
}

fn acknowledgement(id: String) -> LinkStep {
    LinkStep::Send(Zeroizing::new(json!({ "envelope_id": Value::from(id) }).to_string()))
}

/// Slack is about to end this connection ("Using Socket Mode", "Disconnecting").
fn disconnect(reason: Option<&str>) -> LinkStep {
    match reason {
        Some("link_disabled") => LinkStep::Stop {
            reason: "Slack has Socket Mode switched off for this app: switch it on in the app's settings"
                .to_owned(),
        },
        reason => LinkStep::Replace {
            reason: format!("Slack asks for a new connection ({})", reason.unwrap_or("no reason given")),
        },
    }
}

fn lost(reason: &str, wait: Option<Duration>) -> LinkStep {
    LinkStep::Reconnect { reason: reason.to_owned(), code: CLOSE_UNRESPONSIVE, wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str =
        r#"{"envelope_id":"e-1","type":"events_api","payload":{},"accepts_response_payload":false}"#;

    fn open(now: Instant) -> SlackSocketMode {
        let mut slack = SlackSocketMode::default();
        assert_eq!(slack.opened(Login::default(), now), []);
        assert_eq!(slack.received(r#"{"type":"hello","num_connections":1}"#, now, 0.5), [LinkStep::Ready]);
        slack
    }

    #[test]
    fn an_envelope_is_acknowledged_when_its_effects_are_durable_and_not_before() {
        let now = Instant::now();
        let mut slack = open(now);
        let receipt = Receipt::Envelope("e-1".to_owned());
        let deliver = LinkStep::Deliver { frame: EVENT.to_owned(), receipt: receipt.clone() };
        assert_eq!(slack.received(EVENT, now, 0.5), [deliver]);
        let ack = LinkStep::Send(Zeroizing::new(r#"{"envelope_id":"e-1"}"#.to_owned()));
        assert_eq!(slack.acknowledged(receipt), [ack]);
    }

    #[test]
    fn an_acknowledgement_without_a_connection_is_left_out() {
        let now = Instant::now();
        let mut slack = open(now);
        slack.closed(None, "");
        assert_eq!(slack.acknowledged(Receipt::Envelope("e-1".to_owned())), []);
    }

    #[test]
    fn slack_asks_for_a_new_connection_or_says_that_there_is_none_to_be_had() {
        let now = Instant::now();
        for reason in ["warning", "refresh_requested"] {
            let frame = format!(r#"{{"type":"disconnect","reason":"{reason}"}}"#);
            let steps = open(now).received(&frame, now, 0.5);
            assert!(matches!(steps[..], [LinkStep::Replace { .. }]), "{steps:?}");
        }
        let steps = open(now).received(r#"{"type":"disconnect","reason":"link_disabled"}"#, now, 0.5);
        assert!(matches!(steps[..], [LinkStep::Stop { .. }]), "{steps:?}");
    }

    #[test]
    fn a_service_that_says_nothing_or_nonsense_is_left() {
        let now = Instant::now();
        let mut slack = SlackSocketMode::default();
        slack.opened(Login::default(), now);
        assert_eq!(slack.due(now), []);
        assert!(matches!(slack.due(now + HELLO_TIMEOUT)[..], [LinkStep::Reconnect { .. }]));
        assert!(matches!(slack.received("[]", now, 0.5)[..], [LinkStep::Reconnect { .. }]));
        assert_eq!(slack.received(r#"{"type":"news"}"#, now, 0.5), []);
    }
}
