//! Discord's gateway, version 10: hello, heartbeat, identify, resume.
//!
//! Operations, close codes and limits are those of Discord's developer documentation, "Gateway" and "Opcodes and Status
//! Codes".

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;
use zeroize::Zeroizing;

use super::{CLOSE_UNRESPONSIVE, HELLO_TIMEOUT, LinkStep, Login, Protocol, Receipt, connection_lost};
use crate::model::deadline::deadline_after;
use crate::model::rate_limit::TokenBucket;

/// The heartbeat interval that a service may ask for, at least: one that says 0 must not make a link spin.
const MIN_HEARTBEAT: Duration = Duration::from_secs(1);
/// The heartbeat interval that a service may ask for, at most.
const MAX_HEARTBEAT: Duration = Duration::from_secs(600);
/// Logins in a day, a few less than Discord allows: it resets the bot's token when they are used up.
const IDENTIFIES_PER_DAY: u32 = 900;
/// The shortest time between two logins (`max_concurrency` of one for each 5 s).
const BETWEEN_IDENTIFIES: Duration = Duration::from_secs(5);
/// The shortest wait after "invalid session"; up to 4 s more are added at random.
const INVALID_SESSION_WAIT: Duration = Duration::from_secs(1);

const DISPATCH: u64 = 0;
const HEARTBEAT: u64 = 1;
const IDENTIFY: u64 = 2;
const RESUME: u64 = 6;
const RECONNECT: u64 = 7;
const INVALID_SESSION: u64 = 9;
const HELLO: u64 = 10;
const HEARTBEAT_ACK: u64 = 11;

/// A link to Discord's gateway.
pub struct DiscordGateway {
    /// `d` of the identify operation, without the token and without comments.
    identify: Map<String, Value>,
    /// The address of the capability file, whose query the address for resuming gets.
    url: String,
    max_missed_acks: u32,
    login: Login,
    session: Option<GatewaySession>,
    /// How many sessions there have been.
    sessions: u64,
    /// The last sequence number that arrived, for heartbeats.
    last_received: Option<u64>,
    heart: Option<Heartbeat>,
    hello_by: Option<Instant>,
    identifies: TokenBucket,
}

/// What a connection that broke is resumed with.
struct GatewaySession {
    id: String,
    resume_url: Option<String>,
    /// The highest sequence number that was handed to the guest.
    delivered: u64,
    /// Those of them whose effects are not durable yet.
    pending: BTreeSet<u64>,
}

/// A session as it is stored.
#[derive(Deserialize, Serialize)]
struct StoredSession {
    id: String,
    resume_url: Option<String>,
    /// The sequence number up to which everything is durable.
    sequence: u64,
}

impl GatewaySession {
    /// The sequence number up to which everything is durable: the service sends again what follows it.
    fn durable(&self) -> u64 {
        self.pending.first().map_or(self.delivered, |first| first - 1)
    }
}

struct Heartbeat {
    interval: Duration,
    next: Instant,
    missed: u32,
    is_acknowledged: bool,
}

#[derive(Deserialize)]
struct Payload {
    op: u64,
    #[serde(default)]
    d: Value,
    #[serde(default)]
    s: Option<u64>,
    #[serde(default)]
    t: Option<String>,
}

impl DiscordGateway {
    /// `identify` is `capabilities.websocket.identify`; members that begin with `_` are comments.
    pub fn new(url: &str, identify: Map<String, Value>, max_missed_acks: u32) -> Self {
        Self {
            identify: without_comments(identify),
            url: url.to_owned(),
            max_missed_acks: max_missed_acks.max(1),
            login: Login::default(),
            session: None,
            sessions: 0,
            last_received: None,
            heart: None,
            hello_by: None,
            identifies: TokenBucket::new(IDENTIFIES_PER_DAY, Duration::from_secs(24 * 3600)),
        }
    }

    fn hello(&mut self, d: &Value, now: Instant, random: f64) -> Vec<LinkStep> {
        let asked = d.get("heartbeat_interval").and_then(Value::as_u64).map(Duration::from_millis);
        let Some(interval) = asked.map(|asked| asked.clamp(MIN_HEARTBEAT, MAX_HEARTBEAT)) else {
            return vec![reconnect("the gateway's hello has no heartbeat_interval", None)];
        };
        self.hello_by = None;
        let first = deadline_after(now, interval.mul_f64(random));
        self.heart = Some(Heartbeat { interval, next: first, missed: 0, is_acknowledged: true });
        match &self.session {
            Some(session) => vec![self.resume(session)],
            None => self.log_in(now),
        }
    }

