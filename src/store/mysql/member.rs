//! The row of a host: the fence of everything that it commits, the number of its last batch, and its stretch of ids.
//!
//! Ids grow within a channel, also when the channel goes to another host. Each host therefore gives ids out of a stretch that no other
//! host has, and takes a new stretch, which lies after all others, when it takes over a channel in which larger ids are.

use std::sync::{Arc, Mutex, PoisonError};

use mysql::prelude::Queryable;
use mysql::{Conn, Row};

use super::fault::DatabaseFault;
use super::row::{get, number, one};
use crate::store::LastIds;

/// How many ids of each kind are in a stretch. Ids stay below 2^53, so that a reader of JSON that has no whole numbers reads them as
/// they are: there are 536 million stretches.
pub(super) const STRETCH: u64 = 1 << 24;
/// A new stretch is taken when no more than this many ids are left: more than can be given out between two commits.
const FEW: u64 = STRETCH / 4;

/// A host, as the database knows it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its name.
    pub(super) name: String,
    /// Its number.
    pub(super) id: u32,
    /// Grows with every start of a host of this name, and when its channels are taken from it.
    pub(super) incarnation: u64,
    /// The ids that it may give out.
    pub(super) stretch: IdRange,
}

/// Who this process is in the database, once it has joined. Clones share it. The lock is held for a
/// copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct JoinedHost(Arc<Mutex<Option<Member>>>);

impl JoinedHost {
    /// Its number, once it has joined.
    pub(crate) fn host(&self) -> Option<u32> {
        self.get().map(|member| member.id)
    }

    /// Who it is.
    ///
    /// # Errors
    /// It has not joined.
    pub(crate) fn known(&self) -> Result<Member, DatabaseFault> {
        self.get().ok_or_else(|| DatabaseFault::Unreadable("this host has not joined yet".to_owned()))
    }

    pub(super) fn get(&self) -> Option<Member> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, member: &Member) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(member.clone());
    }
}

impl Member {
    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// As what it has joined.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }
}

/// So many ids of each kind that nobody else gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdRange(pub(super) u64);

/// What a commit finds in the row of its host.
pub(crate) struct Fence {
    /// The number of the last batch.
    pub(super) last_batch: u64,
}

impl IdRange {
    /// The id before the first one.
    pub(super) fn before(self) -> u64 {
        self.0 * STRETCH
    }

    /// The same of each kind.
    pub(super) fn floor(self) -> LastIds {
        let before = self.before();
        LastIds { message: before, reply: before, dedupe_key: before }
    }

    /// The last id.
    pub(super) fn last(self) -> u64 {
        self.before() + STRETCH
    }

    /// Whether there are few left after this one.
    pub(super) fn is_nearly_used(self, last: u64) -> bool {
        last > self.last() - FEW
    }
}

/// Makes this process the host of this name, in a transaction. An earlier process of that name commits nothing any more.
pub(super) fn join(conn: &mut Conn, name: &str) -> Result<Member, DatabaseFault> {
    let known = "SELECT id, incarnation, stretch FROM host WHERE name = ? FOR UPDATE";
    let member = |row: &mut Row| {
        let (id, incarnation, stretch) =
            (get(row, "id")?, get(row, "incarnation")?, IdRange(get(row, "stretch")?));
        Ok(Member { name: name.to_owned(), id, incarnation, stretch })
    };
    let mut found = one(conn, known, (name,), member)?;
    if found.is_none() {
        let stretch = next_stretch(conn)?;
        conn.exec_drop(
            "INSERT INTO host (name, incarnation, last_batch, stretch) VALUES (?, 0, 0, ?)",
            (name, stretch.0),
        )?;
        found = one(conn, known, (name,), member)?;
    }
    let mut member =
        found.ok_or_else(|| DatabaseFault::Unreadable("the row of a new host is gone".to_owned()))?;
    member.incarnation += 1;
    // What an earlier process of this name held is nobody's.
    conn.exec_drop("UPDATE channel SET host = NULL WHERE host = ?", (member.id,))?;
    conn.exec_drop("UPDATE host SET incarnation = ? WHERE id = ?", (member.incarnation, member.id))?;
    Ok(member)
}

/// The same host again, for one that has reconnected.
///
/// # Errors
/// [`DatabaseFault::Fenced`] when it is another incarnation's.
pub(super) fn find_again(conn: &mut Conn, member: &Member) -> Result<Member, DatabaseFault> {
    lock(conn, member)?;
    let stretch = number(conn, "SELECT stretch FROM host WHERE id = ?", (member.id,))?;
    Ok(Member { stretch: IdRange(stretch), ..member.clone() })
}

