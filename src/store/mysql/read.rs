//! Queries, and their rows as records and lists.

use std::sync::Arc;

use mysql::{Conn, Row, Value};
use wit_abi::types::{AgentResponse, Attachment, EmittedMessage, InboundAttachment};

use super::fault::DatabaseFault;
use super::row::{all, get, key_of, one, shared};
use super::tables::UNCERTAIN;
use crate::net::channel_response::ChannelResponse;
use crate::store::record::{EXCERPT, excerpt, has_field};
use crate::store::trace::{MAX_FOUND, TraceKind};
use crate::store::{
    DedupeId, MAX_ATTACHMENTS, MAX_ROWS, MessageFilter, MessageId, MessageRecord, MessageState,
    MessageSummary, ReplyFilter, ReplyId, ReplyRecord, ReplyState, ReplySummary, StoredDedupeKey, TraceStep,
    TraceSubject,
};

pub(super) fn message(conn: &mut Conn, id: MessageId) -> Result<Option<MessageRecord>, DatabaseFault> {
    let found = one(
        conn,
        "SELECT message.*, channel.name AS channel_name, state, attempt, changed_ms, error
         FROM message JOIN delivery USING (id) JOIN channel ON channel.id = message.channel
         WHERE message.id = ?",
        (id.0,),
        |row| {
            Ok(MessageRecord {
                id,
                channel: shared(row, "channel_name")?,
                conversation: shared(row, "conversation")?,
                message: Arc::new(EmittedMessage {
                    user_id: get(row, "user_id")?,
                    user_name: get(row, "user_name")?,
                    content: get(row, "content")?,
                    thread_id: get(row, "thread_id")?,
                    metadata_json: get(row, "metadata_json")?,
                    attachments: Vec::new(),
                }),
                stored_bytes: Vec::new(),
                received_ms: get(row, "received_ms")?,
                state: message_state(row)?,
                attempt: get(row, "attempt")?,
                changed_ms: get(row, "changed_ms")?,
                error: get(row, "error")?,
            })
        },
    )?;
    let Some(mut record) = found else { return Ok(None) };
    let (attachments, stored_bytes) = message_files(conn, id)?.into_iter().unzip();
    // Nobody else has it yet, so nothing is copied.
    Arc::make_mut(&mut record.message).attachments = attachments;
    record.stored_bytes = stored_bytes;
    Ok(Some(record))
}

/// The attachments of a message, with how many bytes of each are stored.
fn message_files(
    conn: &mut Conn,
    id: MessageId,
) -> Result<Vec<(InboundAttachment, Option<u64>)>, DatabaseFault> {
    all(
        conn,
        "SELECT name, mime_type, filename, size_bytes, source_url, storage_key, extracted_text, extras_json,
                LENGTH(data) AS stored_bytes
         FROM message_file WHERE message = ? ORDER BY place",
        (id.0,),
        |row| {
            let attachment = InboundAttachment {
                id: get(row, "name")?,
                mime_type: get(row, "mime_type")?,
                filename: get(row, "filename")?,
                size_bytes: get(row, "size_bytes")?,
                source_url: get(row, "source_url")?,
                storage_key: get(row, "storage_key")?,
                extracted_text: get(row, "extracted_text")?,
                extras_json: get(row, "extras_json")?,
            };
            Ok((attachment, get(row, "stored_bytes")?))
        },
    )
}

pub(super) fn attachment(
    conn: &mut Conn,
    id: MessageId,
    index: usize,
) -> Result<Option<Arc<[u8]>>, DatabaseFault> {
    if index >= MAX_ATTACHMENTS {
        return Ok(None);
    }
    let data = "SELECT data FROM message_file WHERE message = ? AND place = ?";
    let data = one(conn, data, (id.0, index), |row| get::<Option<Vec<u8>>>(row, "data"))?;
    Ok(data.flatten().map(Arc::from))
}

pub(super) fn messages(
    conn: &mut Conn,
    filter: &MessageFilter,
) -> Result<Vec<MessageSummary>, DatabaseFault> {
    let (channel, state) = (filter.channel.as_deref(), filter.state.map(message_state_number));
    let listed =
        listing("delivery", "message", "user_id, received_ms, attempt", state.is_some(), channel.is_some());
    let parameters = parameters(filter.before.map(|id| id.0), state, channel, filter.limit);
    all(conn, &listed, parameters, |row| {
        Ok(MessageSummary {
            id: MessageId(get(row, "id")?),
            channel: shared(row, "channel_name")?,
            conversation: shared(row, "conversation")?,
            user_id: get(row, "user_id")?,
            excerpt: excerpt(&get::<String>(row, "excerpt")?),
            bytes: get(row, "bytes")?,
            received_ms: get(row, "received_ms")?,
            state: message_state(row)?,
            attempt: get(row, "attempt")?,
            changed_ms: get(row, "changed_ms")?,
            error: get(row, "error")?,
        })
    })
}

