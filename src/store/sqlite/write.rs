//! Changes into rows.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Params, Statement, params};
use wit_abi::types::{Attachment, InboundAttachment};

use super::maintenance::Forget;
use super::read::{
    ask, each_once, has_flag, message_state, message_state_number, number, one, reply_state,
    reply_state_number,
};
use crate::net::channel_response::ChannelResponse;
use crate::store::rules::{
    MessageStatus, ReplyStatus, changed_message, changed_reply, error_of, message_after, reply_after,
};
use crate::store::{
    Batch, Change, ChannelKey, DedupeId, MAX_ATTACHMENTS, NewMessage, NewReply, PairingKey, PairingRecord,
    TraceStep,
};

/// `delivery.state`.
pub(super) mod delivery_state {
    pub(in crate::store::sqlite) const PENDING: i64 = 0;
    pub(in crate::store::sqlite) const ACKED: i64 = 1;
    pub(in crate::store::sqlite) const DROPPED: i64 = 2;
    pub(in crate::store::sqlite) const DEAD: i64 = 3;
}

/// `outbox.state`.
pub(super) mod outbox_state {
    pub(in crate::store::sqlite) const PENDING: i64 = 0;
    pub(in crate::store::sqlite) const DELIVERED: i64 = 1;
    pub(in crate::store::sqlite) const DEAD: i64 = 2;
    pub(in crate::store::sqlite) const DROPPED: i64 = 3;
}

/// `outbox.flags`: an attempt was begun and has no outcome yet.
pub(super) const IN_FLIGHT: i64 = 1;
/// `outbox.flags`: the outcome of an earlier attempt is unknown.
pub(super) const UNCERTAIN: i64 = 2;

/// The largest id of a table that was ever given, as a term of SQL: of its rows, or of those that were deleted.
pub(super) fn last_id(table: &str) -> String {
    format!(
        "max(coalesce((SELECT max(id) FROM {table}), 0),
             coalesce((SELECT value FROM meta WHERE name = 'last_{table}'), 0))"
    )
}

/// How many bytes a probe writes.
const PROBE_BYTES: i64 = 64 << 10;

/// The channels' numbers. Valid as long as nobody else has written.
pub(super) struct Numbers {
    data_version: i64,
    channels: HashMap<ChannelKey, i64>,
}

impl Numbers {
    /// Inside a transaction: what is known, or what the file says when another connection has written since.
    pub(super) fn current(conn: &Connection, known: Option<Self>) -> rusqlite::Result<Self> {
        let data_version = ask(conn, "PRAGMA data_version", [])?;
        match known {
            Some(numbers) if numbers.data_version == data_version => Ok(numbers),
            _ => Self::read(conn, data_version),
        }
    }

    fn read(conn: &Connection, data_version: i64) -> rusqlite::Result<Self> {
        let mut channels = HashMap::new();
        each_once(conn, "SELECT name, id FROM channel", |row| {
            channels.insert(ChannelKey::from(row.get::<_, String>(0)?), row.get(1)?);
            Ok(())
        })?;
        Ok(Self { data_version, channels })
    }
}

/// Writes within one transaction.
pub(super) struct Writer<'a> {
    conn: &'a Connection,
    numbers: Numbers,
}

/// A number as SQLite holds it.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The number of an attachment.
pub(super) fn file_id(owner: u64, place: usize) -> i64 {
    int(owner) * MAX_ATTACHMENTS as i64 + place as i64
}

impl<'a> Writer<'a> {
    pub(super) fn new(conn: &'a Connection, numbers: Numbers) -> Self {
        Self { conn, numbers }
    }

    pub(super) fn into_numbers(self) -> Numbers {
        self.numbers
    }

    pub(super) fn batch(&mut self, batch: &Batch) -> rusqlite::Result<()> {
        batch.changes.iter().try_for_each(|change| self.change(change))
    }

    /// Keeps the number of the last batch of a transaction.
    pub(super) fn put_number(&mut self, number: u64) -> rusqlite::Result<()> {
        self.run("REPLACE INTO meta VALUES ('last_batch', ?1)", params![int(number)])
    }

