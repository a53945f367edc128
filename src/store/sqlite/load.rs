//! Everything that the host keeps in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, Error, Row};

use super::read::{all_once, ask, each_once, has_flag, number, shared};
use super::write::{IN_FLIGHT, UNCERTAIN, last_id};
use crate::store::retention::KeptKeys;
use crate::store::{
    ChannelKey, DedupeId, DedupeRecord, LastIds, Loaded, LoadedChannel, MessageId, PairedIdentity,
    PairingLock, PairingRequest, PairingState, PendingMessage, PendingReply, ReplyId, StoredDedupeKey,
    TimerRecord,
};

pub(super) fn load(conn: &Connection, now_ms: u64) -> rusqlite::Result<Loaded> {
    // One transaction, so that all of it is of one moment.
    let moment = conn.unchecked_transaction()?;
    let names = ChannelNames::read(&moment)?;
    let loaded = Loaded {
        last_ids: last_ids(&moment)?,
        channels: channels(&moment, &names, "true", now_ms)?,
        messages: messages(&moment, &names)?,
        pairing: pairing(&moment, &names)?,
    };
    moment.finish()?;
    Ok(loaded)
}

pub(super) fn load_channel(
    conn: &Connection,
    channel: &ChannelKey,
    now_ms: u64,
) -> rusqlite::Result<LoadedChannel> {
    let moment = conn.unchecked_transaction()?;
    let names = ChannelNames::read(&moment)?;
    let loaded = match names.number_of(channel) {
        Some(number) => channels(&moment, &names, &format!("channel = {number}"), now_ms)?.remove(channel),
        None => None,
    };
    moment.finish()?;
    Ok(loaded.unwrap_or_default())
}

/// The number of the last batch.
pub(super) fn last_number(conn: &Connection) -> rusqlite::Result<u64> {
    ask(conn, "SELECT coalesce((SELECT value FROM meta WHERE name = 'last_batch'), 0)", [])
        .map(i64::unsigned_abs)
}

/// The largest ids: of what is there, or of what was there.
fn last_ids(conn: &Connection) -> rusqlite::Result<LastIds> {
    let of = |kind| ask(conn, &format!("SELECT {}", last_id(kind)), []).map(i64::unsigned_abs);
    Ok(LastIds { message: of("message")?, reply: of("reply")?, dedupe_key: of("dedupe_key")? })
}

/// The channels' names by number: one for all records of a channel, of which there may be many.
struct ChannelNames(HashMap<i64, ChannelKey>);

impl ChannelNames {
    fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let names =
            all_once(conn, "SELECT id, name FROM channel", |row| Ok((row.get("id")?, shared(row, "name")?)))?;
        Ok(Self(names.into_iter().collect()))
    }

    /// The channel of a row.
    fn of(&self, row: &Row<'_>) -> rusqlite::Result<ChannelKey> {
        let id: i64 = row.get("channel")?;
        self.0.get(&id).map(Arc::clone).ok_or(Error::IntegralValueOutOfRange(0, id))
    }

    fn number_of(&self, channel: &ChannelKey) -> Option<i64> {
        self.0.iter().find(|(_, name)| *name == channel).map(|(number, _)| *number)
    }
}

/// What there is of the channels that `which` selects, a condition in SQL.
fn channels(
    conn: &Connection,
    names: &ChannelNames,
    which: &str,
    now_ms: u64,
) -> rusqlite::Result<BTreeMap<ChannelKey, LoadedChannel>> {
    let mut channels: BTreeMap<ChannelKey, LoadedChannel> = BTreeMap::new();
    each_once(conn, &format!("SELECT channel, path, content FROM file WHERE {which}"), |row| {
        let files = &mut channels.entry(names.of(row)?).or_default().files;
        files.insert(shared(row, "path")?, shared(row, "content")?);
        Ok(())
    })?;
    let timers = format!(
        "SELECT channel, name, set_ms, due_ms, payload FROM timer WHERE {which} ORDER BY channel, name"
    );
    each_once(conn, &timers, |row| {
        channels.entry(names.of(row)?).or_default().timers.push(TimerRecord {
            name: shared(row, "name")?,
            set_ms: number(row, "set_ms")?,
            due_ms: number(row, "due_ms")?,
            payload: shared(row, "payload")?,
        });
        Ok(())
    })?;
    for reply in replies(conn, names, which)? {
        channels.entry(reply.channel.clone()).or_default().replies.push(reply);
    }
    for key in dedupe_keys(conn, names, which, now_ms)? {
        channels.entry(key.channel.clone()).or_default().dedupe_keys.push(key);
    }
    Ok(channels)
}

