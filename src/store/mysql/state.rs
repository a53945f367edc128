//! What a group of batches makes of messages and replies: where they stand is read at once, decided here, and written at once.

use std::collections::{BTreeSet, HashMap, HashSet};

use mysql::prelude::Queryable;
use mysql::{Conn, Row};

use super::fault::DatabaseFault;
use super::read::{has_flag, message_state, reply_state};
use super::row::{get, list};
use super::tables::{IN_FLIGHT, UNCERTAIN};
use crate::store::rules::{
    MessageStatus, ReplyStatus, changed_message, changed_reply, error_of, message_after, reply_after,
};
use crate::store::{Change, NumberedBatch};

/// A row of `delivery`.
#[derive(Clone, Debug)]
pub(super) struct MessageRow {
    pub(super) channel: u32,
    pub(super) status: MessageStatus,
    pub(super) changed_ms: u64,
    pub(super) bytes: u64,
    pub(super) error: Option<String>,
    pub(super) is_changed: bool,
}

/// A row of `outbox`.
#[derive(Clone, Debug)]
pub(super) struct ReplyRow {
    pub(super) channel: u32,
    pub(super) status: ReplyStatus,
    pub(super) changed_ms: u64,
    pub(super) bytes: u64,
    pub(super) error: Option<String>,
    pub(super) is_changed: bool,
}

/// What a group of batches is about.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) messages: HashMap<u64, MessageRow>,
    pub(super) replies: HashMap<u64, ReplyRow>,
    pub(super) dedupe_keys: HashSet<u64>,
}

impl Group {
    /// Reads what the database has of it.
    pub(super) fn read(conn: &mut Conn, entries: &[NumberedBatch]) -> Result<Self, DatabaseFault> {
        let mut ids = Ids::default();
        for change in entries.iter().flat_map(|entry| &entry.batch.changes) {
            ids.note(change);
        }
        Ok(Self {
            messages: messages(conn, &ids.messages)?,
            replies: replies(conn, &ids.replies)?,
            dedupe_keys: dedupe_keys(conn, &ids.dedupe_keys)?,
        })
    }

    /// Applies a change of a message as far as its state allows it.
    pub(super) fn move_message(&mut self, change: &Change) {
        let Some((id, at_ms)) = changed_message(change) else { return };
        let Some(row) = self.messages.get_mut(&id.0) else { return };
        let Some(after) = message_after(row.status, change) else { return };
        row.status = after;
        row.changed_ms = at_ms;
        row.error = error_of(change).map(str::to_owned).or(row.error.take());
        row.is_changed = true;
    }

    /// The same of a reply.
    pub(super) fn move_reply(&mut self, change: &Change) {
        let Some((id, at_ms)) = changed_reply(change) else { return };
        let Some(row) = self.replies.get_mut(&id.0) else { return };
        let Some(after) = reply_after(row.status, change) else { return };
        row.status = after;
        row.changed_ms = at_ms;
        row.error = error_of(change).map(str::to_owned).or(row.error.take());
        row.is_changed = true;
    }

    /// The channel of the message or reply that a change is about, where that is known.
    pub(super) fn channel_of(&self, change: &Change) -> Option<u32> {
        let message = changed_message(change).and_then(|(id, _)| self.messages.get(&id.0));
        let reply = changed_reply(change).and_then(|(id, _)| self.replies.get(&id.0));
        message.map(|row| row.channel).or(reply.map(|row| row.channel))
    }
}

/// The ids that are to be looked up, in their order.
#[derive(Default)]
struct Ids {
    messages: BTreeSet<u64>,
    replies: BTreeSet<u64>,
    dedupe_keys: BTreeSet<u64>,
}

impl Ids {
    fn note(&mut self, change: &Change) {
        match change {
            Change::AddMessage(new) => drop(self.messages.insert(new.id.0)),
            Change::AddReply(new) => drop(self.replies.insert(new.id.0)),
            Change::Dedupe { id, .. } => drop(self.dedupe_keys.insert(id.0)),
            _ => {}
        }
        self.messages.extend(changed_message(change).map(|(id, _)| id.0));
        self.replies.extend(changed_reply(change).map(|(id, _)| id.0));
    }
}

fn messages(conn: &mut Conn, ids: &BTreeSet<u64>) -> Result<HashMap<u64, MessageRow>, DatabaseFault> {
    let found = "SELECT id, channel, state, attempt, changed_ms, bytes, error FROM delivery";
    rows(conn, found, ids, |row| {
        Ok(MessageRow {
            channel: get(row, "channel")?,
            status: MessageStatus { state: message_state(row)?, attempt: get(row, "attempt")? },
            changed_ms: get(row, "changed_ms")?,
            bytes: get(row, "bytes")?,
            error: get(row, "error")?,
            is_changed: false,
        })
    })
}

fn replies(conn: &mut Conn, ids: &BTreeSet<u64>) -> Result<HashMap<u64, ReplyRow>, DatabaseFault> {
    let found = "SELECT id, channel, state, attempts, traps, flags, since_ms, next_ms, changed_ms, bytes, error FROM outbox";
    rows(conn, found, ids, |row| {
        let flags = get(row, "flags")?;
        Ok(ReplyRow {
            channel: get(row, "channel")?,
            status: ReplyStatus {
                state: reply_state(row)?,
                attempts: get(row, "attempts")?,
                traps: get(row, "traps")?,
                since_ms: get(row, "since_ms")?,
                next_ms: get(row, "next_ms")?,
                in_flight: has_flag(flags, IN_FLIGHT),
                redelivery: has_flag(flags, UNCERTAIN),
            },
            changed_ms: get(row, "changed_ms")?,
            bytes: get(row, "bytes")?,
            error: get(row, "error")?,
            is_changed: false,
        })
    })
}

fn dedupe_keys(conn: &mut Conn, ids: &BTreeSet<u64>) -> Result<HashSet<u64>, DatabaseFault> {
    Ok(rows(conn, "SELECT id FROM dedupe_key", ids, |_| Ok(()))?.into_keys().collect())
}

fn rows<T>(
    conn: &mut Conn,
    select: &str,
    ids: &BTreeSet<u64>,
    mut record: impl FnMut(&mut Row) -> Result<T, DatabaseFault>,
) -> Result<HashMap<u64, T>, DatabaseFault> {
    let mut found = HashMap::new();
    if ids.is_empty() {
        return Ok(found);
    }
    // Not prepared: no two of these are alike.
    for row in conn.query_iter(format!("{select} WHERE id IN ({})", list(ids.iter().copied())))? {
        let mut row = row?;
        found.insert(get(&mut row, "id")?, record(&mut row)?);
    }
    Ok(found)
}
