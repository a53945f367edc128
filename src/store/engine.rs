//! The trait that an engine implements; and the ids of messages, replies and dedupe keys, which the host gives out before
//! anything is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::change::NumberedBatch;
use super::error::StoreError;
use super::record::{
    ChannelKey, DedupeId, Loaded, LoadedChannel, MessageFilter, MessageId, MessageRecord, MessageSummary,
    ReplyFilter, ReplyId, ReplyRecord, ReplySummary,
};
use super::retention::{PruneStats, Retention};
use super::trace_queries::TraceQueries;
use crate::net::channel_response::ChannelResponse;

/// When an engine does what it has to do for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// Right after a group was committed and its writers notified; others may be waiting. Only what cannot wait.
    BetweenGroups,
    /// Nothing has arrived for a while.
    Idle,
}

/// What an engine takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StoreUsage {
    /// Bytes of the database, free ones included.
    pub bytes: u64,
    /// Bytes of its log that are not in the database yet.
    pub log_bytes: u64,
    /// Bytes of the database that are free to be used again.
    pub free_bytes: u64,
    /// How often a file was forced to the medium since the store was opened.
    pub syncs: u64,
}

/// Durable state.
///
/// One thread uses an engine at a time. An engine may be shared with other hosts as far as this trait goes: nothing here
/// assumes that what was read last is still so.
///
/// A host numbers its batches. An engine keeps the number of the last one in the same transaction, so that a host which has
/// reopened it after a failure knows what it has. An engine that several hosts share keeps one number for each of them,
/// refuses batches of a host whose channels have passed on, and gives out stretches of ids that do not overlap.
///
/// Errors: whatever a method returns, an error other than [`StoreError::Rejected`] means that the engine is done for: it
/// is dropped and reopened. An engine on a disk never tries a failed write again by itself, since after a failed sync the
/// system may claim success for pages that it has lost. One that speaks with a database does, when the database says that the
/// transaction was rolled back, or when it looks for the number of the last batch first.
pub trait Store: TraceQueries + Send {
    /// Keeps all batches in one durable transaction: when it returns, a loss of power takes nothing of them away (unless
    /// the engine was opened with a weaker durability). The number of the last one becomes
    /// [`last_number`](Self::last_number).
    ///
    /// # Errors
    /// [`StoreError::Rejected`]: nothing is kept, and one batch is to blame, for an id that is taken, say. Every other
    /// error: all of the batches are kept or none (the failure may hit after the write); `last_number` says after reopening.
    fn commit(&mut self, entries: &[NumberedBatch]) -> Result<(), StoreError>;

    /// The number of the last batch that was kept; 0 when there was none.
    fn last_number(&mut self) -> Result<u64, StoreError>;

    /// Reads everything that the host keeps in memory. Keys that expired before `now_ms` are left out.
    fn load(&mut self, now_ms: u64) -> Result<Loaded, StoreError>;

    /// Reads what the host keeps in memory of one channel, for one that is added later: the same that [`load`](Self::load)
    /// has of it. Empty when there is nothing.
    fn load_channel(&mut self, channel: &ChannelKey, now_ms: u64) -> Result<LoadedChannel, StoreError>;

    /// Where ids go on, when the engine gives out stretches of them, few are left of the present one, and `used` were given out.
    fn next_ids(&mut self, _used: LastIds) -> Result<Option<LastIds>, StoreError> {
        Ok(None)
    }

    /// A message in full, its attachments' bytes excepted.
    fn message(&mut self, id: MessageId) -> Result<Option<MessageRecord>, StoreError>;

    /// Lists messages, newest first.
    fn messages(&mut self, filter: &MessageFilter) -> Result<Vec<MessageSummary>, StoreError>;

    /// The stored bytes of a message's attachment, counted from 0; `None` when there are none.
    fn attachment(&mut self, id: MessageId, index: usize) -> Result<Option<Arc<[u8]>>, StoreError>;

    /// A reply in full.
    fn reply(&mut self, id: ReplyId) -> Result<Option<ReplyRecord>, StoreError>;

    /// Lists replies, newest first.
    fn replies(&mut self, filter: &ReplyFilter) -> Result<Vec<ReplySummary>, StoreError>;

