//! A fake of Slack's Socket Mode: <https://docs.slack.dev/apis/events-api/using-socket-mode>. What is not acknowledged is
//! sent again through the next link.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fake::{CallLog, locked};
use crate::support::gateway::{Connection, Gateway, Within};

/// What a test has the service do.
enum Order {
    Envelope(Value),
    Disconnect(&'static str),
    Drop,
}

#[derive(Default)]
struct State {
    orders: VecDeque<Order>,
    unacknowledged: Vec<Value>,
}

/// The service.
pub struct Sockets {
    state: Arc<Mutex<State>>,
    /// Ids of envelopes, as they were acknowledged.
    pub acknowledged: Arc<CallLog<String>>,
    /// How many connections there had been when the app closed one.
    pub closed: Arc<CallLog<usize>>,
    gateway: Gateway,
}

impl Sockets {
    pub fn start() -> Self {
        let (state, acknowledged) = (Arc::<Mutex<State>>::default(), Arc::<CallLog<String>>::default());
        let closed = Arc::<CallLog<usize>>::default();
        let played = (state.clone(), acknowledged.clone(), closed.clone());
        let gateway = Gateway::start(move |connection, before| {
            let (state, acknowledged, closed) = &played;
            if play(connection, before, state, acknowledged) == Ended::ByTheApp {
                closed.push(connection.of_so_many());
            }
        });
        Self { state, acknowledged, closed, gateway }
    }

    pub fn url(&self) -> String {
        self.gateway.url()
    }

    pub fn connections(&self) -> usize {
        self.gateway.connections()
    }

    pub fn event(&self, id: &str, event: &Value) {
        let payload = json!({"type": "event_callback", "event_id": id, "team_id": "T1", "event": event});
        self.envelope(id, "events_api", payload);
    }

    pub fn envelope(&self, id: &str, kind: &str, payload: Value) {
        let envelope =
            json!({"envelope_id": id, "type": kind, "payload": payload, "accepts_response_payload": false});
        self.order(Order::Envelope(envelope));
    }

    pub fn disconnect(&self, reason: &'static str) {
        self.order(Order::Disconnect(reason));
    }

    pub fn drop_link(&self) {
        self.order(Order::Drop);
    }

    fn order(&self, order: Order) {
        locked(&self.state).orders.push_back(order);
    }
}

/// Who ended a connection.
#[derive(PartialEq, Eq)]
enum Ended {
    ByTheApp,
    ByTheService,
}

fn play(
    connection: &mut Connection,
    before: usize,
    state: &Mutex<State>,
    acknowledged: &CallLog<String>,
) -> Ended {
    connection.send(&json!({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"}}));
    let missed = locked(state).unacknowledged.clone();
    missed.iter().for_each(|envelope| connection.send(envelope));
    loop {
        // What is to happen concerns the newest connection; one that is being replaced took what was meant for the next.
        let is_newest = connection.of_so_many() == before + 1;
        let order = is_newest.then(|| locked(state).orders.pop_front()).flatten();
        match order {
            Some(Order::Envelope(envelope)) => {
                locked(state).unacknowledged.push(envelope.clone());
                connection.send(&envelope);
            }
            Some(Order::Disconnect(reason)) => {
                connection.send(&json!({"type": "disconnect", "reason": reason}))
            }
            Some(Order::Drop) => return Ended::ByTheService,
            None => match connection.receive_within(Duration::from_millis(10)) {
                Within::Frame(frame) => {
                    let id = frame["envelope_id"].as_str().expect("an acknowledgement").to_owned();
                    locked(state).unacknowledged.retain(|envelope| envelope["envelope_id"] != id.as_str());
                    acknowledged.push(id);
                }
                Within::Nothing => {}
                Within::Closed => return Ended::ByTheApp,
            },
        }
    }
}