    fn log_in(&mut self, now: Instant) -> Vec<LinkStep> {
        if let Err(limited) = self.identifies.take(1, now) {
            let reason =
                "the bot logged in too often today, and waits so that Discord does not reset its token";
            return vec![reconnect(reason, Some(limited.retry_after))];
        }
        let mut d = self.identify.clone();
        d.insert("token".to_owned(), Value::from(self.login.token.as_str()));
        self.last_received = None;
        vec![send(IDENTIFY, &Value::Object(d))]
    }

    fn resume(&self, session: &GatewaySession) -> LinkStep {
        let d = json!({
            "token": self.login.token.as_str(),
            "session_id": session.id,
            "seq": session.durable(),
        });
        send(RESUME, &d)
    }

    fn dispatched(&mut self, frame: &str, payload: &Payload) -> Vec<LinkStep> {
        let Some(number) = payload.s.filter(|number| *number > 0) else { return Vec::new() };
        self.last_received = Some(number);
        let mut steps = Vec::new();
        match payload.t.as_deref() {
            Some("READY") => {
                self.begin_session(&payload.d);
                steps.push(LinkStep::Ready);
            }
            Some("RESUMED") => return vec![LinkStep::Ready],
            _ => {}
        }
        let Some(session) = &mut self.session else { return steps };
        session.delivered = session.delivered.max(number);
        session.pending.insert(number);
        let receipt = Receipt::Sequence { session: self.sessions, number };
        steps.push(LinkStep::Deliver { frame: frame.to_owned(), receipt });
        steps
    }

    fn begin_session(&mut self, ready: &Value) {
        let text = |name: &str| ready.get(name).and_then(Value::as_str).map(str::to_owned);
        self.sessions += 1;
        self.session = Some(GatewaySession {
            // Without an id the session cannot be resumed; the service then says that it does not know it.
            id: text("session_id").unwrap_or_default(),
            resume_url: text("resume_gateway_url"),
            delivered: 0,
            pending: BTreeSet::new(),
        });
    }

    fn beat(&mut self, now: Instant) -> Vec<LinkStep> {
        let last = self.last_received.map_or(Value::Null, Value::from);
        let Some(heart) = &mut self.heart else { return Vec::new() };
        if !heart.is_acknowledged {
            heart.missed += 1;
            if heart.missed >= self.max_missed_acks {
                return vec![reconnect("the gateway does not acknowledge heartbeats", None)];
            }
        }
        heart.is_acknowledged = false;
        heart.next = deadline_after(now, heart.interval);
        vec![send(HEARTBEAT, &last)]
    }

    fn end_connection(&mut self) {
        self.heart = None;
        self.hello_by = None;
    }

    fn forget_session(&mut self) {
        self.session = None;
        self.last_received = None;
    }
}

impl Protocol for DiscordGateway {
    fn session_after(&self, receipt: &Receipt) -> Option<String> {
        let (Receipt::Sequence { number, .. }, Some(session)) = (receipt, &self.session) else { return None };
        let (id, resume_url) = (session.id.clone(), session.resume_url.clone());
        serde_json::to_string(&StoredSession { id, resume_url, sequence: *number }).ok()
    }

    fn take_over(&mut self, session: &str) {
        let Ok(StoredSession { id, resume_url, sequence }) = serde_json::from_str(session) else { return };
        self.sessions += 1;
        self.last_received = Some(sequence);
        self.session = Some(GatewaySession { id, resume_url, delivered: sequence, pending: BTreeSet::new() });
    }

    /// A session that is closed with 1000 or 1001 cannot be resumed.
    fn closing_code(&self) -> u16 {
        CLOSE_UNRESPONSIVE
    }

    fn resume_url(&self) -> Option<String> {
        let resume = self.session.as_ref()?.resume_url.as_deref()?;
        let mut url = Url::parse(resume).ok()?;
        let query = Url::parse(&self.url).ok()?.query().map(str::to_owned);
        url.set_query(query.as_deref());
        Some(url.into())
    }

    fn opened(&mut self, login: Login, now: Instant) -> Vec<LinkStep> {
        self.end_connection();
        self.login = login;
        self.hello_by = Some(deadline_after(now, HELLO_TIMEOUT));
        Vec::new()
    }

