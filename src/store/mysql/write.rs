//! Changes into rows, within one transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mysql::prelude::Queryable;
use mysql::{Conn, Params, Value};
use wit_abi::types::{Attachment, InboundAttachment};

use super::bulk::{Bulk, Table};
use super::fault::DatabaseFault;
use super::member::Member;
use super::row::{key_of, list, one, shared};
use super::scope::Scope;
use super::state::{Group, MessageRow, ReplyRow};
use super::tables::{
    DEDUPE_KEY, DELIVERY, FILE, MESSAGE, MESSAGE_FILE, OUTBOX, PAIRING_ALLOWED, PAIRING_IDENTITY,
    PAIRING_LOCK, PAIRING_REQUEST, REPLY, REPLY_FILE, STEP, TIMER, message_row, reply_row,
};
use crate::net::channel_response::ChannelResponse;
use crate::store::rules::{MessageStatus, ReplyStatus};
use crate::store::{
    Change, ChannelKey, DedupeId, MessageState, NewMessage, NewReply, PairingKey, PairingRecord, ReplyState,
    TraceStep,
};

/// What a value takes beside its bytes in the packet that it is sent in.
const PACKET_OVERHEAD: usize = 64;

/// The channels' numbers. A number is never given to another channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    by_name: HashMap<ChannelKey, u32>,
    by_number: HashMap<u32, ChannelKey>,
}

/// Writes within one transaction.
pub(super) struct Writer<'a> {
    conn: &'a mut Conn,
    member: &'a Member,
    scope: &'a Scope,
    numbers: &'a mut Numbers,
    group: Group,
    bulk: Bulk,
    /// The last step that was numbered.
    last_step: &'a mut u64,
    max_value_bytes: usize,
    /// The place of the batch that is written now.
    batch: usize,
    /// Which channels are written to, by which batch first.
    used: BTreeMap<u32, usize>,
}

