//! The trait.
//!
//! What is tried again when a connection has failed is no second write of something that may be half there: a transaction begins by
//! locking the host's row, and finds in it the number of the last batch that was kept. What a connection that broke at the commit has kept
//! is seen, and is not kept twice.

use std::sync::Arc;

use mysql::Conn;
use mysql::prelude::Queryable;

use super::connect::{Connection, Connector, wait_until_current};
use super::fault::DatabaseFault;
use super::load::Reader;
use super::member::{self, JoinedHost, Member};
use super::scope::Scope;
use super::session::{DatabaseSession, at_one_moment, transaction};
use super::state::Group;
use super::write::{Numbers, Writer, WriterParts};
use super::{load, prune, read, schema};
use crate::net::channel_response::ChannelResponse;
use crate::store::{
    ChannelKey, DedupeId, LastIds, Loaded, LoadedChannel, Maintenance, MessageFilter, MessageId,
    MessageRecord, MessageSummary, NumberedBatch, Opener, PruneStats, ReplyFilter, ReplyId, ReplyRecord,
    ReplySummary, Retention, Store, StoreError, StoreUsage, StoredDedupeKey, TraceQueries, TraceStep,
    TraceSubject,
};

/// How many bytes a probe writes.
const PROBE_BYTES: usize = 64 << 10;

/// A store in a database that other hosts use as well.
pub(crate) struct MysqlStore {
    session: DatabaseSession,
    member: Member,
    scope: Scope,
    numbers: Numbers,
    /// The last step of a trace that this host has numbered.
    last_step: u64,
    /// How many transactions were committed.
    syncs: u64,
    /// Something has failed for good: this engine does nothing any more.
    broken: bool,
}

impl MysqlStore {
    /// Connects, brings the tables to the newest version, and makes this process the host of this name: an earlier one that may still run is
    /// refused from now on. Opened again with the same opener it is the same host, and is itself refused when another process, or another host,
    /// has taken what it held.
    pub(crate) fn opener(connector: Connector, host: &str, scope: Scope, joined: JoinedHost) -> Opener {
        let host = host.to_owned();
        Box::new(move || {
            let store = match joined.get() {
                Some(member) => Self::open_again(&connector, &member, scope.clone())?,
                None => Self::open(&connector, &host, scope.clone())?,
            };
            joined.set(&store.member);
            Ok(Box::new(store))
        })
    }

    fn open(connector: &Connector, host: &str, scope: Scope) -> Result<Self, StoreError> {
        let mut session = DatabaseSession::new(connector.clone());
        session.run(|connection| schema::migrate(&mut connection.conn))?;
        let joined = session.run(|connection| {
            transaction(&mut connection.conn, |conn| {
                let member = member::join(conn, host)?;
                let last_step = member::last_step(conn, &member)?;
                Ok((member, last_step))
            })
        })?;
        Ok(Self::new(session, scope, joined))
    }

    fn open_again(connector: &Connector, member: &Member, scope: Scope) -> Result<Self, StoreError> {
        let mut session = DatabaseSession::new(connector.clone());
        let found = session.run(|connection| {
            transaction(&mut connection.conn, |conn| {
                let member = member::find_again(conn, member)?;
                let last_step = member::last_step(conn, &member)?;
                Ok((member, last_step))
            })
        })?;
        Ok(Self::new(session, scope, found))
    }

    fn new(session: DatabaseSession, scope: Scope, (member, last_step): (Member, u64)) -> Self {
        Self { session, member, scope, numbers: Numbers::default(), last_step, syncs: 0, broken: false }
    }

    /// Does something, unless something has failed before.
    fn run<T>(
        &mut self,
        mut work: impl FnMut(&mut Connection, &mut Writing<'_>) -> Result<T, DatabaseFault>,
    ) -> Result<T, StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        let Self { session, member, scope, numbers, last_step, .. } = self;
        let mut writing = Writing { member, scope, numbers, last_step };
        let done = session.run(|connection| work(connection, &mut writing));
        if done.as_ref().is_err_and(StoreError::is_unavailable) {
            self.broken = true;
        }
        done
    }

