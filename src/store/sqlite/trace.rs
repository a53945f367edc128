//! What happened to messages and replies, from the file.

use rusqlite::{Connection, params};

use super::SqliteStore;
use super::read::{all, number};
use super::write::int;
use crate::store::trace::{MAX_FOUND, TraceKind};
use crate::store::{
    DedupeId, MessageId, ReplyId, StoreError, StoredDedupeKey, TraceQueries, TraceStep, TraceSubject,
};

impl TraceQueries for SqliteStore {
    fn trace(&mut self, subject: TraceSubject) -> Result<Vec<TraceStep>, StoreError> {
        self.read(|conn| trace(conn, subject))
    }

    fn replies_to(&mut self, id: MessageId) -> Result<Vec<ReplyId>, StoreError> {
        self.read(|conn| replies_to(conn, id))
    }

    fn messages_of_provider(
        &mut self,
        id: &str,
        keys: &[StoredDedupeKey],
    ) -> Result<Vec<MessageId>, StoreError> {
        self.read(|conn| messages_of_provider(conn, id, keys))
    }
}

/// What happened to a message or a reply. Kinds that a newer release has written are left out.
fn trace(conn: &Connection, subject: TraceSubject) -> rusqlite::Result<Vec<TraceStep>> {
    let steps = all(
        conn,
        "SELECT * FROM step WHERE subject = ?1 ORDER BY id",
        params![int(subject.number())],
        |row| {
            let optional =
                |column: &str| row.get::<_, Option<i64>>(column).map(|number| number.map(i64::unsigned_abs));
            let Some(kind) = TraceKind::of_number(row.get("kind")?) else { return Ok(None) };
            Ok(Some(TraceStep {
                subject,
                kind,
                at_ms: number(row, "at_ms")?,
                attempt: row.get::<_, Option<u32>>("attempt")?.unwrap_or(0),
                fuel: optional("fuel")?.unwrap_or(0),
                took_us: optional("took_us")?.unwrap_or(0),
                request: optional("dedupe_key")?.map(DedupeId),
                text: row.get::<_, Option<String>>("text")?.unwrap_or_default(),
            }))
        },
    )?;
    Ok(steps.into_iter().flatten().collect())
}

fn replies_to(conn: &Connection, id: MessageId) -> rusqlite::Result<Vec<ReplyId>> {
    let found = "SELECT id FROM reply WHERE in_reply_to = ?1 ORDER BY id";
    all(conn, found, params![int(id.0)], |row| Ok(ReplyId(number(row, "id")?)))
}

fn messages_of_provider(
    conn: &Connection,
    id: &str,
    keys: &[StoredDedupeKey],
) -> rusqlite::Result<Vec<MessageId>> {
    let mut found = Vec::new();
    for key in keys {
        found.extend(all(
            conn,
            "SELECT step.subject / 2 AS id FROM step JOIN dedupe_key ON dedupe_key.id = step.dedupe_key
             WHERE dedupe_key.key = ?1 AND step.subject % 2 = 0 ORDER BY step.id DESC LIMIT ?2",
            params![&key[..], MAX_FOUND as i64],
            |row| Ok(MessageId(number(row, "id")?)),
        )?);
    }
    found.extend(all(
        conn,
        "SELECT message.id AS id FROM message
         WHERE instr(metadata_json, ?1) > 0 AND CASE WHEN json_valid(metadata_json) THEN EXISTS (
             SELECT 1 FROM json_each(metadata_json) WHERE type IN ('text', 'integer') AND CAST(atom AS TEXT) = ?1
         ) ELSE 0 END
         ORDER BY message.id DESC LIMIT ?2",
        params![id, MAX_FOUND as i64],
        |row| Ok(MessageId(number(row, "id")?)),
    )?);
    found.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
    found.dedup();
    found.truncate(MAX_FOUND);
    Ok(found)
}
