//! What is remembered of rooms: how many are in them, who is talked to where, and what was said once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tinclaw_kit::{Failure, state};

use crate::api;
use crate::settings::Settings;

const ROOMS: &str = "rooms.json";
const DIRECT: &str = "direct.json";

/// A room.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Room {
    /// How many have joined it or are invited; 0 when that is not known yet.
    pub members: u64,
    /// It was said that encrypted messages cannot be read.
    #[serde(default)]
    pub is_told: bool,
}

/// All rooms, by their ids.
pub type Rooms = BTreeMap<String, Room>;

pub fn all() -> Rooms {
    state::get(ROOMS)
}

pub fn keep(rooms: &Rooms) {
    state::set_if_changed(ROOMS, rooms);
}

/// Takes what a sync says about a room: `RoomSummary` has what has changed only.
pub fn update(settings: &Settings, id: &str, room: &mut Room, summary: &Value) -> Result<(), Failure> {
    let counts = ["m.joined_member_count", "m.invited_member_count"].map(|name| summary[name].as_u64());
    match counts {
        [Some(joined), Some(invited)] => room.members = joined + invited,
        [None, None] if room.members > 0 => {}
        _ => {
            let members = api::get(settings, &api::room_path(id, "joined_members"))?;
            room.members = members["joined"].as_object().map_or(0, |joined| joined.len() as u64);
        }
    }
    Ok(())
}

/// Remembers the room in which somebody talks to the bot alone.
pub fn is_direct_with(user: &str, room: &str) {
    let mut direct: BTreeMap<String, String> = state::get(DIRECT);
    if direct.get(user).is_none_or(|known| known != room) {
        direct.insert(user.to_owned(), room.to_owned());
        state::set(DIRECT, &direct);
    }
}

/// The room for a message to a user, or the room itself when the id is one's. A new one is made for a user who has none.
pub fn room_for(settings: &Settings, id: &str) -> Result<String, Failure> {
    if id.starts_with('!') {
        return Ok(id.to_owned());
    }
    if !id.starts_with('@') {
        return Err(Failure::permanent(format!("`{id}` is no id of a user or room")));
    }
    if let Some(room) = state::get::<BTreeMap<String, String>>(DIRECT).remove(id) {
        return Ok(room);
    }
    let body = json!({"is_direct": true, "invite": [id], "preset": "trusted_private_chat"});
    let created = api::post(settings, "client/v3/createRoom", &body)?;
    let room = created["room_id"].as_str().unwrap_or_default().to_owned();
    is_direct_with(id, &room);
    Ok(room)
}
