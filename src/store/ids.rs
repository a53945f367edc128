//! Ids of messages, replies and dedupe keys: the host gives them out before anything is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::record::{DedupeId, MessageId, ReplyId};

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

/// Gives out ids, each once. Clones give out from the same row.
///
/// An id that was given out and never stored may be given out again after a restart: nothing that lasts names it.
#[derive(Clone, Debug, Default)]
pub struct Ids(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    message: AtomicU64,
    reply: AtomicU64,
    dedupe_key: AtomicU64,
}

impl Ids {
    /// Ids that come after these.
    #[must_use]
    pub fn after(last: LastIds) -> Self {
        Self(Arc::new(Counters {
            message: last.message.into(),
            reply: last.reply.into(),
            dedupe_key: last.dedupe_key.into(),
        }))
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
}
