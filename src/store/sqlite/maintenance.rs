//! PruneStats, checkpoints, vacuum, probe, sizes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::read::{all, ask, each_once, number};
use super::write::{delivery_state, int, outbox_state};
use crate::store::retention::{CompletedRecord, KeptKeys, ROUND, choose, forgotten_steps};
use crate::store::trace::MAX_STEPS;
use crate::store::{Maintenance, PruneStats, Retention, StoreUsage};

/// So many pages in the log are moved to the database even when there is much to do. It bounds the log, and is enough that
/// a page which changes with every message is written to the database once in many.
const BUSY_PAGES: i64 = 8000;

/// A log of this size is emptied and cut off when there is nothing to do. Less is left alone: a host with little traffic
/// would wear its flash for nothing.
const QUIET_LOG_BYTES: u64 = 1 << 20;

/// Free pages are returned to the file system when they are a quarter of the file and more than this; others are used again soon.
const FREE_PAGES: i64 = 1024;

/// How many pages one round of vacuum moves.
const VACUUM_PAGES: i64 = 1024;

/// What one round of pruning forgets.
pub(super) struct Forget {
    pub(super) messages: Vec<u64>,
    pub(super) replies: Vec<u64>,
    pub(super) dedupe_keys: Vec<u64>,
    pub(super) transcripts: Vec<u64>,
    /// The last of the steps that are forgotten.
    pub(super) last_step: Option<u64>,
    steps: u64,
    pairing: u64,
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
            steps: self.steps,
            more: self.more,
        }
    }
}

pub(super) fn choose_all(conn: &Connection, retention: &Retention, now_ms: u64) -> rusqlite::Result<Forget> {
    let messages = completed(
        conn,
        "SELECT id, changed_ms, bytes, state = ?1 AS dead FROM delivery WHERE state <> 0 ORDER BY id DESC",
        delivery_state::DEAD,
    )?;
    let replies = completed(
        conn,
        "SELECT id, changed_ms, bytes, state = ?1 AS dead FROM outbox WHERE state <> 0 ORDER BY id DESC",
        outbox_state::DEAD,
    )?;
    let transcripts = completed(
        conn,
        "SELECT id, changed_ms, length(CAST(content AS BLOB)) AS bytes, ?1 AS dead FROM transcript ORDER BY id DESC",
        0,
    )?;
    let (transcripts, more_transcripts) = choose(transcripts, &retention.of_transcripts(), now_ms);
    let (messages, more_messages) = choose(messages, retention, now_ms);
    let (replies, more_replies) = choose(replies, retention, now_ms);
    let (dedupe_keys, more_keys) = dedupe_keys(conn, retention, now_ms)?;
    let (last_step, steps, more_steps) = steps(conn, retention, now_ms)?;
    let expired = "SELECT count(*) FROM pairing_request WHERE expires_ms <= ?1";
    let pairing = ask(conn, expired, params![int(now_ms)])?;
    let more = more_messages || more_replies || more_keys || more_transcripts || more_steps;
    let pairing = pairing.unsigned_abs();
    Ok(Forget { messages, replies, dedupe_keys, transcripts, last_step, steps, pairing, more })
}

/// The last of the steps to be forgotten, how many they are, and whether there are more.
fn steps(
    conn: &Connection,
    retention: &Retention,
    now_ms: u64,
) -> rusqlite::Result<(Option<u64>, u64, bool)> {
    // Ids have no gaps but at the beginning, so nothing needs to be counted.
    let count = ask(conn, "SELECT coalesce(max(id) - min(id) + 1, 0) FROM step", [])?.unsigned_abs();
    let oldest = "SELECT id, at_ms FROM step ORDER BY id LIMIT ?1";
    let oldest =
        all(conn, oldest, params![ROUND as i64 + 1], |row| Ok((number(row, "id")?, number(row, "at_ms")?)))?;
    let times = oldest.iter().map(|(_, at_ms)| *at_ms);
    let (over, more) = forgotten_steps(times, count, MAX_STEPS, retention, now_ms);
    let last = over.checked_sub(1).and_then(|last| oldest.get(last)).map(|(id, _)| *id);
    Ok((last, over as u64, more))
}

fn completed(conn: &Connection, sql: &str, parameter: i64) -> rusqlite::Result<Vec<CompletedRecord>> {
    all(conn, sql, params![parameter], |row| {
        Ok(CompletedRecord {
            id: number(row, "id")?,
            changed_ms: number(row, "changed_ms")?,
            bytes: number(row, "bytes")?,
            dead: row.get("dead")?,
        })
    })
}