fn messages(conn: &Connection, names: &ChannelNames) -> rusqlite::Result<Vec<PendingMessage>> {
    all_once(
        conn,
        "SELECT delivery.id, channel, conversation, bytes, attempt, received_ms
         FROM delivery JOIN message USING (id) WHERE state = 0 ORDER BY delivery.id",
        |row| {
            Ok(PendingMessage {
                id: MessageId(number(row, "id")?),
                channel: names.of(row)?,
                conversation: shared(row, "conversation")?,
                bytes: number(row, "bytes")?,
                attempt: row.get("attempt")?,
                received_ms: number(row, "received_ms")?,
            })
        },
    )
}

fn replies(conn: &Connection, names: &ChannelNames, which: &str) -> rusqlite::Result<Vec<PendingReply>> {
    all_once(
        conn,
        &format!(
            "SELECT outbox.id, channel, conversation, bytes, attempts, traps, flags, since_ms, next_ms
             FROM outbox JOIN reply USING (id) WHERE state = 0 AND {which} ORDER BY outbox.id"
        ),
        |row| {
            Ok(PendingReply {
                id: ReplyId(number(row, "id")?),
                channel: names.of(row)?,
                conversation: shared(row, "conversation")?,
                bytes: number(row, "bytes")?,
                attempts: row.get("attempts")?,
                since_ms: number(row, "since_ms")?,
                next_ms: number(row, "next_ms")?,
                redelivery: has_flag(row, IN_FLIGHT | UNCERTAIN)?,
                traps: row.get("traps")?,
            })
        },
    )
}

fn dedupe_keys(
    conn: &Connection,
    names: &ChannelNames,
    which: &str,
    now_ms: u64,
) -> rusqlite::Result<Vec<DedupeRecord>> {
    let all_keys =
        format!("SELECT id, channel, at_ms, expires_ms, key FROM dedupe_key WHERE {which} ORDER BY id DESC");
    let mut known: HashSet<(ChannelKey, StoredDedupeKey)> = HashSet::new();
    let mut kept = KeptKeys::loaded();
    let mut newest_first = Vec::new();
    each_once(conn, &all_keys, |row| {
        let record = DedupeRecord {
            id: DedupeId(number(row, "id")?),
            channel: names.of(row)?,
            key: row.get("key")?,
            at_ms: number(row, "at_ms")?,
            expires_ms: number(row, "expires_ms")?,
        };
        let last_of_its_key = known.insert((Arc::clone(&record.channel), record.key));
        if last_of_its_key && kept.keeps(Arc::clone(&record.channel), !record.is_known(now_ms)) {
            newest_first.push(record);
        }
        Ok(())
    })?;
    newest_first.reverse();
    Ok(newest_first)
}

fn pairing(conn: &Connection, names: &ChannelNames) -> rusqlite::Result<PairingState> {
    // By the channels' names, since their numbers are in the order in which they came.
    let requests =
        "SELECT * FROM pairing_request LEFT JOIN channel ON id = channel ORDER BY name, external_id";
    let requests = all_once(conn, requests, |row| {
        Ok(PairingRequest {
            channel: names.of(row)?,
            external_id: row.get("external_id")?,
            code: row.get("code")?,
            meta_json: row.get("meta_json")?,
            created_ms: number(row, "created_ms")?,
            expires_ms: number(row, "expires_ms")?,
        })
    })?;
    let identities =
        "SELECT * FROM pairing_identity LEFT JOIN channel ON id = channel ORDER BY name, external_id";
    let identities = all_once(conn, identities, |row| {
        Ok(PairedIdentity {
            channel: names.of(row)?,
            external_id: row.get("external_id")?,
            identity: row.get("identity")?,
            at_ms: number(row, "at_ms")?,
        })
    })?;
    let allowed = "SELECT * FROM pairing_allowed LEFT JOIN channel ON id = channel ORDER BY name, entry";
    let allowed = all_once(conn, allowed, |row| Ok((names.of(row)?, row.get("entry")?)))?;
    let locks = "SELECT * FROM pairing_lock LEFT JOIN channel ON id = channel ORDER BY name";
    let locks = all_once(conn, locks, |row| {
        Ok(PairingLock {
            channel: names.of(row)?,
            wrong_codes: row.get("wrong_codes")?,
            locked_until_ms: number(row, "locked_until_ms")?,
        })
    })?;
    Ok(PairingState { requests, identities, allowed, locks })
}
