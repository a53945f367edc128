//! What the host keeps in memory: of all channels, or of those that it holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use mysql::{Conn, Row};

use super::fault::DatabaseFault;
use super::member::{self, Member};
use super::read::has_flag;
use super::row::{all, get, key_of, list, number, shared};
use super::scope::Scope;
use super::tables::{IN_FLIGHT, UNCERTAIN};
use crate::store::retention::KeptKeys;
use crate::store::{
    ChannelKey, DedupeId, DedupeRecord, LastIds, Loaded, LoadedChannel, MessageId, MovedChannel,
    PairedIdentity, PairingLock, PairingRequest, PairingState, PendingMessage, PendingReply, ReplyId,
    StoredDedupeKey, TimerRecord,
};

/// Who reads.
pub(super) struct Reader<'a> {
    pub(super) member: &'a Member,
    pub(super) scope: &'a Scope,
}

/// The channels of which something is read, by number: one name for all records of a channel, of which there may be many.
pub(super) struct Channels {
    names: HashMap<u32, ChannelKey>,
    /// All that there are.
    is_everything: bool,
}

impl Channels {
    /// Those that the reader has.
    pub(super) fn of(conn: &mut Conn, reader: &Reader<'_>) -> Result<Self, DatabaseFault> {
        let (which, is_everything) = match reader.scope {
            Scope::All => ("1 = 1".to_owned(), true),
            Scope::Held(_) => (format!("host = {} OR INSTR(name, ':') > 0", reader.member.id), false),
        };
        let rows = all(conn, &format!("SELECT id, name FROM channel WHERE {which}"), (), |row| {
            Ok((get::<u32>(row, "id")?, get::<String>(row, "name")?))
        })?;
        let known = |(number, name): (u32, String)| {
            let name = reader.scope.known_name(&name, &reader.member.name)?;
            Some((number, ChannelKey::from(name)))
        };
        Ok(Self { names: rows.into_iter().filter_map(known).collect(), is_everything })
    }

    /// One, if it is there.
    fn one(conn: &mut Conn, reader: &Reader<'_>, channel: &ChannelKey) -> Result<Self, DatabaseFault> {
        let stored = reader.scope.stored_name(channel, &reader.member.name);
        let numbers =
            all(conn, "SELECT id FROM channel WHERE hash = ?", (key_of(&stored),), |row| get(row, "id"))?;
        let names = numbers.into_iter().map(|number| (number, Arc::clone(channel))).collect();
        Ok(Self { names, is_everything: false })
    }

    /// The rows of these channels, as a condition.
    pub(super) fn condition(&self, column: &str) -> String {
        match self.is_everything {
            true => "1 = 1".to_owned(),
            false => format!("{column} IN ({})", list(self.names.keys().map(|number| u64::from(*number)))),
        }
    }

    /// The channel of a row.
    fn name(&self, row: &mut Row) -> Result<ChannelKey, DatabaseFault> {
        let number: u32 = get(row, "channel")?;
        let name = self.names.get(&number).map(Arc::clone);
        name.ok_or_else(|| DatabaseFault::Unreadable(format!("there is no channel {number}")))
    }
}

pub(super) fn load(conn: &mut Conn, reader: &Reader<'_>, now_ms: u64) -> Result<Loaded, DatabaseFault> {
    let channels = Channels::of(conn, reader)?;
    Ok(Loaded {
        last_ids: member::last_ids(conn, reader.member)?,
        channels: of_channels(conn, &channels, now_ms)?,
        messages: messages(conn, &channels)?,
        pairing: pairing(conn, &channels)?,
    })
}

pub(super) fn load_channel(
    conn: &mut Conn,
    reader: &Reader<'_>,
    channel: &ChannelKey,
    now_ms: u64,
) -> Result<LoadedChannel, DatabaseFault> {
    let channels = Channels::one(conn, reader, channel)?;
    let mut loaded = of_channels(conn, &channels, now_ms)?.remove(channel).unwrap_or_default();
    if let Scope::Held(_) = reader.scope {
        let moved = MovedChannel { messages: messages(conn, &channels)?, pairing: pairing(conn, &channels)? };
        loaded.moved = Some(Box::new(moved));
    }
    Ok(loaded)
}

/// The largest ids that any message, reply or dedupe key of a channel has.
pub(super) fn largest_ids(
    conn: &mut Conn,
    reader: &Reader<'_>,
    channel: &ChannelKey,
) -> Result<LastIds, DatabaseFault> {
    let of = Channels::one(conn, reader, channel)?.condition("channel");
    let mut largest = |table: &str| number(conn, &format!("SELECT MAX(id) FROM {table} WHERE {of}"), ());
    Ok(LastIds {
        message: largest("delivery")?,
        reply: largest("outbox")?,
        dedupe_key: largest("dedupe_key")?,
    })
}

fn of_channels(
    conn: &mut Conn,
    channels: &Channels,
    now_ms: u64,
) -> Result<BTreeMap<ChannelKey, LoadedChannel>, DatabaseFault> {
    let mut loaded: BTreeMap<ChannelKey, LoadedChannel> = BTreeMap::new();
    let of = channels.condition("channel");
    let files = format!("SELECT channel, path, content FROM file WHERE {of}");
    for (channel, path, content) in
        all(conn, &files, (), |row| Ok((channels.name(row)?, shared(row, "path")?, shared(row, "content")?)))?
    {
        loaded.entry(channel).or_default().files.insert(path, content);
    }
    let timers = format!("SELECT channel, name, set_ms, due_ms, payload FROM timer WHERE {of}");
    for (channel, timer) in all(conn, &timers, (), |row| {
        let (name, payload) = (shared(row, "name")?, shared(row, "payload")?);
        let timer = TimerRecord { name, set_ms: get(row, "set_ms")?, due_ms: get(row, "due_ms")?, payload };
        Ok((channels.name(row)?, timer))
    })? {
        loaded.entry(channel).or_default().timers.push(timer);
    }
    for channel in loaded.values_mut() {
        channel.timers.sort_by(|a, b| a.name.cmp(&b.name));
    }
    for reply in replies(conn, channels)? {
        loaded.entry(Arc::clone(&reply.channel)).or_default().replies.push(reply);
    }
    for key in dedupe_keys(conn, channels, now_ms)? {
        loaded.entry(Arc::clone(&key.channel)).or_default().dedupe_keys.push(key);
    }
    Ok(loaded)
}

