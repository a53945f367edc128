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

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, Weak};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::Event;
use super::response::WebhookRefusal;

/// The way to the router. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventSender {
    sender: Sender<Event>,
    /// To refuse what is queued when the router has ended; never to handle anything.
    queued: Receiver<Event>,
    shared: Arc<QueueState>,
}

/// The router's end. Dropped, it closes the queue.
#[derive(Debug)]
pub struct EventReceiver {
    queued: Receiver<Event>,
    shared: Arc<QueueState>,
}

#[derive(Default)]
struct QueueState {
    /// Set once, by the router's end when it is dropped: nothing is taken any more.
    closed: AtomicBool,
    /// Events that are sent and not handled. Senders count up before they send, the router counts down when it has handled
    /// one; so it is never less than what is queued or in the router's hands.
    unhandled: AtomicUsize,
    /// Who handles events on the sender's thread; set once, with [`EventSender::handle_directly`].
    direct: OnceLock<Weak<dyn HandleNow>>,
}

/// Somebody who handles events on the sender's thread.
pub trait HandleNow: Send + Sync {
    /// Handles an event before any that is sent later.
    ///
    /// # Errors
    /// The event: it cannot be handled at once, or others come first.
    fn handle_now(&self, event: Event) -> Result<(), Event>;
}

impl fmt::Debug for QueueState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueState").field("unhandled", &self.unhandled).finish_non_exhaustive()
    }
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
    let shared = Arc::<QueueState>::default();
    (EventSender { sender, queued: queued.clone(), shared: shared.clone() }, EventReceiver { queued, shared })
}

impl EventSender {
    /// From now on, whoever offers an event asks `direct` first. Only the first call counts.
    pub fn handle_directly(&self, direct: Weak<dyn HandleNow>) {
        let _ = self.shared.direct.set(direct);
    }

    /// Has an event handled on this thread, or queues it without waiting. The events of one thread are handled in order.
    ///
    /// # Errors
    /// The queue is full, or the router has ended.
    pub fn offer(&self, event: Event) -> Result<(), NotQueued> {
        let direct = self.shared.direct.get().and_then(Weak::upgrade);
        let Some(direct) = direct else { return self.try_send(event) };
        direct.handle_now(event).or_else(|event| self.try_send(event))
    }

    /// Queues an event without waiting.
    ///
    /// # Errors
    /// The queue is full, or the router has ended.
    pub fn try_send(&self, event: Event) -> Result<(), NotQueued> {
        if self.shared.closed.load(SeqCst) {
            return Err(NotQueued::Closed(event));
        }
        self.shared.unhandled.fetch_add(1, SeqCst);
        let error = match self.sender.try_send(event) {
            Ok(()) => {
                self.refuse_if_closed();
                return Ok(());
            }
            Err(TrySendError::Full(event)) => NotQueued::Full(event),
            Err(TrySendError::Disconnected(event)) => NotQueued::Closed(event),
        };
        self.shared.unhandled.fetch_sub(1, SeqCst);
        Err(error)
    }

    /// Queues an event, and waits while the queue is full.
    ///
    /// # Errors
    /// The event, when the router has ended.
    pub fn send(&self, event: Event) -> Result<(), Box<Event>> {
        if self.shared.closed.load(SeqCst) {
            return Err(Box::new(event));
        }
        self.shared.unhandled.fetch_add(1, SeqCst);
        // A router that ends empties the queue, so nobody waits here for longer than it runs.
        self.sender.send(event).map_err(|error| Box::new(error.0))?;
        self.refuse_if_closed();
        Ok(())
    }

    fn refuse_if_closed(&self) {
        if self.shared.closed.load(SeqCst) {
            refuse_queued(&self.queued);
        }
    }
}

impl EventReceiver {
    /// The channel, for a select.
    pub fn channel(&self) -> &Receiver<Event> {
        &self.queued
    }

    /// An event from the channel was handled.
    pub fn handled(&self) {
        self.shared.unhandled.fetch_sub(1, SeqCst);
    }

    /// Whether every event that was sent has been handled.
    pub fn is_caught_up(&self) -> bool {
        self.shared.unhandled.load(SeqCst) == 0
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        self.shared.closed.store(true, SeqCst);
        refuse_queued(&self.queued);
    }
}

