//! A fake of Discord's gateway: <https://docs.discord.com/developers/events/gateway>. It keeps a session with its events, so
//! that a connection can be resumed, and closes as Discord does what logs in wrongly.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fake::{CallLog, locked};
use crate::support::gateway::{Connection, Gateway, Within};

/// Guilds, guild messages, direct messages, message content.
const INTENTS: u64 = 1 | 512 | 4096 | 32768;

/// What a test has the gateway do.
enum Order {
    Event(&'static str, Value),
    Close(u16),
}

#[derive(Default)]
struct Session {
    token: String,
    is_forgotten: bool,
    orders: VecDeque<Order>,
    /// What was sent, from the sequence 1 on.
    events: Vec<Value>,
    token_is_revoked: bool,
    lacks_intents: bool,
}

/// The gateway.
pub struct Bot {
    session: Arc<Mutex<Session>>,
    /// `identify` and `resume`, in order.
    pub logins: Arc<CallLog<String>>,
    gateway: Gateway,
}

impl Bot {
    /// A gateway that knows this token.
    pub fn start(token: &str) -> Self {
        let session = Session { token: token.to_owned(), ..Session::default() };
        let (session, logins) = (Arc::new(Mutex::new(session)), Arc::<CallLog<String>>::default());
        let played = (session.clone(), logins.clone());
        let gateway = Gateway::start(move |connection, _| play(connection, &played.0, &played.1));
        Self { session, logins, gateway }
    }

    pub fn url(&self) -> String {
        self.gateway.url()
    }

    /// Sends an event to the bot, at once or when it is there again.
    pub fn event(&self, name: &'static str, data: Value) {
        locked(&self.session).orders.push_back(Order::Event(name, data));
    }

    /// Something happens while the bot is not there: a bot that resumes hears of it.
    pub fn missed(&self, name: &'static str, data: Value) {
        add_event(&self.session, name, data);
    }

    /// The session cannot be resumed any more.
    pub fn forget_session(&self) {
        locked(&self.session).is_forgotten = true;
    }

    /// Closes the connection.
    pub fn close(&self, code: u16) {
        locked(&self.session).orders.push_back(Order::Close(code));
    }

    pub fn revoke(&self) {
        locked(&self.session).token_is_revoked = true;
    }

    pub fn refuse_intents(&self) {
        locked(&self.session).lacks_intents = true;
    }
}

fn play(connection: &mut Connection, session: &Mutex<Session>, logins: &CallLog<String>) {
    connection.send(&json!({"op": 10, "d": {"heartbeat_interval": 500}}));
    if !log_in(connection, session, logins) {
        return;
    }
    loop {
        let order = locked(session).orders.pop_front();
        match order {
            Some(Order::Event(name, data)) => send(connection, session, name, data),
            Some(Order::Close(code)) => return connection.close(code, "as the test wants"),
            None => match connection.receive_within(Duration::from_millis(10)) {
                Within::Frame(frame) => heartbeat(connection, session, &frame),
                Within::Nothing => {}
                Within::Closed => return,
            },
        }
    }
}

/// Acknowledges heartbeats, and nothing else: this bot sends nothing else.
fn heartbeat(connection: &mut Connection, session: &Mutex<Session>, frame: &Value) {
    assert_eq!(frame["op"], 1, "{frame}");
    let sent = locked(session).events.len() as u64;
    assert!(frame["d"].as_u64().is_none_or(|seen| seen <= sent), "{frame}");
    connection.send(&json!({"op": 11}));
}

fn log_in(connection: &mut Connection, session: &Mutex<Session>, logins: &CallLog<String>) -> bool {
    loop {
        let Some(frame) = connection.receive() else { return false };
        if frame["op"] == 1 {
            connection.send(&json!({"op": 11}));
            continue;
        }
        let (is_revoked, lacks_intents, is_forgotten, token) = {
            let session = locked(session);
            let token = session.token.clone();
            (session.token_is_revoked, session.lacks_intents, session.is_forgotten, token)
        };
        if is_revoked || frame["d"]["token"] != *token {
            connection.close(4004, "Authentication failed.");
            return false;
        }
        match frame["op"].as_u64() {
            Some(2) => {
                logins.push("identify".to_owned());
                assert!(frame["d"]["properties"]["os"].is_string(), "{frame}");
                if lacks_intents || frame["d"]["intents"] != INTENTS {
                    connection.close(4014, "Disallowed intent(s).");
                    return false;
                }
                locked(session).events.clear();
                locked(session).is_forgotten = false;
                let ready = json!({"v": 10, "user": {"id": "100"}, "application": {"id": "200"},
                    "session_id": "s1", "resume_gateway_url": "wss://gateway-us-east1-b.discord.gg"});
                send(connection, session, "READY", ready);
            }
            Some(6) if is_forgotten => {
                logins.push("resume".to_owned());
                connection.send(&json!({"op": 9, "d": false}));
                connection.hold();
                return false;
            }
            Some(6) => {
                logins.push("resume".to_owned());
                assert_eq!(frame["d"]["session_id"], "s1");
                let seen = frame["d"]["seq"].as_u64().expect("a sequence") as usize;
                let missed = locked(session).events[seen..].to_vec();
                missed.iter().for_each(|event| connection.send(event));
                send(connection, session, "RESUMED", json!({}));
            }
            _ => {
                connection.close(4003, "Not authenticated.");
                return false;
            }
        }
        return true;
    }
}

fn send(connection: &mut Connection, session: &Mutex<Session>, name: &str, data: Value) {
    connection.send(&add_event(session, name, data));
}

/// Adds an event to the session.
fn add_event(session: &Mutex<Session>, name: &str, data: Value) -> Value {
    let mut session = locked(session);
    let event = json!({"op": 0, "s": session.events.len() + 1, "t": name, "d": data});
    session.events.push(event.clone());
    event
}
