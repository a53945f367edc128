//! A fake of a Matrix homeserver: <https://spec.matrix.org/latest/client-server-api/>.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::fake::{CallLog, Orders, json as response, locked};
use crate::support::upstream::{Recorded, Response, Upstream};

pub const ME: &str = "@tin:a.example";
const TOKEN: &str = "Bearer value-of-matrix_access_token";

/// An event that the bot sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub room: String,
    pub content: Value,
}

#[derive(Default)]
struct Room {
    members: u64,
    events: Vec<Value>,
    is_banned: bool,
}

#[derive(Default)]
struct State {
    rooms: BTreeMap<String, Room>,
    /// Inviter, by room.
    invites: BTreeMap<String, (String, bool)>,
    transactions: BTreeSet<String>,
    media: BTreeMap<String, Vec<u8>>,
    is_revoked: bool,
    is_down: bool,
    loses_responses: bool,
    has_old_media: bool,
}

#[derive(Default)]
pub struct Inner {
    state: Mutex<State>,
    pub orders: Orders,
    pub sent: CallLog<Sent>,
    pub joined: CallLog<String>,
    pub typing: CallLog<String>,
    pub syncs: CallLog<String>,
}

pub struct Matrix {
    pub inner: Arc<Inner>,
    pub upstream: Upstream,
}

impl Matrix {
    pub fn start() -> Self {
        let inner = Arc::new(Inner::default());
        let upstream = Upstream::of(&inner, Inner::response);
        Self { inner, upstream }
    }

    /// A room that the bot is in.
    pub fn room(&self, room: &str, members: u64) {
        let made = Room { members, ..Room::default() };
        locked(&self.inner.state).rooms.insert(room.to_owned(), made);
    }

    /// Somebody does something in a room. Returns the id of the event.
    pub fn event(&self, room: &str, sender: &str, kind: &str, content: Value) -> String {
        let mut state = locked(&self.inner.state);
        let events = &mut state.rooms.get_mut(room).expect("a room").events;
        let id = format!("${}{}", room.trim_start_matches('!').replace(':', "-"), events.len());
        events.push(json!({"type": kind, "event_id": id, "sender": sender, "content": content}));
        id
    }

    pub fn say(&self, room: &str, sender: &str, text: &str) -> String {
        self.event(room, sender, "m.room.message", json!({"msgtype": "m.text", "body": text}))
    }

    pub fn invite(&self, room: &str, sender: &str, is_direct: bool) {
        locked(&self.inner.state).invites.insert(room.to_owned(), (sender.to_owned(), is_direct));
    }

    pub fn ban(&self, room: &str) {
        locked(&self.inner.state).rooms.get_mut(room).expect("a room").is_banned = true;
    }

    pub fn put_media(&self, id: &str, data: &[u8]) {
        locked(&self.inner.state).media.insert(id.to_owned(), data.to_vec());
    }

    pub fn media(&self, id: &str) -> Option<Vec<u8>> {
        locked(&self.inner.state).media.get(id).cloned()
    }

    pub fn revoke(&self) {
        locked(&self.inner.state).is_revoked = true;
    }

    pub fn set_down(&self, is_down: bool) {
        locked(&self.inner.state).is_down = is_down;
    }

    /// Messages are taken, but the bot is told of a bad gateway.
    pub fn set_losing_responses(&self, loses_responses: bool) {
        locked(&self.inner.state).loses_responses = loses_responses;
    }

    pub fn set_old_media(&self) {
        locked(&self.inner.state).has_old_media = true;
    }
}

fn refused(status: u16, code: &str, error: &str) -> Response {
    response(status, &json!({"errcode": code, "error": error}))
}

fn bad_gateway() -> Response {
    (502, Vec::new(), b"<html>bad gateway</html>".to_vec())
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().expect("UTF-8").into_owned()
}

