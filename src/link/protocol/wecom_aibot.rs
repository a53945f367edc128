//! WeCom's smart bot ("aibot") link: subscribe, then a ping every 30 s.
//!
//! Commands and fields are those of WeCom's developer documentation, "Smart robot long connection".

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{CLOSE_UNRESPONSIVE, HELLO_TIMEOUT, LinkStep, Login, Protocol, Receipt, connection_lost};
use crate::model::deadline::deadline_after;

/// The heartbeat interval when the capability file names none.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(30);
/// A capability file must not make a link spin.
const MIN_HEARTBEAT: Duration = Duration::from_secs(1);
/// The shortest wait after a refused subscription: a wrong secret must not hammer the service.
const REFUSED_WAIT: Duration = Duration::from_secs(60);

const SUBSCRIBE: &str = "aibot_subscribe";
const PING: &str = "ping";

/// A link to WeCom's smart bot service.
pub struct WecomAibot {
    heartbeat: Duration,
    max_missed_acks: u32,
    state: LoginState,
    /// Makes the ids of requests different.
    requests: u64,
}

enum LoginState {
    Closed,
    /// The subscription waits for its response.
    Subscribing {
        by: Instant,
        request: String,
    },
    Open {
        next_ping: Instant,
        /// Pings without a response.
        missed_pongs: u32,
    },
}

impl WecomAibot {
    /// `heartbeat` and `max_missed_acks` are those of `capabilities.websocket`.
    pub fn new(heartbeat: Option<Duration>, max_missed_acks: u32) -> Self {
        Self {
            heartbeat: heartbeat.unwrap_or(DEFAULT_HEARTBEAT).max(MIN_HEARTBEAT),
            max_missed_acks: max_missed_acks.max(1),
            state: LoginState::Closed,
            requests: 0,
        }
    }

    fn request_id(&mut self, command: &str) -> String {
        self.requests += 1;
        format!("{command}-{}", self.requests)
    }

    fn subscribed(&mut self, response: &Value, now: Instant) -> Vec<LinkStep> {
        let code = response.get("errcode").and_then(Value::as_i64);
        if code == Some(0) {
            self.state = LoginState::Open { next_ping: deadline_after(now, self.heartbeat), missed_pongs: 0 };
            return vec![LinkStep::Ready];
        }
        let words = response.get("errmsg").and_then(Value::as_str).unwrap_or("no reason given");
        let code = code.map_or_else(String::new, |code| format!(" (errcode {code})"));
        let reason = format!("WeCom refuses the subscription{code}: {words}; check the bot's id and secret");
        vec![LinkStep::Reconnect { reason, code: CLOSE_UNRESPONSIVE, wait: Some(REFUSED_WAIT) }]
    }

    fn ping(&mut self, now: Instant) -> Vec<LinkStep> {
        let next = deadline_after(now, self.heartbeat);
        let LoginState::Open { next_ping, missed_pongs } = &mut self.state else { return Vec::new() };
        if *missed_pongs >= self.max_missed_acks {
            return vec![lost("WeCom does not respond to pings")];
        }
        *missed_pongs += 1;
        *next_ping = next;
        let id = self.request_id(PING);
        vec![send(&json!({"cmd": PING, "headers": {"req_id": id}}))]
    }
}

impl Protocol for WecomAibot {
    fn opened(&mut self, login: Login, now: Instant) -> Vec<LinkStep> {
        let id = self.request_id(SUBSCRIBE);
        let frame = json!({
            "cmd": SUBSCRIBE,
            "headers": {"req_id": id},
            "body": {"bot_id": login.bot_id.as_str(), "secret": login.bot_secret.as_str()},
        });
        self.state = LoginState::Subscribing { by: deadline_after(now, HELLO_TIMEOUT), request: id };
        vec![send(&frame)]
    }

    fn received(&mut self, frame: &str, now: Instant, _: f64) -> Vec<LinkStep> {
        let Ok(message) = serde_json::from_str::<Value>(frame) else {
            return vec![lost("WeCom sent a frame that is not JSON")];
        };
        let id = message.pointer("/headers/req_id").and_then(Value::as_str).unwrap_or_default();
        if let LoginState::Subscribing { request, .. } = &self.state
            && id == request
        {
            return self.subscribed(&message, now);
        }
        if id.starts_with("ping-") && message.get("errcode").is_some() {
            if let LoginState::Open { missed_pongs, .. } = &mut self.state {
                *missed_pongs = 0;
            }
            return Vec::new();
        }
        if is_displaced(&message) {
            let reason = "another client logged in with this bot's id and secret: end one of the two";
            return vec![LinkStep::Stop { reason: reason.to_owned() }];
        }
        vec![LinkStep::Deliver { frame: frame.to_owned(), receipt: Receipt::None }]
    }

    fn due(&mut self, now: Instant) -> Vec<LinkStep> {
        match &self.state {
            LoginState::Subscribing { by, .. } if *by <= now => {
                vec![lost("WeCom does not respond to the subscription")]
            }
            LoginState::Open { next_ping, .. } if *next_ping <= now => self.ping(now),
            _ => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            LoginState::Closed => None,
            LoginState::Subscribing { by, .. } => Some(*by),
            LoginState::Open { next_ping, .. } => Some(*next_ping),
        }
    }