/// A listing of messages or replies, newest first: of the table that says where they stand and the one that says what they are.
fn listing(stands: &str, is: &str, own: &str, by_state: bool, by_channel: bool) -> String {
    let state = if by_state { " AND state = ?" } else { "" };
    let channel = if by_channel { " AND channel.hash = ?" } else { "" };
    format!(
        "SELECT {is}.id, channel.name AS channel_name, conversation, LEFT(content, {EXCERPT}) AS excerpt, bytes, state,
                changed_ms, error, {own}
         FROM {stands} JOIN {is} USING (id) JOIN channel ON channel.id = {is}.channel
         WHERE {stands}.id < ?{state}{channel} ORDER BY {stands}.id DESC LIMIT ?"
    )
}

fn parameters(before: Option<u64>, state: Option<u8>, channel: Option<&str>, limit: usize) -> Vec<Value> {
    let mut values = vec![Value::from(before.unwrap_or(u64::MAX))];
    values.extend(state.map(Value::from));
    values.extend(channel.map(key_of));
    values.push(limit.min(MAX_ROWS).into());
    values
}

pub(super) fn reply(conn: &mut Conn, id: ReplyId) -> Result<Option<ReplyRecord>, DatabaseFault> {
    let found = one(
        conn,
        "SELECT reply.*, channel.name AS channel_name, state, attempts, flags, since_ms, next_ms, changed_ms, error
         FROM reply JOIN outbox USING (id) JOIN channel ON channel.id = reply.channel
         WHERE reply.id = ?",
        (id.0,),
        |row| {
            Ok(ReplyRecord {
                id,
                channel: shared(row, "channel_name")?,
                conversation: shared(row, "conversation")?,
                broadcast_to: get(row, "broadcast_to")?,
                body: Arc::new(AgentResponse {
                    message_id: get(row, "message_id")?,
                    content: get(row, "content")?,
                    thread_id: get(row, "thread_id")?,
                    metadata_json: get(row, "metadata_json")?,
                    attachments: Vec::new(),
                }),
                in_reply_to: get::<Option<u64>>(row, "in_reply_to")?.map(MessageId),
                created_ms: get(row, "created_ms")?,
                state: reply_state(row)?,
                attempts: get(row, "attempts")?,
                since_ms: get(row, "since_ms")?,
                next_ms: get(row, "next_ms")?,
                changed_ms: get(row, "changed_ms")?,
                error: get(row, "error")?,
                redelivery: has_flag(get(row, "flags")?, UNCERTAIN),
            })
        },
    )?;
    let Some(mut record) = found else { return Ok(None) };
    Arc::make_mut(&mut record.body).attachments = reply_files(conn, id)?;
    Ok(Some(record))
}

fn reply_files(conn: &mut Conn, id: ReplyId) -> Result<Vec<Attachment>, DatabaseFault> {
    let files = "SELECT filename, mime_type, data FROM reply_file WHERE reply = ? ORDER BY place";
    all(conn, files, (id.0,), |row| {
        Ok(Attachment {
            filename: get(row, "filename")?,
            mime_type: get(row, "mime_type")?,
            data: get(row, "data")?,
        })
    })
}

pub(super) fn replies(conn: &mut Conn, filter: &ReplyFilter) -> Result<Vec<ReplySummary>, DatabaseFault> {
    let (channel, state) = (filter.channel.as_deref(), filter.state.map(reply_state_number));
    let own = "broadcast_to, created_ms, attempts, flags, next_ms";
    let listed = listing("outbox", "reply", own, state.is_some(), channel.is_some());
    let parameters = parameters(filter.before.map(|id| id.0), state, channel, filter.limit);
    all(conn, &listed, parameters, |row| {
        Ok(ReplySummary {
            id: ReplyId(get(row, "id")?),
            channel: shared(row, "channel_name")?,
            conversation: shared(row, "conversation")?,
            broadcast_to: get(row, "broadcast_to")?,
            excerpt: excerpt(&get::<String>(row, "excerpt")?),
            bytes: get(row, "bytes")?,
            created_ms: get(row, "created_ms")?,
            state: reply_state(row)?,
            attempts: get(row, "attempts")?,
            next_ms: get(row, "next_ms")?,
            changed_ms: get(row, "changed_ms")?,
            error: get(row, "error")?,
            redelivery: has_flag(get(row, "flags")?, UNCERTAIN),
        })
    })
}