/// Keys that are beyond their channel's count, or beyond that of expired ones, oldest first, at most a round of them.
fn dedupe_keys(conn: &Connection, retention: &Retention, now_ms: u64) -> rusqlite::Result<(Vec<u64>, bool)> {
    let newest_first = "SELECT id, channel, expires_ms FROM dedupe_key ORDER BY id DESC";
    let mut kept: KeptKeys<i64> = KeptKeys::stored(retention);
    let mut chosen = Vec::new();
    each_once(conn, newest_first, |row| {
        if !kept.keeps(row.get("channel")?, number(row, "expires_ms")? <= now_ms) {
            chosen.push(number(row, "id")?);
        }
        Ok(())
    })?;
    let more = chosen.len() > ROUND;
    chosen.reverse();
    chosen.truncate(ROUND);
    Ok((chosen, more))
}

/// Fewer pages than this that the database may still take are too few for what is new.
pub(super) const FEW_PAGES: i64 = 256;

/// How room is dealt with.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    /// There is little: everything that is free goes back to the file system.
    pub(super) low: bool,
    /// What is held back for a full disk. The log must fit in there when it is moved to the database.
    pub(super) reserve_bytes: u64,
}

/// Pages that the database may still take: free ones, and those that it may grow by.
pub(super) fn pages_left(conn: &Connection) -> rusqlite::Result<i64> {
    let free = ask(conn, "PRAGMA freelist_count", [])?;
    let (most, pages) = (ask(conn, "PRAGMA max_page_count", [])?, ask(conn, "PRAGMA page_count", [])?);
    Ok(most - pages + free)
}

/// Pages that may wait in the log.
fn busy_pages(conn: &Connection, effort: Effort) -> rusqlite::Result<i64> {
    if effort.low {
        return Ok(FEW_PAGES);
    }
    let half = int(effort.reserve_bytes / 2) / ask(conn, "PRAGMA page_size", [])?.max(1);
    Ok(if effort.reserve_bytes == 0 { BUSY_PAGES } else { half.clamp(FEW_PAGES, BUSY_PAGES) })
}

/// Checkpoints and vacuum; how often a file was forced to the medium.
pub(super) fn maintain(
    conn: &Connection,
    log: &Path,
    moment: Maintenance,
    effort: Effort,
) -> rusqlite::Result<u64> {
    match moment {
        Maintenance::BetweenGroups if pages_in_log(conn)? >= busy_pages(conn, effort)? => {
            checkpoint(conn, "PASSIVE")
        }
        Maintenance::BetweenGroups => Ok(0),
        Maintenance::Idle => {
            vacuum(conn, effort.low)?;
            if file_bytes(log) < QUIET_LOG_BYTES && !effort.low {
                return Ok(0);
            }
            // Waiting for a reader is not worth a delay here: there is another quiet moment.
            conn.busy_timeout(Duration::ZERO)?;
            let syncs = checkpoint(conn, "TRUNCATE");
            conn.busy_timeout(super::open::BUSY)?;
            syncs
        }
    }
}

/// Pages that wait in the log to be moved to the database.
fn pages_in_log(conn: &Connection) -> rusqlite::Result<i64> {
    let mut statement = conn.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
    statement.query_row([], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?))
}

/// Moves the log to the database: the log is forced to the medium, then the database.
fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<u64> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(2))
}

fn vacuum(conn: &Connection, low: bool) -> rusqlite::Result<()> {
    let (pages, free) = (ask(conn, "PRAGMA page_count", [])?, ask(conn, "PRAGMA freelist_count", [])?);
    if low && free > 0 || free > FREE_PAGES && free > pages / 4 {
        // Each step of the statement frees one page.
        each_once(conn, &format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"), |_| Ok(()))?;
    }
    Ok(())
}

pub(super) fn usage(conn: &Connection, log: &Path) -> rusqlite::Result<StoreUsage> {
    let page = ask(conn, "PRAGMA page_size", [])?.unsigned_abs();
    Ok(StoreUsage {
        bytes: ask(conn, "PRAGMA page_count", [])?.unsigned_abs() * page,
        log_bytes: file_bytes(log),
        free_bytes: ask(conn, "PRAGMA freelist_count", [])?.unsigned_abs() * page,
        syncs: 0,
    })
}

fn file_bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
