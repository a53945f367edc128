//! A reply that is shown while it is written, in channels that can change what they have sent.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use wit_abi::types::{StatusType, StatusUpdate};

use crate::channel::ChannelName;
use crate::host::Host;
use crate::inbox::Delivery;
use crate::model::deadline::deadline_after;

/// How long the reply waits for a channel that still shows what came before: longer than a callback may take by default.
const MAX_WAIT: Duration = Duration::from_secs(35);
/// How often it is looked whether the channel has shown it.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The member of the metadata that tells a guest that the text of this status is the reply so far.
const MARK: &str = "partial_reply";

/// The reply to one message while it grows. One status is under way at a time: a channel that is slow shows fewer.
pub(super) struct GrowingReply<'a> {
    host: &'a Host,
    channel: ChannelName,
    metadata_json: String,
    interval: Duration,
    not_before: Instant,
    /// What the channel was told last, for as long as anybody holds it.
    under_way: Weak<StatusUpdate>,
    shown_bytes: usize,
}

impl<'a> GrowingReply<'a> {
    /// Nothing when the channel gets replies only whole.
    pub fn of(host: &'a Host, delivery: &Delivery) -> Option<Self> {
        let channel = delivery.channel().clone();
        let interval = host.manager().partial_reply_interval(&channel)?;
        let metadata_json = marked(&delivery.message().metadata_json)?;
        // Short replies come at once: nobody sees them grow.
        let not_before = deadline_after(Instant::now(), interval);
        Some(Self {
            host,
            channel,
            metadata_json,
            interval,
            not_before,
            under_way: Weak::new(),
            shown_bytes: 0,
        })
    }

    /// Shows the text so far, unless it is too early for it or the channel is still busy with the text before.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        let now = Instant::now();
        if now < self.not_before || self.is_under_way() {
            return;
        }
        let text = text();
        if text.is_empty() || text.len() == self.shown_bytes {
            return;
        }
        self.shown_bytes = text.len();
        self.not_before = deadline_after(now, self.interval);
        let (status, metadata_json) = (StatusType::Status, self.metadata_json.clone());
        let update = Arc::new(StatusUpdate { status, message: text, metadata_json });
        self.under_way = Arc::downgrade(&update);
        // A status is never worth an error.
        let _ = self.host.manager().status_of(&self.channel, update);
    }

    /// Waits until the channel has dealt with what it was told: after the reply, it would hide that again.
    pub fn finish(self) {
        let give_up = deadline_after(Instant::now(), MAX_WAIT);
        while self.is_under_way() && Instant::now() < give_up {
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether the callback has not yet ended. Who handles a status drops it then, or when there is no room for it.
    fn is_under_way(&self) -> bool {
        self.under_way.strong_count() > 0
    }
}

/// The metadata with the mark. Nothing when it is no object: there is no place for it then.
fn marked(metadata_json: &str) -> Option<String> {
    let text = if metadata_json.trim().is_empty() { "{}" } else { metadata_json };
    let mut members: Map<String, Value> = serde_json::from_str(text).ok()?;
    members.insert(MARK.to_owned(), Value::Bool(true));
    Some(Value::Object(members).to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use serde_json::json;

    use super::*;
    use crate::event::health::ChannelState;
    use crate::test_support::upstream::{Upstream, ok};
    use crate::test_support::{client, eventually, fixtures};

    fn growing(host: &Host, interval: Duration) -> GrowingReply<'_> {
        GrowingReply {
            host,
            channel: "everything".parse().expect("a name"),
            metadata_json: "{}".to_owned(),
            interval,
            not_before: Instant::now(),
            under_way: Weak::new(),
            shown_bytes: 0,
        }
    }

    #[test]
    fn one_text_is_shown_at_a_time_and_the_next_after_the_interval() {
        let release = Arc::new((Mutex::new(false), Condvar::new()));
        let held = Arc::clone(&release);
        let upstream = Upstream::start(move |_, _| {
            let released = held.0.lock().unwrap();
            drop(
                held.1.wait_timeout_while(released, Duration::from_secs(60), |released| !*released).unwrap(),
            );
            ok()
        });
        let rewrites = [("api.everything.example", upstream.url())];
        let channel = fixtures::channel(&fixtures::runtime(), "everything");
        let host = fixtures::host(&[], &rewrites).channel(channel).start().expect("the host starts");
        eventually("the channel starts", || {
            (host.health().ok()?.channels[0].state == ChannelState::Ready).then_some(())
        });
        let call = json!({"do": "http-request", "method": "GET", "url": "https://api.everything.example/"});
        let kept = json!({"do": "workspace-write", "path": "tasks/on-status", "content": call}).to_string();
        let address = host.local_addr().expect("an address");
        let reply = client::request(address, "POST", "/webhook/everything", &[], kept.as_bytes());
        assert_eq!(reply.status, 200);

        let mut shown = growing(&host, Duration::ZERO);
        shown.show(|| "a".to_owned());
        upstream.wait_for("the first text", |_| true);
        shown.show(|| panic!("the channel is busy with the text before"));
        *release.0.lock().unwrap() = true;
        release.1.notify_all();
        eventually("the second text", || {
            shown.show(|| "ab".to_owned());
            (upstream.requests().len() == 2).then_some(())
        });
        eventually("the second text is shown", || (!shown.is_under_way()).then_some(()));
        shown.show(|| "ab".to_owned());
        assert!(!shown.is_under_way(), "there is nothing new");

        let mut shown = growing(&host, Duration::from_secs(3600));
        shown.show(|| "a".to_owned());
        eventually("the text is shown", || (!shown.is_under_way()).then_some(()));
        shown.show(|| panic!("it is too early"));
        host.shutdown();
    }

    #[test]
    fn the_mark_stands_among_the_members_of_the_metadata() {
        for (metadata, expected) in [
            ("", Some(r#"{"partial_reply":true}"#)),
            (
                r#"{"chat":12345678901234567890,"a":1.50}"#,
                Some(r#"{"chat":12345678901234567890,"a":1.5,"partial_reply":true}"#),
            ),
            (r#"{"partial_reply":false}"#, Some(r#"{"partial_reply":true}"#)),
            ("[]", None),
            ("x", None),
        ] {
            assert_eq!(marked(metadata).as_deref(), expected, "{metadata}");
        }
    }
}
