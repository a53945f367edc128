//! An engine that fails on demand, around one that does not.
//!
//! It keeps to what a disk can do: a failure may hit before anything was written, in the middle of it, or after all of it
//! was written (a sync that reports an error although the medium has the data).

use std::sync::{Arc, Mutex};

use crate::net::channel_response::ChannelResponse;
use crate::store::*;

/// What the disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written, the disk is full.
    DiskFull,
    /// Nothing is written, the file system has become read-only.
    ReadOnly,
    /// A write was cut short: a transaction without its end is no transaction.
    ShortWrite,
    /// The sync fails and the data is lost.
    SyncLost,
    /// The sync fails, but the data is there.
    SyncKept,
}

impl Fault {
    pub const ALL: [Fault; 5] =
        [Fault::DiskFull, Fault::ReadOnly, Fault::ShortWrite, Fault::SyncLost, Fault::SyncKept];

    fn error(self) -> StoreError {
        let path = "faulty.db".into();
        match self {
            Self::DiskFull => StoreError::Full { path },
            Self::ReadOnly => StoreError::ReadOnly { path },
            Self::ShortWrite => StoreError::Io { path, detail: "short write".to_owned() },
            Self::SyncLost | Self::SyncKept => StoreError::Io { path, detail: "fsync failed".to_owned() },
        }
    }
}

/// When to fail; shared between the engine and the test.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Writes until the fault, and which.
    next: Option<(u32, Fault)>,
    /// Openings that fail from now on.
    refuse_openings: u32,
    /// Every write fails so.
    stuck: Option<Fault>,
    writes: u32,
    openings: u32,
    used_after_failure: bool,
}

impl Script {
    /// The `nth` write from now (1 is the next) fails.
    pub fn fail_at(&self, nth: u32, fault: Fault) {
        self.0.lock().unwrap().next = Some((nth, fault));
    }

    /// Every write fails until [`clear`](Self::clear).
    pub fn fail_always(&self, fault: Fault) {
        self.0.lock().unwrap().stuck = Some(fault);
    }

    pub fn refuse_openings(&self, count: u32) {
        self.0.lock().unwrap().refuse_openings = count;
    }

    pub fn clear(&self) {
        let mut state = self.0.lock().unwrap();
        state.stuck = None;
        state.next = None;
    }

    pub fn openings(&self) -> u32 {
        self.0.lock().unwrap().openings
    }

    /// Whether an engine was asked anything after it had failed.
    pub fn used_after_failure(&self) -> bool {
        self.0.lock().unwrap().used_after_failure
    }

    pub fn opener(&self, inner: Opener) -> Opener {
        let script = self.clone();
        Box::new(move || {
            {
                let mut state = script.0.lock().unwrap();
                state.openings += 1;
                if state.refuse_openings > 0 {
                    state.refuse_openings -= 1;
                    return Err(StoreError::Io { path: "faulty.db".into(), detail: "refused".to_owned() });
                }
            }
            Ok(Box::new(Faulty { inner: inner()?, script: script.clone(), failed: false }))
        })
    }

    fn next_fault(&self) -> Option<Fault> {
        let mut state = self.0.lock().unwrap();
        state.writes += 1;
        if state.stuck.is_some() {
            return state.stuck;
        }
        match state.next {
            Some((1, fault)) => {
                state.next = None;
                Some(fault)
            }
            Some((nth, fault)) => {
                state.next = Some((nth - 1, fault));
                None
            }
            None => None,
        }
    }
}

struct Faulty {
    inner: Box<dyn Store>,
    script: Script,
    failed: bool,
}

impl Faulty {
    fn inner(&mut self) -> &mut dyn Store {
        if self.failed {
            self.script.0.lock().unwrap().used_after_failure = true;
        }
        self.inner.as_mut()
    }

    fn write<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.script.next_fault() {
            None => work(self.inner()),
            Some(fault) => {
                if fault == Fault::SyncKept {
                    work(self.inner())?;
                }
                self.inner();
                self.failed = true;
                Err(fault.error())
            }
        }
    }
}

impl TraceQueries for Faulty {
    fn trace(&mut self, subject: TraceSubject) -> Result<Vec<TraceStep>, StoreError> {
        self.inner().trace(subject)
    }

    fn replies_to(&mut self, id: MessageId) -> Result<Vec<ReplyId>, StoreError> {
        self.inner().replies_to(id)
    }

    fn messages_of_provider(
        &mut self,
        id: &str,
        keys: &[StoredDedupeKey],
    ) -> Result<Vec<MessageId>, StoreError> {
        self.inner().messages_of_provider(id, keys)
    }
}

impl Store for Faulty {
    fn commit(&mut self, entries: &[NumberedBatch]) -> Result<(), StoreError> {
        self.write(|store| store.commit(entries))
    }

    fn last_number(&mut self) -> Result<u64, StoreError> {
        self.inner().last_number()
    }

    fn load_channel(&mut self, channel: &ChannelKey, now_ms: u64) -> Result<LoadedChannel, StoreError> {
        self.inner().load_channel(channel, now_ms)
    }

    fn load(&mut self, now_ms: u64) -> Result<Loaded, StoreError> {
        self.inner().load(now_ms)
    }

    fn message(&mut self, id: MessageId) -> Result<Option<MessageRecord>, StoreError> {
        self.inner().message(id)
    }

    fn messages(&mut self, filter: &MessageFilter) -> Result<Vec<MessageSummary>, StoreError> {
        self.inner().messages(filter)
    }

    fn attachment(&mut self, id: MessageId, index: usize) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.inner().attachment(id, index)
    }

    fn reply(&mut self, id: ReplyId) -> Result<Option<ReplyRecord>, StoreError> {
        self.inner().reply(id)
    }

    fn replies(&mut self, filter: &ReplyFilter) -> Result<Vec<ReplySummary>, StoreError> {
        self.inner().replies(filter)
    }

    fn stored_response(&mut self, id: DedupeId) -> Result<Option<Arc<ChannelResponse>>, StoreError> {
        self.inner().stored_response(id)
    }

    fn transcript(&mut self, conversation: &str) -> Result<Option<String>, StoreError> {
        self.inner().transcript(conversation)
    }

    fn prune(&mut self, retention: &Retention, now_ms: u64) -> Result<PruneStats, StoreError> {
        self.inner().prune(retention, now_ms)
    }

    fn maintain(&mut self, moment: Maintenance) -> Result<(), StoreError> {
        self.inner().maintain(moment)
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.write(|store| store.probe())
    }

    fn usage(&mut self) -> Result<StoreUsage, StoreError> {
        self.inner().usage()
    }
}
