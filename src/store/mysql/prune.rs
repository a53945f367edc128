//! Forgetting: what is completed and old, of the channels that this host holds.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::fault::DatabaseFault;
use super::load::{Channels, Reader};
use super::row::{all, get, list, number};
use crate::store::retention::{CompletedRecord, KeptKeys, ROUND, choose, forgotten_steps};
use crate::store::trace::MAX_STEPS;
use crate::store::{PruneStats, Retention};

/// What one round of pruning forgets.
pub(super) struct Forget {
    messages: Vec<u64>,
    replies: Vec<u64>,
    dedupe_keys: Vec<u64>,
    transcripts: Vec<u64>,
    steps: Vec<u64>,
    pairing: u64,
    /// The rows of the channels, as a condition.
    of_channels: String,
    more: bool,
}

impl Forget {
    pub(super) fn count(&self) -> PruneStats {
        PruneStats {
            messages: self.messages.len() as u64,
            replies: self.replies.len() as u64,
            dedupe_keys: self.dedupe_keys.len() as u64,
            pairing: self.pairing,
            transcripts: self.transcripts.len() as u64,
            steps: self.steps.len() as u64,
            more: self.more,
        }
    }
}

pub(super) fn choose_all(
    conn: &mut Conn,
    reader: &Reader<'_>,
    retention: &Retention,
    now_ms: u64,
) -> Result<Forget, DatabaseFault> {
    let of = Channels::of(conn, reader)?.condition("channel");
    let stand = |table: &str, dead: u8| {
        format!(
            "SELECT id, changed_ms, bytes, state = {dead} AS dead FROM {table} WHERE state <> 0 AND {of} ORDER BY id DESC"
        )
    };
    let messages = completed(conn, &stand("delivery", 3))?;
    let replies = completed(conn, &stand("outbox", 2))?;
    let transcripts = completed(
        conn,
        "SELECT id, changed_ms, LENGTH(content) AS bytes, 0 AS dead FROM transcript ORDER BY id DESC",
    )?;
    let (messages, more_messages) = choose(messages, retention, now_ms);
    let (replies, more_replies) = choose(replies, retention, now_ms);
    let (transcripts, more_transcripts) = choose(transcripts, &retention.of_transcripts(), now_ms);
    let (dedupe_keys, more_keys) = dedupe_keys(conn, &of, retention, now_ms)?;
    let (steps, more_steps) = steps(conn, reader, retention, now_ms)?;
    let expired = format!("SELECT COUNT(*) FROM pairing_request WHERE expires_ms <= ? AND {of}");
    let pairing = number(conn, &expired, (now_ms,))?;
    let more = more_messages || more_replies || more_keys || more_transcripts || more_steps;
    Ok(Forget { messages, replies, dedupe_keys, transcripts, steps, pairing, of_channels: of, more })
}

fn completed(conn: &mut Conn, sql: &str) -> Result<Vec<CompletedRecord>, DatabaseFault> {
    all(conn, sql, (), |row| {
        Ok(CompletedRecord {
            id: get(row, "id")?,
            changed_ms: get(row, "changed_ms")?,
            bytes: get(row, "bytes")?,
            dead: get(row, "dead")?,
        })
    })
}

/// Keys that are beyond their channel's count, or beyond that of expired ones, oldest first, at most a round of them.
fn dedupe_keys(
    conn: &mut Conn,
    of: &str,
    retention: &Retention,
    now_ms: u64,
) -> Result<(Vec<u64>, bool), DatabaseFault> {
    let newest_first = format!("SELECT id, channel, expires_ms FROM dedupe_key WHERE {of} ORDER BY id DESC");
    let mut kept: KeptKeys<u32> = KeptKeys::stored(retention);
    let chosen = all(conn, &newest_first, (), |row| {
        let is_kept = kept.keeps(get(row, "channel")?, get::<u64>(row, "expires_ms")? <= now_ms);
        Ok(if is_kept { None } else { Some(get::<u64>(row, "id")?) })
    })?;
    let mut chosen: Vec<u64> = chosen.into_iter().flatten().collect();
    let more = chosen.len() > ROUND;
    chosen.reverse();
    chosen.truncate(ROUND);
    Ok((chosen, more))
}

/// The steps that this host has written and that are to be forgotten.
fn steps(
    conn: &mut Conn,
    reader: &Reader<'_>,
    retention: &Retention,
    now_ms: u64,
) -> Result<(Vec<u64>, bool), DatabaseFault> {
    let host = reader.member.id;
    let count = number(conn, "SELECT COUNT(*) FROM step WHERE host = ?", (host,))?;
    let oldest = "SELECT id, at_ms FROM step WHERE host = ? ORDER BY id LIMIT ?";
    let oldest: Vec<(u64, u64)> =
        all(conn, oldest, (host, ROUND + 1), |row| Ok((get(row, "id")?, get(row, "at_ms")?)))?;
    let times = oldest.iter().map(|(_, at_ms)| *at_ms);
    let (over, more) = forgotten_steps(times, count, MAX_STEPS, retention, now_ms);
    Ok((oldest.into_iter().take(over).map(|(id, _)| id).collect(), more))
}

/// Deletes what was chosen.
pub(super) fn forget(conn: &mut Conn, forget: &Forget, now_ms: u64) -> Result<(), DatabaseFault> {
    for (ids, tables) in [
        (&forget.messages, &[("delivery", "id"), ("message", "id"), ("message_file", "message")][..]),
        (&forget.replies, &[("outbox", "id"), ("reply", "id"), ("reply_file", "reply")]),
        (&forget.dedupe_keys, &[("dedupe_key", "id")]),
        (&forget.transcripts, &[("transcript", "id")]),
        (&forget.steps, &[("step", "id")]),
    ] {
        if ids.is_empty() {
            continue;
        }
        for (table, column) in tables {
            let ids = list(ids.iter().copied());
            conn.query_drop(format!("DELETE FROM {table} WHERE {column} IN ({ids})"))?;
        }
    }
    let expired = format!("DELETE FROM pairing_request WHERE expires_ms <= ? AND {}", forget.of_channels);
    Ok(conn.exec_drop(expired, (now_ms,))?)
}

/// The bytes of the messages and replies that are stored.
pub(super) fn bytes(conn: &mut Conn, reader: &Reader<'_>) -> Result<u64, DatabaseFault> {
    let of = Channels::of(conn, reader)?.condition("channel");
    let mut sum = |table: &str| {
        number(conn, &format!("SELECT CAST(SUM(bytes) AS UNSIGNED) FROM {table} WHERE {of}"), ())
    };
    Ok(sum("delivery")? + sum("outbox")?)
}
