//! What comes back to the router from the threads that it gave work to.

use crossbeam_channel::{Receiver, Sender, bounded};

use super::arrival::RequestIdentity;
use super::callback::CallbackReport;
use super::response::WebhookResponse;
use crate::channel::ChannelName;
use crate::store::{DedupeId, PendingReply, ReplyId, ReplyRecord, StoreEvent};

/// Which of the callbacks that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Work that has ended. These travel on an unbounded channel of their own: whoever completes something never waits for the
/// router. How many there can be is bounded by the work that is under way.
#[derive(Debug)]
pub enum Completion {
    /// A worker ran a callback.
    Callback(Ticket, Box<CallbackReport>),
    /// A request was responded to whose duplicates may wait for it.
    DuplicatesWait,
    /// A reply is durable and waits to be delivered.
    ReplyStored(Box<PendingReply>, Option<Permit>),
    /// A tool call has ended: a callback may have waited for its memory.
    MemoryFreed,
    /// The store has done what a channel waits for.
    Stored(ChannelName, Stored),
    /// The store's state changed.
    Store(StoreEvent),
}

/// What the store has done for a channel.
#[derive(Debug)]
pub enum Stored {
    /// The attempt of a reply is on record, and this is the reply; or it is gone.
    Attempt(ReplyId, Option<Box<ReplyRecord>>),
    /// The record of an attempt was rejected.
    NoAttempt(ReplyId),
    /// The frames that were on their way to the store have an outcome.
    Frames,
}

/// The response to a request that can be recognised.
#[derive(Debug)]
pub struct RespondedRequest {
    /// The channel.
    pub channel: ChannelName,
    /// By what the request is recognised.
    pub identities: Vec<RequestIdentity>,
    /// Where they are kept, in their order.
    pub stored: Vec<DedupeId>,
    /// Whether what its callback did waits for a store that has failed. It is going to be kept all the same, so the request
    /// stays known; but a duplicate that comes now is told to come back.
    pub is_delayed: bool,
    /// The response, for duplicates that wait for it.
    pub response: WebhookResponse,
}

/// A place among the replies that may be on their way at one time; dropping it frees the place.
#[derive(Debug)]
pub struct Permit(Receiver<()>);

/// Gives out [`Permit`]s, a fixed number at a time.
#[derive(Clone, Debug)]
pub struct Permits {
    taken: Sender<()>,
    freed: Receiver<()>,
}

impl Permits {
    /// At most `count` permits at a time.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let (taken, freed) = bounded(count);
        Self { taken, freed }
    }

    /// Waits for a free place.
    #[must_use]
    pub fn take(&self) -> Permit {
        // Cannot fail: this value holds both ends.
        let _ = self.taken.send(());
        Permit(self.freed.clone())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let _ = self.0.try_recv();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_are_small() {
        assert!(size_of::<Completion>() <= 48, "{}", size_of::<Completion>());
    }

    #[test]
    fn a_dropped_permit_frees_its_place() {
        let permits = Permits::new(1);
        let first = permits.take();
        assert!(permits.taken.is_full());
        drop(first);
        drop(permits.take());
        assert!(permits.freed.is_empty());
    }
}