    fn received(&mut self, frame: &str, now: Instant, random: f64) -> Vec<LinkStep> {
        let Ok(payload) = serde_json::from_str::<Payload>(frame) else {
            return vec![reconnect("the gateway sent a frame that is not one of its protocol", None)];
        };
        match payload.op {
            DISPATCH => self.dispatched(frame, &payload),
            HEARTBEAT => {
                let last = self.last_received.map_or(Value::Null, Value::from);
                vec![send(HEARTBEAT, &last)]
            }
            RECONNECT => vec![reconnect("the gateway asks for a new connection", Some(Duration::ZERO))],
            INVALID_SESSION => {
                if payload.d != Value::Bool(true) {
                    self.forget_session();
                }
                let wait = INVALID_SESSION_WAIT + Duration::from_secs(4).mul_f64(random);
                vec![reconnect("the gateway does not know the session any more", Some(wait))]
            }
            HELLO => self.hello(&payload.d, now, random),
            HEARTBEAT_ACK => {
                if let Some(heart) = &mut self.heart {
                    (heart.is_acknowledged, heart.missed) = (true, 0);
                }
                Vec::new()
            }
            // Operations of later versions of the gateway.
            _ => Vec::new(),
        }
    }

    fn due(&mut self, now: Instant) -> Vec<LinkStep> {
        if self.hello_by.is_some_and(|by| by <= now) {
            return vec![reconnect("the gateway said no hello", None)];
        }
        match &self.heart {
            Some(heart) if heart.next <= now => self.beat(now),
            _ => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.hello_by.or(self.heart.as_ref().map(|heart| heart.next))
    }

    fn acknowledged(&mut self, receipt: Receipt) -> Vec<LinkStep> {
        if let (Receipt::Sequence { session: of, number }, Some(session)) = (receipt, &mut self.session)
            && of == self.sessions
        {
            session.pending.remove(&number);
        }
        Vec::new()
    }

    fn closed(&mut self, code: Option<u16>, reason: &str) -> LinkStep {
        self.end_connection();
        if let Some(reason) = code.and_then(terminal) {
            self.forget_session();
            return LinkStep::Stop { reason: reason.to_owned() };
        }
        // "Invalid seq" and "session timed out".
        if matches!(code, Some(4007 | 4009)) {
            self.forget_session();
        }
        match connection_lost(code, reason) {
            LinkStep::Reconnect { reason, code, .. } if self.session.is_none() => {
                LinkStep::Reconnect { reason, code, wait: Some(BETWEEN_IDENTIFIES) }
            }
            step => step,
        }
    }
}

/// The close codes after which connecting again cannot help.
fn terminal(code: u16) -> Option<&'static str> {
    Some(match code {
        4004 => "Discord refuses the bot's token (4004): store the right one",
        4010 => "Discord refuses the shard of `identify` (4010): correct the capability file",
        4011 => "Discord wants this bot to use shards (4011), which a link does not do",
        4012 => "Discord does not speak this version of the gateway any more (4012): correct `v` in the URL",
        4013 => "Discord does not know one of the intents of `identify` (4013): correct the capability file",
        4014 => {
            "Discord refuses an intent that is not enabled for the bot (4014): enable its privileged gateway intents, such as \
             Message Content, in the developer portal"
        }
        _ => return None,
    })
}

fn reconnect(reason: &str, wait: Option<Duration>) -> LinkStep {
    LinkStep::Reconnect { reason: reason.to_owned(), code: CLOSE_UNRESPONSIVE, wait }
}

fn send(op: u64, d: &Value) -> LinkStep {
    LinkStep::Send(Zeroizing::new(json!({ "op": op, "d": d }).to_string()))
}

