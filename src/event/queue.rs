//! The queue of events from outside to the router, which nothing is lost in when the router ends.
//!
//! A bounded channel of crossbeam keeps what is queued until its last sender is gone, so an event that arrives while the
//! router ends would wait, with whoever waits for its response, for ever. Here every event is either handled by the router
//! or refused, in every interleaving:
//!
//! - The router sets `closed` and then refuses what is queued.
//! - A sender looks at `closed` after it has sent. When it is set, the sender refuses what is queued, too.
//!
//! An event that was sent before the router looked at the queue for the last time is refused there. One that was sent later
//! was sent after `closed` was set, so its sender sees that, and refuses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::Event;
use super::response::WebhookRefusal;

/// The way to the router. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventSender {
    sender: Sender<Event>,
    /// To refuse what is queued when the router has ended; never to handle anything.
    queued: Receiver<Event>,
    closed: Arc<AtomicBool>,
}

/// The router's end. Dropped, it closes the queue.
#[derive(Debug)]
pub struct EventReceiver {
    queued: Receiver<Event>,
    closed: Arc<AtomicBool>,
}

/// Why an event was not queued.
#[derive(Debug)]
pub enum NotQueued {
    /// The queue is full.
    Full(Event),
    /// The router has ended.
    Closed(Event),
}

/// A queue of at most `capacity` events.
pub fn event_queue(capacity: usize) -> (EventSender, EventReceiver) {
    let (sender, queued) = bounded(capacity);
    let closed = Arc::new(AtomicBool::new(false));
    (EventSender { sender, queued: queued.clone(), closed: closed.clone() }, EventReceiver { queued, closed })
}

impl EventSender {
    /// Queues an event without waiting.
    ///
    /// # Errors
    /// The queue is full, or the router has ended.
    pub fn try_send(&self, event: Event) -> Result<(), NotQueued> {
        if self.closed.load(SeqCst) {
            return Err(NotQueued::Closed(event));
        }
        match self.sender.try_send(event) {
            Ok(()) => {
                self.refuse_if_closed();
                Ok(())
            }
            Err(TrySendError::Full(event)) => Err(NotQueued::Full(event)),
            Err(TrySendError::Disconnected(event)) => Err(NotQueued::Closed(event)),
        }
    }

    /// Queues an event, and waits while the queue is full.
    ///
    /// # Errors
    /// The event, when the router has ended.
    pub fn send(&self, event: Event) -> Result<(), Box<Event>> {
        if self.closed.load(SeqCst) {
            return Err(Box::new(event));
        }
        // A router that ends empties the queue, so nobody waits here for longer than it runs.
        self.sender.send(event).map_err(|error| Box::new(error.0))?;
        self.refuse_if_closed();
        Ok(())
    }

    fn refuse_if_closed(&self) {
        if self.closed.load(SeqCst) {
            refuse_queued(&self.queued);
        }
    }
}

impl EventReceiver {
    /// The channel, for a select.
    pub fn channel(&self) -> &Receiver<Event> {
        &self.queued
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        self.closed.store(true, SeqCst);
        refuse_queued(&self.queued);
    }
}