    fn change(&mut self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::AddMessage(new) => self.add_message(new)?,
            Change::AddReply(new) => self.add_reply(new)?,
            Change::Dedupe { id, channel, key, at_ms, expires_ms, response } => {
                self.add_dedupe_key(*id, channel, key, *at_ms, *expires_ms, response.as_deref())?;
            }
            Change::PutFile { .. } | Change::SetTimer { .. } | Change::CancelTimer { .. } => {
                self.change_channel(change)?;
            }
            Change::PutTranscript { conversation, at_ms, content } => self.run(
                "REPLACE INTO transcript (conversation, changed_ms, content) VALUES (?1, ?2, ?3)",
                params![conversation, int(*at_ms), content],
            )?,
            Change::RemoveTranscript { conversation } => {
                self.run("DELETE FROM transcript WHERE conversation = ?1", params![conversation])?;
            }
            Change::Trace(step) => self.add_step(step)?,
            Change::PutPairing(record) => self.put_pairing(record)?,
            Change::RemovePairing(key) => self.remove_pairing(key)?,
            Change::MessageAttempt { .. }
            | Change::MessageAcked { .. }
            | Change::MessageDead { .. }
            | Change::MessageDropped { .. }
            | Change::MessageRequeued { .. } => self.move_message(change)?,
            _ => self.move_reply(change)?,
        }
        Ok(())
    }

    fn change_channel(&mut self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::PutFile { channel, path, content } => {
                let channel = self.channel(channel)?;
                self.run(
                    "INSERT INTO file (channel, path, content) VALUES (?1, ?2, ?3)
                     ON CONFLICT (channel, path) DO UPDATE SET content = excluded.content",
                    params![channel, path, content],
                )
            }
            Change::SetTimer { channel, name, set_ms, due_ms, payload } => {
                let channel = self.channel(channel)?;
                self.run(
                    "INSERT INTO timer (channel, name, due_ms, payload, set_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO UPDATE SET due_ms = excluded.due_ms, payload = excluded.payload,
                         set_ms = excluded.set_ms",
                    params![channel, name, int(*due_ms), payload, int(*set_ms)],
                )
            }
            Change::CancelTimer { channel, name } => {
                let channel = self.channel(channel)?;
                self.run("DELETE FROM timer WHERE channel = ?1 AND name = ?2", params![channel, name])
            }
            _ => Ok(()),
        }
    }

    fn add_message(&mut self, new: &NewMessage) -> rusqlite::Result<()> {
        let channel = self.channel(&new.channel)?;
        let id = int(new.id.0);
        let message = &*new.message;
        self.run(
            "INSERT INTO message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                id,
                channel,
                int(new.received_ms),
                new.conversation,
                message.user_id,
                message.user_name,
                message.thread_id,
                message.metadata_json,
                message.content,
            ],
        )?;
        self.run(
            "INSERT INTO delivery (id, state, attempt, changed_ms, bytes) VALUES (?1, ?2, 0, ?3, ?4)",
            params![id, delivery_state::PENDING, int(new.received_ms), int(new.bytes())],
        )?;
        for (place, (attachment, data)) in new.attachments().enumerate() {
            self.add_message_file(file_id(new.id.0, place), attachment, data)?;
        }
        Ok(())
    }

    fn add_message_file(
        &self,
        id: i64,
        attachment: &InboundAttachment,
        data: Option<&Arc<[u8]>>,
    ) -> rusqlite::Result<()> {
        self.run(
            "INSERT INTO message_file VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                id,
                attachment.id,
                attachment.mime_type,
                attachment.filename,
                attachment.size_bytes.map(int),
                attachment.source_url,
                attachment.storage_key,
                attachment.extracted_text,
                attachment.extras_json,
                data.map(|data| &**data),
            ],
        )
    }

    /// Applies a change of a message as far as its state allows it.
    fn move_message(&self, change: &Change) -> rusqlite::Result<()> {
        let Some((id, at_ms)) = changed_message(change) else { return Ok(()) };
        let found = "SELECT state, attempt FROM delivery WHERE id = ?1";
        let before = one(self.conn, found, params![int(id.0)], |row| {
            Ok(MessageStatus { state: message_state(row)?, attempt: row.get("attempt")? })
        })?;
        let Some(after) = before.and_then(|before| message_after(before, change)) else { return Ok(()) };
        self.run(
            "UPDATE delivery SET state = ?2, attempt = ?3, changed_ms = ?4, error = coalesce(?5, error) WHERE id = ?1",
            params![int(id.0), message_state_number(after.state), after.attempt, int(at_ms), error_of(change)],
        )
    }

    fn add_reply(&mut self, new: &NewReply) -> rusqlite::Result<()> {
        let channel = self.channel(&new.channel)?;
        let id = int(new.id.0);
        let body = &new.body;
        self.run(
            "INSERT INTO reply VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                id,
                channel,
                int(new.created_ms),
                new.in_reply_to.map(|message| int(message.0)),
                new.conversation,
                new.broadcast_to,
                body.message_id,
                body.thread_id,
                body.metadata_json,
                body.content,
            ],
        )?;
        self.run(
            "INSERT INTO outbox VALUES (?1, ?2, 0, 0, ?3, ?3, ?3, ?4, NULL, 0)",
            params![id, outbox_state::PENDING, int(new.created_ms), int(new.bytes())],
        )?;
        for (place, attachment) in body.attachments.iter().enumerate() {
            self.add_reply_file(file_id(new.id.0, place), attachment)?;
        }
        Ok(())
    }

    fn add_reply_file(&self, id: i64, attachment: &Attachment) -> rusqlite::Result<()> {
        self.run(
            "INSERT INTO reply_file VALUES (?1, ?2, ?3, ?4)",
            params![id, attachment.filename, attachment.mime_type, &*attachment.data],
        )
    }

    /// Applies a change of a reply as far as its state allows it.
    fn move_reply(&self, change: &Change) -> rusqlite::Result<()> {
        let Some((id, at_ms)) = changed_reply(change) else { return Ok(()) };
        let found = "SELECT state, attempts, traps, since_ms, next_ms, flags FROM outbox WHERE id = ?1";
        let before = one(self.conn, found, params![int(id.0)], |row| {
            Ok(ReplyStatus {
                state: reply_state(row)?,
                attempts: row.get("attempts")?,
                traps: row.get("traps")?,
                since_ms: number(row, "since_ms")?,
                next_ms: number(row, "next_ms")?,
                in_flight: has_flag(row, IN_FLIGHT)?,
                redelivery: has_flag(row, UNCERTAIN)?,
            })
        })?;
        let Some(after) = before.and_then(|before| reply_after(before, change)) else { return Ok(()) };
        let flag = |is_set: bool, flag: i64| if is_set { flag } else { 0 };
        self.run(
            "UPDATE outbox SET state = ?2, attempts = ?3, traps = ?4, since_ms = ?5, next_ms = ?6, flags = ?7,
                 changed_ms = ?8, error = coalesce(?9, error)
             WHERE id = ?1",
            params![
                int(id.0),
                reply_state_number(after.state),
                after.attempts,
                after.traps,
                int(after.since_ms),
                int(after.next_ms),
                flag(after.in_flight, IN_FLIGHT) | flag(after.redelivery, UNCERTAIN),
                int(at_ms),
                error_of(change),
            ],
        )
    }

    fn add_dedupe_key(
        &mut self,
        id: DedupeId,
        channel: &ChannelKey,
        key: &[u8],
        at_ms: u64,
        expires_ms: u64,
        response: Option<&ChannelResponse>,
    ) -> rusqlite::Result<()> {
        let channel = self.channel(channel)?;
        let headers = response
            .map(|response| serde_json::to_string(&response.headers))
            .transpose()
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.run(
            "INSERT INTO dedupe_key VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                int(id.0),
                channel,
                int(at_ms),
                int(expires_ms),
                key,
                response.map(|response| response.status),
                headers,
                response.map(|response| &*response.body),
            ],
        )
    }

    /// What is zero or empty is not written.
    fn add_step(&mut self, step: &TraceStep) -> rusqlite::Result<()> {
        let known = |number: u64| (number > 0).then(|| int(number));
        self.run(
            "INSERT INTO step (subject, kind, at_ms, attempt, fuel, took_us, dedupe_key, text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                int(step.subject.number()),
                step.kind as i64,
                int(step.at_ms),
                known(step.attempt.into()),
                known(step.fuel),
                known(step.took_us),
                step.request.map(|request| int(request.0)),
                (!step.text.is_empty()).then_some(&step.text),
            ],
        )
    }

    fn put_pairing(&mut self, record: &PairingRecord) -> rusqlite::Result<()> {
        match record {
            PairingRecord::Request(request) => {
                let channel = self.channel(&request.channel)?;
                let (created_ms, expires_ms) = (int(request.created_ms), int(request.expires_ms));
                self.run(
                    "REPLACE INTO pairing_request VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        channel,
                        request.external_id,
                        request.code,
                        request.meta_json,
                        created_ms,
                        expires_ms
                    ],
                )
            }
            PairingRecord::Identity(identity) => {
                let channel = self.channel(&identity.channel)?;
                self.run(
                    "REPLACE INTO pairing_identity VALUES (?1, ?2, ?3, ?4)",
                    params![channel, identity.external_id, identity.identity, int(identity.at_ms)],
                )
            }
            PairingRecord::Allowed { channel, entry } => {
                let channel = self.channel(channel)?;
                self.run("REPLACE INTO pairing_allowed VALUES (?1, ?2)", params![channel, entry])
            }
            PairingRecord::Lock(lock) => {
                let channel = self.channel(&lock.channel)?;
                self.run(
                    "REPLACE INTO pairing_lock VALUES (?1, ?2, ?3)",
                    params![channel, lock.wrong_codes, int(lock.locked_until_ms)],
                )
            }
        }
    }

    fn remove_pairing(&mut self, key: &PairingKey) -> rusqlite::Result<()> {
        match key {
            PairingKey::Request { channel, external_id } => {
                let channel = self.channel(channel)?;
                self.run(
                    "DELETE FROM pairing_request WHERE channel = ?1 AND external_id = ?2",
                    params![channel, external_id],
                )
            }
            PairingKey::Identity { channel, external_id } => {
                let channel = self.channel(channel)?;
                self.run(
                    "DELETE FROM pairing_identity WHERE channel = ?1 AND external_id = ?2",
                    params![channel, external_id],
                )
            }
            PairingKey::Allowed { channel, entry } => {
                let channel = self.channel(channel)?;
                self.run(
                    "DELETE FROM pairing_allowed WHERE channel = ?1 AND entry = ?2",
                    params![channel, entry],
                )
            }
            PairingKey::Lock { channel } => {
                let channel = self.channel(channel)?;
                self.run("DELETE FROM pairing_lock WHERE channel = ?1", params![channel])
            }
        }
    }

    /// Deletes what pruning has chosen. The largest ids are written down first, so that none is given twice.
    pub(super) fn forget(&mut self, forget: &Forget, now_ms: u64) -> rusqlite::Result<()> {
        for table in ["message", "reply", "dedupe_key"] {
            self.run(&format!("REPLACE INTO meta VALUES ('last_{table}', {})", last_id(table)), [])?;
        }
        for &id in &forget.messages {
            self.run("DELETE FROM delivery WHERE id = ?1", params![int(id)])?;
            self.delete_files("DELETE FROM message_file WHERE id BETWEEN ?1 AND ?2", id)?;
            self.run("DELETE FROM message WHERE id = ?1", params![int(id)])?;
        }
        for &id in &forget.replies {
            self.run("DELETE FROM outbox WHERE id = ?1", params![int(id)])?;
            self.delete_files("DELETE FROM reply_file WHERE id BETWEEN ?1 AND ?2", id)?;
            self.run("DELETE FROM reply WHERE id = ?1", params![int(id)])?;
        }
        for &id in &forget.dedupe_keys {
            self.run("DELETE FROM dedupe_key WHERE id = ?1", params![int(id)])?;
        }
        for &id in &forget.transcripts {
            self.run("DELETE FROM transcript WHERE id = ?1", params![int(id)])?;
        }
        if let Some(last) = forget.last_step {
            self.run("DELETE FROM step WHERE id <= ?1", params![int(last)])?;
        }
        self.run("DELETE FROM pairing_request WHERE expires_ms <= ?1", params![int(now_ms)])
    }

    fn delete_files(&self, sql: &str, owner: u64) -> rusqlite::Result<()> {
        self.run(sql, params![file_id(owner, 0), file_id(owner, MAX_ATTACHMENTS - 1)])
    }

    /// A small one proves that an acknowledgement could be stored, a large one that messages could.
    pub(super) fn put_probe(&self, small: bool) -> rusqlite::Result<()> {
        let bytes = if small { 1 } else { PROBE_BYTES };
        self.run("REPLACE INTO meta VALUES ('probe', zeroblob(?1))", params![bytes])
    }

    pub(super) fn remove_probe(&self) -> rusqlite::Result<()> {
        self.run("DELETE FROM meta WHERE name = 'probe'", [])
    }

    /// The channel's number; a new one gets the next.
    fn channel(&mut self, key: &ChannelKey) -> rusqlite::Result<i64> {
        if let Some(&id) = self.numbers.channels.get(key) {
            return Ok(id);
        }
        let known = one(self.conn, "SELECT id FROM channel WHERE name = ?1", params![key], |row| row.get(0))?;
        let id = match known {
            Some(id) => id,
            None => {
                self.run("INSERT INTO channel (name) VALUES (?1)", params![key])?;
                self.conn.last_insert_rowid()
            }
        };
        self.numbers.channels.insert(ChannelKey::clone(key), id);
        Ok(id)
    }

    fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<()> {
        self.statement(sql)?.execute(params).map(drop)
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<impl std::ops::DerefMut<Target = Statement<'a>>> {
        self.conn.prepare_cached(sql)
    }
}