    /// The response that is stored with a dedupe key.
    fn stored_response(&mut self, id: DedupeId) -> Result<Option<Arc<ChannelResponse>>, StoreError>;

    /// What an agent remembers of a conversation.
    fn transcript(&mut self, conversation: &str) -> Result<Option<String>, StoreError>;

    /// Forgets what `retention` no longer keeps, a bounded number of records at a time.
    fn prune(&mut self, retention: &Retention, now_ms: u64) -> Result<PruneStats, StoreError>;

    /// What the engine has to do for itself.
    fn maintain(&mut self, moment: Maintenance) -> Result<(), StoreError>;

    /// Whether there is room only for what lets stored records leave: acknowledgements, deliveries, replies. The host then
    /// takes nothing new.
    fn is_low(&self) -> bool {
        false
    }

    /// Proves that the store can be written, by writing about 64 KiB durably and forgetting them again.
    fn probe(&mut self) -> Result<(), StoreError>;

    /// What the engine takes.
    fn usage(&mut self) -> Result<StoreUsage, StoreError>;
}

/// The largest ids that were ever stored, of records that are forgotten by now too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastIds {
    /// Of messages.
    pub message: u64,
    /// Of replies.
    pub reply: u64,
    /// Of dedupe keys.
    pub dedupe_key: u64,
}

/// Gives out ids, each once. Clones give out from the same counters.
///
/// Each counter holds the last id that was given out. [`next`] adds one, [`Ids::raise`] lifts it; it never falls, and no lock is held: whoever
/// stores a record takes its id first, so an id that is stored is never larger than its counter.
///
/// An id that was given out and never stored may be given out again after a restart: nothing that lasts names it.
#[derive(Clone, Debug, Default)]
pub struct Ids(Arc<IdCounters>);

/// The last id of each kind that was given out; see [`Ids`].
#[derive(Debug, Default)]
struct IdCounters {
    message: AtomicU64,
    reply: AtomicU64,
    dedupe_key: AtomicU64,
}

impl Ids {
    /// Ids that come after these.
    #[must_use]
    pub fn after(last: LastIds) -> Self {
        Self(Arc::new(IdCounters {
            message: last.message.into(),
            reply: last.reply.into(),
            dedupe_key: last.dedupe_key.into(),
        }))
    }

    /// The last ones that were given out.
    #[must_use]
    pub fn last(&self) -> LastIds {
        LastIds {
            message: self.0.message.load(Ordering::Relaxed),
            reply: self.0.reply.load(Ordering::Relaxed),
            dedupe_key: self.0.dedupe_key.load(Ordering::Relaxed),
        }
    }

    /// From now on ids are larger than these.
    pub fn raise(&self, floor: LastIds) {
        self.0.message.fetch_max(floor.message, Ordering::Relaxed);
        self.0.reply.fetch_max(floor.reply, Ordering::Relaxed);
        self.0.dedupe_key.fetch_max(floor.dedupe_key, Ordering::Relaxed);
    }

    /// For a message that is to be stored.
    #[must_use]
    pub fn message(&self) -> MessageId {
        MessageId(next(&self.0.message))
    }

    /// For a reply that is to be stored.
    #[must_use]
    pub fn reply(&self) -> ReplyId {
        ReplyId(next(&self.0.reply))
    }

    /// For a dedupe key.
    #[must_use]
    pub fn dedupe_key(&self) -> DedupeId {
        DedupeId(next(&self.0.dedupe_key))
    }
}

fn next(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_on_after_the_last_of_their_kind() {
        let ids = Ids::after(LastIds { message: 7, reply: 0, dedupe_key: 3 });
        let same = ids.clone();
        assert_eq!((ids.message(), same.message(), ids.reply()), (MessageId(8), MessageId(9), ReplyId(1)));
        assert_eq!(ids.dedupe_key(), DedupeId(4));
    }

    #[test]
    fn ids_are_raised_and_never_lowered() {
        let ids = Ids::after(LastIds { message: 7, reply: 7, dedupe_key: 7 });
        ids.raise(LastIds { message: 100, reply: 5, dedupe_key: 7 });
        assert_eq!(ids.last(), LastIds { message: 100, reply: 7, dedupe_key: 7 });
        assert_eq!((ids.message(), ids.reply()), (MessageId(101), ReplyId(8)));
    }
}