/// Answers requests with 503. Whoever waits for a command learns of its end when it is dropped.
fn refuse_queued(queued: &Receiver<Event>) {
    while let Ok(event) = queued.try_recv() {
        if let Event::Webhook(webhook) = event {
            webhook.answer.refuse(WebhookRefusal::Stopping);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::Instant;

    use wit_abi::types::IncomingHttpRequest;

    use super::*;
    use crate::event::arrival::Webhook;
    use crate::event::response::{ResponseSender, WebhookResponse};

    fn webhook(answered: &Arc<AtomicUsize>) -> Event {
        let answered = answered.clone();
        let request = IncomingHttpRequest {
            method: "POST".into(),
            path: "/".into(),
            headers_json: "{}".into(),
            query_json: "{}".into(),
            body: Vec::new(),
            secret_validated: true,
        };
        Event::Webhook(Box::new(Webhook {
            channel: "chat".parse().unwrap(),
            request: Arc::new(request),
            identities: Vec::new(),
            received: Instant::now(),
            answer: ResponseSender::new(move |answer| {
                assert_eq!(answer, WebhookResponse::Refused(WebhookRefusal::Stopping));
                answered.fetch_add(1, SeqCst);
            }),
        }))
    }

    /// Of a hundred stops under load, five used to leave clients without a response until the server gave them up 10 s
    /// later: their requests were queued after the router had looked for the last time.
    #[test]
    fn every_event_is_answered_whenever_the_router_ends() {
        let rounds = std::env::var("TINCLAW_STOPS").map_or(500, |rounds| rounds.parse().unwrap());
        for round in 0..rounds {
            let (sender, receiver) = event_queue(4);
            let answered = Arc::new(AtomicUsize::new(0));
            let start = Barrier::new(4);
            let refused: usize = thread::scope(|scope| {
                let senders: Vec<_> = (0..3)
                    .map(|_| {
                        let (sender, answered, start) = (sender.clone(), &answered, &start);
                        scope.spawn(move || {
                            start.wait();
                            (0..20).filter(|_| sender.try_send(webhook(answered)).is_err_and(refuse)).count()
                        })
                    })
                    .collect();
                start.wait();
                for _ in 0..round % 16 {
                    thread::yield_now();
                }
                drop(receiver);
                senders.into_iter().map(|sender| sender.join().unwrap()).sum()
            });
            // The senders are still there, as the HTTP server's is in a host that shuts down.
            assert_eq!(answered.load(SeqCst), 60, "round {round}, {refused} were not queued");
            drop(sender);
        }
    }

    /// Every order in which the three steps of a sender and the two of a router that ends can happen.
    #[test]
    fn an_event_is_answered_in_every_interleaving() {
        let mut orders = 0;
        for close in 0..5 {
            for drain in close + 1..5 {
                let (sender, receiver) = event_queue(4);
                let answered = Arc::new(AtomicUsize::new(0));
                let mut event = Some(webhook(&answered));
                let mut steps_of_sender = 0;
                for step in 0..5 {
                    if step == close {
                        receiver.closed.store(true, SeqCst);
                    } else if step == drain {
                        refuse_queued(&receiver.queued);
                    } else {
                        match steps_of_sender {
                            0 if sender.closed.load(SeqCst) => {
                                refuse(NotQueued::Closed(event.take().unwrap()));
                            }
                            1 if event.is_some() => sender.sender.try_send(event.take().unwrap()).unwrap(),
                            2 => sender.refuse_if_closed(),
                            _ => {}
                        }
                        steps_of_sender += 1;
                    }
                }
                assert_eq!(answered.load(SeqCst), 1, "closed at {close}, drained at {drain}");
                orders += 1;
            }
        }
        assert_eq!(orders, 10);
    }

    fn refuse(not_queued: NotQueued) -> bool {
        if let NotQueued::Full(Event::Webhook(webhook)) | NotQueued::Closed(Event::Webhook(webhook)) =
            not_queued
        {
            webhook.answer.refuse(WebhookRefusal::Stopping);
        }
        true
    }

    #[test]
    fn waiting_senders_are_released_when_the_router_ends() {
        let (sender, receiver) = event_queue(1);
        let answered = Arc::new(AtomicUsize::new(0));
        assert!(sender.try_send(webhook(&answered)).is_ok());
        assert!(sender.try_send(webhook(&answered)).is_err_and(refuse), "the queue is full");
        thread::scope(|scope| {
            scope.spawn(|| {
                if let Err(event) = sender.send(webhook(&answered)) {
                    refuse(NotQueued::Closed(*event));
                }
            });
            drop(receiver);
        });
        assert_eq!(answered.load(SeqCst), 3);
        assert!(sender.send(webhook(&answered)).is_err_and(|event| refuse(NotQueued::Closed(*event))));
    }
}