    /// Reads something.
    fn read<T>(
        &mut self,
        mut work: impl FnMut(&mut Conn, &Reader<'_>) -> Result<T, DatabaseFault>,
    ) -> Result<T, StoreError> {
        self.run(|connection, writing| {
            work(&mut connection.conn, &Reader { member: writing.member, scope: writing.scope })
        })
    }

    /// Runs `work` in a transaction of this host, if the host is not fenced.
    fn write<T>(
        &mut self,
        mut work: impl FnMut(&mut Conn, &Member) -> Result<T, DatabaseFault>,
    ) -> Result<T, StoreError> {
        let done = self.run(|connection, writing| {
            transaction(&mut connection.conn, |conn| {
                member::lock(conn, writing.member)?;
                work(conn, writing.member)
            })
        })?;
        self.syncs += 1;
        Ok(done)
    }

    /// Takes a new stretch of ids, which lies after all that were given to anybody.
    fn take_stretch(&mut self) -> Result<LastIds, StoreError> {
        self.member.stretch = self.write(member::take_stretch)?;
        self.last_step = self.member.stretch.before();
        Ok(self.member.stretch.floor())
    }
}

/// What a transaction of a host works with.
struct Writing<'a> {
    member: &'a Member,
    scope: &'a Scope,
    numbers: &'a mut Numbers,
    last_step: &'a mut u64,
}

/// Keeps a group, unless it is kept already: an earlier try may have come through.
fn commit(
    connection: &mut Connection,
    writing: &mut Writing<'_>,
    entries: &[NumberedBatch],
    last: u64,
) -> Result<(), DatabaseFault> {
    // What is numbered in a transaction that fails is forgotten.
    let mut numbers = std::mem::take(writing.numbers);
    let mut last_step = *writing.last_step;
    let max_value_bytes = connection.max_value_bytes;
    transaction(&mut connection.conn, |conn| {
        if member::lock(conn, writing.member)?.last_batch >= last {
            // What an earlier try has numbered is used.
            last_step = member::last_step(conn, writing.member)?;
            return Ok(());
        }
        let group = Group::read(conn, entries)?;
        let parts = WriterParts {
            conn: &mut *conn,
            member: writing.member,
            scope: writing.scope,
            numbers: &mut numbers,
            last_step: &mut last_step,
            max_value_bytes,
        };
        let mut writer = Writer::new(parts, group);
        for (place, entry) in entries.iter().enumerate() {
            writer.batch(place, &entry.batch.changes)?;
        }
        writer.finish()?;
        member::put_number(conn, writing.member, last)
    })?;
    *writing.numbers = numbers;
    *writing.last_step = last_step;
    Ok(())
}

impl Store for MysqlStore {
    fn commit(&mut self, entries: &[NumberedBatch]) -> Result<(), StoreError> {
        for (index, entry) in entries.iter().enumerate() {
            entry.batch.check(index)?;
        }
        let Some(last) = entries.last().map(|entry| entry.number) else { return Ok(()) };
        self.run(|connection, writing| commit(connection, writing, entries, last))?;
        self.syncs += 1;
        Ok(())
    }

    fn last_number(&mut self) -> Result<u64, StoreError> {
        self.write(|conn, member| Ok(member::lock(conn, member)?.last_batch))
    }

    fn load_channel(&mut self, channel: &ChannelKey, now_ms: u64) -> Result<LoadedChannel, StoreError> {
        let (mut loaded, largest) = self.run(|connection, writing| {
            if connection.is_replicated {
                // Another host may have written to the channel last, on another node.
                wait_until_current(&mut connection.conn)?;
            }
            let reader = Reader { member: writing.member, scope: writing.scope };
            at_one_moment(&mut connection.conn, |conn| {
                let loaded = load::load_channel(conn, &reader, channel, now_ms)?;
                Ok((loaded, load::largest_ids(conn, &reader, channel)?))
            })
        })?;
        let stretch = self.member.stretch;
        loaded.ids_after = match largest.message.max(largest.reply).max(largest.dedupe_key) > stretch.last() {
            // Ids grow within a channel, and another host has given larger ones.
            true => self.take_stretch()?,
            // This one may have been taken by a try whose response was lost, and then nothing was given out of it yet.
            false => stretch.floor(),
        };
        Ok(loaded)
    }