    fn acknowledged(&mut self, _: Receipt) -> Vec<LinkStep> {
        Vec::new()
    }

    fn closed(&mut self, code: Option<u16>, reason: &str) -> LinkStep {
        self.state = LoginState::Closed;
        connection_lost(code, reason)
    }
}

/// The service tells the older of two clients that the newer one took over. The event's type stands in its body.
fn is_displaced(message: &Value) -> bool {
    ["/body/event/eventtype", "/body/event/event_type", "/body/eventtype", "/event/eventtype"]
        .iter()
        .any(|place| message.pointer(place).and_then(Value::as_str) == Some("disconnected_event"))
}

fn lost(reason: &str) -> LinkStep {
    LinkStep::Reconnect { reason: reason.to_owned(), code: CLOSE_UNRESPONSIVE, wait: None }
}

fn send(frame: &Value) -> LinkStep {
    LinkStep::Send(Zeroizing::new(frame.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        let text = |text: &str| Zeroizing::new(text.to_owned());
        Login { bot_id: text("bot"), bot_secret: text("s3cret"), ..Login::default() }
    }

    fn sent(steps: &[LinkStep]) -> Value {
        match steps {
            [LinkStep::Send(text)] => serde_json::from_str(text).expect("JSON"),
            other => panic!("one frame was expected: {other:?}"),
        }
    }

    fn open(now: Instant) -> WecomAibot {
        let mut wecom = WecomAibot::new(None, 2);
        wecom.opened(login(), now);
        let response = r#"{"headers":{"req_id":"aibot_subscribe-1"},"errcode":0,"errmsg":"ok"}"#;
        assert_eq!(wecom.received(response, now, 0.5), [LinkStep::Ready]);
        wecom
    }

    #[test]
    fn a_link_subscribes_with_id_and_secret_and_is_ready_when_they_are_taken() {
        let now = Instant::now();
        let mut wecom = WecomAibot::new(None, 2);
        let frame = sent(&wecom.opened(login(), now));
        assert_eq!(frame["cmd"], "aibot_subscribe");
        assert_eq!(frame["headers"]["req_id"], "aibot_subscribe-1");
        assert_eq!(frame["body"], json!({"bot_id": "bot", "secret": "s3cret"}));
        open(now);
    }

    #[test]
    fn a_refused_subscription_waits_a_minute_and_says_why() {
        let now = Instant::now();
        let mut wecom = WecomAibot::new(None, 2);
        wecom.opened(login(), now);
        let refused =
            r#"{"headers":{"req_id":"aibot_subscribe-1"},"errcode":40001,"errmsg":"invalid secret"}"#;
        let steps = wecom.received(refused, now, 0.5);
        let [LinkStep::Reconnect { reason, wait: Some(REFUSED_WAIT), .. }] = &steps[..] else {
            panic!("{steps:?}")
        };
        assert!(reason.contains("40001") && reason.contains("invalid secret"), "{reason}");
    }

    #[test]
    fn two_pings_without_a_response_end_the_connection() {
        let now = Instant::now();
        let mut wecom = open(now);
        for ping in 2..=3 {
            let frame = sent(&wecom.due(wecom.deadline().expect("a ping")));
            assert_eq!(frame, json!({"cmd": "ping", "headers": {"req_id": format!("ping-{ping}")}}));
        }
        let steps = wecom.due(wecom.deadline().expect("a ping"));
        assert!(matches!(steps[..], [LinkStep::Reconnect { .. }]), "{steps:?}");
    }

    #[test]
    fn the_response_to_a_ping_is_not_for_the_guest_and_resets_the_count() {
        let now = Instant::now();
        let mut wecom = open(now);
        for _ in 0..5 {
            wecom.due(wecom.deadline().expect("a ping"));
            assert_eq!(wecom.received(r#"{"headers":{"req_id":"ping-9"},"errcode":0}"#, now, 0.5), []);
        }
    }

    #[test]
    fn events_are_for_the_guest_and_a_second_client_stops_the_link() {
        let now = Instant::now();
        let mut wecom = open(now);
        let event = r#"{"cmd":"aibot_msg_callback","headers":{"req_id":"x"},"body":{"msgtype":"text"}}"#;
        let deliver = LinkStep::Deliver { frame: event.to_owned(), receipt: Receipt::None };
        assert_eq!(wecom.received(event, now, 0.5), [deliver]);
        let displaced =
            r#"{"cmd":"aibot_event_callback","body":{"event":{"eventtype":"disconnected_event"}}}"#;
        assert!(matches!(wecom.received(displaced, now, 0.5)[..], [LinkStep::Stop { .. }]));
    }

    #[test]
    fn a_service_that_says_nothing_or_nonsense_is_left() {
        let now = Instant::now();
        let mut wecom = WecomAibot::new(None, 2);
        assert_eq!(wecom.deadline(), None);
        wecom.opened(login(), now);
        assert_eq!(wecom.due(now), []);
        assert!(matches!(wecom.due(now + HELLO_TIMEOUT)[..], [LinkStep::Reconnect { .. }]));
        assert!(matches!(wecom.received("{", now, 0.5)[..], [LinkStep::Reconnect { .. }]));
    }
}