/// Responds to requests with 503. Whoever waits for a command learns of its end when it is dropped.
fn refuse_queued(queued: &Receiver<Event>) {
    while let Ok(event) = queued.try_recv() {
        if let Event::Webhook(webhook) = event {
            webhook.responder.refuse(WebhookRefusal::Stopping);
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

    fn webhook(responded: &Arc<AtomicUsize>) -> Event {
        let responded = responded.clone();
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
            client: None,
            received: Instant::now(),
            responder: ResponseSender::new(move |responder| {
                assert_eq!(responder, WebhookResponse::Refused(WebhookRefusal::Stopping));
                responded.fetch_add(1, SeqCst);
            }),
        }))
    }

    /// Of a hundred stops under load, five used to leave clients without a response until the server gave them up 10 s
    /// later: their requests were queued after the router had looked for the last time.
    #[test]
    fn every_event_gets_a_response_whenever_the_router_ends() {
        let rounds = std::env::var("TINCLAW_STOPS").map_or(500, |rounds| rounds.parse().unwrap());
        for round in 0..rounds {
            let (sender, receiver) = event_queue(4);
            let responded = Arc::new(AtomicUsize::new(0));
            let start = Barrier::new(4);
            let refused: usize = thread::scope(|scope| {
                let senders: Vec<_> = (0..3)
                    .map(|_| {
                        let (sender, responded, start) = (sender.clone(), &responded, &start);
                        scope.spawn(move || {
                            start.wait();
                            (0..20).filter(|_| sender.try_send(webhook(responded)).is_err_and(refuse)).count()
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
            assert_eq!(responded.load(SeqCst), 60, "round {round}, {refused} were not queued");
            drop(sender);
        }
    }

    /// Every order in which the three steps of a sender and the two of a router that ends can happen.
    #[test]
    fn an_event_gets_a_response_in_every_interleaving() {
        let mut orders = 0;
        for close in 0..5 {
            for drain in close + 1..5 {
                let (sender, receiver) = event_queue(4);
                let responded = Arc::new(AtomicUsize::new(0));
                let mut event = Some(webhook(&responded));
                let mut steps_of_sender = 0;
                for step in 0..5 {
                    if step == close {
                        receiver.shared.closed.store(true, SeqCst);
                    } else if step == drain {
                        refuse_queued(&receiver.queued);
                    } else {
                        match steps_of_sender {
                            0 if sender.shared.closed.load(SeqCst) => {
                                refuse(NotQueued::Closed(event.take().unwrap()));
                            }
                            1 if event.is_some() => sender.sender.try_send(event.take().unwrap()).unwrap(),
                            2 => sender.refuse_if_closed(),
                            _ => {}
                        }
                        steps_of_sender += 1;
                    }
                }
                assert_eq!(responded.load(SeqCst), 1, "closed at {close}, drained at {drain}");
                orders += 1;
            }
        }
        assert_eq!(orders, 10);
    }

    /// Takes events when it is free.
    struct Direct {
        is_free: AtomicBool,
        taken: AtomicUsize,
    }

    impl HandleNow for Direct {
        fn handle_now(&self, event: Event) -> Result<(), Event> {
            if !self.is_free.load(SeqCst) {
                return Err(event);
            }
            self.taken.fetch_add(1, SeqCst);
            assert!(refuse(NotQueued::Full(event)));
            Ok(())
        }
    }

    #[test]
    fn an_offered_event_is_queued_only_when_nobody_handles_it_at_once() {
        let (sender, receiver) = event_queue(4);
        let responded = Arc::new(AtomicUsize::new(0));
        let direct = Arc::new(Direct { is_free: AtomicBool::new(true), taken: AtomicUsize::new(0) });
        let weak: Weak<Direct> = Arc::downgrade(&direct);
        sender.handle_directly(weak);
        sender.offer(webhook(&responded)).unwrap();
        assert!(direct.taken.load(SeqCst) == 1 && receiver.channel().is_empty());
        direct.is_free.store(false, SeqCst);
        sender.offer(webhook(&responded)).unwrap();
        drop(direct);
        sender.offer(webhook(&responded)).unwrap();
        assert_eq!(receiver.channel().len(), 2, "also when it has gone");
    }

    #[test]
    fn the_router_has_caught_up_when_what_was_sent_is_handled_and_not_when_it_is_taken() {
        let (sender, receiver) = event_queue(1);
        let responded = Arc::new(AtomicUsize::new(0));
        assert!(receiver.is_caught_up());
        sender.try_send(webhook(&responded)).unwrap();
        assert!(
            sender.try_send(webhook(&responded)).is_err_and(refuse),
            "what was not queued does not count"
        );
        let event = receiver.channel().recv().unwrap();
        assert!(!receiver.is_caught_up());
        assert!(refuse(NotQueued::Full(event)));
        receiver.handled();
        assert!(receiver.is_caught_up());
    }

    fn refuse(not_queued: NotQueued) -> bool {
        if let NotQueued::Full(Event::Webhook(webhook)) | NotQueued::Closed(Event::Webhook(webhook)) =
            not_queued
        {
            webhook.responder.refuse(WebhookRefusal::Stopping);
        }
        true
    }

    #[test]
    fn waiting_senders_are_released_when_the_router_ends() {
        let (sender, receiver) = event_queue(1);
        let responded = Arc::new(AtomicUsize::new(0));
        assert!(sender.try_send(webhook(&responded)).is_ok());
        assert!(sender.try_send(webhook(&responded)).is_err_and(refuse), "the queue is full");
        thread::scope(|scope| {
            scope.spawn(|| {
                if let Err(event) = sender.send(webhook(&responded)) {
                    refuse(NotQueued::Closed(*event));
                }
            });
            drop(receiver);
        });
        assert_eq!(responded.load(SeqCst), 3);
        assert!(sender.send(webhook(&responded)).is_err_and(|event| refuse(NotQueued::Closed(*event))));
    }
}