pub(super) fn stored_response(
    conn: &mut Conn,
    id: DedupeId,
) -> Result<Option<Arc<ChannelResponse>>, DatabaseFault> {
    let response = "SELECT status, headers_json, body FROM dedupe_key WHERE id = ? AND status IS NOT NULL";
    one(conn, response, (id.0,), |row| {
        let headers: String = get(row, "headers_json")?;
        let headers =
            serde_json::from_str(&headers).map_err(|error| DatabaseFault::Unreadable(error.to_string()))?;
        let body = get(row, "body")?;
        Ok(Arc::new(ChannelResponse { status: get(row, "status")?, headers, body }))
    })
}

/// What an agent remembers of a conversation.
pub(super) fn transcript(conn: &mut Conn, conversation: &str) -> Result<Option<String>, DatabaseFault> {
    let content = "SELECT content FROM transcript WHERE hash = ?";
    one(conn, content, (key_of(conversation),), |row| get(row, "content"))
}

/// What happened to a message or a reply. Kinds that a newer release has written are left out.
pub(super) fn trace(conn: &mut Conn, subject: TraceSubject) -> Result<Vec<TraceStep>, DatabaseFault> {
    let steps = "SELECT * FROM step WHERE subject = ? ORDER BY id";
    let steps = all(conn, steps, (subject.number(),), |row| {
        let Some(kind) = TraceKind::of_number(get(row, "kind")?) else { return Ok(None) };
        Ok(Some(TraceStep {
            subject,
            kind,
            at_ms: get(row, "at_ms")?,
            attempt: get::<Option<u32>>(row, "attempt")?.unwrap_or(0),
            fuel: get::<Option<u64>>(row, "fuel")?.unwrap_or(0),
            took_us: get::<Option<u64>>(row, "took_us")?.unwrap_or(0),
            request: get::<Option<u64>>(row, "dedupe_key")?.map(DedupeId),
            text: get::<Option<String>>(row, "text")?.unwrap_or_default(),
        }))
    })?;
    Ok(steps.into_iter().flatten().collect())
}

pub(super) fn replies_to(conn: &mut Conn, id: MessageId) -> Result<Vec<ReplyId>, DatabaseFault> {
    let found = "SELECT id FROM reply WHERE in_reply_to = ? ORDER BY id";
    all(conn, found, (id.0,), |row| Ok(ReplyId(get(row, "id")?)))
}

pub(super) fn messages_of_provider(
    conn: &mut Conn,
    id: &str,
    keys: &[StoredDedupeKey],
) -> Result<Vec<MessageId>, DatabaseFault> {
    let mut found = Vec::new();
    for key in keys {
        found.extend(all(
            conn,
            "SELECT step.subject DIV 2 AS id FROM step JOIN dedupe_key ON dedupe_key.id = step.dedupe_key
             WHERE dedupe_key.hash = ? AND step.subject % 2 = 0 ORDER BY step.id DESC LIMIT ?",
            (&key[..], MAX_FOUND),
            |row| Ok(MessageId(get(row, "id")?)),
        )?);
    }
    // The database finds the text, and the fields are looked at here.
    let of_text = "SELECT id, metadata_json FROM message WHERE INSTR(metadata_json, ?) > 0 ORDER BY id DESC";
    let of_text = all(conn, of_text, (id,), |row| {
        let message = MessageId(get(row, "id")?);
        Ok(has_field(&get::<String>(row, "metadata_json")?, id).then_some(message))
    })?;
    found.extend(of_text.into_iter().flatten());
    found.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
    found.dedup();
    found.truncate(MAX_FOUND);
    Ok(found)
}

pub(super) fn has_flag(flags: u8, flag: u8) -> bool {
    flags & flag != 0
}

/// `delivery.state`.
pub(super) fn message_state_number(state: MessageState) -> u8 {
    match state {
        MessageState::Pending => 0,
        MessageState::Acked => 1,
        MessageState::Dropped => 2,
        MessageState::Dead => 3,
    }
}

pub(super) fn message_state(row: &mut Row) -> Result<MessageState, DatabaseFault> {
    match get::<u8>(row, "state")? {
        0 => Ok(MessageState::Pending),
        1 => Ok(MessageState::Acked),
        2 => Ok(MessageState::Dropped),
        3 => Ok(MessageState::Dead),
        other => Err(DatabaseFault::Unreadable(format!("{other} is no state of a message"))),
    }
}

/// `outbox.state`.
pub(super) fn reply_state_number(state: ReplyState) -> u8 {
    match state {
        ReplyState::Pending => 0,
        ReplyState::Delivered => 1,
        ReplyState::Dead => 2,
        ReplyState::Dropped => 3,
    }
}

pub(super) fn reply_state(row: &mut Row) -> Result<ReplyState, DatabaseFault> {
    match get::<u8>(row, "state")? {
        0 => Ok(ReplyState::Pending),
        1 => Ok(ReplyState::Delivered),
        2 => Ok(ReplyState::Dead),
        3 => Ok(ReplyState::Dropped),
        other => Err(DatabaseFault::Unreadable(format!("{other} is no state of a reply"))),
    }
}