fn messages(conn: &mut Conn, channels: &Channels) -> Result<Vec<PendingMessage>, DatabaseFault> {
    let of = channels.condition("delivery.channel");
    let pending = format!(
        "SELECT delivery.id, delivery.channel, conversation, bytes, attempt, received_ms
         FROM delivery JOIN message USING (id) WHERE state = 0 AND {of} ORDER BY delivery.id"
    );
    all(conn, &pending, (), |row| {
        Ok(PendingMessage {
            id: MessageId(get(row, "id")?),
            channel: channels.name(row)?,
            conversation: shared(row, "conversation")?,
            bytes: get(row, "bytes")?,
            attempt: get(row, "attempt")?,
            received_ms: get(row, "received_ms")?,
        })
    })
}

fn replies(conn: &mut Conn, channels: &Channels) -> Result<Vec<PendingReply>, DatabaseFault> {
    let of = channels.condition("outbox.channel");
    let pending = format!(
        "SELECT outbox.id, outbox.channel, conversation, bytes, attempts, traps, flags, since_ms, next_ms
         FROM outbox JOIN reply USING (id) WHERE state = 0 AND {of} ORDER BY outbox.id"
    );
    all(conn, &pending, (), |row| {
        Ok(PendingReply {
            id: ReplyId(get(row, "id")?),
            channel: channels.name(row)?,
            conversation: shared(row, "conversation")?,
            bytes: get(row, "bytes")?,
            attempts: get(row, "attempts")?,
            since_ms: get(row, "since_ms")?,
            next_ms: get(row, "next_ms")?,
            redelivery: has_flag(get(row, "flags")?, IN_FLIGHT | UNCERTAIN),
            traps: get(row, "traps")?,
        })
    })
}

fn dedupe_keys(
    conn: &mut Conn,
    channels: &Channels,
    now_ms: u64,
) -> Result<Vec<DedupeRecord>, DatabaseFault> {
    let of = channels.condition("channel");
    let newest_first =
        format!("SELECT id, channel, at_ms, expires_ms, hash FROM dedupe_key WHERE {of} ORDER BY id DESC");
    let records = all(conn, &newest_first, (), |row| {
        let key: Vec<u8> = get(row, "hash")?;
        let key = StoredDedupeKey::try_from(key);
        Ok(DedupeRecord {
            id: DedupeId(get(row, "id")?),
            channel: channels.name(row)?,
            key: key.map_err(|_| DatabaseFault::Unreadable("a dedupe key has another length".to_owned()))?,
            at_ms: get(row, "at_ms")?,
            expires_ms: get(row, "expires_ms")?,
        })
    })?;
    let mut known: HashSet<(ChannelKey, StoredDedupeKey)> = HashSet::new();
    let is_last_of_its_key = |record: &DedupeRecord| known.insert((Arc::clone(&record.channel), record.key));
    let mut last: Vec<DedupeRecord> = records.into_iter().filter(is_last_of_its_key).collect();
    let mut kept = KeptKeys::loaded();
    last.retain(|record| kept.keeps(Arc::clone(&record.channel), !record.is_known(now_ms)));
    last.reverse();
    Ok(last)
}

fn pairing(conn: &mut Conn, channels: &Channels) -> Result<PairingState, DatabaseFault> {
    let of = channels.condition("channel");
    let mut requests = all(conn, &format!("SELECT * FROM pairing_request WHERE {of}"), (), |row| {
        Ok(PairingRequest {
            channel: channels.name(row)?,
            external_id: get(row, "external_id")?,
            code: get(row, "code")?,
            meta_json: get(row, "meta_json")?,
            created_ms: get(row, "created_ms")?,
            expires_ms: get(row, "expires_ms")?,
        })
    })?;
    let mut identities = all(conn, &format!("SELECT * FROM pairing_identity WHERE {of}"), (), |row| {
        Ok(PairedIdentity {
            channel: channels.name(row)?,
            external_id: get(row, "external_id")?,
            identity: get(row, "identity")?,
            at_ms: get(row, "at_ms")?,
        })
    })?;
    let mut allowed = all(conn, &format!("SELECT * FROM pairing_allowed WHERE {of}"), (), |row| {
        Ok((channels.name(row)?, get::<String>(row, "entry")?))
    })?;
    let mut locks = all(conn, &format!("SELECT * FROM pairing_lock WHERE {of}"), (), |row| {
        Ok(PairingLock {
            channel: channels.name(row)?,
            wrong_codes: get(row, "wrong_codes")?,
            locked_until_ms: get(row, "locked_until_ms")?,
        })
    })?;
    requests.sort_by(|a, b| (&a.channel, &a.external_id).cmp(&(&b.channel, &b.external_id)));
    identities.sort_by(|a, b| (&a.channel, &a.external_id).cmp(&(&b.channel, &b.external_id)));
    allowed.sort();
    locks.sort_by(|a, b| a.channel.cmp(&b.channel));
    Ok(PairingState { requests, identities, allowed, locks })
}
