//! Requests whose answer is on its way, for those that repeat them.
//!
//! What became of a request that can be recognised matters only to a later repeat. So it waits here until the router works
//! on something else, and wakes the router only while a repeat waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::event::completion::{Answered, Completion};

/// The router's end.
pub(super) struct AnsweredQueue {
    queue: Receiver<Answered>,
    sender: AnsweredSender,
}

/// The end of those who answer.
#[derive(Clone)]
pub(super) struct AnsweredSender {
    queue: Sender<Answered>,
    /// Set by the router before it looks into the queue for the last time; taken back by whoever wakes it.
    is_awaited: Arc<AtomicBool>,
    completed: Sender<Completion>,
}

impl AnsweredQueue {
    pub fn new(completed: Sender<Completion>) -> Self {
        let (queue, answered) = unbounded();
        Self { queue: answered, sender: AnsweredSender { queue, is_awaited: Arc::default(), completed } }
    }

    /// For one who is going to answer.
    pub fn sender(&self) -> AnsweredSender {
        self.sender.clone()
    }

    /// The next request that was answered.
    pub fn take(&self) -> Option<Answered> {
        self.queue.try_recv().ok()
    }

    /// From now on the next answer wakes the router. What was answered before is in the queue already: look again.
    pub fn wake_at_next(&self) {
        self.sender.is_awaited.store(true, Ordering::SeqCst);
    }
}

impl AnsweredSender {
    /// Tells what a request was answered with.
    pub fn send(&self, answered: Answered) {
        // The router is gone only when nobody repeats anything.
        let _ = self.queue.send(answered);
        if self.is_awaited.swap(false, Ordering::SeqCst) {
            let _ = self.completed.send(Completion::RepeatsWait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::response::{WebhookRefusal, WebhookResponse};

    fn answered() -> Answered {
        Answered {
            channel: "a".parse().expect("a name"),
            identities: Vec::new(),
            stored: Vec::new(),
            is_delayed: false,
            answer: WebhookResponse::Refused(WebhookRefusal::Busy),
        }
    }

    #[test]
    fn an_answer_wakes_the_router_only_while_a_repeat_waits_for_it() {
        let (completed, completions) = unbounded();
        let queue = AnsweredQueue::new(completed);
        queue.sender().send(answered());
        assert!(completions.is_empty() && queue.take().is_some());
        queue.wake_at_next();
        queue.sender().send(answered());
        queue.sender().send(answered());
        assert_eq!(completions.len(), 1, "woken once");
        assert!(queue.take().is_some() && queue.take().is_some() && queue.take().is_none());
    }
}