    fn load(&mut self, now_ms: u64) -> Result<Loaded, StoreError> {
        self.read(|conn, reader| at_one_moment(conn, |conn| load::load(conn, reader, now_ms)))
    }

    fn next_ids(&mut self, used: LastIds) -> Result<Option<LastIds>, StoreError> {
        let largest = used.message.max(used.reply).max(used.dedupe_key).max(self.last_step);
        match self.member.stretch.is_nearly_used(largest) {
            true => self.take_stretch().map(Some),
            false => Ok(None),
        }
    }

    fn message(&mut self, id: MessageId) -> Result<Option<MessageRecord>, StoreError> {
        self.read(|conn, _| read::message(conn, id))
    }

    fn messages(&mut self, filter: &MessageFilter) -> Result<Vec<MessageSummary>, StoreError> {
        self.read(|conn, _| read::messages(conn, filter))
    }

    fn attachment(&mut self, id: MessageId, index: usize) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.read(|conn, _| read::attachment(conn, id, index))
    }

    fn reply(&mut self, id: ReplyId) -> Result<Option<ReplyRecord>, StoreError> {
        self.read(|conn, _| read::reply(conn, id))
    }

    fn replies(&mut self, filter: &ReplyFilter) -> Result<Vec<ReplySummary>, StoreError> {
        self.read(|conn, _| read::replies(conn, filter))
    }

    fn stored_response(&mut self, id: DedupeId) -> Result<Option<Arc<ChannelResponse>>, StoreError> {
        self.read(|conn, _| read::stored_response(conn, id))
    }

    fn transcript(&mut self, conversation: &str) -> Result<Option<String>, StoreError> {
        self.read(|conn, _| read::transcript(conn, conversation))
    }

    fn prune(&mut self, retention: &Retention, now_ms: u64) -> Result<PruneStats, StoreError> {
        let forget = self.read(|conn, reader| prune::choose_all(conn, reader, retention, now_ms))?;
        let stats = forget.count();
        if !stats.is_empty() {
            self.write(|conn, member| {
                member::keep_last_ids(conn, member)?;
                prune::forget(conn, &forget, now_ms)
            })?;
        }
        Ok(stats)
    }

    fn maintain(&mut self, _moment: Maintenance) -> Result<(), StoreError> {
        Ok(())
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.write(|conn, member| {
            let row = (member.id, vec![0_u8; PROBE_BYTES]);
            Ok(conn.exec_drop("REPLACE INTO probe (host, data) VALUES (?, ?)", row)?)
        })?;
        self.write(|conn, member| Ok(conn.exec_drop("DELETE FROM probe WHERE host = ?", (member.id,))?))
    }

    fn usage(&mut self) -> Result<StoreUsage, StoreError> {
        let bytes = self.read(prune::bytes)?;
        Ok(StoreUsage { bytes, syncs: self.syncs, ..StoreUsage::default() })
    }
}

impl TraceQueries for MysqlStore {
    fn trace(&mut self, subject: TraceSubject) -> Result<Vec<TraceStep>, StoreError> {
        self.read(|conn, _| read::trace(conn, subject))
    }

    fn replies_to(&mut self, id: MessageId) -> Result<Vec<ReplyId>, StoreError> {
        self.read(|conn, _| read::replies_to(conn, id))
    }

    fn messages_of_provider(
        &mut self,
        id: &str,
        keys: &[StoredDedupeKey],
    ) -> Result<Vec<MessageId>, StoreError> {
        self.read(|conn, _| read::messages_of_provider(conn, id, keys))
    }
}
