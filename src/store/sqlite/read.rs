//! Queries, and their rows as records and lists.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension as _, Params, Result, Row, params};
use wit_abi::types::{AgentResponse, Attachment, EmittedMessage, InboundAttachment};

use super::write::{UNCERTAIN, delivery_state, file_id, int, outbox_state};
use crate::net::channel_response::ChannelResponse;
use crate::store::{
    DedupeId, MAX_ATTACHMENTS, MAX_ROWS, MessageFilter, MessageId, MessageRecord, MessageState,
    MessageSummary, ReplyFilter, ReplyId, ReplyRecord, ReplyState, ReplySummary,
};

/// A number as the records hold it.
pub(super) fn number(row: &Row<'_>, column: &str) -> Result<u64> {
    row.get(column).map(i64::unsigned_abs)
}

/// A text that is shared afterwards.
pub(super) fn shared(row: &Row<'_>, column: &str) -> Result<Arc<str>> {
    row.get(column)
}

pub(super) fn message(conn: &Connection, id: MessageId) -> Result<Option<MessageRecord>> {
    let found = one(
        conn,
        "SELECT message.*, channel.name AS channel_name, state, attempt, changed_ms, error
         FROM message JOIN delivery USING (id) JOIN channel ON channel.id = message.channel
         WHERE message.id = ?1",
        params![int(id.0)],
        |row| {
            Ok(MessageRecord {
                id,
                channel: shared(row, "channel_name")?,
                conversation: shared(row, "conversation")?,
                message: Arc::new(EmittedMessage {
                    user_id: row.get("user_id")?,
                    user_name: row.get("user_name")?,
                    content: row.get("content")?,
                    thread_id: row.get("thread_id")?,
                    metadata_json: row.get("metadata_json")?,
                    attachments: Vec::new(),
                }),
                stored_bytes: Vec::new(),
                received_ms: number(row, "received_ms")?,
                state: message_state(row)?,
                attempt: row.get("attempt")?,
                changed_ms: number(row, "changed_ms")?,
                error: row.get("error")?,
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

/// What an agent remembers of a conversation.
pub(super) fn transcript(conn: &Connection, conversation: &str) -> Result<Option<String>> {
    one(conn, "SELECT content FROM transcript WHERE conversation = ?1", params![conversation], |row| {
        row.get("content")
    })
}

/// The attachments of a message, with how many bytes of each are stored.
fn message_files(conn: &Connection, id: MessageId) -> Result<Vec<(InboundAttachment, Option<u64>)>> {
    all(
        conn,
        "SELECT name, mime_type, filename, size_bytes, source_url, storage_key, extracted_text, extras_json,
                length(data) AS stored_bytes
         FROM message_file WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
        params![first_file(id.0), last_file(id.0)],
        |row| {
            let attachment = InboundAttachment {
                id: row.get("name")?,
                mime_type: row.get("mime_type")?,
                filename: row.get("filename")?,
                size_bytes: row.get::<_, Option<i64>>("size_bytes")?.map(i64::unsigned_abs),
                source_url: row.get("source_url")?,
                storage_key: row.get("storage_key")?,
                extracted_text: row.get("extracted_text")?,
                extras_json: row.get("extras_json")?,
            };
            Ok((attachment, row.get::<_, Option<i64>>("stored_bytes")?.map(i64::unsigned_abs)))
        },
    )
}

pub(super) fn attachment(conn: &Connection, id: MessageId, index: usize) -> Result<Option<Arc<[u8]>>> {
    if index >= MAX_ATTACHMENTS {
        return Ok(None);
    }
    let data = "SELECT data FROM message_file WHERE id = ?1";
    let data = one(conn, data, params![file_id(id.0, index)], |row| row.get::<_, Option<Arc<[u8]>>>(0))?;
    Ok(data.flatten())
}

pub(super) fn messages(conn: &Connection, filter: &MessageFilter) -> Result<Vec<MessageSummary>> {
    all(
        conn,
        "SELECT message.id, channel.name AS channel_name, conversation, user_id,
                substr(content, 1, 80) AS excerpt, bytes, received_ms, state, attempt, changed_ms, error
         FROM delivery JOIN message USING (id) JOIN channel ON channel.id = message.channel
         WHERE delivery.id < ?1 AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR channel.name = ?3)
         ORDER BY delivery.id DESC LIMIT ?4",
        params![
            filter.before.map_or(i64::MAX, |id| int(id.0)),
            filter.state.map(message_state_number),
            filter.channel,
            filter.limit.min(MAX_ROWS) as i64,
        ],
        |row| {
            Ok(MessageSummary {
                id: MessageId(number(row, "id")?),
                channel: shared(row, "channel_name")?,
                conversation: shared(row, "conversation")?,
                user_id: row.get("user_id")?,
                excerpt: row.get("excerpt")?,
                bytes: number(row, "bytes")?,
                received_ms: number(row, "received_ms")?,
                state: message_state(row)?,
                attempt: row.get("attempt")?,
                changed_ms: number(row, "changed_ms")?,
                error: row.get("error")?,
            })
        },
    )
}

pub(super) fn reply(conn: &Connection, id: ReplyId) -> Result<Option<ReplyRecord>> {
    let found = one(
        conn,
        "SELECT reply.*, channel.name AS channel_name, state, attempts, flags, since_ms, next_ms,
                changed_ms, error
         FROM reply JOIN outbox USING (id) JOIN channel ON channel.id = reply.channel
         WHERE reply.id = ?1",
        params![int(id.0)],
        |row| {
            Ok(ReplyRecord {
                id,
                channel: shared(row, "channel_name")?,
                conversation: shared(row, "conversation")?,
                broadcast_to: row.get("broadcast_to")?,
                body: Arc::new(AgentResponse {
                    message_id: row.get("message_id")?,
                    content: row.get("content")?,
                    thread_id: row.get("thread_id")?,
                    metadata_json: row.get("metadata_json")?,
                    attachments: reply_files(conn, id)?,
                }),
                in_reply_to: row
                    .get::<_, Option<i64>>("in_reply_to")?
                    .map(|message| MessageId(message.unsigned_abs())),
                created_ms: number(row, "created_ms")?,
                state: reply_state(row)?,
                attempts: row.get("attempts")?,
                since_ms: number(row, "since_ms")?,
                next_ms: number(row, "next_ms")?,
                changed_ms: number(row, "changed_ms")?,
                error: row.get("error")?,
                redelivery: has_flag(row, UNCERTAIN)?,
            })
        },
    )?;
    Ok(found)
}

fn reply_files(conn: &Connection, id: ReplyId) -> Result<Vec<Attachment>> {
    all(
        conn,
        "SELECT filename, mime_type, data FROM reply_file WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
        params![first_file(id.0), last_file(id.0)],
        |row| {
            Ok(Attachment {
                filename: row.get("filename")?,
                mime_type: row.get("mime_type")?,
                data: row.get("data")?,
            })
        },
    )
}

pub(super) fn replies(conn: &Connection, filter: &ReplyFilter) -> Result<Vec<ReplySummary>> {
    all(
        conn,
        "SELECT reply.id, channel.name AS channel_name, conversation, broadcast_to,
                substr(content, 1, 80) AS excerpt, bytes, created_ms, state, attempts, flags, next_ms,
                changed_ms, error
         FROM outbox JOIN reply USING (id) JOIN channel ON channel.id = reply.channel
         WHERE outbox.id < ?1 AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR channel.name = ?3)
         ORDER BY outbox.id DESC LIMIT ?4",
        params![
            filter.before.map_or(i64::MAX, |id| int(id.0)),
            filter.state.map(reply_state_number),
            filter.channel,
            filter.limit.min(MAX_ROWS) as i64,
        ],
        |row| {
            Ok(ReplySummary {
                id: ReplyId(number(row, "id")?),
                channel: shared(row, "channel_name")?,
                conversation: shared(row, "conversation")?,
                broadcast_to: row.get("broadcast_to")?,
                excerpt: row.get("excerpt")?,
                bytes: number(row, "bytes")?,
                created_ms: number(row, "created_ms")?,
                state: reply_state(row)?,
                attempts: row.get("attempts")?,
                next_ms: number(row, "next_ms")?,
                changed_ms: number(row, "changed_ms")?,
                error: row.get("error")?,
                redelivery: has_flag(row, UNCERTAIN)?,
            })
        },
    )
}

pub(super) fn stored_response(conn: &Connection, id: DedupeId) -> Result<Option<Arc<ChannelResponse>>> {
    let response = "SELECT status, headers_json, body FROM dedupe_key WHERE id = ?1 AND status IS NOT NULL";
    one(conn, response, params![int(id.0)], |row| {
        let headers: String = row.get("headers_json")?;
        Ok(Arc::new(ChannelResponse {
            status: row.get("status")?,
            headers: serde_json::from_str(&headers)
                .map_err(|error| Error::FromSqlConversionFailure(1, Type::Text, error.into()))?,
            body: row.get("body")?,
        }))
    })
}

pub(super) fn has_flag(row: &Row<'_>, flags: i64) -> Result<bool> {
    Ok(row.get::<_, i64>("flags")? & flags != 0)
}

fn first_file(owner: u64) -> i64 {
    file_id(owner, 0)
}

fn last_file(owner: u64) -> i64 {
    file_id(owner, MAX_ATTACHMENTS - 1)
}

pub(super) fn message_state_number(state: MessageState) -> i64 {
    match state {
        MessageState::Pending => delivery_state::PENDING,
        MessageState::Acked => delivery_state::ACKED,
        MessageState::Dropped => delivery_state::DROPPED,
        MessageState::Dead => delivery_state::DEAD,
    }
}

pub(super) fn message_state(row: &Row<'_>) -> Result<MessageState> {
    match row.get("state")? {
        delivery_state::PENDING => Ok(MessageState::Pending),
        delivery_state::ACKED => Ok(MessageState::Acked),
        delivery_state::DROPPED => Ok(MessageState::Dropped),
        delivery_state::DEAD => Ok(MessageState::Dead),
        other => Err(Error::IntegralValueOutOfRange(0, other)),
    }
}

pub(super) fn reply_state_number(state: ReplyState) -> i64 {
    match state {
        ReplyState::Pending => outbox_state::PENDING,
        ReplyState::Delivered => outbox_state::DELIVERED,
        ReplyState::Dead => outbox_state::DEAD,
        ReplyState::Dropped => outbox_state::DROPPED,
    }
}

pub(super) fn reply_state(row: &Row<'_>) -> Result<ReplyState> {
    match row.get("state")? {
        outbox_state::PENDING => Ok(ReplyState::Pending),
        outbox_state::DELIVERED => Ok(ReplyState::Delivered),
        outbox_state::DEAD => Ok(ReplyState::Dead),
        outbox_state::DROPPED => Ok(ReplyState::Dropped),
        other => Err(Error::IntegralValueOutOfRange(0, other)),
    }
}

/// The rows of a query that is run again and again.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    record: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    conn.prepare_cached(sql)?.query_map(params, record)?.collect()
}

/// The row of a query that has at most one.
pub(super) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    record: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    conn.prepare_cached(sql)?.query_row(params, record).optional()
}

/// The number that a query returns.
pub(super) fn ask(conn: &Connection, sql: &str, params: impl Params) -> Result<i64> {
    conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))
}

/// The rows of a query that is run once: its statement is not kept.
pub(super) fn all_once<T>(
    conn: &Connection,
    sql: &str,
    record: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    conn.prepare(sql)?.query_map([], record)?.collect()
}

/// Goes through the rows of a query that is run once.
pub(super) fn each_once(
    conn: &Connection,
    sql: &str,
    mut take: impl FnMut(&Row<'_>) -> Result<()>,
) -> Result<()> {
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}
