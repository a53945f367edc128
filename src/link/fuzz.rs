//! Fuzzing of what a service sends over a link.

use std::time::Instant;

use serde_json::Map;

use super::protocol::{LinkStep, Login};
use super::{DiscordGateway, Plain, Protocol, SlackSocketMode, WecomAibot};

/// A link with each protocol: every line is a text frame, but for `!CODE`, with which the service closes the connection,
/// and an empty line, with which the time of the protocol's next deadline has come.
pub fn link_frames(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let protocols: [Box<dyn Protocol>; 4] = [
        Box::new(DiscordGateway::new("wss://gateway.example/", Map::new(), 1)),
        Box::new(SlackSocketMode::default()),
        Box::new(WecomAibot::new(None, 2)),
        Box::new(Plain),
    ];
    for mut protocol in protocols {
        let mut now = Instant::now();
        look_at(protocol.opened(Login::default(), now), &mut *protocol);
        for line in text.lines() {
            let steps = match line.strip_prefix('!') {
                Some(code) => {
                    let end = protocol.closed(code.parse().ok(), code);
                    assert!(matches!(end, LinkStep::Reconnect { .. } | LinkStep::Stop { .. }));
                    protocol.resume_url();
                    protocol.opened(Login::default(), now)
                }
                None if line.is_empty() => {
                    now = protocol.deadline().map_or(now, |deadline| deadline.max(now));
                    protocol.due(now)
                }
                None => protocol.received(line, now, 0.5),
            };
            look_at(steps, &mut *protocol);
        }
    }
}

/// Every frame for the guest is acknowledged at once, and every end of a connection says why.
fn look_at(steps: Vec<LinkStep>, protocol: &mut dyn Protocol) {
    for step in steps {
        match step {
            LinkStep::Deliver { receipt, .. } => look_at(protocol.acknowledged(receipt), protocol),
            LinkStep::Reconnect { reason, .. } | LinkStep::Replace { reason } | LinkStep::Stop { reason } => {
                assert!(!reason.is_empty())
            }
            LinkStep::Send(frame) => assert!(!frame.is_empty()),
            LinkStep::Ready => {}
        }
    }
}
