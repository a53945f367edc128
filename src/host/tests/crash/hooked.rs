//! A store that asks the test before and after each step of another store.

use std::sync::Arc;

use crate::host::{StateLocation, StoreOpener};
use crate::net::channel_response::ChannelResponse;
use crate::store::*;

/// A step of the store thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    BeforeCommit,
    AfterCommit,
    BeforeMaintenance,
    BeforeReadingReply,
    BeforeReadingMessage,
}

/// What the test does at a step; an error makes the store fail there.
pub type Hook = Arc<dyn Fn(Step) -> Result<(), StoreError> + Send + Sync>;

/// State in a store that `open` gives, with `hook` around its steps.
pub fn state(
    open: impl Fn() -> Result<Box<dyn Store>, StoreError> + Send + Sync + 'static,
    hook: Hook,
) -> StateLocation {
    let opener = StoreOpener::new(move || {
        Ok(Box::new(Hooked { inner: open()?, hook: hook.clone() }) as Box<dyn Store>)
    });
    StateLocation::Custom(opener)
}

struct Hooked {
    inner: Box<dyn Store>,
    hook: Hook,
}

impl TraceQueries for Hooked {
    fn trace(&mut self, subject: TraceSubject) -> Result<Vec<TraceStep>, StoreError> {
        self.inner.trace(subject)
    }

    fn replies_to(&mut self, id: MessageId) -> Result<Vec<ReplyId>, StoreError> {
        self.inner.replies_to(id)
    }

    fn messages_of_provider(
        &mut self,
        id: &str,
        keys: &[StoredDedupeKey],
    ) -> Result<Vec<MessageId>, StoreError> {
        self.inner.messages_of_provider(id, keys)
    }
}

impl Store for Hooked {
    fn commit(&mut self, entries: &[NumberedBatch]) -> Result<(), StoreError> {
        (self.hook)(Step::BeforeCommit)?;
        self.inner.commit(entries)?;
        (self.hook)(Step::AfterCommit)
    }

    fn last_number(&mut self) -> Result<u64, StoreError> {
        self.inner.last_number()
    }

    fn load_channel(&mut self, channel: &ChannelKey, now_ms: u64) -> Result<LoadedChannel, StoreError> {
        self.inner.load_channel(channel, now_ms)
    }

    fn load(&mut self, now_ms: u64) -> Result<Loaded, StoreError> {
        self.inner.load(now_ms)
    }

    fn message(&mut self, id: MessageId) -> Result<Option<MessageRecord>, StoreError> {
        (self.hook)(Step::BeforeReadingMessage)?;
        self.inner.message(id)
    }

    fn messages(&mut self, filter: &MessageFilter) -> Result<Vec<MessageSummary>, StoreError> {
        self.inner.messages(filter)
    }

    fn attachment(&mut self, id: MessageId, index: usize) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.inner.attachment(id, index)
    }

    fn reply(&mut self, id: ReplyId) -> Result<Option<ReplyRecord>, StoreError> {
        (self.hook)(Step::BeforeReadingReply)?;
        self.inner.reply(id)
    }

    fn replies(&mut self, filter: &ReplyFilter) -> Result<Vec<ReplySummary>, StoreError> {
        self.inner.replies(filter)
    }

    fn stored_response(&mut self, id: DedupeId) -> Result<Option<Arc<ChannelResponse>>, StoreError> {
        self.inner.stored_response(id)
    }

    fn transcript(&mut self, conversation: &str) -> Result<Option<String>, StoreError> {
        self.inner.transcript(conversation)
    }

    fn prune(&mut self, retention: &Retention, now_ms: u64) -> Result<PruneStats, StoreError> {
        self.inner.prune(retention, now_ms)
    }

    fn maintain(&mut self, moment: Maintenance) -> Result<(), StoreError> {
        match (self.hook)(Step::BeforeMaintenance) {
            Ok(()) => self.inner.maintain(moment),
            // A hook cannot fail here; it asks for the work of a quiet moment, which includes a checkpoint.
            Err(_) => self.inner.maintain(Maintenance::Idle),
        }
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.inner.probe()
    }

    fn usage(&mut self) -> Result<StoreUsage, StoreError> {
        self.inner.usage()
    }
}
