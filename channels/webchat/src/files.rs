//! Files of the conversations: the newest ones, in a bounded number of places.

use serde_json::{Value, json};
use tinclaw_kit::{base64, host, state};

/// Files that are kept.
const PLACES: u64 = 24;
/// The most bytes of a file that is kept: in base64 it fits into a file of the workspace, which has 1 MiB.
pub const MAX_BYTES: usize = 760_000;
/// The number of the newest file.
const NEWEST: &str = "files/newest";

/// Keeps a file for a conversation. Returns what a message says of it: with an `id` where it can be fetched.
pub fn keep(visitor: &str, name: &str, kind: &str, data: &[u8]) -> Value {
    if data.len() > MAX_BYTES {
        host::warn(&format!("a file of {} bytes is not kept: it is larger than {MAX_BYTES}", data.len()));
        return json!({"name": name, "size": data.len()});
    }
    let id = state::get::<u64>(NEWEST) + 1;
    let record =
        json!({"visitor": visitor, "id": id, "name": name, "type": kind, "data": base64::encode(data)});
    match host::workspace_write(&path(id), &record.to_string()) {
        Ok(()) => {
            state::set(NEWEST, &id);
            json!({"id": id, "name": name, "type": kind, "size": data.len()})
        }
        Err(error) => {
            host::warn(&format!("a file is not kept: {error}"));
            json!({"name": name, "size": data.len()})
        }
    }
}

/// A file of a conversation: its name, its type, its content. None when it is another's, or no longer kept.
pub fn find(visitor: &str, id: u64) -> Option<(String, String, Vec<u8>)> {
    let record: Value = serde_json::from_str(&host::workspace_read(&path(id))?).ok()?;
    if record["id"] != id || record["visitor"] != visitor {
        return None;
    }
    let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    Some((text("name"), text("type"), base64::decode(record["data"].as_str()?)?))
}

fn path(id: u64) -> String {
    format!("files/{:02}", id % PLACES)
}
