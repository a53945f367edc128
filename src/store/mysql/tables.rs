//! The tables that a group of batches writes to, and the rows of the two that say where messages and replies stand.

use mysql::Value;

use super::bulk::Table;
use super::read::{message_state_number, reply_state_number};
use super::state::{MessageRow, ReplyRow};

/// `outbox.flags`: an attempt was begun and has no outcome yet.
pub(super) const IN_FLIGHT: u8 = 1;
/// `outbox.flags`: the outcome of an earlier attempt is unknown.
pub(super) const UNCERTAIN: u8 = 2;

pub(super) static MESSAGE: Table = Table {
    name: "message",
    columns: &[
        "id",
        "channel",
        "received_ms",
        "conversation",
        "user_id",
        "user_name",
        "thread_id",
        "metadata_json",
        "content",
    ],
    replaces: false,
};
pub(super) static DELIVERY: Table = Table {
    name: "delivery",
    columns: &["id", "channel", "state", "attempt", "changed_ms", "bytes", "error"],
    replaces: true,
};
pub(super) static MESSAGE_FILE: Table = Table {
    name: "message_file",
    columns: &[
        "message",
        "place",
        "name",
        "mime_type",
        "filename",
        "size_bytes",
        "source_url",
        "storage_key",
        "extracted_text",
        "extras_json",
        "data",
    ],
    replaces: false,
};
pub(super) static REPLY: Table = Table {
    name: "reply",
    columns: &[
        "id",
        "channel",
        "created_ms",
        "in_reply_to",
        "conversation",
        "broadcast_to",
        "message_id",
        "thread_id",
        "metadata_json",
        "content",
    ],
    replaces: false,
};
pub(super) static OUTBOX: Table = Table {
    name: "outbox",
    columns: &[
        "id",
        "channel",
        "state",
        "attempts",
        "traps",
        "flags",
        "since_ms",
        "next_ms",
        "changed_ms",
        "bytes",
        "error",
    ],
    replaces: true,
};
pub(super) static REPLY_FILE: Table = Table {
    name: "reply_file",
    columns: &["reply", "place", "filename", "mime_type", "data"],
    replaces: false,
};
pub(super) static DEDUPE_KEY: Table = Table {
    name: "dedupe_key",
    columns: &["id", "channel", "at_ms", "expires_ms", "hash", "status", "headers_json", "body"],
    replaces: false,
};
pub(super) static STEP: Table = Table {
    name: "step",
    columns: &["id", "host", "subject", "kind", "at_ms", "attempt", "fuel", "took_us", "dedupe_key", "text"],
    replaces: false,
};
pub(super) static FILE: Table =
    Table { name: "file", columns: &["channel", "hash", "path", "content"], replaces: true };
pub(super) static TIMER: Table = Table {
    name: "timer",
    columns: &["channel", "hash", "name", "set_ms", "due_ms", "payload"],
    replaces: true,
};
pub(super) static PAIRING_REQUEST: Table = Table {
    name: "pairing_request",
    columns: &["channel", "hash", "external_id", "code", "meta_json", "created_ms", "expires_ms"],
    replaces: true,
};
pub(super) static PAIRING_IDENTITY: Table = Table {
    name: "pairing_identity",
    columns: &["channel", "hash", "external_id", "identity", "at_ms"],
    replaces: true,
};
pub(super) static PAIRING_ALLOWED: Table =
    Table { name: "pairing_allowed", columns: &["channel", "hash", "entry"], replaces: true };
pub(super) static PAIRING_LOCK: Table =
    Table { name: "pairing_lock", columns: &["channel", "wrong_codes", "locked_until_ms"], replaces: true };

pub(super) fn message_row(id: u64, row: &MessageRow) -> Vec<Value> {
    vec![
        id.into(),
        row.channel.into(),
        message_state_number(row.status.state).into(),
        row.status.attempt.into(),
        row.changed_ms.into(),
        row.bytes.into(),
        row.error.as_deref().into(),
    ]
}

pub(super) fn reply_row(id: u64, row: &ReplyRow) -> Vec<Value> {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let status = &row.status;
    vec![
        id.into(),
        row.channel.into(),
        reply_state_number(status.state).into(),
        status.attempts.into(),
        status.traps.into(),
        (flag(status.in_flight, IN_FLIGHT) | flag(status.redelivery, UNCERTAIN)).into(),
        status.since_ms.into(),
        status.next_ms.into(),
        row.changed_ms.into(),
        row.bytes.into(),
        row.error.as_deref().into(),
    ]
}
