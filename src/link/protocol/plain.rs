//! No protocol: every frame is for the guest, and the connection is kept alive by pings of the websocket itself.

use std::time::Instant;

use super::{LinkStep, Login, Protocol, Receipt, connection_lost};

/// A link without a protocol of its own.
#[derive(Debug, Default)]
pub struct Plain;

impl Protocol for Plain {
    fn opened(&mut self, _: Login, _: Instant) -> Vec<LinkStep> {
        vec![LinkStep::Ready]
    }

    fn received(&mut self, frame: &str, _: Instant, _: f64) -> Vec<LinkStep> {
        vec![LinkStep::Deliver { frame: frame.to_owned(), receipt: Receipt::None }]
    }

    fn due(&mut self, _: Instant) -> Vec<LinkStep> {
        Vec::new()
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn acknowledged(&mut self, _: Receipt) -> Vec<LinkStep> {
        Vec::new()
    }

    fn closed(&mut self, code: Option<u16>, reason: &str) -> LinkStep {
        connection_lost(code, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_for_the_guest() {
        let mut plain = Plain;
        let now = Instant::now();
        assert_eq!(plain.opened(Login::default(), now), [LinkStep::Ready]);
        let deliver = LinkStep::Deliver { frame: "hello".into(), receipt: Receipt::None };
        assert_eq!(plain.received("hello", now, 0.5), [deliver]);
        assert!(matches!(plain.closed(Some(1000), ""), LinkStep::Reconnect { .. }));
    }
}