impl Inner {
    fn response(&self, request: &Recorded) -> Response {
        if locked(&self.state).is_down {
            return bad_gateway();
        }
        if request.header("authorization") != Some(TOKEN) || locked(&self.state).is_revoked {
            return refused(401, "M_UNKNOWN_TOKEN", "Unrecognised access token");
        }
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let parts: Vec<String> = path.split('/').skip(2).map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["client", "v3", "account", "whoami"]) => response(200, &json!({"user_id": ME})),
            ("GET", ["client", "v3", "sync"]) => self.sync(&query),
            ("POST", ["client", "v3", "createRoom"]) => self.create(&request.json()),
            ("POST", ["client", "v3", "rooms", room, "join"]) => self.join(room),
            ("GET", ["client", "v3", "rooms", room, "joined_members"]) => self.members(room),
            ("GET", ["client", "v3", "rooms", room, "messages"]) => self.messages(room, &query),
            ("GET", ["client", "v3", "rooms", room, "event", id]) => self.event(room, id),
            ("PUT", ["client", "v3", "rooms", room, "send", "m.room.message", transaction]) => {
                self.send(room, transaction, request)
            }
            ("PUT", ["client", "v3", "rooms", room, "typing", user]) => {
                assert_eq!(*user, ME);
                assert_eq!(request.json()["typing"], true);
                self.typing.push((*room).to_owned());
                response(200, &json!({}))
            }
            ("GET", ["client", "v1", "media", "download", "a.example", id])
                if !locked(&self.state).has_old_media =>
            {
                self.download(id)
            }
            ("GET", ["media", "v3", "download", "a.example", id]) if locked(&self.state).has_old_media => {
                self.download(id)
            }
            ("POST", ["media", "v3", "upload"]) => {
                let id = query["filename"].replace('.', "-");
                locked(&self.state).media.insert(id.clone(), request.body.clone());
                response(200, &json!({"content_uri": format!("mxc://a.example/{id}")}))
            }
            _ => refused(404, "M_UNRECOGNIZED", "Unrecognized request"),
        }
    }

    /// A position is how many events of each room are known: `!a:a.example=3`.
    fn sync(&self, query: &BTreeMap<String, String>) -> Response {
        let filter: Value = serde_json::from_str(&query["filter"]).expect("a filter");
        let limit = filter["room"]["timeline"]["limit"].as_u64().expect("a limit") as usize;
        let since = query.get("since").map(String::as_str);
        assert!(query["timeout"].parse::<u32>().is_ok_and(|timeout| timeout <= 30_000), "{query:?}");
        self.syncs.push(since.unwrap_or("first").to_owned());
        if let Some(ordered) = self.orders.take("sync") {
            return ordered;
        }
        let seen: BTreeMap<&str, usize> = since
            .into_iter()
            .flat_map(|since| since.split(' '))
            .filter_map(|entry| entry.split_once('='))
            .map(|(room, count)| (room, count.parse().expect("a number")))
            .collect();
        let mut state = locked(&self.state);
        let (mut join, mut next) = (json!({}), Vec::new());
        for (id, room) in &state.rooms {
            next.push(format!("{id}={}", room.events.len()));
            let before = seen.get(id.as_str()).copied();
            let new = &room.events[before.unwrap_or(0)..];
            if new.is_empty() && before.is_some() {
                continue;
            }
            let first = room.events.len() - new.len().min(limit);
            join[id] = json!({
                "summary": if before.is_none() { json!({"m.joined_member_count": room.members, "m.invited_member_count": 0}) } else { json!({}) },
                "timeline": {"events": room.events[first..], "limited": new.len() > limit, "prev_batch": format!("p{first}")}});
        }
        let mut invite = json!({});
        for (room, (sender, is_direct)) in std::mem::take(&mut state.invites) {
            invite[&room] = json!({"invite_state": {"events": [{"type": "m.room.member", "state_key": ME, "sender": sender,
                "content": {"membership": "invite", "is_direct": is_direct}}]}});
        }
        drop(state);
        if join == json!({}) && invite == json!({}) {
            std::thread::sleep(Duration::from_millis(20));
        }
        response(200, &json!({"next_batch": next.join(" ") + " ", "rooms": {"join": join, "invite": invite}}))
    }

    fn create(&self, body: &Value) -> Response {
        assert_eq!((&body["is_direct"], body["invite"].as_array().map(Vec::len)), (&json!(true), Some(1)));
        let room = "!new:a.example".to_owned();
        locked(&self.state).rooms.insert(room.clone(), Room { members: 2, ..Room::default() });
        response(200, &json!({"room_id": room}))
    }

    fn join(&self, room: &str) -> Response {
        self.joined.push(room.to_owned());
        let mut state = locked(&self.state);
        let made = state.rooms.entry(room.to_owned()).or_insert(Room { members: 2, ..Room::default() });
        let count = made.events.len();
        made.events.push(json!({"type": "m.room.member", "event_id": format!("$join{count}"), "sender": ME, "state_key": ME,
            "content": {"membership": "join"}}));
        response(200, &json!({"room_id": room}))
    }

    fn members(&self, room: &str) -> Response {
        let state = locked(&self.state);
        let members = (0..state.rooms[room].members).map(|number| (format!("@{number}:a"), json!({})));
        response(200, &json!({"joined": members.collect::<serde_json::Map<_, _>>()}))
    }

    fn messages(&self, room: &str, query: &BTreeMap<String, String>) -> Response {
        assert_eq!(query["dir"], "b");
        let end: usize = query["from"].trim_start_matches('p').parse().expect("a position");
        let known = query["to"].split(' ').find_map(|entry| entry.strip_prefix(&format!("{room}=")));
        let start: usize = known.expect("a room of it").parse().expect("a number");
        let state = locked(&self.state);
        let chunk: Vec<Value> = state.rooms[room].events[start..end].iter().rev().cloned().collect();
        response(200, &json!({"chunk": chunk, "start": query["from"]}))
    }

    fn event(&self, room: &str, id: &str) -> Response {
        let state = locked(&self.state);
        let found =
            state.rooms.get(room).and_then(|room| room.events.iter().find(|event| event["event_id"] == id));
        match found {
            Some(event) => response(200, event),
            None => refused(404, "M_NOT_FOUND", "Event not found"),
        }
    }

    fn send(&self, room: &str, transaction: &str, request: &Recorded) -> Response {
        if let Some(ordered) = self.orders.take("send") {
            return ordered;
        }
        let content = request.json();
        let mut state = locked(&self.state);
        if state.rooms.get(room).is_none_or(|room| room.is_banned) {
            return refused(403, "M_FORBIDDEN", "User is not in the room");
        }
        if request.body.len() > 65_536 {
            return refused(413, "M_TOO_LARGE", "event too large");
        }
        if !content["body"].is_string() || !content["msgtype"].is_string() {
            return refused(400, "M_BAD_JSON", "body and msgtype are needed");
        }
        assert_eq!(content["format"].is_string(), content["formatted_body"].is_string());
        if state.transactions.insert(format!("{room} {transaction}")) {
            self.sent.push(Sent { room: room.to_owned(), content });
        }
        if std::mem::take(&mut state.loses_responses) {
            return bad_gateway();
        }
        response(200, &json!({"event_id": format!("$sent{}", self.sent.len())}))
    }

    fn download(&self, id: &str) -> Response {
        match locked(&self.state).media.get(id) {
            Some(data) => (200, Vec::new(), data.clone()),
            None => refused(404, "M_NOT_FOUND", "Not found"),
        }
    }
}