/// What a writer works with.
pub(super) struct WriterParts<'a> {
    pub(super) conn: &'a mut Conn,
    pub(super) member: &'a Member,
    pub(super) scope: &'a Scope,
    pub(super) numbers: &'a mut Numbers,
    pub(super) last_step: &'a mut u64,
    pub(super) max_value_bytes: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(parts: WriterParts<'a>, group: Group) -> Self {
        let WriterParts { conn, member, scope, numbers, last_step, max_value_bytes } = parts;
        let (bulk, used) = (Bulk::default(), BTreeMap::new());
        Self { conn, member, scope, numbers, group, bulk, last_step, max_value_bytes, batch: 0, used }
    }

    /// Takes the changes of the batch at this place.
    pub(super) fn batch(&mut self, place: usize, changes: &[Change]) -> Result<(), DatabaseFault> {
        self.batch = place;
        changes.iter().try_for_each(|change| self.change(change))
    }

    /// Writes what was taken.
    pub(super) fn finish(mut self) -> Result<(), DatabaseFault> {
        self.check_epochs()?;
        for (id, row) in self.group.messages.iter().filter(|(_, row)| row.is_changed) {
            self.bulk.add(&DELIVERY, message_row(*id, row));
        }
        for (id, row) in self.group.replies.iter().filter(|(_, row)| row.is_changed) {
            self.bulk.add(&OUTBOX, reply_row(*id, row));
        }
        self.bulk.flush_all(self.conn)
    }

    fn change(&mut self, change: &Change) -> Result<(), DatabaseFault> {
        match change {
            Change::AddMessage(new) => self.add_message(new),
            Change::AddReply(new) => self.add_reply(new),
            Change::Dedupe { id, channel, key, at_ms, expires_ms, response } => {
                self.add_dedupe_key(*id, channel, key, (*at_ms, *expires_ms), response.as_deref())
            }
            Change::PutFile { .. } | Change::SetTimer { .. } | Change::CancelTimer { .. } => {
                self.change_channel(change)
            }
            Change::PutTranscript { conversation, at_ms, content } => {
                // Not an update: the one that was written last has the largest number.
                let row = (key_of(conversation), &**conversation, *at_ms, &**content);
                let sql =
                    "REPLACE INTO transcript (hash, conversation, changed_ms, content) VALUES (?, ?, ?, ?)";
                Ok(self.conn.exec_drop(sql, row)?)
            }
            Change::RemoveTranscript { conversation } => {
                Ok(self.conn.exec_drop("DELETE FROM transcript WHERE hash = ?", (key_of(conversation),))?)
            }
            Change::Trace(step) => self.add_step(step),
            Change::PutPairing(record) => self.put_pairing(record),
            Change::RemovePairing(key) => self.remove_pairing(key),
            Change::MessageAttempt { .. }
            | Change::MessageAcked { .. }
            | Change::MessageDead { .. }
            | Change::MessageDropped { .. }
            | Change::MessageRequeued { .. } => {
                self.note_channel_of(change)?;
                self.group.move_message(change);
                Ok(())
            }
            _ => {
                self.note_channel_of(change)?;
                self.group.move_reply(change);
                Ok(())
            }
        }
    }

    fn change_channel(&mut self, change: &Change) -> Result<(), DatabaseFault> {
        match change {
            Change::PutFile { channel, path, content } => {
                let channel = self.channel(channel)?;
                let row = vec![channel.into(), key_of(path), self.text(path)?, self.text(content)?];
                self.bulk.add(&FILE, row);
                Ok(())
            }
            Change::SetTimer { channel, name, set_ms, due_ms, payload } => {
                let channel = self.channel(channel)?;
                let (hash, name, payload) = (key_of(name), self.text(name)?, self.text(payload)?);
                let row = vec![channel.into(), hash, name, (*set_ms).into(), (*due_ms).into(), payload];
                self.bulk.add(&TIMER, row);
                Ok(())
            }
            Change::CancelTimer { channel, name } => {
                let channel = self.channel(channel)?;
                self.delete(&TIMER, "channel = ? AND hash = ?", vec![channel.into(), key_of(name)])
            }
            _ => Ok(()),
        }
    }

    fn add_message(&mut self, new: &NewMessage) -> Result<(), DatabaseFault> {
        let channel = self.channel(&new.channel)?;
        let id = new.id.0;
        if self.group.messages.contains_key(&id) {
            return Err(self.refuse(format!("message {id} is stored already")));
        }
        let message = &*new.message;
        let row = vec![
            id.into(),
            channel.into(),
            new.received_ms.into(),
            self.text(&new.conversation)?,
            self.text(&message.user_id)?,
            self.optional(message.user_name.as_deref())?,
            self.optional(message.thread_id.as_deref())?,
            self.text(&message.metadata_json)?,
            self.text(&message.content)?,
        ];
        self.bulk.add(&MESSAGE, row);
        for (place, (attachment, data)) in new.attachments().enumerate() {
            self.add_message_file(id, place, attachment, data)?;
        }
        let status = MessageStatus { state: MessageState::Pending, attempt: 0 };
        let (changed_ms, bytes) = (new.received_ms, new.bytes());
        let row = MessageRow { channel, status, changed_ms, bytes, error: None, is_changed: true };
        self.group.messages.insert(id, row);
        Ok(())
    }

    fn add_message_file(
        &mut self,
        message: u64,
        place: usize,
        attachment: &InboundAttachment,
        data: Option<&Arc<[u8]>>,
    ) -> Result<(), DatabaseFault> {
        let row = vec![
            message.into(),
            place.into(),
            self.text(&attachment.id)?,
            self.text(&attachment.mime_type)?,
            self.optional(attachment.filename.as_deref())?,
            attachment.size_bytes.into(),
            self.optional(attachment.source_url.as_deref())?,
            self.optional(attachment.storage_key.as_deref())?,
            self.optional(attachment.extracted_text.as_deref())?,
            self.text(&attachment.extras_json)?,
            data.map_or(Ok(Value::NULL), |data| self.bytes(data))?,
        ];
        self.bulk.add(&MESSAGE_FILE, row);
        Ok(())
    }

    fn add_reply(&mut self, new: &NewReply) -> Result<(), DatabaseFault> {
        let channel = self.channel(&new.channel)?;
        let id = new.id.0;
        if self.group.replies.contains_key(&id) {
            return Err(self.refuse(format!("reply {id} is stored already")));
        }
        let body = &*new.body;
        let row = vec![
            id.into(),
            channel.into(),
            new.created_ms.into(),
            new.in_reply_to.map(|message| message.0).into(),
            self.text(&new.conversation)?,
            self.optional(new.broadcast_to.as_deref())?,
            self.text(&body.message_id)?,
            self.optional(body.thread_id.as_deref())?,
            self.text(&body.metadata_json)?,
            self.text(&body.content)?,
        ];
        self.bulk.add(&REPLY, row);
        for (place, attachment) in body.attachments.iter().enumerate() {
            self.add_reply_file(id, place, attachment)?;
        }
        let status = ReplyStatus {
            state: ReplyState::Pending,
            attempts: 0,
            traps: 0,
            since_ms: new.created_ms,
            next_ms: new.created_ms,
            in_flight: false,
            redelivery: false,
        };
        let (changed_ms, bytes) = (new.created_ms, new.bytes());
        let row = ReplyRow { channel, status, changed_ms, bytes, error: None, is_changed: true };
        self.group.replies.insert(id, row);
        Ok(())
    }

    fn add_reply_file(
        &mut self,
        reply: u64,
        place: usize,
        attachment: &Attachment,
    ) -> Result<(), DatabaseFault> {
        let (filename, mime_type) = (self.text(&attachment.filename)?, self.text(&attachment.mime_type)?);
        let data = self.bytes(&attachment.data)?;
        self.bulk.add(&REPLY_FILE, vec![reply.into(), place.into(), filename, mime_type, data]);
        Ok(())
    }

    fn add_dedupe_key(
        &mut self,
        id: DedupeId,
        channel: &ChannelKey,
        key: &[u8],
        (at_ms, expires_ms): (u64, u64),
        response: Option<&ChannelResponse>,
    ) -> Result<(), DatabaseFault> {
        let channel = self.channel(channel)?;
        if !self.group.dedupe_keys.insert(id.0) {
            return Err(self.refuse(format!("dedupe key {} is stored already", id.0)));
        }
        let headers = response.map(|response| serde_json::to_string(&response.headers)).transpose();
        let headers = headers.map_err(|error| DatabaseFault::Unreadable(error.to_string()))?;
        let row = vec![
            id.0.into(),
            channel.into(),
            at_ms.into(),
            expires_ms.into(),
            key.into(),
            response.map(|response| response.status).into(),
            self.optional(headers.as_deref())?,
            response.map_or(Ok(Value::NULL), |response| self.bytes(&response.body))?,
        ];
        self.bulk.add(&DEDUPE_KEY, row);
        Ok(())
    }

    /// What is zero or empty is not written.
    fn add_step(&mut self, step: &TraceStep) -> Result<(), DatabaseFault> {
        let known = |number: u64| Value::from((number > 0).then_some(number));
        *self.last_step += 1;
        let row = vec![
            (*self.last_step).into(),
            self.member.id.into(),
            step.subject.number().into(),
            (step.kind as u16).into(),
            step.at_ms.into(),
            known(step.attempt.into()),
            known(step.fuel),
            known(step.took_us),
            step.request.map(|request| request.0).into(),
            self.optional(Some(&*step.text).filter(|text| !text.is_empty()))?,
        ];
        self.bulk.add(&STEP, row);
        Ok(())
    }

    fn put_pairing(&mut self, record: &PairingRecord) -> Result<(), DatabaseFault> {
        let (table, row) = match record {
            PairingRecord::Request(request) => {
                let row = vec![
                    self.channel(&request.channel)?.into(),
                    key_of(&request.external_id),
                    self.text(&request.external_id)?,
                    self.text(&request.code)?,
                    self.text(&request.meta_json)?,
                    request.created_ms.into(),
                    request.expires_ms.into(),
                ];
                (&PAIRING_REQUEST, row)
            }
            PairingRecord::Identity(identity) => {
                let row = vec![
                    self.channel(&identity.channel)?.into(),
                    key_of(&identity.external_id),
                    self.text(&identity.external_id)?,
                    self.text(&identity.identity)?,
                    identity.at_ms.into(),
                ];
                (&PAIRING_IDENTITY, row)
            }
            PairingRecord::Allowed { channel, entry } => {
                let row = vec![self.channel(channel)?.into(), key_of(entry), self.text(entry)?];
                (&PAIRING_ALLOWED, row)
            }
            PairingRecord::Lock(lock) => {
                let channel = self.channel(&lock.channel)?;
                (&PAIRING_LOCK, vec![channel.into(), lock.wrong_codes.into(), lock.locked_until_ms.into()])
            }
        };
        self.bulk.add(table, row);
        Ok(())
    }

    fn remove_pairing(&mut self, key: &PairingKey) -> Result<(), DatabaseFault> {
        let (table, channel, key) = match key {
            PairingKey::Request { channel, external_id } => (&PAIRING_REQUEST, channel, external_id),
            PairingKey::Identity { channel, external_id } => (&PAIRING_IDENTITY, channel, external_id),
            PairingKey::Allowed { channel, entry } => (&PAIRING_ALLOWED, channel, entry),
            PairingKey::Lock { channel } => {
                let channel = self.channel(channel)?;
                return self.delete(&PAIRING_LOCK, "channel = ?", vec![channel.into()]);
            }
        };
        let channel = self.channel(channel)?;
        self.delete(table, "channel = ? AND hash = ?", vec![channel.into(), key_of(key)])
    }

    /// Deletes rows that may be among those which wait to be written.
    fn delete(
        &mut self,
        table: &'static Table,
        which: &str,
        values: Vec<Value>,
    ) -> Result<(), DatabaseFault> {
        self.bulk.flush(self.conn, table)?;
        let sql = format!("DELETE FROM {} WHERE {which}", table.name);
        Ok(self.conn.exec_drop(sql, Params::Positional(values))?)
    }

    /// The channel's number; a new one gets the next.
    fn channel(&mut self, key: &ChannelKey) -> Result<u32, DatabaseFault> {
        if !self.scope.allows(key) {
            return Err(self.refuse(not_held(key)));
        }
        let number = match self.numbers.by_name.get(key) {
            Some(number) => *number,
            None => self.number(key)?,
        };
        self.used.entry(number).or_insert(self.batch);
        Ok(number)
    }

    fn number(&mut self, key: &ChannelKey) -> Result<u32, DatabaseFault> {
        let name = self.scope.stored_name(key, &self.member.name);
        let known = "SELECT id FROM channel WHERE hash = ?";
        let mut found: Option<u32> = self.conn.exec_first(known, (key_of(&name),))?;
        if found.is_none() {
            self.conn.exec_drop("INSERT INTO channel (hash, name) VALUES (?, ?)", (key_of(&name), &*name))?;
            found = self.conn.exec_first(known, (key_of(&name),))?;
        }
        let number =
            found.ok_or_else(|| DatabaseFault::Unreadable("the row of a new channel is gone".to_owned()))?;
        self.numbers.by_name.insert(Arc::clone(key), number);
        self.numbers.by_number.insert(number, Arc::clone(key));
        Ok(number)
    }

    /// Sees to it that the message or reply which a change is about is in a channel that this host may write.
    fn note_channel_of(&mut self, change: &Change) -> Result<(), DatabaseFault> {
        if matches!(self.scope, Scope::All) {
            return Ok(());
        }
        let Some(number) = self.group.channel_of(change) else { return Ok(()) };
        let name = self.name(number)?;
        if !self.scope.allows(&name) {
            return Err(self.refuse(not_held(&name)));
        }
        self.used.entry(number).or_insert(self.batch);
        Ok(())
    }

    fn name(&mut self, number: u32) -> Result<ChannelKey, DatabaseFault> {
        if let Some(name) = self.numbers.by_number.get(&number) {
            return Ok(Arc::clone(name));
        }
        let name =
            one(self.conn, "SELECT name FROM channel WHERE id = ?", (number,), |row| shared(row, "name"))?;
        let name = name.ok_or_else(|| DatabaseFault::Unreadable(format!("there is no channel {number}")))?;
        self.numbers.by_number.insert(number, Arc::clone(&name));
        self.numbers.by_name.insert(Arc::clone(&name), number);
        Ok(name)
    }

    /// Sees to it that the channels which are written to are this host's in the epoch in which it holds them.
    fn check_epochs(&mut self) -> Result<(), DatabaseFault> {
        let Scope::Held(held) = self.scope else { return Ok(()) };
        if self.used.is_empty() {
            return Ok(());
        }
        let numbers = list(self.used.keys().map(|number| u64::from(*number)));
        let rows: Vec<(u32, Option<u32>, u64)> = self.conn.query(format!(
            "SELECT id, host, epoch FROM channel WHERE id IN ({numbers}) LOCK IN SHARE MODE"
        ))?;
        for (number, host, epoch) in rows {
            let name = self.name(number)?;
            let is_own = super::scope::is_hosts_own(&name);
            if !is_own && (host != Some(self.member.id) || held.epoch(&name) != Some(epoch)) {
                let batch = self.used.get(&number).copied().unwrap_or_default();
                return Err(DatabaseFault::Rejected { batch, reason: not_held(&name) });
            }
        }
        Ok(())
    }

    fn text(&self, text: &str) -> Result<Value, DatabaseFault> {
        self.bytes(text.as_bytes())
    }

    fn optional(&self, text: Option<&str>) -> Result<Value, DatabaseFault> {
        text.map_or(Ok(Value::NULL), |text| self.text(text))
    }

    /// A value, unless it is larger than the database takes.
    fn bytes(&self, bytes: &[u8]) -> Result<Value, DatabaseFault> {
        if bytes.len() + PACKET_OVERHEAD > self.max_value_bytes {
            let (is, most) = (bytes.len(), self.max_value_bytes);
            return Err(
                self.refuse(format!("{is} bytes in one piece, the database's max_allowed_packet is {most}"))
            );
        }
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn refuse(&self, reason: String) -> DatabaseFault {
        DatabaseFault::Rejected { batch: self.batch, reason }
    }
}

fn not_held(channel: &str) -> String {
    format!("channel {channel} is not this host's any longer")
}
