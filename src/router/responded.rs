//! Requests that were responded to, for duplicates of them.
//!
//! What became of a request that can be recognised matters only to a later duplicate. So it waits here until the router
//! works on something else, and wakes the router only while a duplicate waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::event::completion::{Completion, RespondedRequest};

/// The router's end.
pub(super) struct RespondedQueue {
    queue: Receiver<RespondedRequest>,
    sender: RespondedSender,
}

/// The end of those who respond.
#[derive(Clone)]
pub(super) struct RespondedSender {
    queue: Sender<RespondedRequest>,
    /// Set by the router before it looks into the queue for the last time; taken back by whoever wakes it.
    is_awaited: Arc<AtomicBool>,
    completed: Sender<Completion>,
}

impl RespondedQueue {
    pub fn new(completed: Sender<Completion>) -> Self {
        let (sender, queue) = unbounded();
        Self { queue, sender: RespondedSender { queue: sender, is_awaited: Arc::default(), completed } }
    }

    /// For one who is going to respond.
    pub fn sender(&self) -> RespondedSender {
        self.sender.clone()
    }

    /// The next request that was responded to.
    pub fn take(&self) -> Option<RespondedRequest> {
        self.queue.try_recv().ok()
    }

    /// From now on the next response wakes the router. What was sent before is in the queue already: look again.
    pub fn wake_at_next(&self) {
        self.sender.is_awaited.store(true, Ordering::SeqCst);
    }
}

impl RespondedSender {
    /// Notes the response to a request.
    pub fn send(&self, request: RespondedRequest) {
        // The router is gone only when nobody sends a duplicate.
        let _ = self.queue.send(request);
        if self.is_awaited.swap(false, Ordering::SeqCst) {
            let _ = self.completed.send(Completion::DuplicatesWait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::response::{WebhookRefusal, WebhookResponse};

    fn responded() -> RespondedRequest {
        RespondedRequest {
            channel: "a".parse().expect("a name"),
            identities: Vec::new(),
            stored: Vec::new(),
            is_delayed: false,
            response: WebhookResponse::Refused(WebhookRefusal::Busy),
        }
    }

    #[test]
    fn a_response_wakes_the_router_only_while_a_duplicate_waits_for_it() {
        let (completed, completions) = unbounded();
        let queue = RespondedQueue::new(completed);
        queue.sender().send(responded());
        assert!(completions.is_empty() && queue.take().is_some());
        queue.wake_at_next();
        queue.sender().send(responded());
        queue.sender().send(responded());
        assert_eq!(completions.len(), 1, "woken once");
        assert!(queue.take().is_some() && queue.take().is_some() && queue.take().is_none());
    }
}