fn without_comments(object: Map<String, Value>) -> Map<String, Value> {
    let kept = object.into_iter().filter(|(name, _)| !name.starts_with('_'));
    kept.map(|(name, value)| match value {
        Value::Object(inner) => (name, Value::Object(without_comments(inner))),
        value => (name, value),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "wss://gateway.discord.gg/?v=10&encoding=json";
    const HELLO_FRAME: &str = r#"{"op":10,"d":{"heartbeat_interval":40000}}"#;
    const ACK: &str = r#"{"op":11}"#;
    const READY: &str = r#"{"op":0,"s":1,"t":"READY","d":{"session_id":"abc","resume_gateway_url":"wss://resume.discord.gg"}}"#;

    fn gateway() -> DiscordGateway {
        let identify =
            json!({"intents": 4609, "_why": "comments stay here", "properties": {"os": "linux", "_x": 1}});
        let Value::Object(identify) = identify else { unreachable!("it is an object") };
        DiscordGateway::new(URL, identify, 1)
    }

    fn login() -> Login {
        Login { token: Zeroizing::new("t0ken".to_owned()), ..Login::default() }
    }

    /// A gateway that has said READY.
    fn ready(now: Instant) -> DiscordGateway {
        let mut gateway = gateway();
        gateway.opened(login(), now);
        gateway.received(HELLO_FRAME, now, 0.5);
        gateway.received(READY, now, 0.5);
        gateway
    }

    fn event(number: u64) -> String {
        format!(r#"{{"op":0,"s":{number},"t":"MESSAGE_CREATE","d":{{}}}}"#)
    }

    fn sent(steps: &[LinkStep]) -> Vec<Value> {
        let sent = steps.iter().filter_map(|step| match step {
            LinkStep::Send(text) => Some(serde_json::from_str(text).expect("JSON")),
            _ => None,
        });
        sent.collect()
    }

    #[test]
    fn a_new_session_identifies_with_the_token_and_without_comments() {
        let now = Instant::now();
        let mut gateway = gateway();
        assert_eq!(gateway.opened(login(), now), []);
        let steps = gateway.received(HELLO_FRAME, now, 0.5);
        let d = json!({"intents": 4609, "properties": {"os": "linux"}, "token": "t0ken"});
        assert_eq!(sent(&steps), [json!({"op": 2, "d": d})]);
        assert_eq!(gateway.deadline(), Some(now + Duration::from_secs(20)), "the first beat comes at random");
        let steps = gateway.received(READY, now, 0.5);
        assert_eq!(steps[0], LinkStep::Ready);
        assert!(matches!(&steps[1], LinkStep::Deliver { frame, .. } if frame == READY), "{steps:?}");
    }

    #[test]
    fn a_lost_connection_is_resumed_from_what_is_durable() {
        let now = Instant::now();
        let mut gateway = ready(now);
        for number in 2..=4 {
            gateway.received(&event(number), now, 0.5);
        }
        for number in [1, 2, 4] {
            gateway.acknowledged(Receipt::Sequence { session: 1, number });
        }
        // An acknowledgement of another session says nothing about this one.
        gateway.acknowledged(Receipt::Sequence { session: 7, number: 3 });
        assert!(matches!(gateway.closed(None, ""), LinkStep::Reconnect { wait: None, .. }));
        assert_eq!(gateway.resume_url().as_deref(), Some("wss://resume.discord.gg/?v=10&encoding=json"));
        gateway.opened(login(), now);
        let steps = gateway.received(HELLO_FRAME, now, 0.0);
        let d = json!({"token": "t0ken", "session_id": "abc", "seq": 2});
        assert_eq!(sent(&steps), [json!({"op": 6, "d": d})]);
        assert_eq!(gateway.received(r#"{"op":0,"s":5,"t":"RESUMED","d":{}}"#, now, 0.5), [LinkStep::Ready]);
    }

    #[test]
    fn a_later_link_resumes_after_the_frame_that_was_worked_on_last() {
        let now = Instant::now();
        let mut before = ready(now);
        let steps = before.received(&event(7), now, 0.5);
        let [LinkStep::Deliver { receipt, .. }] = &steps[..] else { panic!("{steps:?}") };
        let stored = before.session_after(receipt).expect("a session");
        let mut gateway = gateway();
        gateway.take_over(&stored);
        assert_eq!(gateway.resume_url().as_deref(), Some("wss://resume.discord.gg/?v=10&encoding=json"));
        gateway.opened(login(), now);
        let steps = gateway.received(HELLO_FRAME, now, 0.0);
        let d = json!({"token": "t0ken", "session_id": "abc", "seq": 7});
        assert_eq!(sent(&steps), [json!({"op": 6, "d": d})]);
        // What a guest has written there is no session.
        let mut gateway = self::gateway();
        gateway.take_over("{}");
        assert_eq!(gateway.resume_url(), None);
        assert_eq!(gateway.session_after(receipt), None);
    }

    #[test]
    fn a_heartbeat_carries_the_last_number_and_a_missing_ack_ends_the_connection() {
        let now = Instant::now();
        let mut gateway = ready(now);
        let first = gateway.deadline().expect("a heartbeat");
        assert_eq!(gateway.due(first - Duration::from_millis(1)), []);
        assert_eq!(sent(&gateway.due(first)), [json!({"op": 1, "d": 1})]);
        gateway.received(ACK, first, 0.5);
        gateway.received(&event(9), first, 0.5);
        let second = first + Duration::from_secs(40);
        assert_eq!(sent(&gateway.due(second)), [json!({"op": 1, "d": 9})]);
        let steps = gateway.due(second + Duration::from_secs(40));
        assert!(matches!(&steps[..], [LinkStep::Reconnect { code: CLOSE_UNRESPONSIVE, .. }]), "{steps:?}");
    }

    #[test]
    fn as_many_acks_may_be_missed_as_the_capability_file_says() {
        let now = Instant::now();
        let mut gateway = ready(now);
        gateway.max_missed_acks = 2;
        for beat in 0..2 {
            let steps = gateway.due(gateway.deadline().expect("a heartbeat"));
            assert_eq!(sent(&steps).len(), 1, "beat {beat}");
        }
        let steps = gateway.due(gateway.deadline().expect("a heartbeat"));
        assert!(matches!(&steps[..], [LinkStep::Reconnect { .. }]), "{steps:?}");
    }

    #[test]
    fn a_heartbeat_that_the_gateway_asks_for_is_sent_at_once() {
        let mut gateway = ready(Instant::now());
        assert_eq!(sent(&gateway.received(r#"{"op":1}"#, Instant::now(), 0.5)), [json!({"op": 1, "d": 1})]);
    }

    #[test]
    fn an_invalid_session_is_resumed_or_forgotten_as_the_gateway_says() {
        for (d, keeps) in [("true", true), ("false", false), ("null", false)] {
            let now = Instant::now();
            let mut gateway = ready(now);
            let steps = gateway.received(&format!(r#"{{"op":9,"d":{d}}}"#), now, 1.0);
            let wait = Some(Duration::from_secs(5));
            assert!(matches!(&steps[..], [LinkStep::Reconnect { wait: w, .. }] if *w == wait), "{steps:?}");
            assert_eq!(gateway.resume_url().is_some(), keeps, "{d}");
        }
    }

    #[test]
    fn close_codes_stop_the_link_or_forget_the_session() {
        for (code, stops, keeps) in [
            (4000, false, true),
            (4004, true, false),
            (4007, false, false),
            (4009, false, false),
            (4010, true, false),
            (4014, true, false),
            (1006, false, true),
        ] {
            let mut gateway = ready(Instant::now());
            let step = gateway.closed(Some(code), "");
            assert_eq!(matches!(step, LinkStep::Stop { .. }), stops, "{code}: {step:?}");
            assert_eq!(gateway.resume_url().is_some(), keeps, "{code}");
            assert!(gateway.deadline().is_none(), "{code}");
        }
    }

    #[test]
    fn a_gateway_that_says_nothing_or_nonsense_is_left() {
        let now = Instant::now();
        let mut silent = gateway();
        silent.opened(login(), now);
        assert!(matches!(silent.due(now + HELLO_TIMEOUT)[..], [LinkStep::Reconnect { .. }]));
        for frame in ["", "[]", "{}", r#"{"op":"x"}"#, r#"{"op":10,"d":{}}"#] {
            let steps = gateway().received(frame, now, 0.5);
            assert!(matches!(steps[..], [LinkStep::Reconnect { .. }]), "{frame}: {steps:?}");
        }
        assert_eq!(gateway().received(r#"{"op":77}"#, now, 0.5), []);
    }

    #[test]
    fn a_bot_that_logs_in_too_often_waits() {
        let now = Instant::now();
        let mut gateway = gateway();
        for _ in 0..IDENTIFIES_PER_DAY {
            assert_eq!(sent(&gateway.received(HELLO_FRAME, now, 0.5)).len(), 1);
        }
        let steps = gateway.received(HELLO_FRAME, now, 0.5);
        assert!(matches!(steps[..], [LinkStep::Reconnect { wait: Some(_), .. }]), "{steps:?}");
    }

    #[test]
    fn the_heartbeat_interval_of_the_service_is_bounded() {
        let now = Instant::now();
        for (asked, seconds) in [(0, 1), (1000, 1), (600_000, 600), (u64::MAX, 600)] {
            let mut gateway = gateway();
            gateway.received(&format!(r#"{{"op":10,"d":{{"heartbeat_interval":{asked}}}}}"#), now, 1.0);
            assert_eq!(gateway.deadline(), Some(now + Duration::from_secs(seconds)), "{asked}");
        }
    }
}