/// Locks the row of the host for the rest of the transaction, before anything else is read in it.
///
/// # Errors
/// [`DatabaseFault::Fenced`] when the row is another incarnation's.
pub(crate) fn lock(conn: &mut Conn, member: &Member) -> Result<Fence, DatabaseFault> {
    let row = "SELECT incarnation, last_batch FROM host WHERE id = ? FOR UPDATE";
    let found = one(conn, row, (member.id,), |row| {
        Ok((get::<u64>(row, "incarnation")?, get::<u64>(row, "last_batch")?))
    })?;
    match found {
        Some((incarnation, last_batch)) if incarnation == member.incarnation => Ok(Fence { last_batch }),
        _ => Err(DatabaseFault::Fenced),
    }
}

/// Writes the number of the last batch: the write on which this transaction meets one that fences the host.
pub(super) fn put_number(conn: &mut Conn, member: &Member, last: u64) -> Result<(), DatabaseFault> {
    conn.exec_drop("UPDATE host SET last_batch = ? WHERE id = ?", (last, member.id))?;
    Ok(())
}

/// Takes the next stretch of ids, in a transaction in which the host's row is locked.
pub(super) fn take_stretch(conn: &mut Conn, member: &Member) -> Result<IdRange, DatabaseFault> {
    let stretch = next_stretch(conn)?;
    let floor = stretch.before();
    conn.exec_drop(
        "UPDATE host SET stretch = ?, last_message = ?, last_reply = ?, last_dedupe_key = ?, last_step = ? WHERE id = ?",
        (stretch.0, floor, floor, floor, floor, member.id),
    )?;
    Ok(stretch)
}

fn next_stretch(conn: &mut Conn) -> Result<IdRange, DatabaseFault> {
    let next = number(conn, "SELECT value FROM meta WHERE name = 'stretches' FOR UPDATE", ())?;
    conn.query_drop("UPDATE meta SET value = value + 1 WHERE name = 'stretches'")?;
    Ok(IdRange(next))
}

/// The largest ids that were ever stored in the host's stretch, of what is forgotten by now, too.
pub(super) fn last_ids(conn: &mut Conn, member: &Member) -> Result<LastIds, DatabaseFault> {
    Ok(LastIds {
        message: last_id(conn, member, "delivery", "last_message")?,
        reply: last_id(conn, member, "outbox", "last_reply")?,
        dedupe_key: last_id(conn, member, "dedupe_key", "last_dedupe_key")?,
    })
}

/// The same of steps.
pub(super) fn last_step(conn: &mut Conn, member: &Member) -> Result<u64, DatabaseFault> {
    last_id(conn, member, "step", "last_step")
}

fn last_id(conn: &mut Conn, member: &Member, table: &str, column: &str) -> Result<u64, DatabaseFault> {
    let there = format!("SELECT MAX(id) FROM {table} WHERE id > ? AND id <= ?");
    let there = number(conn, &there, (member.stretch.before(), member.stretch.last()))?;
    let was = number(conn, &format!("SELECT {column} FROM host WHERE id = ?"), (member.id,))?;
    Ok(there.max(was).max(member.stretch.before()))
}

/// Writes down the largest ids, before rows that have them may go.
pub(super) fn keep_last_ids(conn: &mut Conn, member: &Member) -> Result<(), DatabaseFault> {
    let (ids, step) = (last_ids(conn, member)?, last_step(conn, member)?);
    conn.exec_drop(
        "UPDATE host SET last_message = ?, last_reply = ?, last_dedupe_key = ?, last_step = ? WHERE id = ?",
        (ids.message, ids.reply, ids.dedupe_key, step, member.id),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_follow_each_other_and_a_new_one_is_taken_in_time() {
        let (first, second) = (IdRange(0), IdRange(1));
        assert_eq!((first.before(), first.last(), second.before()), (0, STRETCH, STRETCH));
        assert!(!second.is_nearly_used(second.last() - FEW));
        assert!(second.is_nearly_used(second.last() - FEW + 1));
    }

    #[test]
    fn the_largest_id_of_the_last_range_fits_a_json_number() {
        assert!(IdRange((1 << 29) - 1).last() <= 1 << 53);
    }
}
